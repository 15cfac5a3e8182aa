from overnight.diagnosis.evidence import Draws, ModelEvidence, RunEvidence, Signal, TrialEvidence
from overnight.diagnosis.finding import Severity
from overnight.diagnosis.rules.memory import gpu_memory_full, out_of_memory

GIB = 2**30
TRIAL = TrialEvidence(
    slug="t",
    model="m",
    quantization="Q6_K",
    slots=4,
    context_tokens=8192,
    token_limits={"closed": 64},
    n_expected=100,
    draws=Draws(n_done=60, longest_prompt=900),
)


def run_with(trial: TrialEvidence = TRIAL, **changes: object) -> RunEvidence:
    return RunEvidence(run_id="r", state="failed", trials=(trial,), **changes)  # type: ignore[arg-type]


def test_a_run_with_enough_memory_has_no_finding() -> None:
    look = out_of_memory(run_with())
    assert look.findings == ()
    assert look.saw is not None


def test_smaller_settings_are_listed_with_what_changes_no_answer_first() -> None:
    # 900 tokens of prompt and 64 of answer are 964; rounded up to a multiple of 256 they are 1,024 of 8,192.
    (finding,) = out_of_memory(
        run_with(
            execution={"max_concurrent_requests": 4}, out_of_memory_lines=("m.log:3: failed to allocate",)
        )
    ).findings
    assert [(r.setting, r.old, r.new) for r in finding.remedies[:3]] == [
        ("execution.max_concurrent_requests", 4, 2),
        ("execution.engine.context_tokens", None, 1024),
        ("quantization of m", "Q6_K", "Q5_K_M"),
    ]


def test_a_neighbour_on_the_same_gpu_is_the_first_thing_to_give_up() -> None:
    beside = (ModelEvidence(model="m", beside=("n",)), ModelEvidence(model="n", beside=("m",)))
    execution = {"max_concurrent_requests": 4, "parallel_models": "auto"}
    (finding,) = out_of_memory(
        run_with(models=beside, execution=execution, out_of_memory_lines=("m.log:3: failed to allocate",))
    ).findings
    first = finding.remedies[0]
    assert (first.setting, first.old, first.new) == ("execution.parallel_models", "auto", 1)
    assert "n took memory at the same time" in first.why


def test_a_context_that_is_needed_is_not_taken_away() -> None:
    long = TrialEvidence(
        slug="t", model="m", context_tokens=1024, token_limits={"closed": 64}, draws=Draws(longest_prompt=950)
    )
    (finding,) = out_of_memory(run_with(long, killed_lines=("run.log:1: exit code -9",))).findings
    assert "execution.engine.context_tokens" not in [remedy.setting for remedy in finding.remedies]


def test_a_kill_from_outside_is_taken_for_what_it_mostly_is() -> None:
    # The kernel's OOM killer sends signal 9 and leaves no message in the process.
    (finding,) = out_of_memory(run_with(killed_lines=("run.log:1: ended by signal 9",))).findings
    assert "killed from outside" in finding.what
    assert finding.severity is Severity.WARNING  # the trial is done all the same


def test_draws_that_are_missing_are_what_is_at_stake() -> None:
    failed = TrialEvidence(slug="t", model="m", state="failed", n_expected=100, draws=Draws(n_done=60))
    (finding,) = out_of_memory(run_with(failed, out_of_memory_lines=("x",))).findings
    assert finding.severity is Severity.PROBLEM
    assert finding.score == 0.4


def test_a_lower_max_new_tokens_is_said_to_do_nothing_where_the_context_is_set() -> None:
    # The cache of a context is taken as a whole when the model is loaded.
    engine = {"engine": {"context_tokens": 8192}}
    (with_context,) = out_of_memory(run_with(execution=engine, out_of_memory_lines=("x",))).findings
    (without,) = out_of_memory(run_with(out_of_memory_lines=("x",))).findings
    assert "a lower max_new_tokens" in [each.what for each in with_context.ineffective]
    assert "a lower max_new_tokens" not in [each.what for each in without.ineffective]


def full(used: float) -> RunEvidence:
    signal = Signal(low=used, mean=used, high=used)
    trial = TrialEvidence(slug="t", model="m", signals={"gpu_memory_used_bytes": signal})
    return run_with(trial, gpus=({"name": "a GPU", "memory_bytes": 16 * GIB},))


def test_a_gpu_is_full_above_nineteen_twentieths_of_its_memory() -> None:
    assert gpu_memory_full(full(15.0 * GIB)).findings == ()
    assert len(gpu_memory_full(full(15.5 * GIB)).findings) == 1


def test_without_a_sensor_the_rule_says_that_it_did_not_look() -> None:
    assert gpu_memory_full(run_with()).not_looked_because == "no telemetry has gpu_memory_used_bytes"
