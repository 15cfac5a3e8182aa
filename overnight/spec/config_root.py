"""Where models, prompt sets, datasets and sweeps are found by name."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import platformdirs

from overnight.errors import UsageError
from overnight.file_names import is_file_name
from overnight.spec.dataset import DatasetSpec
from overnight.spec.ladder import LadderSpec, RungSpec
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from overnight.spec.preset import Preset
from overnight.spec.prompt_set import PromptSet
from overnight.spec.reading import expanded_text, read_mapping, read_text, validate
from overnight.spec.text_model import TextModelSpec
from overnight.spec.trait import TraitSpec
from overnight.texts import unwritable

M = TypeVar("M", ModelSpec, TextModelSpec)
_PACKAGE = Path(__file__).parent.parent
_PRESETS = "presets"  # of which some belong to the machine, not to the project
_TRAITS = "traits"


def shipped_config() -> Path:
    """Return the configuration that came with this installation (or stands beside the source tree)."""
    packaged = _PACKAGE / "_config"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "config"


def user_config() -> Path:
    """Return where a user's own configuration is: ``OVERNIGHT_CONFIG_DIR``, or the user's config folder."""
    named = os.environ.get("OVERNIGHT_CONFIG_DIR")
    return Path(named).expanduser() if named else Path(platformdirs.user_config_dir("overnight"))


def own_presets(project: Path = Path("config")) -> Path:
    """Return where a measured preset is written: the project's folder of presets, else the user's."""
    ours = project / _PRESETS
    return ours if ours.is_dir() else user_config() / _PRESETS


@dataclass(frozen=True, slots=True)
class ConfigRoot:
    """A folder with ``sweeps/ models/ prompts/ datasets/ text_models/``.

    What it lacks is looked up in the shipped one.
    """

    folder: Path

    @classmethod
    def of_sweep(cls, sweep: Path) -> "ConfigRoot":
        """Return the root that a sweep file belongs to: the nearest parent that has a known folder."""
        for parent in sweep.resolve().parents:
            if any((parent / kind).is_dir() for kind in ("models", "prompts", "datasets")):
                return cls(parent)
        return cls(sweep.resolve().parent)

    def model(self, name: str) -> ModelSpec:
        """Return the model of that name; a relative source path starts at its file."""
        path, value = self._read("models", name)
        value.setdefault("name", path.stem)
        spec = validate(ModelSpec, value, path)
        _same_name(spec.name, path)
        return _beside(spec, path)

    def text_model(self, name: str) -> TextModelSpec:
        """Return the text-pair model of that name; a relative source path starts at its file."""
        path, value = self._read("text_models", name)
        value.setdefault("name", path.stem)
        spec = validate(TextModelSpec, value, path)
        _same_name(spec.name, path)
        return _beside(spec, path)

    def stand_ins(self, model: ModelSpec) -> tuple[ModelSpec, ...]:
        """Return the models that stand in for one that does not fit, best first; without ladders of their own.

        Of a ladder that the model itself is on, these are the rungs below it.

        Raises:
            UsageError: the ladder or a model on it is not there, or two of its models have one name.
        """
        rungs: tuple[str | RungSpec | ModelSpec, ...]
        where = f"model {model.name}: ladder"
        if isinstance(model.ladder, str):
            path, value = self._read("ladders", model.ladder)
            value.setdefault("name", path.stem)
            ladder = validate(LadderSpec, value, path)
            _same_name(ladder.name, path)
            rungs, where = ladder.rungs, str(path)
        else:
            rungs = model.ladder
        found = [self._rung(rung, where) for rung in rungs]
        names = [rung.name for rung in found]
        if model.name in names:
            found = found[names.index(model.name) + 1 :]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UsageError(f"{where}: {min(twice)!r} stands twice; take one out")
        return tuple(rung.model_copy(update={"ladder": ()}) for rung in found)

    def _rung(self, rung: "str | RungSpec | ModelSpec", where: str) -> ModelSpec:
        if isinstance(rung, ModelSpec):
            return rung
        if isinstance(rung, str):
            return self.model(rung)
        like = self.model(rung.like)
        value = like.model_dump(mode="json") | {"ladder": ()} | rung.changes()
        return _beside(
            validate(ModelSpec, value, f"{where}: {rung.name}"), self._read("models", rung.like)[0]
        )

    def prompt_set(self, name: str) -> PromptSet:
        """Return the prompt set of that name with the texts of its two files."""
        return _prompt_set(*self._read("prompts", name))

    def trait(self, name: str) -> TraitSpec:
        """Return the trait of that name: a folder of contrastive texts."""
        _require_name(self.folder / _TRAITS, name)
        for folder in self._folders(_TRAITS):
            path = folder / name
            if path.is_dir():
                return validate(TraitSpec, {"name": name, "path": path.resolve()}, path)
        known = sorted({p.name for f in self._folders(_TRAITS) for p in f.glob("*") if p.is_dir()})
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
        raise UsageError(f"{self.folder / _TRAITS}: no folder {name}; {hint}")

    @staticmethod
    def prompt_set_of(path: Path) -> PromptSet:
        """Return the prompt set that a file describes, wherever it lies."""
        return _prompt_set(path, read_mapping(path, "a prompt set"))

    def dataset(self, name: str) -> DatasetSpec:
        """Return the dataset of that name; a relative path starts at its file."""
        path, value = self._read("datasets", name)
        value.setdefault("name", path.stem)
        spec = validate(DatasetSpec, value, path)
        _same_name(spec.name, path)
        if spec.path is None:
            return spec
        return spec.model_copy(update={"path": (path.parent / spec.path).resolve()})

    def lens(self, name: str) -> LensSpec:
        """Return the lens of that name; a relative path starts at its file."""
        path, value = self._read("lenses", name)
        value.setdefault("name", path.stem)
        spec = validate(LensSpec, value, path)
        _same_name(spec.name, path)
        if spec.path is None:
            return spec
        return spec.model_copy(update={"path": (path.parent / spec.path.expanduser()).resolve()})

    def preset(self, name: str) -> Preset:
        """Return the preset of that name: the project's, else the user's own, else the shipped one."""
        path, value = self._read(_PRESETS, name)
        value.setdefault("name", path.stem)
        spec = validate(Preset, value, path)
        _same_name(spec.name, path)
        return spec

    def sweep(self, name: str) -> tuple[Path, dict[str, object]]:
        """Return the file of the sweep of that name, and what stands in it, unchecked."""
        return self._read("sweeps", name)

    def names(self, kind: str) -> list[str]:
        """Return every name of a kind: ``models``, ``text_models``, ``prompts``, ``datasets``, ``presets``..."""
        return sorted({path.stem for folder in self._folders(kind) for path in folder.glob("*.yaml")})

    def _folders(self, kind: str) -> Iterator[Path]:
        yield self.folder / kind
        if kind == _PRESETS:
            yield user_config() / kind
        yield shipped_config() / kind

    def _read(self, kind: str, name: str) -> tuple[Path, dict[str, object]]:
        _require_name(self.folder / kind, name)
        for folder in self._folders(kind):
            path = folder / f"{name}.yaml"
            if path.is_file():
                return path, read_mapping(path, f"one of the {kind}")
        near = difflib.get_close_matches(name, self.names(kind), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self.names(kind)) or 'none'}"
        raise UsageError(f"{self.folder / kind}: no {name}.yaml; {hint}")


def find_sweep(argument: str) -> Path:
    """Return the sweep file that an argument means: a path, or the name of one that is shipped.

    Raises:
        UsageError: there is neither.
    """
    path = Path(argument).expanduser()
    if path.is_file():
        return path
    shipped = shipped_config()
    for candidate in (shipped / "sweeps" / f"{argument}.yaml", shipped.parent / argument):
        if candidate.is_file():
            return candidate
    if argument.startswith("config/") and (shipped / argument.removeprefix("config/")).is_file():
        return shipped / argument.removeprefix("config/")
    names = sorted(p.stem for p in (shipped / "sweeps").glob("*.yaml"))
    raise UsageError(
        f"{argument}: no such file; give a path, or the name of a shipped sweep: {', '.join(names)}"
    )


def _require_name(folder: Path, name: str) -> None:
    """Refuse what leads out of a folder: names come from deployments and forms as well."""
    if not is_file_name(name):
        raise UsageError(f"{folder}: {name!a} is no name of anything in it; give a name without / \\ and :")


def _beside(model: M, file: Path) -> M:
    """Return a model whose relative source starts at a file."""
    if not model.is_local_path:
        return model
    return model.model_copy(update={"source": str((file.parent / model.source).resolve())})


def _prompt_set(path: Path, value: dict[str, object]) -> PromptSet:
    name = value.setdefault("name", path.stem)
    for arm in ("control", "treatment"):
        file = value.get(arm)
        if not isinstance(file, str):
            raise UsageError(f"{path}: {arm}: found {file!r}, wanted the name of a text file")
        value[arm] = _prompt_text(path.parent / expanded_text(file), f"the {arm} prompt of {name!r}")
    spec = validate(PromptSet, value, path)
    _same_name(spec.name, path)
    return spec


def _prompt_text(path: Path, what: str) -> str:
    text = read_text(path, what).strip()
    if not text:
        raise UsageError(f"{path}: the file is empty; {what} was wanted there")
    if strange := unwritable(text):
        raise UsageError(f"{path}: the text holds {strange}; save the file as UTF-8")
    return text


def _same_name(name: str, path: Path) -> None:
    if name != path.stem:
        raise UsageError(f"{path}: name: found {name!r}, wanted {path.stem!r}; rename the file or the entry")
