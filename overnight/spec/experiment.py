"""What every experiment has: questions to ask, a seed, and the choice to rehearse."""

from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from overnight.spec.base import APART, Name, Spec, are_apart
from overnight.spec.dataset import DatasetSpec
from overnight.spec.sampling import Seeded


class Experiment(Spec):
    """What the experiments have in common; a kind of experiment adds what it asks."""

    datasets: tuple[Name | DatasetSpec, ...] = Field(
        min_length=1, description="names of files in datasets/, or datasets written out"
    )
    limit_items: NonNegativeInt | None = Field(
        default=None, description="a seeded sample of this many items over all datasets; null is all of them"
    )
    sampling: Seeded = Seeded()
    dry_run: bool = Field(default=False, description="rehearse with synthetic answers; no model is loaded")

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [dataset if isinstance(dataset, str) else dataset.name for dataset in self.datasets]
        if not are_apart(names):
            raise ValueError(f"experiment.datasets names a dataset twice: {names!r}; {APART}")
        return self
