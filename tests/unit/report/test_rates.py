"""Rates are of what was generated: an answer from the request cache took no time here."""

import dataclasses

from overnight.report.reading import read_run
from overnight.store.manifest import TrialCounts


def test_rates_do_not_count_cached_answers(make_run, trial, questions, better_replies) -> None:
    [read] = read_run(make_run([trial("brief", better_replies)], questions)).trials

    def with_counts(inference_s: float | None, **counts: int) -> tuple[float | None, float | None]:
        changed = dataclasses.replace(
            read, counts=TrialCounts(expected=10, **counts), inference_s=inference_s
        )
        return changed.answers_per_minute, changed.tokens_per_second

    assert with_counts(2.0, done=10, cache_hits=4, sent=6, generated_tokens=60) == (180.0, 30.0)
    assert with_counts(2.0, done=10, cache_hits=0, sent=10, generated_tokens=100) == (300.0, 50.0)
    assert with_counts(None, done=10, cache_hits=10) == (None, None)
    # A trial of which every request failed, beside hits: there is no rate, and it is not 0.
    assert with_counts(2.0, done=4, cache_hits=4, sent=6, errors=6) == (None, None)


def test_a_manifest_from_before_the_cache_has_the_rates_it_had(
    make_run, trial, questions, better_replies
) -> None:
    [read] = read_run(make_run([trial("brief", better_replies)], questions)).trials
    assert read.counts == TrialCounts(expected=read.counts.expected, done=read.counts.done)
    assert read.answers_per_minute == 60 * read.counts.done / read.inference_s
    assert read.tokens_per_second == read.costs.total.completion_tokens / read.inference_s
