"""The command line many times over, each time in a fork of one process that has imported everything already.

``python -m tests.chaos.forks``: an order a line on standard input, what came of it a line on standard output. The flows
run without Prefect, and models are lent by hosts that somebody else keeps: a run is then a second or less, and can be
killed at every single thing that it does to a file.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.chaos import plain_prefect
from tests.chaos.faults import Faults, Order

_LENT = "OVERNIGHT_CHAOS_LENT"  # folder of the state files of hosts that serve


def main() -> None:
    """Carry out orders until there are no more."""
    plain_prefect.install()
    import flows.api_process
    import flows.launching
    import flows.serving

    flows.api_process.begin = lambda: None  # nobody asks it
    flows.launching.call = plain_prefect.call
    flows.serving.hold = lambda model, weights, tokens, execution, folder: Lent(model.name, folder)
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(json.dumps(_forked(**order)) + "\n")
        sys.stdout.flush()


class Lent:
    """A model that somebody else holds, as the holder of it that a block asks for."""

    def __init__(self, name: str, folder: Path) -> None:
        from overnight.engines.state import EngineState

        self._name, self._path = name, folder / f"{name}.json"
        self.state = EngineState(status="loading")

    def start(self) -> None:
        from overnight.engines.state import read_state, write_state

        self.state = read_state(Path(os.environ[_LENT]) / self._path.name)
        write_state(self._path, self.state)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _forked(
    arguments: Sequence[str], folder: str, environment: Mapping[str, str], faults: Mapping[str, Any] | None
) -> dict[str, Any]:
    said, learned = Path(folder) / "said.txt", Path(folder) / "learned.json"
    learned.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _carry_out(arguments, folder, environment, faults, said, learned)
    _, status = os.waitpid(child, 0)
    value = json.loads(learned.read_text()) if learned.exists() else {"n_operations": None, "modules": []}
    for name in value.pop("modules"):
        with contextlib.suppress(Exception):  # what a run came to import, the next one finds imported
            importlib.import_module(name)
    return value | {"code": os.waitstatus_to_exitcode(status), "said": said.read_text(errors="replace")}


def _carry_out(
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    faults: Mapping[str, Any] | None,
    said: Path,
    learned: Path,
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    with said.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    before = set(sys.modules)
    disk = Faults(Order(**{**faults, "below": tuple(faults["below"])})) if faults else None
    if disk:
        disk.arm()
    code = 1
    try:
        from overnight.cli import main as overnight

        overnight(list(arguments))
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:  # noqa: BLE001 - the parent is told
        import traceback

        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        new = sorted(name for name in set(sys.modules) - before if "__main__" not in name)
        learned.write_text(json.dumps({"n_operations": disk and disk.n, "modules": new}))
        os._exit(code)


if __name__ == "__main__":
    main()
