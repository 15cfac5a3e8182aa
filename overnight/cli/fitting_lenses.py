"""``overnight fit-lens``: a line a measurement, and where the lens is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.errors import UsageError
from overnight.runs.lens_fits import LensFitted, fit_lens
from overnight.runs.resolving import lens_to_fit
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import Execution
from overnight.spec.lens import LensSpec
from overnight.spec.overrides import Overrides
from overnight.spec.reading import read_mapping, validate

_YAML = (".yaml", ".yml")
_EXECUTION = "execution."


def fit_lens_command(name: str, model: str, assignments: Sequence[str], *, as_json: bool) -> None:
    """Fit, and print a line a measurement and one at the end.

    Args:
        name: of a lens in ``config/lenses``, or the path of its file.
        model: a name in ``config/models``, or the path of its folder.
        assignments: ``key=value`` of the lens, or ``execution.key=value``.
        as_json: print JSON, and nothing but the result.

    Raises:
        UsageError: there is no such lens or model, or a key or value of it is wrong.
        EngineError: it could not be fitted.
    """
    spec, execution, root = _asked(name, assignments)
    lens, held = lens_to_fit(
        spec, find_model(model).model_copy(update={"ladder": ()}), root, execution.engine
    )
    out = console()
    stages: set[str] = set()

    def tell(message: dict[str, Any]) -> None:
        if as_json:
            return
        if "step" in message:
            out.print(measurement_in_words(message), highlight=False, soft_wrap=True)
        elif message["stage"] not in stages:
            stages.add(message["stage"])
            out.print(f"{message['stage']}: {message['of']}, {message['seconds']:.0f} s", highlight=False)

    found = fit_lens(lens, held, execution, on_progress=tell)
    if as_json:
        print(json.dumps(_record(found), indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
    else:
        out.print(result_in_words(found), highlight=False, soft_wrap=True)


def measurement_in_words(message: dict[str, Any]) -> str:
    """Return the line of a measurement."""
    loss = "" if message["loss"] is None else f"loss {message['loss']:.4f}, "
    held_out, seconds = f"{message['held_out_loss']:.4f}", f"{message['seconds']:.0f} s"
    return f"step {message['step']}: {loss}held out {held_out} nats a token, {seconds}"


def result_in_words(found: LensFitted) -> str:
    """Return the line at the end."""
    facts = found.described.fit
    said = [f"lens {found.described.lens.name} {'found' if found.was_cached else 'fitted'}: {found.folder}"]
    if facts.get("held_out_loss") is not None:
        said.append(f"held-out loss {facts['held_out_loss']:.4f} nats a token")
    for key, what in (
        ("held_out_fve", "share of held-out variance"),
        ("held_out_fve_of_other_vectors_texts", "by texts of other vectors"),
    ):
        shares = [
            f"{share:.3f} by {'one text' if k == '1' else f'the best of {k}'}"
            for k, share in (facts.get(key) or {}).items()
            if share is not None
        ]
        if shares:
            said.append(f"{what} {', '.join(shares)}")
    return "; ".join(said)


def _asked(name: str, assignments: Sequence[str]) -> tuple[LensSpec, Execution, ConfigRoot]:
    path = Path(name).expanduser()
    if path.suffix in _YAML:
        root = ConfigRoot.of_sweep(path)
        value = read_mapping(path, "a lens")
        value.setdefault("name", path.stem)
    else:
        root = ConfigRoot(Path("config"))
        path, value = Path(f"lens {name}"), root.lens(name).model_dump(mode="json", exclude_unset=True)
    of_lens, of_execution = Overrides(value), Overrides({})
    for each in assignments:
        if each.startswith(_EXECUTION):
            of_execution.set_text(each.removeprefix(_EXECUTION))
        else:
            of_lens.set_text(each)
    lens = validate(LensSpec, of_lens.value, path)
    if lens.fit is None:
        raise UsageError(f"{path}: this lens is a folder already ({lens.path}); there is nothing to fit")
    return lens, validate(Execution, of_execution.value, Path("--set execution")), root


def _record(found: LensFitted) -> dict[str, Any]:
    return {
        "lens": found.described.lens.name,
        "model": found.described.model,
        "folder": str(found.folder),
        "was_cached": found.was_cached,
        "seconds": round(found.seconds, 1),
        "fit": dict(found.described.fit),
    }
