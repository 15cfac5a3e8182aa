"""Whether a run is shown in Weights & Biases, and how: decided from the settings and the environment alone."""

import netrc
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from overnight.spec.tracking import TrackingSettings

_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
_MODE = "WANDB_MODE"
_OLD_NAMES = {"dryrun": "offline", "run": "online"}
_SERVER = "https://api.wandb.ai"


class TrackingMode(StrEnum):
    """How trials are handed over."""

    OFFLINE = "offline"  # as files that are sent later
    ONLINE = "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done, and what is to be said of it."""

    mode: TrackingMode | None  # None: nothing is tracked
    note: str | None = None  # where it is not what somebody asked for


def decide(
    settings: TrackingSettings, environment: Mapping[str, str], *, is_installed: bool, is_rehearsal: bool
) -> Decision:
    """Return whether and how a run is tracked.

    Args:
        settings: of the run.
        environment: variables; ``WANDB_MODE`` decides where the settings leave it open.
        is_installed: whether wandb can be imported.
        is_rehearsal: the answers are synthetic; they are shown only where somebody asks for it.
    """
    wanted: str = settings.wandb
    if wanted == "auto":
        if is_rehearsal or not is_installed:
            return Decision(mode=None)
        wanted = _wanted_by(environment)
    if wanted == "off":
        return Decision(mode=None)
    if not is_installed:
        return Decision(mode=None, note="wandb is not installed: nothing is tracked; `pip install wandb`")
    if wanted == "offline":
        return Decision(mode=TrackingMode.OFFLINE)
    if not _has_key(environment):
        return Decision(
            mode=TrackingMode.OFFLINE,
            note="wandb is offline: WANDB_API_KEY is not set and nobody is logged in; `wandb sync` sends it later",
        )
    return Decision(mode=TrackingMode.ONLINE)


def _wanted_by(environment: Mapping[str, str]) -> str:
    mode = environment.get(_MODE, "").strip().lower()
    mode = _OLD_NAMES.get(mode, mode)
    if mode in {"offline", "online"}:
        return mode
    has_key = any(environment.get(name) for name in _KEYS)
    return "online" if has_key and not mode else "off"  # disabled, and what we do not know


def _has_key(environment: Mapping[str, str]) -> bool:
    """Return whether there is a key, in the environment or where ``wandb login`` leaves it."""
    if any(environment.get(name) for name in _KEYS):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL") or _SERVER).hostname or ""
    named = environment.get("NETRC")
    files = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    return any(_has_login(file.expanduser(), host) for file in files)


def _has_login(file: Path, host: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        return False
