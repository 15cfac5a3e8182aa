"""The results file of a trial, put together from what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.estimating import definition_records
from overnight.best_of_k.frontier import DrawCosts, frontier
from overnight.best_of_k.record import (
    BaselineCurve,
    Costs,
    KSweepResults,
    OldNames,
    Point,
    RoleCurve,
    SelectorCurve,
    Summary,
    VectorCounts,
)
from overnight.best_of_k.words import WORDS
from overnight.ids import number_label

_FEW_SOURCES = 30  # from which on an interval from resamples is no more than rough


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What became of the vectors of a trial."""

    n_wanted: int
    n_drawn: int
    n_measured: int
    n_sources: int  # of the measured ones
    n_left_out: int  # texts that have no vector
    n_draws: int  # a vector
    n_failed_draws: int
    n_dimensions: int | None
    every_k: tuple[int, ...]  # that were asked for
    ks: tuple[int, ...]  # that are measured

    @property
    def why_nothing(self) -> str | None:
        """Why no number of draws is measured; None where one is."""
        if self.ks:
            return None
        if not self.n_wanted:
            return "there is no vector"
        if not self.n_drawn:
            return "no vector has its draws yet"
        return f"of most of {self.n_drawn} vectors fewer than {min(self.every_k)} draws succeeded"

    @property
    def state(self) -> Literal["complete", "partial", "empty"]:
        """Whether all vectors and all draws are there."""
        if not self.ks:
            return "empty"
        is_all = self.n_measured == self.n_wanted and self.ks == self.every_k
        return "complete" if is_all and not self.n_failed_draws else "partial"


def results_of(
    counted: Counted,
    spent: DrawCosts,
    requested: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    oracle: SelectorCurve,
    old: Sequence[OldNames],
    selectors: Sequence[SelectorCurve],
    baselines: Sequence[BaselineCurve],
    roles: Sequence[RoleCurve],
    why_no_roles: str | None,
    n_halvings: int = 0,
) -> KSweepResults:
    """Return the results file of a trial.

    Args:
        counted: its vectors.
        spent: on its draws.
        requested: what the trial is.
        settings: of the statistics.
        oracle: what the best draw recovers.
        old: the same by older names, for every K that is measured.
        selectors: the ones that need no vector.
        baselines: reconstructions that know nothing of the vector.
        roles: the oracle by role.
        why_no_roles: None where there are some.
        n_halvings: of batches that did not fit.
    """
    label = label_of(requested)
    measured = {each.k: each for each in old}
    return KSweepResults(
        lens=requested.get("lens"),
        model=requested.get("model"),
        label=label,
        eval_config={**requested, "k_values": list(counted.every_k), "statistics": dict(settings)},
        vectors=VectorCounts(
            n_wanted=counted.n_wanted,
            n_drawn=counted.n_drawn,
            n_measured=counted.n_measured,
            n_sources=counted.n_sources,
            n_short=counted.n_drawn - counted.n_measured,
            n_left_out=counted.n_left_out,
            n_draws=counted.n_draws,
            n_failed_draws=counted.n_failed_draws,
            n_dimensions=counted.n_dimensions,
        ),
        state=counted.state,
        notes=tuple(_notes(counted)),
        results_by_k=tuple(measured.get(k) or _unmeasured(k, counted) for k in counted.every_k),
        summary=Summary(
            k_values=counted.every_k,
            mse_values=tuple(oracle.value(k, Measure.MSE) for k in counted.every_k),
            variance_recovery_values=tuple(oracle.value(k, Measure.FVE) for k in counted.every_k),
            bias_aware_fve_values=tuple(oracle.value(k, Measure.BIAS_AWARE_FVE) for k in counted.every_k),
            r_squared_values=tuple(oracle.value(k, Measure.R_SQUARED_GRAND) for k in counted.every_k),
        ),
        oracle=oracle,
        selectors=tuple(selectors),
        baselines=tuple(baselines),
        by_role=tuple(roles),
        costs=_costs(spent, n_halvings),
        frontier=frontier_points({label: (spent, oracle)}),
        definitions=definition_records(),
        words=dict(WORDS),
        undefined_because=_reasons(counted, spent, why_no_roles),
    )


def frontier_points(curves: Mapping[str, tuple[DrawCosts, SelectorCurve]]) -> tuple[Point, ...]:
    """Return what every K of every label costs and recovers (bias-aware FVE); a label without a price has no point."""
    priced = {
        label: (spent, {each.k: curve.value(each.k, Measure.BIAS_AWARE_FVE) for each in curve.by_k})
        for label, (spent, curve) in curves.items()
        if spent.n_usable and curve.by_k
    }
    return tuple(Point(**asdict(point)) for point in frontier(priced))


def label_of(requested: Mapping[str, Any]) -> str:
    """Return a trial in a few words: its lens and its temperature."""
    lens, temperature = requested.get("lens") or "lens", requested.get("temperature")
    return f"{lens}" if temperature is None else f"{lens}, T {number_label(temperature)}"


def _unmeasured(k: int, counted: Counted) -> OldNames:
    nothing = dict.fromkeys(OldNames.model_fields)
    return OldNames.model_validate(
        nothing | {"k": k, "total_positions": 0, "undefined_because": _why_not(k, counted)}
    )


def _why_not(k: int, counted: Counted) -> str:
    return counted.why_nothing or (
        f"of most of {counted.n_drawn} vectors fewer than {k} draws succeeded"
        if k <= counted.n_draws
        else f"{counted.n_draws} draws were made of a vector"
    )


def _costs(spent: DrawCosts, n_halvings: int) -> Costs:
    is_timed = spent.n_draws > 0 and spent.n_timed == spent.n_draws
    return Costs(
        n_draws=spent.n_draws,
        n_tokens=spent.n_tokens,
        seconds=spent.seconds if is_timed else None,
        tokens_per_draw=spent.tokens_per_usable_draw if spent.n_usable else None,
        seconds_per_draw=spent.seconds_per_usable_draw,
        n_halvings=n_halvings,
    )


def _notes(counted: Counted) -> list[str]:
    notes = []
    if counted.why_nothing:
        notes.append(f"Nothing is measured: {counted.why_nothing}.")
    missing = counted.n_wanted - counted.n_drawn
    if missing and counted.n_drawn:
        notes.append(
            f"{missing:,} of {counted.n_wanted:,} vectors have no draws, as the trial did not come to its end: all "
            "numbers are of the others, which are the first ones and no random sample."
        )
    if counted.n_failed_draws:
        short = counted.n_drawn - counted.n_measured
        notes.append(
            f"{counted.n_failed_draws:,} draws failed"
            + (f"; {short:,} vectors have too few left and are not measured." if short else ".")
        )
    dropped = [k for k in counted.every_k if k not in counted.ks] if counted.ks else []
    if dropped:
        named = ", ".join(map(str, dropped))
        notes.append(f"K = {named} is not measured: most vectors have fewer draws that succeeded.")
    if counted.ks and counted.n_sources < _FEW_SOURCES:
        notes.append(
            f"The vectors are from {counted.n_sources} texts: intervals from so few are rough, and rather too narrow."
        )
    return notes


def _reasons(counted: Counted, spent: DrawCosts, why_no_roles: str | None) -> dict[str, str]:
    found = {f"results_by_k.{k}": _why_not(k, counted) for k in counted.every_k if k not in counted.ks}
    if why_no_roles:
        found["by_role"] = why_no_roles
    if spent.n_timed < spent.n_draws:
        found["costs.seconds"] = "a chunk was not timed"
    if not spent.n_usable:
        found["frontier"] = "no draw succeeded, so draws have no price"
    return found
