"""Directions that states are projected on, and the null directions that a projection is compared with."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from overnight.activations.points import Point, labels
from overnight.errors import UsageError

_CHUNK_TOKENS = (
    1024  # projected at once; what is computed of them in float32 is as large as they are, or larger
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Directions of several traits, in groups of points that share them.

    Letters are axes: G groups, V traits, N null directions, d numbers of a state.
    """

    traits: tuple[str, ...]
    groups: dict[Point, int]
    units_GVd: Tensor  # noqa: N815 - float32, of length 1; NaN where the direction has no length
    null_means_GVd: Tensor | None = None  # noqa: N815 - of the null directions, each of length 1
    null_spreads_GVNd: Tensor | None = None  # noqa: N815 - what each is off that mean; V is 1 where traits share them

    @classmethod
    def read(cls, path: Path, device: torch.device) -> Self:
        """Return the directions of a file: ``directions`` [G, V, d], ``group_of_point`` [P], ``nulls`` [G, V, N, d].

        Raises:
            UsageError: it is missing, damaged, or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            traits, points = json.loads(about["traits"]), map(Point.parse, json.loads(about["points"]))
            groups = dict(zip(points, tensors["group_of_point"].tolist(), strict=True))
            return cls.made(tuple(traits), groups, tensors["directions"], tensors.get("nulls"), device)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise UsageError(
                f"directions {path}: cannot be read ({type(error).__name__}: {said}); make it again"
            ) from None

    @classmethod
    def made(
        cls,
        traits: tuple[str, ...],
        groups: dict[Point, int],
        directions: Tensor,
        nulls: Tensor | None,
        device: torch.device | None = None,
    ) -> Self:
        """Return directions.

        Args:
            traits: their names.
            groups: of each point.
            directions: ``[G, V, d]``, of any length.
            nulls: ``[G, V, N, d]``; None without any.
            device: where states are.

        Raises:
            ValueError: the shapes contradict each other.
        """
        shape = tuple(directions.shape)
        if len(shape) != 3 or shape[1] != len(traits):  # noqa: PLR2004 - G, V, d
            raise ValueError(f"directions of shape {list(shape)} for {len(traits)} traits")
        if nulls is not None and (nulls.dim() != 4 or (*nulls.shape[:2], nulls.shape[3]) != shape):  # noqa: PLR2004
            raise ValueError(f"nulls of shape {list(nulls.shape)} for directions of shape {list(shape)}")
        if not all(0 <= group < shape[0] for group in groups.values()):
            raise ValueError(f"group_of_point names a group that is none of {shape[0]}")
        means = spreads = None
        if nulls is not None:
            is_shared = bool((nulls == nulls[:, :1]).all())
            units = _units(nulls[:, :1] if is_shared else nulls)
            mean = units.mean(dim=2)
            means = mean.float().to(device)
            spreads = (units - mean[:, :, None]).float().to(device)
        return cls(
            traits=traits,
            groups=groups,
            units_GVd=_units(directions).float().to(device),
            null_means_GVd=means,
            null_spreads_GVNd=spreads,
        )

    @property
    def width(self) -> int:
        """Numbers of a state."""
        return self.units_GVd.shape[-1]

    @property
    def has_nulls(self) -> bool:
        """True where projections have a z."""
        return self.null_means_GVd is not None

    def require_points(self, points: tuple[Point, ...], path: Path) -> None:
        """Check that these are the points that states are projected at.

        Raises:
            UsageError: there are others.
        """
        if tuple(self.groups) != points:
            known = ", ".join(labels(self.groups)) or "none"
            raise UsageError(
                f"directions {path}: made for the points {known}; the request projects "
                f"{', '.join(labels(points))}; make them for these"
            )

    def project(self, states: Tensor, group: int) -> tuple[Tensor, Tensor | None]:
        """Return the projections of states, and how many standard deviations they are off those on null directions.

        A projection is the length, with its sign, of the state's part along a direction: a.v / |v|, in float32
        whatever the state is in. Its z is (projection - mean over the nulls) / standard deviation over the nulls, the
        latter with N - 1. Both are linear in the state up to the standard deviation, so the mean is the projection on
        the mean null direction.

        Args:
            states: ``[n, d]``.
            group: whose directions.

        Returns:
            ``[n, V]`` each, float32; NaN where it is undefined: no direction, no spread, fewer than two nulls, a state
            that is no number. The second is None without nulls.
        """
        projections, scores = [], []
        for part in torch.split(states, _CHUNK_TOKENS):
            chunk = part.float()
            projection = chunk @ self.units_GVd[group].T
            projections.append(projection)
            if self.null_means_GVd is not None and self.null_spreads_GVNd is not None:
                mean = chunk @ self.null_means_GVd[group].T
                nulls = self.null_spreads_GVNd[group]
                spread = _deviation((chunk @ nulls.flatten(0, 1).T).view(len(chunk), *nulls.shape[:2]))
                scores.append(_or_nan((projection - mean) / spread))
        return _or_nan(torch.cat(projections)), torch.cat(scores) if scores else None


def lengths(states: Tensor) -> Tensor:
    """Return ``[n]``: the Euclidean length of each state ``[n, d]``, in float32; NaN where it is no number."""
    return _or_nan(torch.cat([part.float().norm(dim=-1) for part in torch.split(states, _CHUNK_TOKENS)]))


def _units(vectors: Tensor) -> Tensor:
    """Return vectors divided by their length, in float64; NaN where they have none."""
    exact = vectors.double()
    length = exact.norm(dim=-1, keepdim=True)
    return exact / torch.where(length.isfinite() & (length > 0), length, torch.nan)


def _deviation(off_mean: Tensor) -> Tensor:
    """Return ``[n, V]``: the standard deviation of projections ``[n, V, N]`` given as distances to their mean."""
    n_nulls = off_mean.shape[-1]
    if n_nulls < 2:  # noqa: PLR2004 - one value has no spread
        return off_mean.new_full(off_mean.shape[:-1], torch.nan)
    length: Tensor = off_mean.norm(dim=-1)
    return length / math.sqrt(n_nulls - 1)


def _or_nan(values: Tensor) -> Tensor:
    return torch.where(values.isfinite(), values, torch.nan)
