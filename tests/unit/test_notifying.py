import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook

from overnight.errors import UsageError
from overnight.runs.news import RunNews, news_of, news_of_failure
from overnight.spec.execution import Execution
from overnight.store.manifest import RunManifest, TrialState, write_manifest
from overnight.store.run_folder import RunFolder
from tasks import notifying
from tasks.notifying import told

REPORT = """# night, run fri

3 of 16 comparisons have q below 0.05.

**Warning: more than 10 % of the replies were cut off.**

## All trials

| prompt set | model |
"""


@pytest.fixture
def hook() -> Iterator[Any]:
    """Return a web server that keeps what is posted to it, and answers what it is told to."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
            time.sleep(server.takes_s)  # type: ignore[attr-defined]
            self.send_response(server.answers)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answers, server.takes_s = [], 200, 0.0  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}/hook/s3cret"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def news(tmp_path: Path) -> RunNews:
    folder = RunFolder(tmp_path / "run_fri")
    now = datetime.now(UTC)
    write_manifest(
        folder,
        RunManifest(
            run_id="fri",
            kind="prompt-sweep",
            name="night",
            fingerprint="f",
            state=TrialState.DONE,
            created=now,
            updated=now,
            execution={},
            environment={},
            items={},
            blocks={},
            trials={},
        ),
    )
    folder.aggregate_report.write_text(REPORT)
    folder.html_report.write_text("<html></html>")
    return news_of(folder)


def test_what_is_told_is_how_the_report_begins_and_where_it_is(news: RunNews, tmp_path: Path) -> None:
    assert news.subject == "overnight: night is done"
    assert news.summary == (
        "3 of 16 comparisons have q below 0.05.\n\n**Warning: more than 10 % of the replies were cut off.**"
    )
    assert (
        f"report: {tmp_path}/run_fri/aggregate_report.md\npage: {tmp_path}/run_fri/report.html" in news.text
    )


def test_a_webhook_in_the_environment_gets_it_as_json(news: RunNews, hook: Any) -> None:
    assert told(news, (), hook.url) == []
    ((path, row),) = hook.got
    assert path == "/hook/s3cret"
    assert (row["state"], row["run_id"], row["report"]) == ("done", "fri", news.report)
    assert row["text"].startswith("overnight: night is done\n\nprompt-sweep, run fri, on ")


def test_blocks_are_told_in_their_own_way(news: RunNews, hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str | None]] = []

    class Mail(NotificationBlock):
        def notify(self, body: str, subject: str | None = None) -> None:
            said.append((body, subject))

    blocks = {"webhook/night": Webhook(url=hook.url), "mail/me": Mail(), "secret/key": Secret(value="x")}

    async def load(name: str) -> Block:
        return blocks[name]

    monkeypatch.setattr(Block, "aload", load)
    problems = told(news, ("webhook/night", "mail/me", "secret/key", "slack-webhook/gone"), None)
    assert [row["run_id"] for _, row in hook.got] == ["fri"]
    assert said == [(news.text, news.subject)]
    assert problems == [
        "secret/key: TypeError: a Secret is neither a webhook nor can it notify",
        "slack-webhook/gone: KeyError: 'slack-webhook/gone'",
    ]


def test_what_does_not_arrive_is_said_without_the_address(
    news: RunNews, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.answers = 500
    assert told(news, (), hook.url) == ["OVERNIGHT_NOTIFY_URL (127.0.0.1): answered 500"]
    (refused,) = told(news, (), "http://127.0.0.1:9/hook/s3cret")
    assert refused.startswith("OVERNIGHT_NOTIFY_URL (127.0.0.1): ConnectError")
    assert "s3cret" not in refused
    monkeypatch.setattr(notifying, "_EACH_S", 0.1)
    hook.takes_s = 0.3
    (late,) = told(news, (), hook.url)
    assert late == "OVERNIGHT_NOTIFY_URL (127.0.0.1): no answer within 0.1 s"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's own
def test_addresses_of_other_schemes_are_those_of_apprise(news: RunNews, hook: Any) -> None:
    # json:// stands for all of them here: mailtos://, tgram://, ntfy:// and so on.
    assert told(news, (), hook.url.replace("http", "json")) == []
    ((_, row),) = hook.got
    assert (row["title"], row["message"]) == (news.subject, news.text)
    (problem,) = told(news, (), "nowhere://x")
    assert problem.startswith("OVERNIGHT_NOTIFY_URL (x): ValueError: found no address that Apprise knows")


def test_a_run_that_could_not_begin_is_news_too() -> None:
    news = news_of_failure("night", "prompt-sweep", None, UsageError("models/a.gguf: no such file"))
    assert news.subject == "overnight: night failed"
    assert "models/a.gguf: no such file" in news.text


@pytest.mark.parametrize("name", ["night", "slack webhook/x", "https://hooks.example.com/x"])
def test_an_address_does_not_stand_in_a_sweep(name: str) -> None:
    # Whoever knows it can post there, and a sweep is copied into every run folder.
    with pytest.raises(ValueError, match="notify"):
        Execution(notify=(name,))
