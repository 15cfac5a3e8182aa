"""A server of the OpenAI API whose answers take their time, so that something can happen while trials are asked."""

import http.server
import json
import threading
import time
from typing import Any, Self

NAMES = ("slow", "broken")


class SlowModel(http.server.ThreadingHTTPServer):
    """Answers ``slow`` after a while, and every request to ``broken`` with an error; counts what it was asked."""

    daemon_threads = True

    def __init__(self, seconds: float = 0.25) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seconds = seconds
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: whoever asked was ended."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: SlowModel

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in NAMES]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] == "broken":
            self._answer(400, {"error": {"message": "this model is broken", "type": "invalid_request_error"}})
            return
        time.sleep(self.server.seconds)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "blue"},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "blue", "logprob": -0.5, "bytes": None, "top_logprobs": []}]},
        }
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        self._answer(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
