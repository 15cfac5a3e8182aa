"""``python peak_memory.py FILE ARGUMENT...``: ``overnight ARGUMENT...``, and this process's peak memory in FILE.

Only of this process: Prefect's embedded API and engine hosts are children, and not what is asked about.
"""

import resource
import sys
from pathlib import Path

from overnight.cli import main


def peak_bytes() -> int:
    """Return the largest resident size that this process has had."""
    status = Path("/proc/self/status")
    if status.is_file():  # what `getrusage` says on Linux may be of the process that started this one
        line = next(
            line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")
        )
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    try:
        main(sys.argv[2:])
    finally:
        Path(sys.argv[1]).write_text(str(peak_bytes()), encoding="ascii")
