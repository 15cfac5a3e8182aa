import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from overnight.cli import bench, caches, checking, deploying, main, offline, plots, running
from overnight.cli.app import app
from overnight.cli.arguments import normalised
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.dataset import DatasetSpec
from overnight.spec.execution import Execution
from overnight.spec.ladder import LadderSpec
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from overnight.spec.prompt_set import PromptSet
from overnight.spec.reading import expanded_text, validate
from overnight.spec.sweep import validate_sweep
from tests.unit.docs.pages import PAGES, ROOT, Block, anchors, blocks, commands, links, mentioned

MODULES = (bench, caches, checking, deploying, offline, plots)  # they register their commands
COMMAND = typer.main.get_command(app)
ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
FENCED = [(str(block), words) for block in ALL_BLOCKS for words in commands(block)]
MENTIONED = [(page.name, words) for page in PAGES for words in mentioned(page)]
YAML = [block for block in ALL_BLOCKS if block.language == "yaml"]
README = [block for block in ALL_BLOCKS if block.page == ROOT / "README.md"]
RUNS = [(where, words) for where, words in FENCED if words[:2] == ["overnight", "run"]]


def of(program: str, found: list[tuple[str, list[str]]]) -> list[Any]:
    return [
        pytest.param(words, id=f"{where} {shlex.join(words)}")
        for where, words in found
        if words[0] == program
    ]


def resolved(words: list[str]) -> tuple[typer.core.TyperCommand | typer.core.TyperGroup, Any, list[str]]:
    """Return the command that words name, with its context and what is left of them."""
    command: Any = COMMAND
    context: Any = command.make_context("overnight", [], resilient_parsing=True)
    rest = normalised(words[1:])
    while isinstance(command, typer.core.TyperGroup) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands and command.name == "import":
            break  # its files may follow at once
        name, rest = rest[0], rest[1:]
        assert name in command.commands, f"no command {name!r}; there are {', '.join(command.commands)}"
        command = command.commands[name]
        context = typer.Context(command, info_name=name, parent=context)
    return command, context, rest


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


def test_there_is_something_to_look_at() -> None:
    assert len(of("overnight", FENCED)) > 40
    assert len(MENTIONED) > 60
    assert len(YAML) > 20


@pytest.mark.parametrize("words", of("overnight", FENCED))
def test_a_command_line_is_one_that_the_command_takes(words: list[str]) -> None:
    command, context, rest = resolved(words)
    command.make_context(command.name or "overnight", rest, parent=context.parent)


@pytest.mark.parametrize("words", of("overnight", MENTIONED))
def test_a_command_that_is_mentioned_is_there_with_its_options(words: list[str]) -> None:
    words = [word.rstrip(",") for word in words]
    command, _, rest = resolved(words[:1] + [word for word in words[1:] if word != "..."])
    given = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert given <= options(command)


def test_every_command_is_in_the_readme() -> None:
    # What nobody is told of is not there.
    told = {words[1] for where, words in MENTIONED if where == "README.md" and len(words) > 1}
    told |= {words[1] for where, words in FENCED if where.startswith("README") and words[0] == "overnight"}
    assert set(COMMAND.commands) <= told  # type: ignore[attr-defined]


@pytest.fixture
def readers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with all files that the README has a reader write, and what they name."""
    home = tmp_path / "home"
    folder = tmp_path / "project"
    files = {folder / block.file: block.text for block in README if block.file}
    rows = [
        {"id": f"b{n}", "question": "Which?", "answers": ["it"], "context": "It is it."} for n in range(300)
    ]
    files |= {
        folder / "prompts" / "control.txt": "You answer questions.",
        folder / "prompts" / "terse.treatment.txt": "You answer in a word or two.",
        folder / "datasets" / "birds.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        home / "models" / "my-8b-Q4_K_M.gguf": "GGUF and nothing else",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return folder


def leaves(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def test_the_files_of_the_readme_are_a_sweep_that_can_run(
    readers_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaves("validate", "sweep.yaml") == 0, capsys.readouterr().err
    assert leaves("plan", "sweep.yaml", "--json") == 0
    plan = json.loads("{" + capsys.readouterr().out.partition("\n{")[2])
    assert plan["n_items"] == 250
    assert plan["n_requests"] == 250 * 2 * 2  # two arms, two temperatures


@pytest.mark.parametrize("words", of("overnight", [run for run in RUNS if run[0].startswith("README")]))
def test_the_runs_of_the_readme_can_be_planned_as_they_stand(
    words: list[str], readers_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[2].startswith("config/"):
        words = [*words[:2], str(ROOT / words[2]), *words[3:]]
    assert leaves(*words[1:], "--plan-only") == 0, capsys.readouterr().err
    assert len(list((readers_folder / "experiments").glob("run_*/plan.json"))) == 1


@pytest.mark.parametrize("words", of("overnight", [run for run in RUNS if not run[0].startswith("README")]))
def test_a_run_names_a_sweep_that_is_there_and_changes_what_it_has(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began: list[str] = []
    monkeypatch.setattr(running, "run_sweep", lambda sweep, **_: began.append(sweep.spec.name))
    code, said = leaves(*words[1:]), capsys.readouterr().err
    if "(hf download)" in said:
        pytest.skip("its weights are on a hub, and not here")
    assert code == 0, said
    assert len(began) == 1


@pytest.mark.parametrize(
    "line",
    ["models --json", "list", "audit-prompts", "cache ls", "validate quickstart", "--help", "run --help"],
)
def test_a_command_that_needs_no_model_does_what_it_does(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert leaves(*line.split()) == 0, capsys.readouterr().err


@pytest.mark.parametrize("block", YAML, ids=str)
def test_an_example_is_what_its_page_says_it_is(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OVERNIGHT_DATA", str(tmp_path))
    value = yaml.safe_load(block.text)
    path = Path(str(block))
    if block.file and "name" in value and "kind" not in value:
        assert value["name"] == Path(block.file).stem, "a file is found by its name"
    checked = False
    for spec, example in parts(value):
        validate(spec, {"name": "example", **example} if "name" in spec.model_fields else example, path)
        checked = True
    if "kind" in value:
        validate_sweep(value, path)
        checked = True
    assert checked or "instructions" in value, "no test knows what this is an example of"


def parts(value: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield what an example holds, with the specification that it is to keep."""
    if "kind" in value:
        return
    if "control" in value:
        yield PromptSet, value
    elif "rungs" in value:
        yield LadderSpec, value
    elif "fit" in value:
        yield LensSpec, value
    elif "engine" in value:
        value = {**value, "source": expanded_text(value["source"])}
        yield ModelSpec, json.loads(json.dumps(value).replace("https://.../", "https://host/"))
    elif {"path", "hub"} & value.keys():
        yield DatasetSpec, json.loads(expanded_text(json.dumps(value)))
    if "execution" in value:
        yield Execution, value["execution"]
    for dataset in value.get("experiment", {}).get("datasets", []):
        if isinstance(dataset, dict):
            yield DatasetSpec, dataset


def test_an_example_of_a_trait_has_the_keys_of_one_that_is_shipped() -> None:
    shown = [yaml.safe_load(block.text) for block in YAML if "instructions:" in block.text]
    shipped = shipped_config() / "traits" / "confidence" / "instructions.yaml"
    assert [set(each) for each in shown] == [set(yaml.safe_load(shipped.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_goes_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_shipped_name_that_a_page_links_paths_to_is_there(page: Path) -> None:
    # `config/...`, `benchmarks/...`, `docs/...` in the text; names in capitals and <...> are the reader's.
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:config|benchmarks|docs|deployments|tests)/[\w./-]+)`", text):
        if "my-" not in name:
            assert (ROOT / name).exists(), name


def test_every_deployment_that_is_named_is_declared() -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    names = {f"{each['entrypoint'].rpartition('.')[2].replace('_', '-')}/{each['name']}" for each in declared}
    named = [
        word
        for _, words in FENCED
        if words[:2] == ["prefect", "deployment"]
        for word in words
        if re.fullmatch(r"[a-z-]+/[a-z-]+", word)
    ]
    assert named
    assert set(named) <= names


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make (\w+)`", page.read_text(encoding="utf-8"))}
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    "words",
    of("python", [(f"{page.name}", code.split()) for page in PAGES for code in re.findall(
        r"(?:^|`)(python benchmarks/[^`\n#]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)]),
)  # fmt: skip
def test_every_benchmark_that_is_named_takes_its_options(words: list[str]) -> None:
    script = (ROOT / words[1]).read_text(encoding="utf-8")
    for option in re.findall(r"--[a-z-]+", " ".join(words[2:])):
        assert f'"{option.replace("--no-", "--")}"' in script, option  # argparse makes both of one


def test_what_the_readme_says_is_in_the_config_is_there() -> None:
    root = ConfigRoot(shipped_config())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"\| `([a-z-]*quickstart)` \|", text):
        assert root.sweep(name)[1]["kind"]
    assert {words[2] for _, words in RUNS if words[2].startswith("config/")} <= {
        f"config/sweeps/{path.name}" for path in (shipped_config() / "sweeps").iterdir()
    }
