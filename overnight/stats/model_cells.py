"""Cells of a grid of models and data sets, and which two of them differ in one thing only."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from overnight.stats.scored_items import ScoredItems

SAME_SIZE_WITHIN = 1.25  # 7.2, 7.6 and 8.0 billion parameters are one size, 1.2 and 1.5 as well


class Factor(StrEnum):
    """What two cells may differ in."""

    FAMILY = "family"
    SIZE = "size"
    DATASET = "dataset"
    INSTRUCT = "instruct"
    QUANTIZATION = "quantization"


_IN_WORDS = {
    Factor.FAMILY: "family",
    Factor.SIZE: "size",
    Factor.DATASET: "data set",
    Factor.INSTRUCT: "instruction tuning",
    Factor.QUANTIZATION: "quantization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is stated about a model; nothing of it is ever read from a name."""

    name: str
    family: str  # as narrow as wanted: two generations of one name are better two families
    parameters: float  # their number, > 0
    is_instruct: bool
    quantization: str  # "none" where the weights are as they were trained
    bits_per_weight: float

    def __post_init__(self) -> None:
        if not (self.parameters > 0 and self.bits_per_weight > 0):
            raise ValueError(f"{self.name}: parameters and bits per weight must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """One measure and one label of one model on one data set; item keys are those of the data set."""

    model: ModelFacts
    dataset: str
    measure: str
    label: str
    items: ScoredItems

    @property
    def name(self) -> str:
        """Name of the model and of the data set."""
        return f"{self.model.name} on {self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Match:
    """Two cells that differ in one factor; see `matches` for which comes first."""

    factor: Factor
    levels: tuple[str, str]
    first: Cell
    second: Cell


def differing(first: Cell, second: Cell, same_size_within: float = SAME_SIZE_WITHIN) -> frozenset[Factor]:
    """Return what two cells differ in; sizes are one where neither is over ``same_size_within`` x the other."""
    a, b = first.model, second.model
    ratio = max(a.parameters, b.parameters) / min(a.parameters, b.parameters)
    differs = {
        Factor.FAMILY: a.family != b.family,
        Factor.SIZE: ratio > same_size_within,
        Factor.DATASET: first.dataset != second.dataset,
        Factor.INSTRUCT: a.is_instruct != b.is_instruct,
        Factor.QUANTIZATION: a.quantization != b.quantization,
    }
    return frozenset(factor for factor, is_other in differs.items() if is_other)


def matches(cells: Sequence[Cell], same_size_within: float = SAME_SIZE_WITHIN) -> list[Match]:
    """Return every two cells of one measure and label that differ in exactly one factor.

    First come the smaller model, the base model, the higher number of bits, and else the name that sorts first:
    a difference second - first is what size, instruction or quantization *does*. A data set differs only for
    one and the same model.
    """
    found = []
    for one, other in combinations(cells, 2):
        if (one.measure, one.label) != (other.measure, other.label):
            continue
        factors = differing(one, other, same_size_within)
        if len(factors) != 1:
            continue
        (factor,) = factors
        if factor == Factor.DATASET and one.model != other.model:
            continue
        first, second = sorted((one, other), key=lambda cell: place(factor, cell))
        found.append(Match(factor=factor, levels=_levels(factor, first, second), first=first, second=second))
    return found


def why_unmatched(factor: Factor, cells: Sequence[Cell], same_size_within: float = SAME_SIZE_WITHIN) -> str:
    """Return a sentence on what stands between the cells and a matched pair in this factor."""
    others = Counter(
        ", ".join(sorted(_IN_WORDS[other] for other in factors - {factor}))
        for one, other in combinations(cells, 2)
        if (one.measure, one.label) == (other.measure, other.label)
        and len(factors := differing(one, other, same_size_within)) > 1
        and factor in factors
    )
    if not others:
        return f"all cells are alike in {_IN_WORDS[factor]}"
    name, n_pairs = min(others.items(), key=lambda item: (item[0].count(","), -item[1], item[0]))
    return f"no two cells differ in {_IN_WORDS[factor]} alone; {n_pairs} pairs differ in {name} too"


def level(factor: Factor, cell: Cell) -> str:
    """Return the level of a cell in a factor, for a table."""
    model = cell.model
    match factor:
        case Factor.FAMILY:
            return model.family
        case Factor.SIZE:
            return f"{model.parameters:g}"
        case Factor.DATASET:
            return cell.dataset
        case Factor.INSTRUCT:
            return "instruct" if model.is_instruct else "base"
        case Factor.QUANTIZATION:
            return model.quantization


def _levels(factor: Factor, first: Cell, second: Cell) -> tuple[str, str]:
    # Sizes are pooled over all pairs of sizes: what is asked is whether larger is better.
    if factor == Factor.SIZE:
        return "smaller", "larger"
    return level(factor, first), level(factor, second)


def place(factor: Factor, cell: Cell) -> tuple[float, str]:
    """Return what levels of a factor are sorted by: see `matches`."""
    model = cell.model
    order = {
        Factor.SIZE: model.parameters,
        Factor.INSTRUCT: float(model.is_instruct),
        Factor.QUANTIZATION: -model.bits_per_weight,
    }
    return order.get(factor, 0.0), level(factor, cell)
