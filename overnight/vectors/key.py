"""What a store of states is of: two runs share states only where all of this is the same."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from overnight.errors import StoreError
from overnight.ids import digest
from overnight.store.files import write_text
from overnight.vectors.floats import Kept

KEY_FILE = "key.yaml"
# Goes up whenever the same model gives other states for the same text.
STATES_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StateKey:
    """What states depend on, beside the text.

    Not in it, because it changes when states come and not which: how many texts there are, their order, batches,
    processes, devices.
    """

    model_digest: str  # of the weights and the tokenizer
    held: str  # how the weights are held, e.g. float32, bfloat16, int8
    points: tuple[str, ...]  # labels, e.g. 12.residual_out, in the order in which a row has them
    positions: str  # which states of a sequence are averaged, e.g. response[:5]
    rendering: str  # how a text becomes tokens, e.g. "plain" or the digest of a chat template
    kept: Kept = Kept.FLOAT32
    version: int = field(default=STATES_VERSION)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"points": list(self.points), "kept": self.kept.value}

    @classmethod
    def of(cls, value: dict[str, Any]) -> "StateKey":
        """Return the key of plain values.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: they are not those of a key.
        """
        return cls(**{**value, "points": tuple(value["points"]), "kept": Kept(value["kept"])})

    @property
    def digest(self) -> str:
        """The name of the store's folder."""
        return digest(self.as_dict())


def write_key(folder: Path, key: dict[str, Any]) -> None:
    """Write what a folder is of, for people and for `require_key`."""
    write_text(folder / KEY_FILE, yaml.safe_dump(key, sort_keys=False, allow_unicode=False, width=110))


def require_key(folder: Path, key: dict[str, Any]) -> None:
    """Check that a folder is of what its name says; one without a key is taken for new.

    Raises:
        StoreError: its key is another one or cannot be read; the message has what differs.
    """
    path = folder / KEY_FILE
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise StoreError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); take {folder} away"
        ) from None
    if found == key:
        return
    if not isinstance(found, dict):
        raise StoreError(f"{path}: found no keys and values in it; take {folder} away")
    differing = [name for name in {**key, **found} if found.get(name) != key.get(name)]
    said = "; ".join(
        f"{name}: there {_short(found.get(name))}, wanted {_short(key.get(name))}" for name in differing
    )
    raise StoreError(f"{path}: describes other states than its folder's name ({said}); take {folder} away")


def _short(value: Any, limit: int = 60) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[:limit]}..."
