"""How vectors are read, said in words and made of words again; none of it is part of a result's identity."""

from pydantic import Field, PositiveInt

from overnight.spec.base import Spec


class LensExecution(Spec):
    """Sizes of batches; where one does not fit it is halved, the smaller size is kept, and the report says so."""

    max_generation_batch_size: PositiveInt = Field(default=64, description="texts that are drawn at a time")
    encoder_batch_size: PositiveInt = Field(default=64, description="texts that are encoded at a time")
    vector_extraction_batch_size: PositiveInt | None = Field(
        default=None, description="texts that vectors are read from at a time; null: by the memory there is"
    )
    vectors_per_chunk: PositiveInt = Field(
        default=16,
        description="vectors that are worked on and written down together: what an interruption may cost",
    )
