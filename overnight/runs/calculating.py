"""Calculation in the flow's process: alone, and on so many threads."""

import contextlib
from collections.abc import Iterator

from overnight.runs.quiet import QUIET
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.telemetry.cores import physical_cores

_ON_OUR_PROCESSOR = (EngineKind.LLAMA_CPP, EngineKind.TRANSFORMERS, EngineKind.OLLAMA)


@contextlib.contextmanager
def calculating(execution: Execution) -> Iterator[None]:
    """Bound the threads of BLAS and OpenMP while the block runs, and keep away from models that generate.

    What is not loaded yet cannot be bounded, so that the libraries that calculate are loaded first.
    """
    import numpy as np  # noqa: PLC0415, F401 - only where something is calculated
    import scipy.linalg  # noqa: PLC0415, F401 - SciPy brings a BLAS of its own
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    n_threads = execution.calculation_threads or physical_cores()
    with (
        QUIET.calculating(may_disturb=execution.calculate_while_generating),
        threadpool_limits(limits=n_threads),
    ):
        yield


def generating(engine: EngineKind) -> contextlib.AbstractContextManager[None]:
    """Return what keeps calculation away while a model of this engine generates; nothing does from one elsewhere."""
    return QUIET.generating() if engine in _ON_OUR_PROCESSOR else contextlib.nullcontext()
