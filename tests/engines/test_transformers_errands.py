"""What is done with a model between two batches of completions; with a decoder that only counts."""

import threading

import pytest

torch = pytest.importorskip("torch")

from overnight.engines.transformers.decoding import Answer, Job  # noqa: E402
from overnight.engines.transformers.sampling import Sampling  # noqa: E402
from overnight.engines.transformers.scheduling import Scheduler  # noqa: E402
from overnight.errors import OutOfMemory, UsageError  # noqa: E402

JOB = Job(prompt=(1, 2), sampling=Sampling(0.0, 1.0, 0), seed=1, max_new_tokens=1)
ANSWER = Answer(
    text="a",
    finish_reason="stop",
    ids=(3,),
    token_logprobs=(-0.5,),
    cached_tokens=0,
    prefill_s=0.0,
    decode_s=0.0,
)


class CountingDecoder:
    def __init__(self, done) -> None:
        self.done = done
        self.n_forgotten = 0

    def run(self, jobs, on_answer, is_wanted) -> None:
        self.done.append("batch")
        for place in range(len(jobs)):
            on_answer(place, ANSWER)

    def forget(self) -> None:
        self.n_forgotten += 1


@pytest.fixture
def done():
    return []


@pytest.fixture
def scheduler(done):
    return Scheduler(CountingDecoder(done), torch.device("cpu"), budget=100)


def _start(scheduler) -> None:
    threading.Thread(target=scheduler.run_forever, daemon=True).start()


def test_batches_and_errands_take_turns_in_one_thread(scheduler, done) -> None:
    threads = []

    def do(_):
        threads.append(threading.current_thread())
        done.append("errand")
        return 7

    errands = [scheduler.send(do) for _ in range(3)]
    waiting = scheduler.submit(JOB)
    _start(scheduler)
    assert [errand.result.result(timeout=30) for errand in errands] == [7, 7, 7]
    assert waiting.answer.result(timeout=30) == ANSWER
    assert done == ["batch", "errand", "errand", "errand"]  # a completion does not wait for all of them
    assert len(set(threads)) == 1
    assert scheduler.send(do).result.result(timeout=30) == 7  # with nothing else to do


def test_an_errand_that_nobody_waits_for_is_not_done(scheduler, done) -> None:
    left = scheduler.send(lambda _: done.append("left"))
    left.is_wanted = False
    seen = []
    asked = scheduler.send(lambda is_wanted: seen.append(is_wanted()))
    _start(scheduler)
    asked.result.result(timeout=30)
    assert seen == [True]
    assert done == []


def test_what_goes_wrong_in_an_errand_is_its_own_and_the_next_one_is_done(scheduler) -> None:
    def refuse(_):
        raise UsageError("no such point")

    def exhaust(_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nand more")

    refused, exhausted, fine = (scheduler.send(do) for do in (refuse, exhaust, lambda _: 1))
    _start(scheduler)
    with pytest.raises(UsageError, match="no such point"):
        refused.result.result(timeout=30)
    with pytest.raises(OutOfMemory, match=r"can't allocate memory$"):
        exhausted.result.result(timeout=30)
    assert fine.result.result(timeout=30) == 1
