"""The file that tells where an engine listens holds its token."""

import os
from pathlib import Path

import pytest

from overnight.engines.state import EngineState, read_state, write_state


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no permission bits")
def test_nobody_else_may_read_the_token_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Taking the permission away after the file has its name leaves a moment in which anybody can open it.
    path = tmp_path / "tiny.json"
    seen: list[int] = []
    replace = Path.replace

    def look(self: Path, target: Path) -> Path:
        seen.append(self.stat().st_mode & 0o777)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    for status in ("loading", "serving"):
        write_state(path, EngineState(status=status, token="t0ken"))
        seen.append(path.stat().st_mode & 0o777)
    assert seen == [0o600] * 4
    assert read_state(path).token == "t0ken"
