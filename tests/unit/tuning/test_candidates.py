import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.tuning.candidates import Candidate, Cores, candidates

FOUR = Cores(physical=4, logical=8)


def tried(
    engine: EngineKind, needed: int = 512, longest: int = 32768, *, has_gpu: bool = False, cores: Cores = FOUR
) -> tuple[Candidate, ...]:
    return candidates(engine, needed_tokens=needed, longest_tokens=longest, cores=cores, has_gpu=has_gpu)


@given(
    engine=st.sampled_from([EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS, EngineKind.OLLAMA]),
    physical=st.integers(1, 128),
    threads_per_core=st.integers(1, 2),
    has_gpu=st.booleans(),
)
def test_there_are_three_to_eight_candidates_all_different_and_all_valid(
    engine: EngineKind, physical: int, threads_per_core: int, has_gpu: bool
) -> None:
    # Fewer say nothing, more take a night of their own.
    cores = Cores(physical=physical, logical=physical * threads_per_core)
    found = tried(engine, has_gpu=has_gpu, cores=cores)
    assert 3 <= len(found) <= 8
    assert len({tuple(sorted(one.settings.items())) for one in found}) == len(found)
    assert len({one.label for one in found}) == len(found)
    for one in found:
        one.carried_out(Execution())


def test_the_first_candidate_of_an_engine_is_held_like_its_default() -> None:
    # What is measured first is there even where the time is short: the default must be.
    for engine in (EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS):
        first = tried(engine)[0].carried_out(Execution())
        assert first.requests_at_once(engine) == Execution().requests_at_once(engine)
        assert first.engine.transformers.batch_tokens is None
        assert first.engine.batch_invariant is None


def test_without_a_gpu_the_price_of_batch_invariance_is_measured_and_never_traded_for_speed() -> None:
    # Its answers would depend on what else is asked; nobody who tunes for speed asked for that.
    *others, last = tried(EngineKind.LLAMA_CPP)
    assert last.settings["engine.batch_invariant"] is False
    assert last.gives_up is not None
    assert all(one.gives_up is None for one in others)
    with_gpu = tried(EngineKind.LLAMA_CPP, has_gpu=True)[-1]
    assert with_gpu.settings["engine.batch_invariant"] is True
    assert with_gpu.gives_up is None


def test_all_hyper_threads_are_tried_only_where_there_are_more_than_cores_and_no_gpu() -> None:
    def threads(found: tuple[Candidate, ...]) -> set[int]:
        return {one.settings["engine.threads"] for one in found}

    assert threads(tried(EngineKind.LLAMA_CPP)) == {4, 8}
    assert threads(tried(EngineKind.LLAMA_CPP, cores=Cores(physical=4, logical=4))) == {4}
    assert threads(tried(EngineKind.LLAMA_CPP, has_gpu=True)) == {4}


def test_of_an_ollama_server_contexts_are_tried_that_hold_the_prompts_and_that_the_model_knows() -> None:
    found = tried(EngineKind.OLLAMA, needed=2048, longest=4096)
    assert [one.context_tokens for one in found] == [2048, 4096]


def test_somebody_elses_server_has_nothing_to_tune() -> None:
    with pytest.raises(UsageError, match="max_concurrent_requests"):
        tried(EngineKind.OPENAI_COMPATIBLE)
