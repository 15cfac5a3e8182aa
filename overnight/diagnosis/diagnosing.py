"""All rules over one run."""

from dataclasses import asdict, dataclass
from typing import Any

from overnight.diagnosis.evidence import RunEvidence
from overnight.diagnosis.finding import Finding, Look, ranked
from overnight.diagnosis.rules import RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is wrong with a run, the worst first; what was looked at, and what could not be."""

    run_id: str
    state: str
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    unread: tuple[tuple[str, str], ...]  # files that could not be read, and why

    def as_row(self) -> dict[str, Any]:
        """Return the diagnosis as JSON has it."""
        return {
            "schema_version": 1,
            "run_id": self.run_id,
            "state": self.state,
            "findings": [_finding_row(finding) for finding in self.findings],
            "looked_at": {look.name: look.saw for look in self.looks if look.saw is not None},
            "not_looked_at": {
                look.name: look.not_looked_because
                for look in self.looks
                if look.not_looked_because is not None
            },
            "unread": dict(self.unread),
        }


def diagnose(run: RunEvidence) -> Diagnosis:
    """Return what every rule says of a run."""
    looks = tuple(rule(run) for rule in RULES)
    return Diagnosis(
        run_id=run.run_id,
        state=run.state,
        findings=tuple(ranked([finding for look in looks for finding in look.findings])),
        looks=looks,
        unread=tuple(run.unread.items()),
    )


def _finding_row(finding: Finding) -> dict[str, Any]:
    row = asdict(finding)
    return {
        **row,
        "severity": finding.severity.value,
        "score": round(finding.score, 4),
        "where": list(finding.where),
        "evidence": [fact._asdict() for fact in finding.evidence],
        "remedies": [{**remedy._asdict(), "text": remedy.text} for remedy in finding.remedies],
        "ineffective": [each._asdict() for each in finding.ineffective],
    }
