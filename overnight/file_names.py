"""Names that other files, forms and commands give to files: which of them stay where they belong, on every system."""

import re
from typing import Annotated, Any, Final

from pydantic import StringConstraints

# A separator of either kind of system, a drive or a stream of Windows, and what no name can hold. Names of dots and
# blanks alone lead up, the longer ones on Windows.
_NO: Final = r"/\\:\x00-\x1f\x7f"
_SEGMENT: Final = f"[^{_NO}]*[^{_NO}. ][^{_NO}]*"
_NAME: Final = re.compile(_SEGMENT)
_PATH: Final = re.compile(f"{_SEGMENT}(/{_SEGMENT})*")
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, of the usual file systems
# Devices, whatever stands behind a dot.
_OF_WINDOWS: Final = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)

FolderName = Annotated[str, StringConstraints(pattern=f"^{_SEGMENT}$", max_length=_LONGEST_NAME)]
RelativePath = Annotated[str, StringConstraints(pattern=f"^{_PATH.pattern}$", max_length=_LONGEST_PATH)]


def is_file_name(text: Any) -> bool:
    """True for the name of one file or folder, wherever it is put."""
    return isinstance(text, str) and bool(_NAME.fullmatch(text)) and _n_bytes(text) <= _LONGEST_NAME


def is_relative_path(text: Any) -> bool:
    """True for a path with forward slashes that stays below the folder that it is put in."""
    return (
        isinstance(text, str)
        and bool(_PATH.fullmatch(text))
        and _n_bytes(text) <= _LONGEST_PATH
        and all(_n_bytes(part) <= _LONGEST_NAME for part in text.split("/"))
    )


def is_kept_by_windows(name: str) -> bool:
    """True for a name that Windows takes for a device, or that it would shorten."""
    return bool(_OF_WINDOWS.fullmatch(name)) or name.endswith((".", " "))


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
