"""Every specification that a person writes, found by walking the code, and a small valid one of each."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import deployments.declared
import overnight.spec
from overnight.spec.base import Spec

# A field that a specification cannot do without; a new one is to be added here.
_VALUES: dict[str, Any] = {
    "name": "x",
    "kind": "prompt-sweep",
    "datasets": ["facts"],
    "models": ["tiny"],
    "lenses": ["l"],
    "traits": ["t"],
    "rungs": ["tiny"],
    "like": "tiny",
    "source": "x.gguf",
    "family": "f",
    "params_billion": 1.5,
    "quantization": "Q4_0",
    "context_tokens": 2048,
    "control": "a",
    "treatment": "b",
    "path": "p",
    "repo": "a/b",
    "base_url": "http://127.0.0.1:1/v1",
    "dialect": "vllm",
    "input_per_mtok": 1,
    "output_per_mtok": 1,
    "layer": 1,
}
_SOURCES: dict[str, dict[str, Any]] = {
    "DatasetSpec": {"path": "p"},
    "LensSpec": {"path": "p"},
    "TextModelSpec": {"kind": "cross-encoder"},
    "Queue": {"name": "x"},
    "Schedule": {"slug": "x", "cron": "0 1 * * *", "timezone": "Europe/Berlin"},
    "RunsAtOnce": {"limit": 1, "collision_strategy": "ENQUEUE"},
    "Deployment": {
        "name": "x",
        "entrypoint": "a.b",
        "description": "d",
        "work_pool": {"name": "here"},
    },
}
# What the code makes of others, or brings along.
_NO_FILES = frozenset({"Declared", "PrefectFile", "Pool"})


def _below(model: type[Spec]) -> Iterator[type[Spec]]:
    for found in model.__subclasses__():
        yield found
        yield from _below(found)


def specifications() -> list[type[Spec]]:
    """Return every specification that stands in a file of a person's, by name."""
    for module in pkgutil.iter_modules(overnight.spec.__path__):
        importlib.import_module(f"overnight.spec.{module.name}")
    homes = ("overnight.spec.", deployments.declared.__name__)
    found = {each for each in _below(Spec) if each.__module__.startswith(homes)}
    return sorted((each for each in found if each.__name__ not in _NO_FILES), key=lambda each: each.__name__)


def smallest(model: type[Spec]) -> dict[str, Any]:
    """Return what a specification cannot do without."""
    given = dict(_SOURCES.get(model.__name__, {}))
    for name, field in model.model_fields.items():
        if field.is_required() and name not in given:
            inner = field.annotation
            is_spec = isinstance(inner, type) and issubclass(inner, Spec)
            given[name] = smallest(inner) if is_spec else _VALUES[name]
    return given
