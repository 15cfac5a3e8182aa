"""What holds a model while its block runs, and how it is asked: one place that knows all engines."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from overnight.engines.dry_run import DryRunEngine
from overnight.engines.host import EngineHost, HostSettings
from overnight.engines.llama_cpp import LlamaCppEngine
from overnight.engines.openai.client import OpenAIEngine
from overnight.engines.openai.holder import ServedElsewhere
from overnight.engines.protocol import Engine
from overnight.engines.state import EngineState
from overnight.engines.transformers.client import TransformersEngine
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec
from overnight.telemetry.cores import physical_cores

_LLAMA_CPP = "overnight.engines.llama_cpp_host"
_TRANSFORMERS = "overnight.engines.transformers.host"
_GROUP = "overnight.engines.transformers.group"


class Holder(Protocol):
    """A model that is there from ``start`` to the end of the block, in our process tree or in somebody's server.

    It publishes an ``EngineState`` in its state file while it lives.
    """

    @property
    def state(self) -> EngineState:
        """How the engine is."""
        ...

    def start(self) -> None:
        """Load the model, or find it loaded, and return when it answers.

        Raises:
            EngineError: it cannot be had; `OutOfMemory` where it does not fit.
        """
        ...

    def __enter__(self) -> Self:
        """Return itself; nothing is loaded yet."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the memory back, and return when that is proved."""
        ...


def hold(
    model: ModelSpec, weights: Path | None, context_tokens: int, execution: Execution, folder: Path
) -> Holder:
    """Return what is going to hold a model.

    Args:
        model: resolved.
        weights: its file or folder; None where a server has them.
        context_tokens: of one request.
        execution: how.
        folder: where its state file and its log go.
    """
    if model.engine is EngineKind.OPENAI_COMPATIBLE:
        return ServedElsewhere(
            model,
            folder,
            slots=execution.requests_at_once(model.engine),
            startup_timeout_s=execution.engine.startup_timeout_s,
        )
    if model.engine is EngineKind.OLLAMA:
        from overnight.engines.ollama.holder import OllamaHolder  # noqa: PLC0415 - only where it is used

        slots = execution.requests_at_once(model.engine)
        return OllamaHolder(model, execution.engine, context_tokens, slots, folder)
    settings = host_settings(model, weights or Path(), context_tokens, execution)
    return EngineHost(settings, folder, model.name)


def connect(model: ModelSpec, execution: Execution, folder: Path) -> Engine:
    """Return a client of whatever holds a model, by the state file that it left in ``folder``."""
    if model.engine is EngineKind.DRY_RUN:
        return DryRunEngine()
    if model.engine is EngineKind.OPENAI_COMPATIBLE:
        return OpenAIEngine(
            folder / f"{model.name}.json",
            model,
            settings=execution.engine.openai,
            concurrency=execution.requests_at_once(model.engine),
            timeout_s=execution.request_timeout_s,
            startup_timeout_s=execution.engine.startup_timeout_s,
        )
    if model.engine is EngineKind.OLLAMA:
        from overnight.engines.ollama.client import OllamaEngine  # noqa: PLC0415 - only where it is used

        return OllamaEngine(
            folder / f"{model.name}.json",
            model.source,
            execution.engine,
            timeout_s=execution.request_timeout_s,
        )
    client = TransformersEngine if model.engine is EngineKind.TRANSFORMERS else LlamaCppEngine
    return client(
        folder / f"{model.name}.json",
        timeout_s=execution.request_timeout_s,
        startup_timeout_s=execution.engine.startup_timeout_s,
    )


def connect_all(model: ModelSpec, execution: Execution, folder: Path) -> tuple[TransformersEngine, ...]:
    """Return a client of each process that holds a model with transformers, by the state file that it left."""
    return tuple(
        TransformersEngine(
            folder / f"{model.name}.json",
            timeout_s=execution.request_timeout_s,
            startup_timeout_s=execution.engine.startup_timeout_s,
            rank=rank,
        )
        for rank in range(execution.num_processes)
    )


def host_settings(model: ModelSpec, weights: Path, context_tokens: int, execution: Execution) -> HostSettings:
    """Return how a process of our own is to hold a model, or several processes where there are to be so many.

    Of several, each may take as much memory as one alone, and they share the threads.
    """
    engine = execution.engine
    is_group = model.engine is EngineKind.TRANSFORMERS and execution.num_processes > 1
    if model.engine is EngineKind.TRANSFORMERS:
        module = _GROUP if is_group else _TRANSFORMERS
        options = {
            **model.held(),
            **engine.transformers.model_dump(),
            "batch_invariant": bool(engine.batch_invariant),
        }
    else:
        module = _LLAMA_CPP
        options = {"gpu_layers": engine.gpu_layers, "batch_invariant": engine.batch_invariant}
    if is_group:
        options |= {"num_processes": execution.num_processes}
    if engine.cpu_offload == "allow":
        options |= {"may_offload": True, "memory_margin": execution.memory_margin}
    return HostSettings(
        module=module,
        model_path=weights,
        slots=execution.requests_at_once(model.engine),
        context_tokens=context_tokens,
        threads=engine.threads or physical_cores(),
        options=options,
        startup_timeout_s=engine.startup_timeout_s,
        memory_limit_bytes=engine.memory_limit_bytes,
        is_restarted=not is_group,  # one of them died with what it was doing: the trial fails, and is resumed
    )
