from dataclasses import replace
from typing import Any

import pytest

from overnight.diagnosis.evidence import Draws, RunEvidence, TrialEvidence
from overnight.diagnosis.rules.prefixes import prefix_cache
from overnight.diagnosis.rules.speed import slow
from overnight.spec.model import EngineKind


def run_with(
    draws: Draws,
    *,
    seconds: float = 100.0,
    predicted: float | None = None,
    high: float | None = None,
    **execution: object,
) -> RunEvidence:
    trial = TrialEvidence(
        slug="t",
        model="m",
        slots=4,
        inference_s=seconds,
        predicted_s=predicted,
        predicted_high_s=high,
        draws=draws,
    )
    return RunEvidence(run_id="r", cores=8, execution=execution, trials=(trial,))


def test_a_trial_is_slow_where_it_took_longer_than_the_interval_of_its_prediction() -> None:
    # The interval is of what this machine measured before; within it nights differ by chance.
    draws = Draws(n_done=10, n_sent=20, completion_tokens=5000)
    assert slow(run_with(draws, predicted=60, high=110)).findings == ()
    (finding,) = slow(run_with(draws, predicted=60, high=90)).findings
    assert finding.score == 0.4  # 40 of 100 s are lost


def test_fewer_than_five_tokens_a_second_are_slow() -> None:
    assert slow(run_with(Draws(n_sent=20, completion_tokens=500))).findings == ()
    assert len(slow(run_with(Draws(n_sent=20, completion_tokens=499))).findings) == 1


def test_tokens_are_counted_over_the_time_that_went_to_writing() -> None:
    # 300 tokens in 100 s are 3 a second; but three quarters of the engine's time went to reading prompts, and in
    # the 25 s that are left 12 a second were written.
    draws = Draws(n_sent=20, completion_tokens=300, prefill_s=150.0, decode_s=50.0)
    look = slow(run_with(draws))
    assert look.findings == ()
    assert look.saw is not None
    assert look.saw.startswith("12.0 tokens/s")


def test_long_prompts_and_slow_writing_have_different_remedies() -> None:
    reading = Draws(n_sent=20, completion_tokens=100, prefill_s=90.0, decode_s=10.0)
    writing = Draws(n_sent=20, completion_tokens=100, prefill_s=10.0, decode_s=90.0)
    (read,) = slow(run_with(reading, predicted=10, high=20)).findings
    (written,) = slow(run_with(writing, predicted=10, high=20)).findings
    assert "reading prompts takes 90.0 %" in read.what
    assert "writing answers takes 90.0 %" in written.what
    assert [r.setting for r in read.remedies] == [None, None]
    assert (written.remedies[0].setting, written.remedies[0].new) == ("execution.max_concurrent_requests", 8)


def test_what_the_seeds_of_this_project_recommended_is_said_to_do_nothing() -> None:
    # Sampling is less than 1 % of a step, and a temperature above 0 takes determinism away.
    (finding,) = slow(run_with(Draws(n_sent=20, completion_tokens=1))).findings
    assert [each.what for each in finding.ineffective] == [
        "a lower top_k",
        "a temperature above 0",
        "a lower top_p",
    ]


def test_threads_that_are_not_the_cores_are_put_right_first() -> None:
    (finding,) = slow(run_with(Draws(n_sent=20, completion_tokens=1), engine={"threads": 16})).findings
    remedy = finding.remedies[0]
    assert (remedy.setting, remedy.old, remedy.new) == ("execution.engine.threads", 16, 8)


def test_a_trial_of_cached_answers_has_no_speed() -> None:
    assert slow(run_with(Draws(n_done=10))).not_looked_because is not None


def shared(could: int, hit: int) -> RunEvidence:
    draws = Draws(n_sent=20, prompt_tokens=100, cached_tokens=hit)
    trial = TrialEvidence(
        slug="t", model="m", slots=4, draws=draws, prompt_bytes=100, shared_prompt_bytes=could
    )
    return RunEvidence(run_id="r", trials=(trial,))


def test_a_prefix_cache_is_missed_where_less_than_half_of_what_is_shared_was_found() -> None:
    assert prefix_cache(shared(60, 30)).findings == ()
    (finding,) = prefix_cache(shared(60, 29)).findings
    assert finding.score == 0.6 - 0.29


def test_prompts_that_share_little_need_no_prefix_cache() -> None:
    assert prefix_cache(shared(19, 0)).findings == ()


def test_an_engine_that_does_not_count_cached_tokens_is_not_judged() -> None:
    draws = Draws(n_sent=20)
    run = RunEvidence(run_id="r", trials=(TrialEvidence(slug="t", model="m", draws=draws, prompt_bytes=100),))
    assert prefix_cache(run).not_looked_because is not None


def test_a_handful_of_requests_is_not_judged_by_its_speed() -> None:
    # The first prompt of every slot is evaluated whole, and nothing was warm.
    few = Draws(n_sent=19, completion_tokens=1, prompt_tokens=100, cached_tokens=0)
    trial = TrialEvidence(
        slug="t", model="m", draws=few, inference_s=100.0, prompt_bytes=100, shared_prompt_bytes=90
    )
    run = RunEvidence(run_id="r", trials=(trial,))
    assert slow(run).not_looked_because is not None
    assert prefix_cache(run).not_looked_because is not None


@pytest.mark.parametrize(
    ("engine", "settings", "setting"),
    [
        (EngineKind.TRANSFORMERS, {"batch_invariant": True}, "execution.engine.batch_invariant"),
        (EngineKind.TRANSFORMERS, {}, None),
        (EngineKind.LLAMA_CPP, {"memory_limit_gib": 2.0}, "execution.engine.memory_limit_gib"),
        (EngineKind.OLLAMA, {}, None),
    ],
)
def test_a_missed_prefix_is_put_right_where_its_engine_keeps_them(
    engine: EngineKind, settings: dict[str, Any], setting: str | None
) -> None:
    # Only a server has settings of its own; transformers shares within a batch, unless it may not.
    run = shared(60, 0)
    trial = replace(run.trials[0], engine=engine, slots=1)
    (finding,) = prefix_cache(replace(run, trials=(trial,), execution={"engine": settings})).findings
    assert finding.remedies[-1].setting == setting
    assert ("server" in finding.remedies[-1].text) is (engine is EngineKind.OLLAMA)
