"""What a transformers host is asked to do with a lens: to say vectors in words, and to make vectors of words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbaliseRequest:
    """Vectors to be said in words, each ``n_draws`` times.

    The random numbers of a draw depend on ``seed``, the vector's key and the draw's number alone: not on the batch, on
    the other vectors or on the number of processes.
    """

    lens: Path  # folder of a fitted lens
    vectors: Path  # a safetensors file with ``vectors``, float32 [n, D]
    keys: tuple[str, ...]  # n, of the vectors
    n_draws: int
    temperature: float  # above 0
    top_p: float
    top_k: int  # 0: no limit
    max_new_tokens: int
    seed: int
    rows: int  # texts that are drawn at a time, at most

    def to_json(self) -> dict[str, Any]:
        """Return what is posted."""
        return {
            "lens": str(self.lens.resolve()),
            "vectors": str(self.vectors.resolve()),
            "keys": list(self.keys),
            "n_draws": self.n_draws,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens,
            "seed": self.seed,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was posted.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            lens=Path(body["lens"]),
            vectors=Path(body["vectors"]),
            keys=tuple(map(str, body["keys"])),
            n_draws=int(body["n_draws"]),
            temperature=float(body["temperature"]),
            top_p=float(body["top_p"]),
            top_k=int(body["top_k"]),
            max_new_tokens=int(body["max_new_tokens"]),
            seed=int(body["seed"]),
            rows=int(body["rows"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbalisation:
    """One text of a vector."""

    text: str
    token_ids: tuple[int, ...]  # that were drawn, without the one that ended it
    n_tokens: int  # that were generated, with the one that ended it
    logprob: float  # nats, the sum over those, before any sampling setting
    finish_reason: str  # stop or length

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return {
            "text": self.text,
            "token_ids": list(self.token_ids),
            "n_tokens": self.n_tokens,
            "logprob": self.logprob,
            "finish_reason": self.finish_reason,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            text=str(row["text"]),
            token_ids=tuple(map(int, row["token_ids"])),
            n_tokens=int(row["n_tokens"]),
            logprob=float(row["logprob"]),
            finish_reason=str(row["finish_reason"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbaliseAnswer:
    """The texts of each vector, in the order of the draws."""

    draws: tuple[tuple[Verbalisation, ...], ...]  # n x n_draws
    seconds: float
    rows: int  # that fitted at a time
    halvings: int

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return {
            "draws": [[each.to_json() for each in of_vector] for of_vector in self.draws],
            "seconds": self.seconds,
            "rows": self.rows,
            "halvings": self.halvings,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            draws=tuple(tuple(map(Verbalisation.from_json, each)) for each in body["draws"]),
            seconds=float(body["seconds"]),
            rows=int(body["rows"]),
            halvings=int(body["halvings"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructRequest:
    """Texts, or their tokens, of which vectors are to be made."""

    lens: Path  # folder of a fitted lens
    out: Path  # a safetensors file that the host writes: ``vectors``, float32 [n, D]
    texts: tuple[str, ...] | None = None  # n; made into tokens anew
    token_ids: tuple[tuple[int, ...], ...] | None = None  # n; as they were drawn
    rows: int = 64  # texts at a time, at most

    def __post_init__(self) -> None:
        if (self.texts is None) == (self.token_ids is None):
            raise ValueError("wanted either texts or their tokens")

    def to_json(self) -> dict[str, Any]:
        """Return what is posted."""
        return {
            "lens": str(self.lens.resolve()),
            "out": str(self.out.resolve()),
            "texts": None if self.texts is None else list(self.texts),
            "token_ids": None if self.token_ids is None else [list(each) for each in self.token_ids],
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was posted.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        texts, tokens = body["texts"], body["token_ids"]
        return cls(
            lens=Path(body["lens"]),
            out=Path(body["out"]),
            texts=None if texts is None else tuple(map(str, texts)),
            token_ids=None if tokens is None else tuple(tuple(map(int, each)) for each in tokens),
            rows=int(body["rows"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructAnswer:
    """What making vectors of texts took; the vectors are in the file that was asked for."""

    n_tokens: int  # that were read
    seconds: float
    rows: int  # that fitted at a time
    halvings: int

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return {
            "n_tokens": self.n_tokens,
            "seconds": self.seconds,
            "rows": self.rows,
            "halvings": self.halvings,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            n_tokens=int(body["n_tokens"]),
            seconds=float(body["seconds"]),
            rows=int(body["rows"]),
            halvings=int(body["halvings"]),
        )
