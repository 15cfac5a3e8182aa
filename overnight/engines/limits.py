"""A limit on the memory of an engine host, set by the host itself before it takes any."""

import sys

from overnight.errors import UsageError


def limit_memory(limit_bytes: int | None) -> None:
    """Let this process take no more private memory than that; an allocation beyond it fails as on a full machine.

    The limit is on data (``RLIMIT_DATA``): heap and anonymous mappings, without program code, files that are mapped
    and the memory of a GPU.

    Raises:
        UsageError: the system cannot limit a process.
    """
    if limit_bytes is None:
        return
    if sys.platform != "linux":  # elsewhere there is none, or one that allocators pass by
        raise UsageError(
            "execution.engine.memory_limit_gib: this system cannot limit the memory of a process; take it out"
        )
    import resource  # noqa: PLC0415 - not on every system

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
