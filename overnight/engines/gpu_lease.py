"""A GPU is lent to one run at a time: a lock on a file of this machine, which dies with the process that holds it.

Models of one run may lie on a GPU together, as far as they fit; those of two runs would take the memory from each
other in the middle of a night. Who holds a GPU stands on a card beside its lock, for whoever waits. A card without a
holder is that of a run that was killed: its engines end by themselves a moment later, and only then is the memory back.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
import psutil
from filelock import FileLock, Timeout

from overnight.engines.ollama.server import address, is_here
from overnight.engines.state import read_state
from overnight.errors import EngineUnavailable, GpuBusy, StopRequested, StoreError, UsageError
from overnight.memory.free import FreeMemory, free_devices
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.store.files import read_json, write_json
from overnight.store.run_folder import RunFolder

_LOOK_S = 0.5
_LEFT_BEHIND_S = 15.0  # within which the engines of a run that was killed are gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or an instance of one."""

    uuid: str
    name: str  # as people tell it from the others of this machine

    @classmethod
    def of(cls, device: FreeMemory) -> "Gpu":
        """Return the GPU whose memory was looked at."""
        return cls(uuid=device.uuid or device.name.casefold().replace(" ", "-"), name=device.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaseholder:
    """Who holds a GPU, as far as is known."""

    run_id: str | None = None
    pid: int | None = None
    since: datetime | None = None
    engines: Path | None = None  # where its engines say who they are

    def __str__(self) -> str:
        if self.run_id is None or self.pid is None or self.since is None:
            return "another process"
        return f"run {self.run_id} (process {self.pid}, since {self.since.astimezone():%Y-%m-%d %H:%M})"


@dataclass(slots=True)
class _Lent:
    """A GPU that a run of this process holds."""

    lock: FileLock
    n_models: int = field(default=0)


_GUARD = threading.Lock()
_LENT: dict[tuple[Path, str], _Lent] = {}


def gpus_of(
    model: ModelSpec,
    settings: EngineSettings,
    devices: Callable[[], Sequence[FreeMemory]] = free_devices,
) -> tuple[Gpu, ...]:
    """Return the GPUs of this machine on which a model may come to lie: all that this process may use, or none.

    Args:
        model: whose engine it is.
        settings: how it is held.
        devices: returns the GPUs that this process may use.
    """
    if not _is_for_gpu(model, settings):
        return ()
    # In an order of their own, so that two runs that want two GPUs do not wait for each other for ever.
    return tuple(sorted(map(Gpu.of, devices()), key=lambda gpu: gpu.uuid))


@contextlib.contextmanager
def lent(
    gpus: Sequence[Gpu],
    folder: RunFolder,
    execution: Execution,
    *,
    until: datetime | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Hold GPUs for a run while the block runs; models of one run hold them together.

    Args:
        gpus: of one model of the run.
        folder: of the run.
        execution: ``gpu_lease`` says what is done where another run holds one.
        until: when waiting is over; None waits as long as it takes.
        say: told who holds a GPU that has to be waited for, once a holder.

    Raises:
        StopRequested: somebody asked the run to stop while it waited.
        GpuBusy: another run holds a GPU, and this one may not wait, or has waited until then.
        UsageError: there is no place for the locks.
    """
    with ExitStack() as held:
        for gpu in gpus if execution.gpu_lease != "off" else ():
            _take(gpu, folder, say=say, until=until, may_wait=execution.gpu_lease == "wait")
            held.callback(_give_back, gpu, folder)
        yield


def leases_folder() -> Path:
    """Return where the locks lie: in ``OVERNIGHT_STATE_DIR``, or the user's folder for what programs remember."""
    named = os.environ.get("OVERNIGHT_STATE_DIR")
    root = Path(named).expanduser() if named else Path(platformdirs.user_state_dir("overnight"))
    return root / "gpus"


def leaseholder(gpu: Gpu) -> Leaseholder:
    """Return who says to hold a GPU; whether anybody does, its lock knows."""
    try:
        row = read_json(_card(gpu))
        return Leaseholder(
            run_id=str(row["run_id"]),
            pid=int(row["pid"]),
            since=datetime.fromisoformat(row["since"]),
            engines=Path(row["engines"]),
        )
    except (StoreError, OSError, KeyError, TypeError, ValueError):
        return Leaseholder()


def _is_for_gpu(model: ModelSpec, settings: EngineSettings) -> bool:
    match model.engine:
        case EngineKind.LLAMA_CPP:
            return settings.gpu_layers != 0
        case EngineKind.OLLAMA:
            return settings.gpu_layers != 0 and is_here(address(settings.ollama))
        case EngineKind.TRANSFORMERS:
            return settings.transformers.device != "cpu"
        case EngineKind.DRY_RUN | EngineKind.OPENAI_COMPATIBLE:
            return False


def _take(
    gpu: Gpu, folder: RunFolder, *, say: Callable[[str], None], until: datetime | None, may_wait: bool
) -> None:
    said: Leaseholder | None = None
    while not _try(gpu, folder):
        holder = leaseholder(gpu)
        if not may_wait:
            raise GpuBusy(
                f"{gpu.name} is held by {holder}; wait for it, end it with `overnight stop {holder.run_id or 'RUN'}`, "
                "or set execution.gpu_lease to wait"
            )
        if folder.stop_request.exists():
            raise StopRequested(f"{folder.run_id} was asked to stop while it waited for {gpu.name}")
        if until is not None and datetime.now(UTC) >= until:
            raise GpuBusy(f"{gpu.name} was held by {holder} until there was no time left")
        if holder != said:
            say(f"waiting for {gpu.name}, held by {holder}")
            said = holder
        time.sleep(_LOOK_S)


def _try(gpu: Gpu, folder: RunFolder) -> bool:
    """Take a GPU if it is free, or already held by this run in this process; return whether it is held now."""
    key = folder.path.resolve(), gpu.uuid
    with _GUARD:
        if key not in _LENT:
            # Blocks run in threads: whoever lets go last need not be who took it.
            lock = FileLock(_place(gpu), timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                return False
            _LENT[key] = _Lent(lock)
            _wait_for_what_was_left(leaseholder(gpu).engines)
            with contextlib.suppress(OSError, StoreError, UsageError):  # the lock holds without it
                write_json(_card(gpu), _row(folder))
        _LENT[key].n_models += 1
        return True


def _row(folder: RunFolder) -> dict[str, Any]:
    return {
        "run_id": folder.run_id,
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(),
        "engines": str(folder.engines.resolve()),
    }


def _wait_for_what_was_left(engines: Path | None) -> None:
    """Wait until the engines of a run that was killed have ended, but not for ever."""
    pids = set()
    for state in engines.glob("*.json") if engines else ():
        with contextlib.suppress(EngineUnavailable):
            pids.add(read_state(state).pid)
    until = time.monotonic() + _LEFT_BEHIND_S
    while any(pid is not None and psutil.pid_exists(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(_LOOK_S / 5)


def _give_back(gpu: Gpu, folder: RunFolder) -> None:
    key = folder.path.resolve(), gpu.uuid
    with _GUARD:
        mine = _LENT[key]
        mine.n_models -= 1
        if mine.n_models == 0:
            del _LENT[key]
            with contextlib.suppress(OSError):
                _card(gpu).unlink(missing_ok=True)
            mine.lock.release()


def _place(gpu: Gpu) -> Path:
    folder = leases_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be made ({error.strerror}), and the locks of GPUs lie there; name another folder in "
            "OVERNIGHT_STATE_DIR, or set execution.gpu_lease to off"
        ) from None
    return folder / f"{gpu.uuid}.lock"


def _card(gpu: Gpu) -> Path:
    return leases_folder() / f"{gpu.uuid}.json"
