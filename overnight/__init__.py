"""Overnight language-model experiments: everything that can be said without an orchestrator."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("overnight")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
