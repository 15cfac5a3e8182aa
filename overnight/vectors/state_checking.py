"""Whether a folder of states is what was written: all of it is read."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from overnight.errors import StoreError
from overnight.vectors.key import KEY_FILE, StateKey, require_key
from overnight.vectors.shards import SUFFIX
from overnight.vectors.state_index import is_being_written, read_index
from overnight.vectors.states import shard_problem

_AGAIN = "its states are computed anew when they are needed"


def state_problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with a folder of states, in words."""
    try:
        key = _key(folder)
    except StoreError as error:
        yield str(error).removeprefix(f"{folder}/")
        return
    index = read_index(folder)
    is_busy = is_being_written(folder)
    for line in index.damaged:
        yield f"{line} is not what was written; {_AGAIN}"
    if not is_busy:
        for path in index.torn:
            yield f"the last line of {path.name} has no end; {_AGAIN}"
    for shard in index.shards:
        problem = shard_problem(shard, len(key.points), key.kept)
        if problem is not None:
            yield f"{problem.removeprefix(f'{folder}/')}; {_AGAIN}"
    known = {shard.path.name for shard in index.shards}
    if not is_busy:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if path.name not in known:
                yield f"{path.name} stands in no index: its writer was killed; it is not used"


def _key(folder: Path) -> StateKey:
    path = folder / KEY_FILE
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        key = StateKey.of(value)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; it is written anew with the next states") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        raise StoreError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); take the folder away"
        ) from None
    if key.digest != folder.name:
        raise StoreError(f"{path}: describes other states than the folder's name says; take the folder away")
    require_key(folder, key.as_dict())
    return key
