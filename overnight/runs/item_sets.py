"""Whether several runs asked the same items, by what the frozen items say and not only by their ids."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overnight.errors import StoreError, UsageError
from overnight.ids import item_key
from overnight.records import ItemType
from overnight.store.manifest import broken_seals, read_manifest
from overnight.store.run_folder import RunFolder

_NAMED = 3  # items that an error lists
_TEXT_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenItem:
    """What a comparison needs of an item."""

    key: str
    content_id: str
    type: ItemType
    question: str  # its first 400 characters
    gold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SameItems:
    """Items that every run asked."""

    items: Mapping[str, FrozenItem]  # by the key that the first run gave them
    key_in_first: tuple[Mapping[str, str], ...]  # one a run: its key -> the key of the first run
    is_renamed: bool  # some run has the same items by other ids


def read_frozen(folder: RunFolder) -> dict[str, FrozenItem]:
    """Return the frozen items of a run by key.

    Raises:
        StoreError: a file of items is missing, changed or damaged.
    """
    artifacts = read_manifest(folder).items
    if broken := broken_seals(folder.path, artifacts):
        raise StoreError(f"{folder.path / broken[0]}: is missing or was changed; restore the file")
    items: dict[str, FrozenItem] = {}
    for name in artifacts:
        for item in _items(folder.path / name):
            items[item.key] = item
    if not items:
        raise StoreError(f"{folder.manifest}: names no items; a run without items cannot be compared")
    return items


def same_items(names: Sequence[str], runs: Sequence[Mapping[str, FrozenItem]]) -> SameItems:
    """Match the items of several runs: by id where each id asks the same everywhere, else by content.

    Raises:
        UsageError: they did not ask the same items; it says how many differ, and which.
    """
    first = runs[0]
    maps: list[Mapping[str, str]] = []
    for name, items in zip(names, runs, strict=True):
        if _contents(items) == _contents(first):
            maps.append({key: key for key in items})
            continue
        own, theirs = _by_content(items), _by_content(first)
        if own is None or theirs is None or own.keys() != theirs.keys():
            raise UsageError(_why_different(names[0], first, name, items))
        maps.append({key: theirs[content] for content, key in own.items()})
    return SameItems(
        items=first,
        key_in_first=tuple(maps),
        is_renamed=any(key != other for mapping in maps for key, other in mapping.items()),
    )


def _items(path: Path) -> list[FrozenItem]:
    items = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                items.append(
                    FrozenItem(
                        key=item_key(row["dataset"], row["item_id"]),
                        content_id=row["content_id"],
                        type=ItemType(row["type"]),
                        question=row["question"][:_TEXT_CHARS],
                        gold="; ".join(row["answers"])[:_TEXT_CHARS],
                    )
                )
            except (ValueError, KeyError, TypeError):
                raise StoreError(f"{path}:{number}: not a frozen item; the file was changed") from None
    return items


def _contents(items: Mapping[str, FrozenItem]) -> dict[str, str]:
    return {key: item.content_id for key, item in items.items()}


def _by_content(items: Mapping[str, FrozenItem]) -> dict[str, str] | None:
    """Return the key of each content; None where two items have the same one."""
    keys = {item.content_id: key for key, item in items.items()}
    return keys if len(keys) == len(items) else None


def _why_different(
    name: str, items: Mapping[str, FrozenItem], other_name: str, others: Mapping[str, FrozenItem]
) -> str:
    contents, other_contents = _contents(items), _contents(others)
    changed = [key for key in items if key in others and contents[key] != other_contents[key]]
    only = _only(contents, other_contents)
    other_only = _only(other_contents, contents)
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:_NAMED])}{', ...' if len(keys) > _NAMED else ''})"
        for keys, what in (
            (only, f"only in {name}"),
            (other_only, f"only in {other_name}"),
            (changed, "with the same id and other content"),
        )
        if keys
    ]
    return (
        f"{name} asked {len(items)} items, {other_name} {len(others)}, and they are not the same: "
        f"{', '.join(parts)}; run both on the same datasets, limit_items and seed"
    )


def _only(contents: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    known = set(others.values())
    return [key for key, content in contents.items() if key not in others and content not in known]
