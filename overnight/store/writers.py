"""Names of files that one process writes to and others only read, and whether that process is still there."""

import os
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

HOST = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:40] or "host"
NAME = r"\d{8}T\d{6}-(?P<host>[^-]+)-(?P<pid>\d+)-[0-9a-f]{8}"


def writer_name(started: datetime, token: str) -> str:
    """Return the name of a writer in this process: when it began, where, and eight hex digits of its own."""
    return f"{started:%Y%m%dT%H%M%S}-{HOST}-{os.getpid()}-{token}"


def open_to_append(path: Path) -> int:
    """Return the handle of a file, made where there is none, at whose end bytes are written as they are."""
    binary = getattr(os, "O_BINARY", 0)  # Windows takes a newline for two bytes without it
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | binary, 0o644)


def is_at_work(path: Path, name: re.Match[str], *, patience_s: float = 3600) -> bool:
    """True where the writer of a file may still be at work.

    On this machine that is a question of its process; of another machine's writer it is only known when it wrote
    last, and ``patience_s`` after that it is taken to be gone.
    """
    import psutil  # noqa: PLC0415 - only where caches are cleared

    if name["host"] == HOST:
        return psutil.pid_exists(int(name["pid"]))
    return datetime.now(UTC).timestamp() - path.stat().st_mtime < patience_s
