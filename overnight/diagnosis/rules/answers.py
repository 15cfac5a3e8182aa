"""Answers that were cut off, and answers that say nothing."""

import math
from typing import NamedTuple

from overnight.diagnosis.evidence import Answers, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Fact, Finding, Ineffective, Look, Remedy, Severity
from overnight.diagnosis.rules.common import NO_DRAWS, blind, look, percent, rounded_up, with_draws

TRUNCATED_SHARE = 0.10  # spec B4.1 and B4.2: finish_reason=length on more than a tenth of the answers
WANTED_SHARE = 0.05  # ours: half of it
ARMS_APART = 0.10  # ours: from here on the comparison is of lengths as much as of prompts
EMPTY_SHARE = 0.02  # ours: an instruct model says something; one in fifty is no accident
_ROUND_LIMIT_TO = 16
_FURTHEST = 4  # times the old limit: what was seen says nothing of what lies further out


class Suggestion(NamedTuple):
    """A limit for the length of answers, in tokens."""

    limit: int
    is_enough: bool  # False: the share that is wanted lies further out than can be said


def suggest_limit(answers: Answers, limit: int, wanted: float = WANTED_SHARE) -> Suggestion:
    """Return the limit at which the wanted share of the answers would be cut off.

    Lengths are known up to the limit only. Beyond it every further token is taken to be the last one as often as
    tokens of the upper half were: h = answers that ended there / tokens written there, the maximum-likelihood
    estimate of a constant hazard under censoring (Kalbfleisch and Prentice, The Statistical Analysis of Failure
    Time Data, 2nd ed., section 3.3, in discrete time). With a share c cut off now, c (1 - h)^m = wanted gives m
    further tokens.

    Args:
        answers: how long the answers were.
        limit: at which they were cut off, in tokens.
        wanted: share that may be cut off.
    """
    half = limit // 2
    ended = sum(n for length, n in answers.ended.items() if half < length <= limit)
    written = answers.n_cut * (limit - half) + sum(
        n * (length - half) for length, n in answers.ended.items() if half < length <= limit
    )
    furthest = _FURTHEST * limit
    if not ended:
        return Suggestion(furthest, is_enough=False)
    share, hazard = answers.n_cut / answers.n, ended / written
    further = 1.0 if hazard >= 1 else math.log(wanted / share) / math.log1p(-hazard)
    needed = rounded_up(limit + further, _ROUND_LIMIT_TO)
    return Suggestion(min(needed, furthest), is_enough=needed <= furthest)


def truncated(run: RunEvidence) -> Look:
    """Say where more than a tenth of the answers were cut off, and which limit would hold them."""
    trials = with_draws(run)
    n = sum(draws.n_done for _, draws in trials)
    if not n:
        return blind("truncated", "no draw has an answer")
    n_cut = sum(answers.n_cut for _, draws in trials for answers in draws.answers.values())
    findings = [_truncated(trial, kind, n) for trial, _ in trials for kind in trial.token_limits]
    return look("truncated", f"{percent(n_cut / n)} of {n:,} answers were cut off at their limit", findings)


def _truncated(trial: TrialEvidence, kind: str, n_all: int) -> Finding | None:
    assert trial.draws is not None  # noqa: S101 - narrows a type
    arms = {arm: answers for arm, answers in trial.draws.answers.items() if arm.item_type == kind}
    together = Answers()
    for answers in arms.values():
        together = together.plus(answers)
    if not together.n or together.n_cut / together.n <= TRUNCATED_SHARE:
        return None
    limit, key = trial.token_limits[kind], trial.limit_keys.get(kind, f"max_new_tokens.{kind}")
    shares = {arm: answers.n_cut / answers.n for arm, answers in arms.items() if answers.n}
    is_uneven = max(shares.values()) - min(shares.values()) > ARMS_APART
    share = together.n_cut / together.n
    uneven = "; the arms differ in it, which alone makes one score lower" if is_uneven else ""
    return Finding(
        name="truncated",
        severity=Severity.PROBLEM if is_uneven else Severity.WARNING,
        score=together.n_cut / n_all,
        what=f"{percent(share)} of the {kind} answers were cut off at {limit} tokens{uneven}",
        where=(trial.slug,),
        evidence=(
            Fact("answers cut off", together.n_cut, f"of {together.n}"),
            *(
                Fact(f"cut off in {arm.condition} at temperature {arm.temperature}", round(100 * cut, 1), "%")
                for arm, cut in shares.items()
            ),
        ),
        remedies=_longer(trial, key, limit, together),
        ineffective=_not_the_context(trial),
    )


def _longer(trial: TrialEvidence, key: str, limit: int, answers: Answers) -> tuple[Remedy, ...]:
    suggestion = suggest_limit(answers, limit)
    reach = (
        f"by the lengths that were seen at most about {percent(WANTED_SHARE)} would still be cut off"
        if suggestion.is_enough
        else f"more than {percent(WANTED_SHARE)} may still be cut off: too few answers ended by themselves to say"
    )
    remedies = [Remedy(f"{reach}; a new run, since it changes answers", key, limit, suggestion.limit)]
    prompt = trial.draws.longest_prompt if trial.draws else None
    trained = trial.trained_context_tokens
    if prompt is not None and trained is not None and prompt + suggestion.limit > trained:
        remedies.append(
            Remedy(
                f"the longest prompt has {prompt} tokens: with such answers it does not fit into the {trained} that "
                "the model was made for; shorten the passages too"
            )
        )
    remedies.append(Remedy("or ask for shorter answers in the system prompt, in both arms"))
    return tuple(remedies)


def _not_the_context(trial: TrialEvidence) -> tuple[Ineffective, ...]:
    longest = trial.draws.longest_request if trial.draws else None
    context = trial.context_tokens
    if longest is None or context is None or longest > context:
        return ()
    return (
        Ineffective(
            "a larger execution.engine.context_tokens",
            f"the longest prompt and answer had {longest} tokens, the context holds {context}: "
            "the limit of the answer ended it, not the context",
        ),
    )


def empty_answers(run: RunEvidence) -> Look:
    """Say where answers without a visible character are too many."""
    trials = with_draws(run)
    n = sum(draws.n_done for _, draws in trials)
    if not n:
        return blind("empty answers", "no draw has an answer" if trials else NO_DRAWS)
    n_empty = sum(draws.n_empty for _, draws in trials)
    return look("empty answers", f"{n_empty:,} of {n:,} answers are empty", [_empty(t, n) for t, _ in trials])


def _empty(trial: TrialEvidence, n_all: int) -> Finding | None:
    draws = trial.draws
    assert draws is not None  # noqa: S101 - narrows a type
    if not draws.n_done or draws.n_empty / draws.n_done <= EMPTY_SHARE:
        return None
    remedies = [
        Remedy("read some of them: `overnight report RUN` shows them; is it a chat model, with a template?")
    ]
    if trial.stop:
        remedies.insert(
            0,
            Remedy(
                "a stop string that the answer begins with ends it at once",
                "experiment.sampling.stop",
                list(trial.stop),
                [],
            ),
        )
    return Finding(
        name="empty answers",
        severity=Severity.WARNING,
        score=draws.n_empty / n_all,
        what=f"{percent(draws.n_empty / draws.n_done)} of the answers are empty; they count as wrong",
        where=(trial.slug,),
        evidence=(Fact("empty answers", draws.n_empty, f"of {draws.n_done}"),),
        remedies=tuple(remedies),
    )
