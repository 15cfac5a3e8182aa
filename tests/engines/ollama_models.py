"""What an Ollama server knows: its tags, and which of them are loaded, how and until when."""

import re
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

# api/types.go DefaultOptions; repeat_penalty is 1.1 up to 0.29.
DEFAULTS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": -1,
    "num_predict": -1,
    "num_keep": 4,
}
_LOADING = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_FOR_EVER_S = 10 * 365 * 86400.0


class Refused(Exception):
    """An answer that is an error: its status, and the text under ``error``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Tag:
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)  # of its Modelfile
    capabilities: tuple[str, ...] = ("completion",)
    size: int = 100_000_000
    train_context: int = 8192

    @property
    def digest(self) -> str:
        return sha256(repr((self.name, self.parameters, self.capabilities, self.size)).encode()).hexdigest()

    def listed(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.name,
            "modified_at": "2026-09-01T12:00:00.123456789Z",
            "size": self.size,
            "digest": self.digest,
            "details": _DETAILS,
        }

    def shown(self) -> dict[str, Any]:
        lines = [
            f'{name:<30} "{one}"' if isinstance(one, str) else f"{name:<30} {one}"
            for name, value in self.parameters.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        return {
            "modelfile": f"FROM {self.name}",
            "parameters": "\n".join(lines),
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {"general.architecture": "llama", "llama.context_length": self.train_context},
            "capabilities": list(self.capabilities),
            "modified_at": "2026-09-01T12:00:00.123456789Z",
        }


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    tag: Tag
    num_ctx: int
    loaded_with: tuple[tuple[str, Any], ...]
    size_vram: int
    expires: float


class Models:
    """Tags and what is loaded of them; the threads of the server share it."""

    def __init__(self, *tags: Tag, default_num_ctx: int = 4096) -> None:
        self._lock = threading.Lock()
        self.tags = {tag.name: tag for tag in tags}
        self.pullable: dict[str, Tag] = {}
        self.default_num_ctx = default_num_ctx
        self.loaded: dict[str, Loaded] = {}
        self.n_loads = 0
        self.load_failure: str | None = None
        self.on_gpu = 0.0  # share of a model that a GPU takes
        self.never_unloads = False

    def tag(self, name: str) -> Tag:
        found = self.tags.get(full_name(name))
        if found is None:
            raise Refused(404, f"model '{name}' not found")
        return found

    def load(self, tag: Tag, options: dict[str, Any], keep_alive: Any, *, shift: Any) -> Loaded:
        """Have a tag loaded with the options that count for that; others mean that it is loaded again."""
        with self._lock:
            self._expire()
            asked = {name: options[name] for name in _LOADING if name in options}
            num_ctx = min(asked.get("num_ctx", self.default_num_ctx), tag.train_context)
            key = (*sorted(asked.items()), ("shift", shift))
            there = self.loaded.get(tag.name)
            if there is None or there.loaded_with != key:
                if self.load_failure is not None:
                    raise Refused(500, self.load_failure)
                self.n_loads += 1
            loaded = Loaded(
                tag=tag,
                num_ctx=num_ctx,
                loaded_with=key,
                size_vram=int(tag.size * self.on_gpu),
                expires=time.time() + seconds(keep_alive),
            )
            self.loaded[tag.name] = loaded
            return loaded

    def use(self, loaded: Loaded, keep_alive: Any) -> None:
        """Note that a request is answered: what keeps it loaded counts from now on."""
        with self._lock:
            if loaded.tag.name in self.loaded:
                self.loaded[loaded.tag.name] = replace(loaded, expires=time.time() + seconds(keep_alive))
            self._expire()

    def unload(self, name: str) -> None:
        with self._lock:
            if not self.never_unloads:
                self.loaded.pop(full_name(name), None)

    def running(self, *, knows_context: bool) -> list[dict[str, Any]]:
        with self._lock:
            self._expire()
            return [
                each.tag.listed()
                | {
                    "expires_at": (
                        datetime.fromtimestamp(0, UTC) + timedelta(seconds=each.expires)
                    ).isoformat(),
                    "size_vram": each.size_vram,
                }
                | ({"context_length": each.num_ctx} if knows_context else {})
                for each in self.loaded.values()
            ]

    def _expire(self) -> None:
        now = time.time()
        self.loaded = {name: each for name, each in self.loaded.items() if each.expires > now}


def full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def seconds(keep_alive: Any) -> float:
    """Return what ``keep_alive`` says in seconds: a number, or a duration of Go's; negative is for ever."""
    if keep_alive is None:
        return 300.0
    if isinstance(keep_alive, str):
        if not re.fullmatch(r"-?([0-9.]+(ns|us|ms|s|m|h))+", keep_alive):
            raise Refused(400, f'time: invalid duration "{keep_alive}"')
        total = sum(
            float(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9.]+)(ns|us|ms|s|m|h)", keep_alive)
        )
        keep_alive = -total if keep_alive.startswith("-") else total
    return _FOR_EVER_S if keep_alive < 0 else float(keep_alive)
