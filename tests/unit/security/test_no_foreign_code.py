"""No code that data brought along is run: not by our source, and not by what it calls, unless somebody asks for it."""

import ast
import functools
import os
import pickle
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from overnight.engines.hf_folders import counted_files
from overnight.errors import UsageError
from overnight.importing.plain_pickle import read_plain
from overnight.spec.model import ModelSpec
from overnight.spec.reading import read_mapping

ROOT = Path(__file__).parents[3]
SOURCES = sorted(
    path
    for folder in ("overnight", "flows", "tasks", "deployments")
    for path in (ROOT / folder).rglob("*.py")
)
# Dotted calls that turn data into code, a shell, or objects of a file's choosing. A method that only shares its name
# with one of them (model.eval()) is no name of these.
RUNS_DATA = frozenset(
    {
        *(
            "eval",
            "exec",
            "compile",
            "__import__",
            "os.system",
            "os.popen",
            "runpy.run_path",
            "code.interact",
        ),
        *(
            "pickle.load",
            "pickle.loads",
            "pickle.Unpickler",
            "cPickle.load",
            "dill.load",
            "dill.loads",
            "joblib.load",
        ),
        *(
            "cloudpickle.load",
            "cloudpickle.loads",
            "marshal.load",
            "marshal.loads",
            "shelve.open",
            "jsonpickle.decode",
        ),
        *(
            "pd.read_pickle",
            "pandas.read_pickle",
            "torch.load",
            "torch.hub.load",
            "torch.package.PackageImporter",
        ),
        *(
            "yaml.unsafe_load",
            "yaml.full_load",
            "yaml.load_all",
            "yaml.unsafe_load_all",
            "yaml.full_load_all",
        ),
        *("shutil.unpack_archive", "tarfile.open", "tempfile.mktemp", "ssl._create_unverified_context"),
        *(
            "multiprocessing.Pool",
            "asyncio.create_subprocess_shell",
            "subprocess.getoutput",
            "os.execvp",
            "os.startfile",
        ),
    }
)
# Where one of them stands all the same, and why.
ALLOWED = {("overnight/spec/yaml_values.py", "yaml.load"): "a subclass of SafeLoader, tested below"}


@functools.cache
def calls() -> list[tuple[str, int, str, ast.Call]]:
    """Return every call of our source: file, line, dotted name, node."""
    found = []
    for path in SOURCES:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {}
        for node in nodes:  # `from pickle import load as read` is pickle.load
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            elif isinstance(node, ast.Import):
                names |= {each.asname: each.name for each in node.names if each.asname}
        file = path.relative_to(ROOT).as_posix()
        for node in nodes:
            if isinstance(node, ast.Call):
                first, dot, rest = _dotted(node.func).partition(".")
                found.append((file, node.lineno, f"{names.get(first, first)}{dot}{rest}", node))
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def test_no_call_of_ours_runs_data() -> None:
    assert len(SOURCES) > 500
    found = [
        f"{file}:{line}: {name}"
        for file, line, name, _ in calls()
        if (name in RUNS_DATA or name == "yaml.load") and (file, name) not in ALLOWED
    ]
    assert found == []


def test_no_process_is_started_by_a_shell_and_no_certificate_is_passed_over() -> None:
    found = [
        f"{file}:{line}: {keyword.arg}"
        for file, line, _, node in calls()
        for keyword in node.keywords
        if keyword.arg in {"shell", "verify", "allow_pickle", "trust_remote_code", "weights_only"}
        and not (
            isinstance(keyword.value, ast.Constant) and keyword.value.value is (keyword.arg == "weights_only")
        )
        # What the user says of a model, handed on.
        and ast.unparse(keyword.value) not in {"trust_remote_code", "settings['trust_remote_code']"}
    ]
    assert found == []


def test_arrays_are_read_without_pickles_and_models_from_folders_of_this_machine() -> None:
    # numpy's default is already so; that it is written down survives a change of the default.
    for file, line, name, node in calls():
        if not name.endswith((".load", ".from_pretrained")):
            continue
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in {"np.load", "numpy.load"}:
            assert keywords.get("allow_pickle") == "False", f"{file}:{line}"
        # A GGUF file holds numbers alone, and a LoraConfig is JSON.
        if name.endswith(".from_pretrained") and "gguf_file" not in keywords and "LoraConfig" not in name:
            assert keywords.get("local_files_only") == "True", f"{file}:{line}"
            assert "Tokenizer" in name or keywords.get("use_safetensors") == "True", f"{file}:{line}"


def test_ruff_looks_for_the_same_in_what_is_written_next() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert settings["select"] == ["ALL"]
    assert {rule for rule in settings["ignore"] if re.fullmatch(r"S\d*", rule)} == {"S603"}
    for where, rules in settings["per-file-ignores"].items():
        assert where.split("/")[0] in {"tests", "benchmarks", "docs"} or not any(
            re.fullmatch(r"S\d*", rule) for rule in rules
        )


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch pwned']",
        "a: !!python/object/new:os.system ['touch pwned']",
        "a: !!python/name:os.system ''",
        "a: !!python/module:os ''",
        "!!python/object/apply:os.mkdir ['pwned']",
        "a: !!python/object:overnight.ids.digest {}",
    ],
)
def test_yaml_makes_plain_values_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"s\.yaml"):
        read_mapping(tmp_path / "s.yaml", "a sweep")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]
    assert issubclass(_loader(), yaml.SafeLoader)


def _loader() -> type:
    from overnight.spec import yaml_values

    return yaml_values._PlainLoader


class Evil:
    """What a pickle makes of itself: a call."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call", [(os.mkdir, "pwned"), (eval, "1"), (exec, "x=1"), (os.system, "touch pwned"), (__import__, "os")]
)
def test_a_pickle_that_is_imported_calls_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, call: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pkl"
    for value in (Evil(*call), [{"a": Evil(*call)}], {"k": (1, Evil(*call))}):
        path.write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(UsageError):
            read_plain(path)
    assert [each.name for each in tmp_path.iterdir()] == ["x.pkl"]


def test_no_model_brings_code_unless_somebody_says_so() -> None:
    model = ModelSpec(
        name="m",
        engine="transformers",
        source="/nowhere/m",
        family="f",
        params_billion=1,
        quantization="fp32",
        context_tokens=8,
    )
    assert model.trust_remote_code is False
    assert model.held()["trust_remote_code"] is False
    shipped = [
        path for path in (ROOT / "config").rglob("*.yaml") if "trust_remote_code" in path.read_text("utf-8")
    ]
    assert shipped == []


def test_a_folder_whose_weights_are_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(os.mkdir, "pwned")))
    with pytest.raises(
        UsageError, match=r"pytorch_model\.bin is a pickle, which can run any code when it is read"
    ):
        counted_files(tmp_path, "m")
