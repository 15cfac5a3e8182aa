import pytest

from overnight.spec.sweep import KINDS
from tasks.reporting import report_key


@pytest.mark.parametrize("kind", KINDS)
def test_the_artifact_of_a_report_is_called_after_the_kind_of_its_run(kind) -> None:
    # Prefect keeps one history an artifact's key, and its keys are lower case letters, digits and dashes.
    key = report_key(kind)
    assert key == f"{kind}-report"
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_no_two_kinds_share_a_history_of_reports() -> None:
    assert len({report_key(kind) for kind in KINDS}) == len(KINDS)
