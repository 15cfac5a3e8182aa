from overnight.diagnosis.evidence import Draws, ModelEvidence, RunEvidence, TrialEvidence
from overnight.diagnosis.finding import Severity
from overnight.diagnosis.rules.asking import connection, context_overflow, errors
from overnight.diagnosis.rules.hosting import restarts


def run_with(
    execution: dict[str, object] | None = None, engine: str = "llama_cpp", **draws: object
) -> RunEvidence:
    trial = TrialEvidence(
        slug="t",
        model="m",
        engine=engine,
        slots=4,
        context_tokens=512,
        trained_context_tokens=2048,
        draws=Draws(n_done=90, **draws),  # type: ignore[arg-type]
    )
    return RunEvidence(run_id="r", execution=execution or {}, trials=(trial,))


def test_a_run_whose_requests_were_all_answered_has_no_finding() -> None:
    run = run_with()
    for rule in (connection, context_overflow, errors):
        look = rule(run)
        assert look.saw is not None
        assert look.findings == ()


def test_being_called_too_often_halves_the_requests_at_once() -> None:
    run = run_with({"max_concurrent_requests": 8}, failed={"RateLimited": 10})
    (finding,) = connection(run).findings
    remedy = finding.remedies[0]
    assert (remedy.setting, remedy.old, remedy.new) == ("execution.max_concurrent_requests", 8, 4)
    assert finding.score == 0.1  # 10 of 100 draws


def test_time_outs_ask_for_more_time_and_are_no_other_error() -> None:
    # A time-out is a BadResponse by kind; it is the connection's finding, and only its.
    run = run_with({"request_timeout_s": 30.0}, failed={"BadResponse": 4}, n_timeouts=4)
    (finding,) = connection(run).findings
    assert ("execution.request_timeout_s", 30.0, 60.0) in [
        (r.setting, r.old, r.new) for r in finding.remedies
    ]
    assert errors(run).findings == ()


def test_an_engine_of_our_own_has_a_log_and_a_server_has_an_address() -> None:
    failed = {"EngineUnavailable": 1}
    (own,) = connection(run_with(failed=failed)).findings
    (server,) = connection(run_with(engine="ollama", failed=failed)).findings
    assert "engines/m.log" in own.remedies[0].text
    assert "overnight doctor" in server.remedies[0].text


def test_a_context_that_holds_the_longest_prompt_is_suggested() -> None:
    # 700 tokens, rounded up to a multiple of 256, are 768.
    (finding,) = context_overflow(run_with(failed={"ContextOverflow": 10}, n_overflow_tokens=700)).findings
    remedy = finding.remedies[0]
    assert (remedy.setting, remedy.old, remedy.new) == ("execution.engine.context_tokens", None, 768)
    assert finding.severity is Severity.PROBLEM


def test_a_prompt_that_no_context_of_the_model_holds_is_said_to_be_too_long() -> None:
    # The model was made for 2,048 tokens; a larger context would be filled with nonsense.
    (finding,) = context_overflow(run_with(failed={"ContextOverflow": 1}, n_overflow_tokens=3000)).findings
    assert finding.remedies[0].new == 2048
    assert "3000" in finding.remedies[1].text


def test_other_errors_are_listed_by_kind_with_what_they_say() -> None:
    run = run_with(
        failed={"BadResponse": 6, "EngineUnavailable": 4}, messages={"BadResponse": "HTTP 500: boom"}
    )
    (finding,) = errors(run).findings
    assert [(fact.name, fact.value) for fact in finding.evidence] == [
        ("BadResponse", 6),
        ("BadResponse says", "HTTP 500: boom"),
    ]


def test_an_engine_that_died_is_named_with_its_last_words() -> None:
    model = ModelEvidence(model="m", loads=3, restarts=2, last_words="Segmentation fault")
    (finding,) = restarts(RunEvidence(run_id="r", models=(model,))).findings
    assert "2 times" in finding.what
    assert "Segmentation fault" in [fact.value for fact in finding.evidence]


def test_an_engine_that_never_died_has_no_finding() -> None:
    look = restarts(RunEvidence(run_id="r", models=(ModelEvidence(model="m", loads=1),)))
    assert look.findings == ()
    assert look.saw is not None
