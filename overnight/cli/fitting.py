"""``overnight fit``: what a model needs with a few settings, what is free, and which of them would be chosen."""

import json
import re
from pathlib import Path
from typing import Any

from rich.table import Table

from overnight.cli.console import console
from overnight.errors import UsageError
from overnight.memory.estimate import MIB, Place
from overnight.memory.facts import ModelFacts, read_facts
from overnight.memory.fits import MARGIN, in_words
from overnight.memory.fitting import ModelFit, first_that_fits, fit_rungs
from overnight.memory.free import FreeMemory, free_memory
from overnight.memory.peaks import CORRECTION
from overnight.planning.ladder import ladder
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind, ModelSpec

_LONGEST, _SHORTEST = 8192, 2048  # contexts in tokens, between which is stepped down
_ROWS = 8  # of a batch of transformers, whose size follows the memory there is
_HELD_AS = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}


def show_fit(name: str, slots: int | None, context_tokens: int | None, *, as_json: bool) -> None:
    """Print what a model needs; nothing is loaded or downloaded.

    Args:
        name: of a model in ``config/models``, or the path of a GGUF file or of a folder.
        slots: only with so many requests at once.
        context_tokens: only with a context of so many tokens each.
        as_json: print JSON.
    """
    model = find_model(name)
    execution = Execution()
    free = free_memory()
    found = fit_rungs(settings_to_try(model, slots, context_tokens), execution, free)
    if as_json:
        print(json.dumps(_record(model, found, free), indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
    else:
        _print(model, found, free)


def settings_to_try(
    model: ModelSpec, slots: int | None, context_tokens: int | None
) -> list[tuple[ModelSpec, int, int]]:
    """Return the rungs of a model's ladder, as a run would step down them from a long context to a short one."""
    given = {"concurrency": slots, "context": context_tokens}
    at_once = slots or (_ROWS if model.engine is EngineKind.TRANSFORMERS else None)
    execution = Execution(
        max_concurrent_requests=at_once,
        step_down=tuple(each for each in Execution().step_down if given.get(each) is None),
    )
    longest = context_tokens or min(_LONGEST, model.context_tokens)
    rungs = ladder(model, longest, min(longest, _SHORTEST), execution).rungs
    return [(rung.model, rung.slots, rung.context_tokens) for rung in rungs]


def find_model(name: str) -> ModelSpec:
    """Return the model that is meant: a path that exists, or a name in ``config/models``.

    Raises:
        UsageError: there is neither, or what is there is no model.
    """
    path = Path(name).expanduser()
    if path.exists():
        return _model_at(path.resolve())
    if path.suffix == ".gguf" or path.is_absolute():
        raise UsageError(f"{name}: no such file; give a GGUF file, a folder, or the name of a model")
    root = ConfigRoot(Path("config"))
    model = root.model(name)
    return model.model_copy(update={"ladder": root.stand_ins(model)})


def _model_at(path: Path) -> ModelSpec:
    facts = read_facts(path)
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-")[:80] or "model"
    return ModelSpec(
        name=stem,
        engine=EngineKind.TRANSFORMERS if path.is_dir() else EngineKind.LLAMA_CPP,
        source=str(path),
        family=facts.architecture,
        params_billion=max(facts.n_parameters, 1) / 1e9,
        quantization=_quantization(facts),
        context_tokens=facts.trained_context or _LONGEST,
    )


def _quantization(facts: ModelFacts) -> str:
    """Return what most bytes of the model are stored as."""
    sizes: dict[str, int] = {}
    for tensor in facts.tensors:
        sizes[tensor.stored_as] = sizes.get(tensor.stored_as, 0) + tensor.n_bytes
    most = max(sizes, key=lambda kind: sizes[kind], default="F32")
    return _HELD_AS.get(most, most) if facts.file_format == "safetensors" else most


def _record(model: ModelSpec, found: list[ModelFit], free: tuple[FreeMemory, ...]) -> dict[str, Any]:
    chosen = first_that_fits(found)
    return {
        "model": model.name,
        "engine": model.engine.value,
        "margin": MARGIN,
        "free": [memory.as_row() for memory in free],
        "rungs": [
            {
                "model": one.model,
                "slots": one.slots,
                "context_tokens": one.context_tokens,
                **(one.as_row() or one.fit.as_row()),
            }
            for one in found
        ],
        "chosen": None
        if chosen is None
        else {"model": chosen.model, "slots": chosen.slots, "context_tokens": chosen.context_tokens},
        "unknown_because": found[0].unknown_because,
    }


def _print(model: ModelSpec, found: list[ModelFit], free: tuple[FreeMemory, ...]) -> None:
    out = console()
    for memory in free:
        amount = (
            f"unknown: {memory.absent_because}"
            if memory.free_bytes is None
            else f"{in_words(memory.free_bytes)} free of {in_words(memory.total_bytes or 0)}"
        )
        out.print(f"{memory.name}: {amount} ({memory.source})", highlight=False, soft_wrap=True)
    if all(one.estimate is None for one in found):
        out.print(
            f"{model.name}: what it needs is unknown: {found[0].unknown_because}",
            highlight=False,
            soft_wrap=True,
        )
        return
    out.print(_table(found), highlight=False)
    estimate = found[0].estimate
    for note in estimate.notes if estimate else ():
        out.print(note, highlight=False, soft_wrap=True)
    out.print(_verdict(found), highlight=False, soft_wrap=True)


def _table(found: list[ModelFit]) -> Table:
    table = Table(box=None, pad_edge=False)
    names = list(
        dict.fromkeys(
            part.name for one in found if one.estimate for part in one.estimate.parts if part.n_bytes
        )
    )
    has_device = any(one.estimate and one.estimate.on(Place.DEVICE) for one in found)
    places = ("on GPU", "on host") if has_device else ()
    for title in ("model", "at once", "context", *names, "MiB", *places, "fits"):
        is_text = title in ("model", "fits")
        shown = "correction*" if title == CORRECTION else title
        table.add_column(shown, justify="left" if is_text else "right", no_wrap=title == "model")
    for one in found:
        if one.estimate is None:
            empty = [""] * (len(names) + 1 + len(places))
            table.add_row(
                one.model, str(one.slots), str(one.context_tokens), *empty, str(one.unknown_because)
            )
            continue
        parts = [_mib(one.estimate.part(name)) for name in names]
        split = [_mib(one.estimate.on(place)) for place in (Place.DEVICE, Place.HOST)] if has_device else []
        table.add_row(
            one.model,
            str(one.slots),
            str(one.context_tokens),
            *parts,
            _mib(one.estimate.total) + ("*" if one.estimate.is_measured else ""),
            *split,
            {True: "yes", False: "no", None: f"unknown: {one.fit.why}"}[one.fit.fits],
        )
    return table


def _verdict(found: list[ModelFit]) -> str:
    chosen = first_that_fits(found)
    measured = any(one.estimate and one.estimate.is_measured for one in found)
    star = " (* corrected by what was measured here)" if measured else ""
    if chosen is None:
        return f"none of these is known to fit: {found[-1].fit.why}{star}"
    return (
        f"would be chosen: {chosen.model}, {chosen.slots} at once, {chosen.context_tokens} tokens each: "
        f"{chosen.fit.why}{star}"
    )


def _mib(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / MIB:,.0f}"
