"""The sums of every selector and baseline of a trial, each put together by itself and held no longer than needed."""

from typing import Any

import numpy as np

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.estimating import Numbers, Resampling, at_each_k, old_names
from overnight.best_of_k.record import BaselineCurve, OldNames, RoleCurve, SelectorCurve
from overnight.best_of_k.resampling import enough_vectors
from overnight.best_of_k.selectors import Selector
from overnight.best_of_k.sums import RecoverySums, RecoveryTally, merge
from overnight.errors import UndefinedMetricError
from overnight.runs.draw_choices import Choose, by_baseline, by_selector
from overnight.runs.scored_draws import ScoredDraws
from overnight.stats.pairs import FloatArray

_BLIND = tuple(each for each in Selector if not each.sees_target)
_NO_ROLE = ""


class RecoveryCurves:
    """What is said of the oracle, of the selectors that need no vector, of the baselines and of roles."""

    def __init__(self, scored: ScoredDraws, how: Resampling, *, is_by_role: bool) -> None:
        self._scored = scored
        self._how = how
        self._is_by_role = is_by_role
        self._origin = _mean(scored)
        self._best: Numbers = {}
        nothing = scored.counted.why_nothing
        self.oracle = SelectorCurve(name=Selector.ORACLE, needs_vector=True, undefined_because=nothing)
        self.old: tuple[OldNames, ...] = ()
        self.selectors: list[SelectorCurve] = []
        self.baselines: list[BaselineCurve] = []
        self.roles: list[RoleCurve] = []
        self.why_no_roles: str | None = nothing

    def measure(self) -> RecoverySums | None:
        """Go through all of them; return the sums of the oracle, None where nothing is measured.

        Raises:
            StopRequested: somebody asked for the run to stop.
            StoreError: a file cannot be read.
        """
        nothing = self._scored.counted.why_nothing
        if nothing is not None:
            self.selectors = [
                SelectorCurve(name=each, needs_vector=False, undefined_because=nothing) for each in _BLIND
            ]
            self.baselines = [BaselineCurve(name=each, undefined_because=nothing) for each in Baseline]
            return None
        best = self._measure_oracle()
        for selector in _BLIND:
            found = self._tally(by_selector(self._scored, selector, self._how.seed))
            self.selectors.append(SelectorCurve(name=selector, needs_vector=False, **found))
        for baseline in Baseline:
            try:
                found = self._tally(by_baseline(self._scored, baseline, best, self._how.seed))
            except UndefinedMetricError as error:
                found = {"undefined_because": str(error)}
            self.baselines.append(BaselineCurve(name=baseline, **found))
        return best

    def _measure_oracle(self) -> RecoverySums:
        scored = self._scored
        choose = by_selector(scored, Selector.ORACLE, self._how.seed)
        tallies: dict[str, RecoveryTally] = {}
        for place, x in scored.each(scored.places):
            vector = scored.vectors.vectors[place]
            role = (vector.role or _NO_ROLE) if self._is_by_role else _NO_ROLE
            if role not in tallies:
                tallies[role] = self._empty()
            rows, kept = choose(place, x)
            tallies[role].add(vector.source, x, rows, kept.weights)
        of_role = {role: tallies[role].sums() for role in sorted(tallies)}
        self._add_roles(of_role)
        short = RecoveryTally(scored.ks, len(self._origin), self._origin)
        short.leave_out(scored.n_short)
        sums = merge([*of_role.values(), short.sums()])
        self._best = self._how.numbers(sums)
        by_k = at_each_k(sums, self._best, self._how)
        self.oracle = SelectorCurve(
            name=Selector.ORACLE, needs_vector=True, by_k=by_k, n_vectors=sums.n_vectors
        )
        self.old = tuple(old_names(sums, at) for at in by_k)
        return sums

    def _add_roles(self, of_role: dict[str, RecoverySums]) -> None:
        if not self._is_by_role:
            self.why_no_roles = "experiment.statistics.by_role is false"
        elif set(of_role) == {_NO_ROLE}:
            self.why_no_roles = "the texts are no conversations: no token has a role"
        else:
            enough, few = enough_vectors(of_role)
            self.roles = [
                RoleCurve(
                    role=role or "none",
                    by_k=at_each_k(sums, self._how.numbers(sums), self._how) if role in enough else (),
                    n_vectors=sums.n_vectors,
                    undefined_because=few.get(role),
                )
                for role, sums in of_role.items()
            ]

    def _tally(self, choose: Choose) -> dict[str, Any]:
        """Return the fields of a curve: what is said of its sums, or why that is nothing."""
        scored, tally = self._scored, self._empty()
        n_sets = np.zeros(len(scored.ks), dtype=np.int64)
        n_undefined, reason = 0, ""
        for place, x in scored.each(scored.places):
            try:
                rows, kept = choose(place, x)
            except UndefinedMetricError as error:
                n_undefined, reason = n_undefined + 1, reason or str(error)
                continue
            tally.add(scored.vectors.vectors[place].source, x, rows, kept.weights)
            n_sets = np.maximum(n_sets, kept.n_sets)
        if n_undefined:  # of fewer vectors than the oracle has: the two cannot be compared
            why = f"of {n_undefined} of {len(scored.places)} vectors none can be chosen: {reason}"
            return {"undefined_because": why}
        tally.leave_out(scored.n_short)
        sums = tally.sums()
        numbers = self._how.numbers(sums)
        by_k = at_each_k(sums, numbers, self._how, oracle=self._best, n_sets=n_sets.tolist())
        return {"by_k": by_k, "n_vectors": sums.n_vectors}

    def _empty(self) -> RecoveryTally:
        n_sources = self._scored.counted.n_sources
        return RecoveryTally(self._scored.ks, len(self._origin), self._origin, n_sources=n_sources)


def _mean(scored: ScoredDraws) -> FloatArray:
    """Return the mean ``[D]`` of the vectors, from which they are counted: their spread keeps its digits."""
    total = np.zeros(scored.counted.n_dimensions or 1)
    for _, x in scored.each(scored.places):
        total += x
    return np.asarray(total / max(len(scored.places), 1))
