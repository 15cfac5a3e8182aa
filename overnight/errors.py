"""What can go wrong, by who can mend it.

Every message is one line that says what was found, what was wanted and what to do.
"""

import os
from pathlib import Path


class OvernightError(Exception):
    """Anything this project raises on purpose."""


class UsageError(OvernightError):
    """The user must change a command, a config file or an input file; exit code 2."""


class StoreError(OvernightError):
    """A file of a run folder or of a cache is not what its digest or its format says."""


class UndefinedMetricError(OvernightError):
    """A metric has no value for this input (one class only, no pairs); never a number in its place."""


class StopRequested(OvernightError):
    """Somebody asked for the run to stop; what is finished is kept, exit code 130."""


class TrialsFailed(OvernightError):
    """Some trials of a run failed while the others went on; exit code 1."""


class DamageFound(OvernightError):
    """What was to be checked is not what it was; exit code 1."""


class NotMeasured(OvernightError):
    """A part of what a benchmark was to measure could not be; the rest was, exit code 1."""


class EngineError(OvernightError):
    """An engine could not do what it was asked to do."""


class OutOfMemory(EngineError):
    """The model, its cache or its buffers do not fit into the memory there is."""


class GpuUnusable(EngineError):
    """A GPU was asked for, or one is there, and the engine cannot use it: no smaller model changes that."""


class GpuBusy(EngineError):
    """Another run holds a model on the GPU, and this one cannot or must not wait for it any longer."""


class EngineCrashed(EngineError):
    """The process that holds the model died, and restarting it did not help."""


class EngineUnavailable(EngineError):
    """The engine does not answer, or not yet."""


class ContextOverflow(EngineError):
    """A prompt and its answer do not fit into the context; nothing was sent."""


class ModelNotFound(EngineError):
    """The engine or the source has no such model."""


class BadResponse(EngineError):
    """The engine answered with something that is not an answer."""


class RateLimited(EngineError):
    """The engine asks to be called later."""


class EngineRefused(EngineError):
    """The engine does not answer us at all: the key, the account or its credit; asking again changes nothing."""


def said_below(folder: Path, error: Exception) -> str:
    """Return what an error says, with the files of a folder named from there on."""
    return str(error).replace(f"{folder}{os.sep}", "")
