"""The audit of dependencies never passes in silence: what nobody looked at is said, and a service proves itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[3] / ".ci" / "audit"
WEAK = {"id": "PYSEC-2019-217", "aliases": ["CVE-2019-10906"], "fix_versions": ["2.10.1"]}
CANARY = [{"name": "jinja2", "version": "2.10", "vulns": [WEAK]}]
SOUND = [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found on PyPI"}]
UNKNOWN = [{"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited"}]


@pytest.fixture
def audit(tmp_path: Path):
    """Return what runs the audit where pip-audit says that, of the old release and of what is installed."""

    def run(canary: Any, installed: Any = None, ignore: str = "", **environment: str) -> tuple[int, str, str]:
        said = tmp_path / "said.json"
        said.write_text(json.dumps({"canary": canary, "installed": installed}))
        double = tmp_path / "pip-audit"
        double.write_text(
            f"#!{sys.executable}\n"
            "import json, sys\n"
            f"said = json.load(open({str(said)!r}))\n"
            "said = said['canary' if '--requirement' in sys.argv else 'installed']\n"
            "sys.exit('no network') if said is None else print(json.dumps({'dependencies': said}))\n"
        )
        double.chmod(0o755)
        (tmp_path / "pyproject.toml").write_text(f"[tool.overnight-audit.ignore]\n{ignore}")
        found = subprocess.run(
            [sys.executable, str(AUDIT), "left.txt"],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not found.stderr
        return found.returncode, found.stdout, (tmp_path / "left.txt").read_text()

    return run


@pytest.mark.parametrize("canary", [None, UNKNOWN, [], [{"name": "jinja2", "version": "2.10", "vulns": []}]])
def test_a_service_that_does_not_know_a_known_weakness_is_not_believed(audit, canary: Any) -> None:
    code, said, left = audit(canary, SOUND)
    assert (code, left) == (0, said)
    assert said.startswith("NOT AUDITED: no service of advisories answers here")
    assert audit(canary, SOUND, OVERNIGHT_AUDIT="required")[0] == 1


def test_what_was_passed_over_is_named(audit) -> None:
    code, said, left = audit(CANARY, SOUND)
    assert code == 0
    assert "1 packages audited by pypi, 0 published weaknesses" in said
    assert left == "not audited: b (not found on PyPI)\n"


def test_a_published_weakness_fails_until_somebody_says_why_it_may_stay(audit) -> None:
    code, said, _ = audit(CANARY, CANARY)
    assert (code, "fixed in 2.10.1" in said) == (1, True)
    code, said, _ = audit(CANARY, CANARY, ignore='"CVE-2019-10906" = "no template is anybody else\'s"\n')
    assert (code, "ignored: no template" in said) == (0, True)


@pytest.mark.parametrize("installed", [None, [], [SOUND[1]]])
def test_an_audit_of_nothing_fails(audit, installed: Any) -> None:
    assert audit(CANARY, installed)[0] == 1
