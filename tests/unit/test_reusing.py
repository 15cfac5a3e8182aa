"""What a trial takes from the request cache, and that its tables are the same with it and without it."""

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.engines import identity
from overnight.engines.dry_run import DryRunEngine
from overnight.engines.identity import answer_identity
from overnight.engines.protocol import Completion
from overnight.errors import ContextOverflow, StopRequested
from overnight.planning.plan import ModelBlock, Plan, make_plan
from overnight.planning.requests import Request
from overnight.planning.trial import Trial
from overnight.prompting.messages import Message
from overnight.records import FinishReason, Item
from overnight.runs.building import build_requests
from overnight.runs.generating import Generated, generate
from overnight.runs.parsing import write_predictions
from overnight.runs.reusing import reuse_in_block
from overnight.runs.scoring import write_scores
from overnight.runs.trials import needs_engine, note_generated
from overnight.spec.execution import EngineSettings
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.prompt_sweep import PromptSweepSpec, ScoringSpec, UnsupportedSpec
from overnight.store import segments as store_segments
from overnight.store.journal import read_rows
from overnight.store.manifest import RunManifest, TrialRecord, read_manifest, write_manifest
from overnight.store.request_cache import RequestCache
from overnight.store.run_folder import RunFolder
from overnight.store.segments import segments

Maker = Callable[..., PromptSweepSpec]


class CountingEngine(DryRunEngine):
    """Answers by the request alone, as an engine does that does not depend on the batch, and counts."""

    def __init__(self, *, fails: bool = False, suffix: str = "") -> None:
        self.asked: list[Request] = []
        self.fails = fails
        self.suffix = suffix

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        if self.fails:
            raise ContextOverflow("too long")
        made = await super().complete(request)
        return dataclasses.replace(
            made,
            text=f"{made.text} \ud800 blå{self.suffix}",
            prompt_tokens=sum(len(m["content"]) for m in request.messages),
            completion_tokens=len(self.asked) % 3 + 1 if self.suffix else 4,
            finish_reason=FinishReason.LENGTH if request.seed % 2 else FinishReason.STOP,
            latency_s=0.25,
        )


@dataclasses.dataclass
class Sweep:
    """A run folder with its requests built."""

    folder: RunFolder
    plan: Plan
    spec: PromptSweepSpec

    @property
    def block(self) -> ModelBlock:
        (block,) = self.plan.blocks
        return block

    def run(self, trial: Trial, engine: CountingEngine) -> Generated:
        return asyncio.run(generate(self.folder, self.plan, self.block, trial, engine, self.spec.execution))

    def run_all(self, engine: CountingEngine) -> list[Generated]:
        return [self.run(trial, engine) for trial in self.plan.trials]

    def rows(self, trial: Trial) -> list[dict[str, Any]]:
        return list(read_rows(self.folder.trial(trial.slug).journal))

    def tables(self) -> dict[str, bytes]:
        found = {}
        for trial in self.plan.trials:
            folder = self.folder.trial(trial.slug)
            write_predictions(folder, self.plan, trial)
            write_scores(folder, self.plan, trial, UnsupportedSpec(), ScoringSpec())
            found |= {f"{trial.slug}/{p.name}": p.read_bytes() for p in (folder.predictions, folder.scores)}
        return found


@pytest.fixture
def make_sweep(tmp_path: Path, make_spec: Maker, items: list[Item]) -> Callable[..., Sweep]:
    def make(name: str, execution: dict[str, Any] | None = None, **experiment: Any) -> Sweep:
        spec = make_spec(execution, **({"defaults": {"temps": [0.0, 0.7]}} | experiment))
        sweep = Sweep(RunFolder(tmp_path / f"run_{name}"), make_plan(spec, items), spec)
        for trial in sweep.plan.trials:
            build_requests(sweep.folder, sweep.plan, trial)
        return sweep

    return make


TWO_TREATMENTS = {
    "sweep": {
        "prompt_sets": [
            {"name": "p", "control": "You answer.", "treatment": "You answer in a word."},
            {"name": "q", "control": "You answer.", "treatment": "You answer and are polite."},
        ]
    }
}


def test_a_control_arm_that_two_trials_share_is_asked_once(make_sweep) -> None:
    sweep = make_sweep("a", **TWO_TREATMENTS)
    engine = CountingEngine()
    first, second = sweep.run_all(engine)
    an_arm = 7 * 2  # items x temperatures
    assert len(engine.asked) == 3 * an_arm  # of the 4 arms that there are
    assert (first.counts.sent, first.counts.cache_hits) == (2 * an_arm, 0)
    assert (second.counts.sent, second.counts.cache_hits) == (an_arm, an_arm)
    assert second.counts.done == second.counts.expected == 2 * an_arm
    assert second.n_sent == an_arm
    assert second.counts.generated_tokens == 4 * an_arm
    hits = [row for row in sweep.rows(sweep.plan.trials[1]) if row.get("cached")]
    assert {row["custom_id"].split("|")[2] for row in hits} == {"control"}
    assert {row["trial"] for row in hits} == {sweep.plan.trials[1].slug}
    assert {row["origin"]["trial"] for row in hits} == {sweep.plan.trials[0].slug}


@pytest.mark.parametrize("samples", [1, 3])
def test_tables_are_the_same_with_the_cache_and_without_it(make_sweep, samples: int) -> None:
    settings = TWO_TREATMENTS | {"sampling": {"samples_per_item": samples}}
    plain = make_sweep("plain", {"request_cache": False}, **settings)
    asked_all, asked_some, asked_none = CountingEngine(), CountingEngine(), CountingEngine()
    plain.run_all(asked_all)
    first, again = make_sweep("first", **settings), make_sweep("again", **settings)
    first.run_all(asked_some)
    again.run_all(asked_none)
    assert plain.tables() == first.tables() == again.tables()
    assert len(asked_all.asked) == plain.plan.n_requests > len(asked_some.asked) > len(asked_none.asked) == 0


def test_a_stretch_that_was_stopped_and_one_from_the_cache_make_the_same_tables(make_sweep) -> None:
    whole, halved = make_sweep("whole"), make_sweep("halved", {"max_concurrent_requests": 1})
    whole.run_all(CountingEngine())
    reuse_free = halved.spec.execution.model_copy(update={"request_cache": False})
    (trial,) = halved.plan.trials

    class Stopping(CountingEngine):
        async def complete(self, request: Request) -> Completion:
            halved.folder.stop_request.touch()
            await asyncio.sleep(0.25)  # the stop file is looked for five times a second
            return await super().complete(request)

    with pytest.raises(StopRequested):
        asyncio.run(generate(halved.folder, halved.plan, halved.block, trial, Stopping(), reuse_free))
    halved.folder.stop_request.unlink()
    n_before = len(halved.rows(trial))
    assert 0 < n_before < halved.plan.n_requests
    engine = CountingEngine()
    generated = halved.run(trial, engine)
    assert engine.asked == []
    assert generated.counts.sent == n_before
    assert generated.counts.cache_hits == halved.plan.n_requests - n_before
    assert halved.tables() == whole.tables()


def test_a_hit_says_when_and_where_it_was_answered_and_claims_no_time(make_sweep) -> None:
    make_sweep("a").run_all(CountingEngine())
    again = make_sweep("b")
    (trial,) = again.plan.trials
    again.run(trial, CountingEngine())
    for row in again.rows(trial):
        assert row["cached"] is True
        assert row["latency_s"] is None
        assert row["attempt"] == 0
        assert row["origin"]["run_id"] == "a"
        assert row["origin"]["latency_s"] == 0.25
        assert row["origin"]["at"] <= row["at"]
        assert row["sent"]["temperature"] == float(row["custom_id"].split("|")[3])


def test_without_the_cache_nothing_is_taken_and_nothing_is_kept(make_sweep, own_cache: Path) -> None:
    off = {"request_cache": False}
    make_sweep("a", off).run_all(CountingEngine())
    assert not (own_cache / "requests").exists()
    make_sweep("b").run_all(CountingEngine())
    engine = CountingEngine()
    again = make_sweep("c", off)
    again.run_all(engine)
    assert len(engine.asked) == again.plan.n_requests


def test_a_rehearsal_neither_fills_the_cache_nor_reads_it(make_sweep, own_cache: Path) -> None:
    # Its model has the same digest; made-up answers must never stand for real ones, nor the other way round.
    make_sweep("dry", dry_run=True).run_all(CountingEngine())
    assert not (own_cache / "requests").exists()
    make_sweep("real").run_all(CountingEngine())
    rehearsal = make_sweep("dry2", dry_run=True)
    engine = CountingEngine()
    rehearsal.run_all(engine)
    assert len(engine.asked) == rehearsal.plan.n_requests


def test_failures_are_asked_again(make_sweep) -> None:
    sweep = make_sweep("a")
    (failed,) = sweep.run_all(CountingEngine(fails=True))
    assert failed.counts.errors == sweep.plan.n_requests
    engine = CountingEngine()
    (mended,) = sweep.run_all(engine)
    assert len(engine.asked) == mended.counts.done == sweep.plan.n_requests
    assert mended.counts.sent == 2 * sweep.plan.n_requests  # those that failed were sent as well
    assert mended.counts.cache_hits == 0


@pytest.mark.parametrize(
    "change",
    [
        {"defaults": {"temps": [0.0, 0.7], "top_p": 0.5}},
        {"defaults": {"temps": [0.0, 0.7], "top_k": 7}},
        {"defaults": {"temps": [0.0, 0.7], "max_new_tokens": {"closed": 8, "open": 8}}},
        {"defaults": {"temps": [0.3]}},
        {"sampling": {"seed": 7}},
        {"sampling": {"stop": ["\n"]}},
    ],
)
def test_another_sampling_setting_is_another_request(make_sweep, change: dict[str, Any]) -> None:
    make_sweep("a").run_all(CountingEngine())
    other = make_sweep("b", **change)
    engine = CountingEngine()
    other.run_all(engine)
    assert len(engine.asked) == other.plan.n_requests


def test_more_draws_add_to_those_that_are_there(make_sweep) -> None:
    make_sweep("a", sampling={"samples_per_item": 2}).run_all(CountingEngine())
    more = make_sweep("b", sampling={"samples_per_item": 5})
    engine = CountingEngine()
    more.run_all(engine)
    assert len(engine.asked) == 7 * 2 * 3  # items x arms x further draws, at 0.7 alone


@pytest.mark.parametrize("key", ["batch_invariant", "gpu_layers"])
def test_answers_of_other_engine_settings_are_not_mixed(make_sweep, monkeypatch, key: str) -> None:
    # On a GPU, where both settings change the kernels that compute an answer.
    monkeypatch.setattr(identity, "_gpu_names", lambda: ("A card",))
    make_sweep("a").run_all(CountingEngine())
    other = make_sweep("b", {"engine": {key: 1 if key == "gpu_layers" else True}})
    engine = CountingEngine()
    other.run_all(engine)
    assert len(engine.asked) == other.plan.n_requests


@pytest.mark.parametrize(
    "execution",
    [
        {"max_concurrent_requests": 9},
        {"parts_per_dataset": 3},
        {"engine": {"threads": 1}},
        {"engine": {"context_tokens": 4096}},
        {"attempts_per_item": 1},
    ],
)
def test_how_a_run_is_carried_out_does_not_change_what_is_known(
    make_sweep, execution: dict[str, Any]
) -> None:
    make_sweep("a").run_all(CountingEngine())
    engine = CountingEngine()
    make_sweep("b", execution).run_all(engine)
    assert engine.asked == []


def test_a_block_whose_answers_are_all_known_needs_no_engine(make_sweep) -> None:
    for sweep, is_needed in ((make_sweep("a"), True), (make_sweep("b"), False)):
        write_manifest(sweep.folder, manifest(sweep))
        reuse_in_block(sweep.folder, sweep.plan, sweep.block, sweep.spec.execution)
        (trial,) = sweep.plan.trials
        assert (
            sweep.folder.trial(trial.slug).journal.exists() is not is_needed
        )  # nothing is begun for nothing
        assert needs_engine(sweep.folder, sweep.plan, trial) is is_needed
        engine = CountingEngine()
        generated = sweep.run(trial, engine)
        assert bool(engine.asked) is is_needed
        if not is_needed:
            note_generated(sweep.folder, sweep.block, trial.slug, generated)
            record = read_manifest(sweep.folder).trials[trial.slug]
            assert record.timings.inference_s is None  # nothing was measured
            assert record.counts.cache_hits == record.counts.done == sweep.plan.n_requests
            assert record.counts.sent == 0
            assert record.effective == {
                "model": "tiny",
                "model_digest": "a" * 64,
                "engine": "llama_cpp",
                "quantization": "Q4_0",
            }


def test_a_cache_that_cannot_be_used_at_all_leaves_the_run_alone(
    make_sweep, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.mkdir(parents=True)
    (own_cache / "requests").write_text("a file where the folder should be")
    sweep = make_sweep("a", **TWO_TREATMENTS)
    engine = CountingEngine()
    with caplog.at_level(logging.WARNING, "overnight"):
        sweep.run_all(engine)
    assert len(engine.asked) == sweep.plan.n_requests
    assert all(
        generated.done == generated.expected for generated in (g.counts for g in sweep.run_all(engine))
    )
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said)) <= 2  # that it cannot be read, that it cannot be written to


def test_a_trial_that_is_looked_for_in_pieces_is_found_in_full(
    make_sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep("a").run_all(CountingEngine())
    monkeypatch.setattr("overnight.runs.reusing._LOOKED_FOR_AT_ONCE", 5)
    monkeypatch.setattr("overnight.runs.reusing._ROWS_AT_ONCE", 2)
    again, block = make_sweep("b"), make_sweep("c")
    engine = CountingEngine()
    again.run_all(engine)
    reuse_in_block(block.folder, block.plan, block.block, block.spec.execution)
    block.run_all(engine)
    assert engine.asked == []
    assert again.tables() == block.tables()


def test_what_was_looked_through_for_a_block_is_not_read_again(
    make_sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a deadline a trial comes to its turn many times; each look reads what its siblings have written meanwhile.
    make_sweep("other", sampling={"seed": 5}).run_all(CountingEngine())
    sweep = make_sweep("a", **TWO_TREATMENTS)
    reuse_in_block(sweep.folder, sweep.plan, sweep.block, sweep.spec.execution)
    real, starts = store_segments._look_through, []

    def look(segment: Path, wanted: set[bytes], found: Any, offset: int) -> None:
        starts.append(offset)
        real(segment, wanted, found, offset)

    monkeypatch.setattr(store_segments, "_look_through", look)
    engine = CountingEngine()
    _, second = sweep.run_all(engine)
    assert second.counts.cache_hits == 14  # the control arm, which the first trial has asked meanwhile
    assert len(engine.asked) == 3 * 14
    assert len(starts) == 2
    assert min(starts) > 0
    reuse_in_block(
        sweep.folder, sweep.plan, sweep.block, sweep.spec.execution
    )  # gone on with: looked through anew
    assert sweep.rows(sweep.plan.trials[0])


def test_a_damaged_line_is_asked_again(make_sweep, own_cache: Path) -> None:
    make_sweep("a").run_all(CountingEngine())
    (segment,) = segments(own_cache / "requests" / ("a" * 64))
    data = bytearray(segment.read_bytes())
    data[-20] ^= 1
    segment.write_bytes(data)
    engine = CountingEngine()
    again = make_sweep("b")
    again.run_all(engine)
    assert len(engine.asked) == 1


# --- the key

TEXTS = st.text(min_size=1, max_size=10)
REQUESTS = st.builds(
    Request,
    custom_id=st.integers(0, 3).map(lambda draw: f"d|i|control|0.7|{draw}|closed"),
    part=st.just("p"),
    messages=st.tuples(
        st.builds(Message, role=st.just("system"), content=TEXTS),
        st.builds(Message, role=st.just("user"), content=TEXTS),
    ),
    temperature=st.floats(0, 2),
    top_p=st.floats(0.1, 1),
    top_k=st.integers(0, 100),
    max_new_tokens=st.integers(1, 100),
    seed=st.integers(0, 2**31 - 1),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
)
CACHE = RequestCache("a" * 64, {}, run_id="r", root=Path("/nowhere"))


def key_of(request: Request, model: str = "a" * 64) -> str:
    return CACHE.key(request.digest(model)[:32], request.draw)


@settings(max_examples=40)
@given(REQUESTS, st.data())
def test_every_field_that_can_change_an_answer_changes_the_key(request: Request, data: st.DataObject) -> None:
    changes = {
        "custom_id": "d|i|control|0.7|4|closed",
        "messages": (
            *request.messages[:-1],
            Message(role="user", content=request.messages[-1]["content"] + "?"),
        ),
        "temperature": request.temperature + 0.1,
        "top_p": request.top_p / 2,
        "top_k": request.top_k + 1,
        "max_new_tokens": request.max_new_tokens + 1,
        "seed": request.seed + 1,
        "stop": (*request.stop, "x"),
        "logprobs": not request.logprobs,
        "tokens": not request.tokens,
    }
    fields = {field.name for field in dataclasses.fields(Request)}
    same = {"part": "elsewhere", "alternatives": 5}
    assert fields == set(changes) | set(same)  # a new field has to be thought of here
    name = data.draw(st.sampled_from(sorted(changes)))
    assert key_of(dataclasses.replace(request, **{name: changes[name]})) != key_of(request)
    assert key_of(request, "b" * 64) != key_of(request)
    assert key_of(dataclasses.replace(request, **same)) == key_of(request)


@given(
    st.lists(
        st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=TEXTS), max_size=4
    )
)
def test_turns_in_another_order_are_another_request(turns: list[Message]) -> None:
    def name(messages: list[Message]) -> str:
        request = Request(
            custom_id="d|i|control|0.0|0|closed",
            part="p",
            messages=tuple(messages),
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=1,
            seed=1,
            stop=(),
        )
        return key_of(request)

    assert (name(turns) == name(turns[::-1])) == (turns == turns[::-1])


@pytest.mark.parametrize(
    "change",
    [{"batch_invariant": False}, {"gpu_layers": 3}],
)
def test_engine_settings_that_change_answers_are_in_the_identity(monkeypatch, change: dict[str, Any]) -> None:
    monkeypatch.setattr(identity, "_gpu_names", lambda: ("A card",))
    model = ModelSpec.model_validate(model_fields())
    plain = answer_identity(model, EngineSettings())
    assert plain is not None
    assert answer_identity(model, EngineSettings(**change)) != plain
    json.dumps(plain)  # it is hashed


def test_another_library_version_card_or_processor_is_another_identity(monkeypatch) -> None:
    model = ModelSpec.model_validate(model_fields())
    found = [answer_identity(model, EngineSettings())]
    for name, value in (
        ("version", lambda _: "99.0"),
        ("_gpu_names", lambda: ("A card",)),
        ("_kernel_features", lambda: ("avx512f",)),
        ("ANSWER_VERSION", 99),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(identity, name, value)
            found.append(answer_identity(model, EngineSettings()))
    assert len({json.dumps(each, sort_keys=True) for each in found}) == len(found)


def test_without_a_gpu_the_default_is_batch_invariance_as_in_the_host(monkeypatch) -> None:
    monkeypatch.setattr(identity, "_gpu_names", lambda: ())
    monkeypatch.setattr(identity.platform, "system", lambda: "Linux")
    model = ModelSpec.model_validate(model_fields())
    assert answer_identity(model, EngineSettings()) == answer_identity(
        model, EngineSettings(batch_invariant=True, gpu_layers=5)
    )


def test_made_up_answers_have_no_identity() -> None:
    model = ModelSpec.model_validate(model_fields() | {"engine": EngineKind.DRY_RUN})
    assert answer_identity(model, EngineSettings()) is None


def test_a_processor_is_known_by_its_instruction_sets(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "model name\t: X\nflags\t\t: fpu avx2 avx512f fma mmx\n\nflags\t\t: fpu avx2 avx512f fma mmx\n"
    )
    assert identity._kernel_features(info) == ("avx2", "avx512f", "fma")


def model_fields() -> dict[str, Any]:
    return {
        "name": "tiny",
        "source": "/nowhere/tiny.gguf",
        "sha256": "a" * 64,
        "family": "f",
        "params_billion": 0.1,
        "quantization": "Q4_0",
        "context_tokens": 2048,
    }


def manifest(sweep: Sweep) -> RunManifest:
    moment = "2026-01-01T00:00:00Z"
    return RunManifest.model_validate(
        {
            "run_id": sweep.folder.run_id,
            "kind": "prompt-sweep",
            "name": "s",
            "fingerprint": sweep.plan.fingerprint,
            "created": moment,
            "updated": moment,
            "execution": {},
            "environment": {},
            "trials": {
                t.slug: TrialRecord(fingerprint=t.fingerprint, requested=t.requested())
                for t in sweep.plan.trials
            },
        }
    )
