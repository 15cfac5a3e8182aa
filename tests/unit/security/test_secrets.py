"""What is said and written holds no secret, wherever somebody has put one."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.slurm.node import what_is_wrong
from flows.launching import require_answer
from overnight.cli import main
from overnight.cli.launching import logged
from overnight.credentials import is_secret, require_no_secret, without_credentials
from overnight.errors import OvernightError, UsageError
from overnight.runs.opening import override_rows
from overnight.spec.overrides import Overrides
from overnight.spec.reading import read_mapping
from overnight.store.run_folder import RunFolder

SECRET = "s3cr3t-d0-n0t-t3ll"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://me:{SECRET}@host:4200/api", "http://***@host:4200/api"),
        (f"postgresql+asyncpg://me:{SECRET}@db/prefect?x=1", "postgresql+asyncpg://***@db/prefect?x=1"),
        (f"'https://{SECRET}@host' and ftp://a:{SECRET}@b", "'https://***@host' and ftp://***@b"),
        (f"mailtos://me:{SECRET}@x@host", "mailtos://***@host"),
        ("http://host/a@b?c=d@e#f@g", "http://host/a@b?c=d@e#f@g"),
        ("me@host and hf:owner/repo@main", "me@host and hf:owner/repo@main"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@given(
    st.text(
        st.characters(exclude_characters=" \t\n\r\x0b\x0c/?#'\"<>@", exclude_categories=["Z", "Cs", "Cc"])
    )
)
def test_no_password_is_shown_whatever_it_is_made_of(password: str) -> None:
    assert without_credentials(f"at http://me:{password}@host/x") == "at http://***@host/x"


@pytest.mark.parametrize(
    "variable",
    [
        "OPENAI_API_KEY",
        "FIREWORKS_API_KEY",
        "WANDB_API_KEY",
        "PREFECT_API_KEY",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OVERNIGHT_NOTIFY_URL",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_API_DATABASE_PASSWORD",
        "GITHUB_TOKEN",
        "key",
    ],
)
@pytest.mark.parametrize("written", ["${{{}}}", "${}", "http://u:${{{}}}@host/v1"])
def test_no_configuration_takes_the_value_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, written: str
) -> None:
    # What a configuration says stands in effective_config.yaml, in the manifest and on the Prefect server.
    monkeypatch.setenv(variable, SECRET)
    (tmp_path / "s.yaml").write_text(json.dumps({"a": {"b": ["plain", written.format(variable)]}}))
    with pytest.raises(UsageError, match=rf"s\.yaml: found \${variable}, whose value is a secret") as refused:
        read_mapping(tmp_path / "s.yaml", "a sweep")
    assert SECRET not in str(refused.value)


def test_what_is_no_secret_is_still_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATA_DIR", "MONKEY", "TOKENIZER", "KEYBOARD", "SCRATCH"):
        assert not is_secret(variable)
        monkeypatch.setenv(variable, "here")
        (tmp_path / "s.yaml").write_text(f"path: ${variable}/x\n")
        assert read_mapping(tmp_path / "s.yaml", "a sweep") == {"path": "here/x"}
    monkeypatch.delenv("HF_TOKEN", raising=False)
    require_no_secret("costs $5 in $HF_TOKEN")  # not set: the text means itself


def test_the_last_word_on_the_terminal_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["show", f"http://me:{SECRET}@host/run"])
    assert SECRET not in "".join(capsys.readouterr())


def test_the_log_of_a_run_shows_no_password(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with logged(folder):
        logger = logging.getLogger("overnight.test")
        logger.warning("no answer from %s", f"http://me:{SECRET}@host/v1")
        try:
            int(f"postgresql://me:{SECRET}@db/prefect")
        except ValueError:
            logger.exception("failed")
    log = folder.log.read_text()
    assert "no answer from http://***@host/v1" in log
    assert "postgresql://***@db/prefect" in log
    assert SECRET not in log


def test_a_prefect_server_that_does_not_answer_is_named_without_its_password() -> None:
    url = f"http://me:{SECRET}@127.0.0.1:9/api"
    with pytest.raises(OvernightError, match=r"at http://\*\*\*@127\.0\.0\.1:9/api") as refused:
        require_answer(url)
    assert SECRET not in str(refused.value) + str(what_is_wrong(url))


def test_what_was_overridden_is_remembered_without_its_password() -> None:
    overrides = Overrides({"endpoint": {"base_url": f"http://me:{SECRET}@host/v1"}})
    overrides.set("endpoint.base_url", "http://host/v1", "--set")
    assert SECRET not in json.dumps(override_rows(overrides.made))
    assert SECRET not in overrides.made[0].sentence()


@pytest.mark.parametrize(
    "endpoint",
    [
        {"base_url": f"http://me:{SECRET}@host/v1", "dialect": "openai"},
        {"base_url": f"http://host/v1?key={SECRET}", "dialect": "openai"},
        {"base_url": "http://host/v1", "dialect": "openai", "api_key_env": SECRET},
        {"base_url": "http://host/v1", "dialect": "openai", "api_key": SECRET},
        {"base_url": "http://host/v1", "api_key_env": SECRET},
        {"base_url": f"//{SECRET}@host", "dialect": "nonsense"},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], endpoint: dict[str, str]
) -> None:
    model = {
        "name": "m",
        "engine": "openai_compatible",
        "source": "openai:m",
        "family": "f",
        "params_billion": 1,
        "quantization": "q",
        "context_tokens": 8,
        "endpoint": endpoint,
    }
    sweep = {"kind": "prompt-sweep", "name": "s", "experiment": {"sweep": {"models": [model]}}}
    (tmp_path / "s.yaml").write_text(json.dumps(sweep))
    with pytest.raises(SystemExit) as left:
        main(["run", str(tmp_path / "s.yaml"), "--experiments-dir", str(tmp_path / "experiments")])
    assert left.value.code == 2
    assert SECRET not in "".join(capsys.readouterr())
    assert not (tmp_path / "experiments").exists()
