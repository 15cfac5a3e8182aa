"""Overnight language-model experiments: everything that can be said without an orchestrator."""


def __getattr__(name: str) -> str:
    """Return ``__version__``; looking it up took a third of the time of `overnight --help`."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only where it is wanted

    try:
        return version("overnight")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
