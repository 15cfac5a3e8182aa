"""A run that was told every secret there is, and nothing of what it leaves behind knows one."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

# All of them begin alike, so that one search finds them all, whole or cut off.
MARK = "pl4nt3d"
SECRETS = {
    name: f"{MARK}-{name.lower().replace('_', '-')}-0123456789abcdef"
    for name in (
        "SERVICE_API_KEY",
        "OPENAI_API_KEY",
        "FIREWORKS_API_KEY",
        "WANDB_API_KEY",
        "PREFECT_API_KEY",
        "PREFECT_API_DATABASE_PASSWORD",
        "HF_TOKEN",
        "OLLAMA_API_KEY",
    )
}
OF_THE_HOOK = f"{MARK}-hook"
OF_THE_ADDRESSES = f"{MARK}-address"


class Service(BaseHTTPRequestHandler):
    """A service that wants its key, and repeats it in its errors; and a hook whose address is its secret."""

    received: list[str]

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "served"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = str(self.headers["Authorization"]).removeprefix("Bearer ")
        self.received.append(f"{self.path} {key}")
        if "hook" in self.path:
            self._send(200, {})
        elif "spider" in json.dumps(body):
            self._send(400, {"error": {"message": f"key {key} may not ask this", "type": "invalid"}})
        else:
            message = {"role": "assistant", "content": "blue"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
            self._send(200, {"id": "x", "choices": [choice], "usage": usage})

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a service, and what it received."""
    received: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Noting", (Service,), {"received": received}))
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def _sweep(folder: Path, url: str) -> Path:
    folder.mkdir()
    (folder / "questions.jsonl").write_text(
        '{"id": "sky", "question": "What colour is the sky?", "answers": ["blue"]}\n'
        '{"id": "legs", "question": "How many legs has a spider?", "answers": ["eight"]}\n'
    )
    (folder / "s.yaml").write_text(
        textwrap.dedent(
            f"""
            kind: prompt-sweep
            name: secrets
            experiment:
              datasets: [{{name: questions, path: {folder}/questions.jsonl}}]
              sweep:
                models:
                  - {{name: served, engine: openai_compatible, source: "openai:served", family: f, params_billion: 1,
                     quantization: q, context_tokens: 2048,
                     endpoint: {{base_url: "{url}/v1", dialect: openai, api_key_env: SERVICE_API_KEY}}}}
                prompt_sets: [{{name: p, control: Answer., treatment: Answer briefly.}}]
              sampling: {{logprobs: false}}
              statistics: {{analyses: []}}
            execution: {{audit: {{share: 0}}, engine: {{openai: {{attempts: 1}}}}, tracking: {{wandb: offline}}}}
            """
        )
    )
    return folder / "s.yaml"


@pytest.mark.slow  # 40 s; what says and writes is tested piece by piece in tests/unit/security
def test_nothing_that_a_run_leaves_behind_knows_a_secret(overnight_alone, service, tmp_path) -> None:
    url, received = service
    home = tmp_path / "prefect"
    planted = SECRETS | {
        "OVERNIGHT_NOTIFY_URL": f"{url}/hook/{OF_THE_HOOK}",
        # Addresses with a password that nobody is to need, and whose failure nobody is to describe in full.
        "OLLAMA_HOST": f"http://me:{OF_THE_ADDRESSES}@127.0.0.1:9",
        "PIP_INDEX_URL": f"http://me:{OF_THE_ADDRESSES}@127.0.0.1:9/simple",
        "HTTPS_PROXY": f"http://me:{OF_THE_ADDRESSES}@127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    environment = overnight_alone.environment | planted
    environment |= {"OVERNIGHT_CACHE_DIR": str(tmp_path / "cache"), "PREFECT_HOME": str(home)}
    command = replace(overnight_alone, environment=environment, reuses_answers=True)
    process = command.start("run", str(_sweep(tmp_path / "config", url)), "--run-id", "r1")
    said = "".join(process.communicate(timeout=300))
    # The spider is refused, so the trial is not whole; and what was planted was really used.
    assert process.returncode == 1, said
    assert f"/v1/chat/completions {SECRETS['SERVICE_API_KEY']}" in received
    assert any(OF_THE_HOOK in line for line in received)
    journal = next(command.run_folder("r1").glob("*/results/generations.jsonl")).read_text()
    assert "key *** may not ask this" in journal
    assert (command.run_folder("r1") / "wandb").is_dir()

    assert MARK not in said + command("doctor", "r1")
    found = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(found) > 20
    assert any(path.is_relative_to(home) and path.suffix == ".db" for path in found)
    knowing = [str(path.relative_to(tmp_path)) for path in found if MARK.encode() in path.read_bytes()]
    assert knowing == []
