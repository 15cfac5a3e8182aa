"""Measures, labels, models and numbers in words: the same ones in the tables, the summary and the figures."""

from collections.abc import Sequence
from typing import Final

from overnight.report.wording import MINUS, probability
from overnight.stats.model_cells import Factor, ModelFacts
from overnight.uncertainty.labels import LABELS
from overnight.uncertainty.measures import MEASURES

QUESTIONS: Final = {
    Factor.SIZE: "Do larger models know better when they are wrong?",
    Factor.FAMILY: "Does the family matter?",
    Factor.DATASET: "Does the data set matter?",
    Factor.INSTRUCT: "Does instruction tuning matter?",
    Factor.QUANTIZATION: "Does quantization matter?",
}
_THOUSAND, _MILLION, _BILLION = 1e3, 1e6, 1e9


def measure_title(name: str) -> str:
    """Return what a measure is called."""
    return MEASURES[name].title.replace(" - ", f" {MINUS} ") if name in MEASURES else name.replace("_", " ")


def label_title(name: str) -> str:
    """Return what a label is called."""
    # The threshold stays on one line.
    return (
        LABELS[name].title.replace(" >= ", "\u00a0\u2265\u00a0") if name in LABELS else name.replace("_", " ")
    )


def dataset_title(name: str) -> str:
    """Return what a data set is called: its name as it may be broken into lines."""
    return name.replace("_", " ")


def parameters(number: float) -> str:
    """Return a number of parameters: ``135 M``, ``1.5 B``."""
    for unit, sign in ((_BILLION, "B"), (_MILLION, "M"), (_THOUSAND, "K")):
        if number >= unit:
            return f"{number / unit:.3g} {sign}"
    return f"{number:g}"


def model_facts(model: ModelFacts) -> str:
    """Return what a model is: ``SmolLM2, 135 M, instruct, int8``; a quantization only where there is one."""
    facts = [model.family, parameters(model.parameters), "instruct" if model.is_instruct else "base"]
    return ", ".join([*facts, *([model.quantization] if model.quantization != "none" else [])])


def level_title(factor: Factor | str, level: str) -> str:
    """Return what a level of a factor is called."""
    if factor == Factor.SIZE and level not in {"smaller", "larger"}:
        return parameters(float(level))
    if factor == Factor.QUANTIZATION and level == "none":
        return "not quantized"
    return dataset_title(level) if factor == Factor.DATASET else level


def area(value: float | None, decimals: int = 2) -> str:
    """Return a number in [0, 1], or nothing where there is none."""
    return "" if value is None else f"{value:.{decimals}f}"


def area_interval(low: float | None, high: float | None) -> str:
    """Return bounds: ``0.61 to 0.72``, or nothing where there are none."""
    return "" if low is None or high is None else f"{area(low)} to {area(high)}"


def difference(value: float | None) -> str:
    """Return a difference of areas with its sign, or nothing where there is none."""
    if value is None:
        return ""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", MINUS)


def difference_interval(low: float | None, high: float | None) -> str:
    """Return the bounds of a difference, or nothing where there are none."""
    return "" if low is None or high is None else f"{difference(low)} to {difference(high)}"


def q(value: float | None) -> str:
    """Return an adjusted p-value: ``q 0.012``, ``q < 0.001``; nothing where there is none."""
    if value is None:
        return ""
    return "q < 0.001" if value < 1 / _THOUSAND else f"q {probability(value)}"


def listed(names: Sequence[str]) -> str:
    """Return names in a row: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
