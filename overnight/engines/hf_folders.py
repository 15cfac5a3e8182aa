"""Models as the Hugging Face hub keeps them: folders of safetensors, and where the hub has them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.ids import digest
from overnight.store.files import read_json

_WEIGHTS = ".safetensors"
# What can change an answer: weights, configuration, tokenizer, chat template, and code where it may be run.
_COUNTED = (_WEIGHTS, ".json", ".jinja", ".model", ".txt", ".py")
_PATTERNS = [f"*{suffix}" for suffix in _COUNTED]
_SOURCE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+))?")
_LONGEST_REASON = 200


def is_model_folder(path: Path) -> bool:
    """True for a folder with a ``config.json``."""
    return (path / "config.json").is_file()


def counted_files(folder: Path, model: str) -> list[Path]:
    """Return the files of a model's folder that can change an answer, by name.

    Raises:
        UsageError: it is no model, its weights are pickles only, or a part of them is missing.
    """
    if not is_model_folder(folder):
        raise UsageError(
            f"model {model}: source: {folder}: no config.json in it; give the folder of a Hugging Face model"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _COUNTED)
    if not any(path.suffix == _WEIGHTS for path in files):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = (
            f"{pickles[0]} is a pickle, which can run any code when it is read" if pickles else "no weights"
        )
        raise UsageError(
            f"model {model}: source: {folder}: {found}; wanted *{_WEIGHTS} "
            "(the model's save_pretrained writes them, and most repositories have them)"
        )
    missing = sorted(_shards(folder) - {path.name for path in files})
    if missing:
        raise UsageError(
            f"model {model}: source: {folder}: {missing[0]} is missing ({len(missing)} of the parts that "
            f"model{_WEIGHTS}.index.json names); download the folder again"
        )
    return files


def folder_digest(digests: dict[str, str]) -> str:
    """Return the digest of a folder from those of its files, by name."""
    return digest(digests)


@dataclass(frozen=True, slots=True)
class HubSource:
    """Where the hub has a model: a repository, or one file of it."""

    repo: str
    revision: str | None
    file: str | None

    @classmethod
    def parse(cls, source: str) -> "HubSource":
        """Return what ``hf:owner/repo[@revision][/file]`` names; the form was checked by the specification."""
        found = _SOURCE.fullmatch(source)
        assert found is not None  # noqa: S101 - the specification's pattern is this one
        return cls(found["repo"], found["revision"], found["file"])

    def local(self) -> Path | None:
        """Return where it is on this machine; None where it was not downloaded."""
        try:
            return self._get(local_files_only=True)
        except ModelNotFound:
            return None

    def download(self) -> Path:
        """Return where it is on this machine, downloading it if it has to be.

        Raises:
            ModelNotFound: the hub does not have it, does not give it to us, or cannot be reached.
        """
        return self._get(local_files_only=False)

    def _get(self, *, local_files_only: bool) -> Path:
        import huggingface_hub  # noqa: PLC0415 - half a second, for those who have a model there

        wanted: dict[str, Any] = {"revision": self.revision, "local_files_only": local_files_only}
        try:
            if self.file is not None:
                return Path(huggingface_hub.hf_hub_download(self.repo, self.file, **wanted))
            return Path(huggingface_hub.snapshot_download(self.repo, allow_patterns=_PATTERNS, **wanted))
        # It raises its own errors, those of its HTTP client and OSError; each is about this repository.
        except Exception as error:  # noqa: BLE001 - see above; nothing is swallowed
            reason = " ".join(str(error).split())[:_LONGEST_REASON] or "no reason given"
            raise ModelNotFound(
                f"hf:{self.repo}: cannot be had ({type(error).__name__}: {reason}); check the name, the revision, "
                "HF_TOKEN for gated models and the network; without a network, copy the repository's folder here "
                "and give its path as the source"
            ) from None


def _shards(folder: Path) -> set[str]:
    index = folder / f"model{_WEIGHTS}.index.json"
    if not index.is_file():
        return set()
    try:
        return set(read_json(index)["weight_map"].values())
    except (KeyError, AttributeError, TypeError):
        raise StoreError(f"{index}: no weight_map in it; download it again") from None
