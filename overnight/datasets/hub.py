"""Rows of the Hugging Face hub, through the package ``datasets`` where it is installed."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from overnight.errors import UsageError
from overnight.spec.hub import HubSource

_LONGEST_REASON = 200


def hub_rows(hub: HubSource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a split with their places (``row 0``); the package keeps them on disk, not in memory.

    Raises:
        UsageError: the package is not installed, it cannot load the split, or it gives fewer or more rows than the
            split has.
    """
    split = _loaded(hub)
    expected = getattr(split, "num_rows", None)
    n_rows = 0
    for row in split:
        yield f"row {n_rows}", row
        n_rows += 1
    if expected is not None and expected != n_rows:
        raise UsageError(f"{hub.address}: {n_rows} rows came, the split has {expected}; load it again")


def _loaded(hub: HubSource) -> Any:
    load_dataset = _loader(hub)
    revision = {} if hub.revision is None else {"revision": hub.revision}
    try:
        return load_dataset(hub.repo, hub.config, split=hub.split, **revision)
    # It raises what its file systems, its HTTP client and its builders raise; each is about this address.
    except Exception as error:  # noqa: BLE001 - see above; nothing is swallowed
        lines = str(error).split("\n")
        reason = " ".join(lines[0].split())[:_LONGEST_REASON] or "no reason given"
        raise UsageError(
            f"{hub.address}: cannot be loaded ({type(error).__name__}: {reason}); "
            "check the name, the configuration and the network, or give the path of a file"
        ) from None


def _loader(hub: HubSource) -> Any:
    try:
        # A folder `datasets` in the working directory imports as an empty package, which has no loader.
        return importlib.import_module("datasets").load_dataset
    except (ImportError, AttributeError):
        raise UsageError(
            f"{hub.address}: reading from the hub needs the package datasets, which is not installed; "
            "pip install 'overnight[hub]', or give the path of a file"
        ) from None
