from overnight.diagnosis.diagnosing import diagnose
from overnight.diagnosis.evidence import RunEvidence
from overnight.diagnosis.finding import Finding, Remedy, Severity, merged, ranked
from overnight.diagnosis.rules import RULES


def finding(name: str, severity: Severity, score: float, **changes: object) -> Finding:
    return Finding(name=name, severity=severity, score=score, what="", **changes)  # type: ignore[arg-type]


def test_the_worst_comes_first_and_among_equals_what_costs_most() -> None:
    found = [
        finding("a", Severity.NOTE, 1.0),
        finding("b", Severity.WARNING, 0.1),
        finding("c", Severity.WARNING, 0.9),
        finding("d", Severity.PROBLEM, 0.0),
    ]
    assert [each.name for each in ranked(found)] == ["d", "c", "b", "a"]


def test_trials_with_the_same_setting_to_change_are_one_finding_with_the_largest_change() -> None:
    # Forty trials of one sweep with one limit are one thing to do.
    def cut(slug: str, score: float, new: int, key: str = "limit") -> Finding:
        return finding(
            "truncated", Severity.WARNING, score, where=(slug,), remedies=(Remedy("why", key, 32, new),)
        )

    both, other = merged([cut("t1", 0.2, 48), cut("t2", 0.3, 64), cut("t3", 0.5, 64, "another")])
    assert both.where == ("t2", "t1")
    assert both.remedies[0].new == 64
    assert other.where == ("t3",)


def test_a_remedy_reads_as_a_setting_with_its_old_and_new_value() -> None:
    remedy = Remedy("less memory", "execution.engine.context_tokens", None, 1024)
    assert remedy.text == "execution.engine.context_tokens: null -> 1024 (less memory)"


def test_every_rule_says_what_it_saw_or_why_it_could_not_look() -> None:
    # A rule that is silent cannot be told from one that found nothing.
    diagnosis = diagnose(RunEvidence(run_id="r"))
    assert len(diagnosis.looks) == len(RULES)
    assert all((look.saw is None) != (look.not_looked_because is None) for look in diagnosis.looks)
    assert diagnosis.findings == ()
