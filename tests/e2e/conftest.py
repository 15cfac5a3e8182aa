"""The command line as a user has it: a process of its own, the real engine, the real model."""

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from overnight import processes
from tests.command_line import CommandLine, kill_tree, prefect_server, settings_of, tables

# Short prompts and answers: what is tested is what happens around the model, and the model is slow. Answers are asked
# a second time, and looked at more closely, only where a test says so.
AUDITED = ("--set", "execution.audit.share=0.02")  # at least 4 draws of each trial
FILES = {
    "small.yaml": """
        kind: prompt-sweep
        name: small
        experiment:
          datasets: [facts, passages]
          limit_items: 4
          defaults: {top_k: 40, max_new_tokens: {closed: 6, open: 8}}
          sweep:
            models: [smollm2-135m-instruct-q4_1]
            prompt_sets: [terse, polite]
            temps: [0.0, 0.7]
          statistics: {analyses: []}
        execution: {max_concurrent_requests: 3, engine: {gpu_layers: 0}, audit: {share: 0}}
    """,
    "prompts/terse.yaml": "{control: control.txt, treatment: terse.txt}",
    "prompts/polite.yaml": "{control: control.txt, treatment: polite.txt}",
    "prompts/control.txt": "You answer questions.",
    "prompts/terse.txt": "You answer questions in one word.",
    "prompts/polite.txt": "You answer questions and you are always polite.",
    "datasets/facts.yaml": "{type: closed, path: facts.jsonl}",
    "datasets/facts.jsonl": """
        {"id": "sky", "question": "What colour is the sky?", "answers": ["blue"]}
        {"id": "legs", "question": "How many legs has a spider?", "answers": ["eight", "8"]}
        {"id": "wet", "question": "What is frozen water called?", "answers": ["ice"]}
    """,
    "datasets/passages.yaml": "{type: open, path: passages.jsonl}",
    "datasets/passages.jsonl": """
        {"id": "hat", "context": "Ida owns a red hat.", "question": "Who owns a hat?", "answers": ["Ida"]}
        {"id": "dog", "context": "Bo has a dog.", "question": "How old is Bo?", "answers": []}
        {"id": "tea", "context": "Tea costs 2 crowns.", "question": "What does tea cost?", "answers": ["2 crowns"]}
    """,
}


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> str:
    """Return a sweep with prompts and questions of its own beside it, and the model that is shipped."""
    folder = tmp_path_factory.mktemp("config")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    return str(folder / "small.yaml")


@pytest.fixture(scope="session")
def base_environment(tmp_path_factory, model_cache) -> dict[str, str]:
    home = tmp_path_factory.mktemp("prefect")
    return settings_of(home, model_cache)


@pytest.fixture(scope="session")
def api(base_environment, tmp_path_factory) -> Iterator[str]:
    """Return the address of a real Prefect server."""
    with prefect_server(base_environment, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def start_server(tmp_path_factory) -> Callable[[dict[str, str]], contextlib.AbstractContextManager[str]]:
    """Return what starts a Prefect server of its own in an environment, and ends it."""
    return lambda environment: prefect_server(environment, tmp_path_factory.mktemp("server"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    return processes.free_port


@pytest.fixture(scope="session")
def command_line(base_environment, api, tmp_path_factory) -> CommandLine:
    """Return a command line whose runs several tests look at."""
    return CommandLine(tmp_path_factory.mktemp("shared"), base_environment | {"PREFECT_API_URL": api})


@pytest.fixture
def overnight(base_environment, api, tmp_path) -> CommandLine:
    """Return the command line, talking to a Prefect server."""
    return CommandLine(tmp_path, base_environment | {"PREFECT_API_URL": api})


@pytest.fixture
def reusing(overnight, model_cache, tmp_path) -> CommandLine:
    """Return a command line with a request cache of its own, and the user's weights."""
    cache = tmp_path / "cache"
    cache.mkdir(exist_ok=True)
    (model_cache / "models").mkdir(parents=True, exist_ok=True)
    (cache / "models").symlink_to(model_cache / "models", target_is_directory=True)
    return replace(
        overnight,
        environment=overnight.environment | {"OVERNIGHT_CACHE_DIR": str(cache)},
        reuses_answers=True,
    )


@pytest.fixture
def overnight_alone(base_environment, tmp_path) -> CommandLine:
    """Return the command line without any server."""
    environment = {key: value for key, value in base_environment.items() if key != "PREFECT_API_URL"}
    return CommandLine(tmp_path, environment)


@pytest.fixture(scope="session")
def tables_of():
    return tables


@pytest.fixture
def kill():
    return kill_tree
