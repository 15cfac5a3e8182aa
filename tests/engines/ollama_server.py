"""A stand-in for an Ollama server: its API, its errors and its habits, answered by the real llama.cpp engine.

Written by the API's reference (docs/api.md), its types (api/types.go) and the handlers of ollama/ollama as of 0.34;
``version`` makes it behave as older ones do where they differ:

- below 0.12.11 there are no log-probabilities;
- below 0.12.6 ``truncate`` and ``shift`` are passed over, and a prompt that is too long loses its middle silently;
- in 0.30 ``prompt_eval_count`` leaves out what was cached; from 0.33 on what was cached is told beside it;
- from 0.30 on ``shift`` is a matter of loading: another value loads the model again.
"""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

import httpx

from overnight.engines.state import EngineState
from tests.engines.ollama_models import DEFAULTS, Loaded, Models, Refused, Tag, full_name

_STOP = {"eos": "stop", "word": "stop", "limit": "length"}
Body = dict[str, Any]


class OllamaServer:
    """The stand-in, in threads of this process, on a free port of loopback."""

    def __init__(self, engine: EngineState, models: Models, version: str = "0.34.2") -> None:
        self.models = models
        self.version = version
        self.chats: list[Body] = []  # what was asked, as it came
        self.faults: list[
            Refused | None
        ] = []  # answers for the next requests; None breaks the connection off
        self._engine = httpx.Client(
            base_url=str(engine.url),
            headers={"Authorization": f"Bearer {engine.token}"},
            timeout=120,
            limits=httpx.Limits(max_keepalive_connections=0),  # the engine ends an idle one as it likes
        )
        self._http = _Http(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._engine.close()

    def is_before(self, *version: int) -> bool:
        return tuple(map(int, self.version.partition("-")[0].split("."))) < version

    def answer_chat(self, body: Body) -> Iterator[Body]:
        """Yield the lines of ``/api/chat``."""
        return self._answer(body, list(body.get("messages") or ()), lambda text: {"message": _said(text)})

    def answer_generate(self, body: Body) -> Iterator[Body]:
        """Yield the lines of ``/api/generate``."""
        prompt = body.get("prompt") or ""
        turns = [{"role": "user", "content": prompt}] if prompt else []
        if turns and body.get("system"):
            turns.insert(0, {"role": "system", "content": body["system"]})
        return self._answer(body, turns, lambda text: {"response": text})

    def pull(self, body: Body) -> Iterator[Body]:
        name = full_name(body.get("model") or body.get("name") or "")
        yield {"status": "pulling manifest"}
        found = self.models.pullable.get(name)
        if found is None:
            yield {"error": "pull model manifest: file does not exist"}
            return
        for completed in (0, found.size // 2, found.size):
            yield {
                "status": f"pulling {found.digest[:12]}",
                "digest": f"sha256:{found.digest}",
                "total": found.size,
                "completed": completed,
            }
        self.models.tags[name] = found
        yield from (
            {"status": status} for status in ("verifying sha256 digest", "writing manifest", "success")
        )

    def create(self, body: Body) -> Iterator[Body]:
        base = self.models.tag(body.get("from") or "")
        name = full_name(body["model"])
        parameters = base.parameters | body.get("parameters", {})
        self.models.tags[name] = Tag(name=name, parameters=parameters, capabilities=base.capabilities)
        yield from ({"status": status} for status in ("using existing layer", "writing manifest", "success"))

    def _answer(self, body: Body, turns: list[Body], wrapped: Callable[[str], Body]) -> Iterator[Body]:
        tag = self.models.tag(body.get("model") or "")
        keep_alive = body.get("keep_alive")

        def line(text: str, **more: Any) -> Body:
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            return {"model": body["model"], "created_at": now, **wrapped(text), "done": False} | more

        if not turns and keep_alive == 0:
            self.models.unload(tag.name)
            yield line("", done=True, done_reason="unload")
            return
        if body.get("think") and "thinking" not in tag.capabilities:
            raise Refused(400, f'"{body["model"]}" does not support thinking')
        options = DEFAULTS | ({"repeat_penalty": 1.1 if self.is_before(0, 30) else 1.0})
        options |= tag.parameters | (body.get("options") or {})
        shift = None if self.is_before(0, 30) else body.get("shift", True)
        loaded = self.models.load(tag, options, keep_alive, shift=shift)
        if not turns:
            yield line("", done=True, done_reason="load")
            return
        yield from self._generate(body, turns, options, loaded, line)
        self.models.use(loaded, keep_alive)

    def _generate(
        self, body: Body, turns: list[Body], options: Body, loaded: Loaded, line: Callable[..., Body]
    ) -> Iterator[Body]:
        asks_logprobs = bool(body.get("logprobs")) and not self.is_before(0, 12, 11)
        stop = options.get("stop") or []
        names = [name for name in DEFAULTS if name not in ("num_predict", "num_keep")] + ["repeat_penalty"]
        sent = {name: options[name] for name in names} | {
            "prompt": self._fitted(self._tokens(turns), body, options, loaded.num_ctx),
            "n_predict": options["num_predict"],
            "stop": [stop] if isinstance(stop, str) else stop,
            "cache_prompt": True,
            "stream": True,
        }
        if asks_logprobs:
            sent |= {"n_probs": body.get("top_logprobs") or 1, "post_sampling_probs": False}
        with self._engine.stream("POST", "/completion", json=sent) as response:
            for each in _lines_of(response):
                if not each.startswith("data: "):
                    continue
                chunk = json.loads(each.removeprefix("data: "))
                more = {}
                if asks_logprobs and chunk.get("completion_probabilities"):
                    more["logprobs"] = [
                        _shown(p)
                        | {"top_logprobs": [_shown(o) for o in p["top_logprobs"] if body.get("top_logprobs")]}
                        for p in chunk["completion_probabilities"]
                    ]
                if chunk.get("stop"):
                    more |= self._metrics(chunk)
                yield line(chunk["content"], **more)

    def _metrics(self, chunk: Body) -> Body:
        timings = chunk["timings"]
        new, cached = timings["prompt_n"], timings.get("cache_n", 0)
        counts_new_only = not self.is_before(0, 30) and self.is_before(0, 31)
        metrics = {
            "done": True,
            "done_reason": _STOP[chunk["stop_type"]],
            "total_duration": int(1e6 * (timings["prompt_ms"] + timings["predicted_ms"])),
            "load_duration": 1_000_000,
            "prompt_eval_count": new if counts_new_only else new + cached,
            "prompt_eval_duration": int(1e6 * timings["prompt_ms"]),
            "eval_count": timings["predicted_n"],
            "eval_duration": int(1e6 * timings["predicted_ms"]),
        }
        return metrics if self.is_before(0, 33) else metrics | {"prompt_eval_cached_count": cached}

    def _tokens(self, turns: list[Body]) -> list[int]:
        prompt = self._engine.post("/apply-template", json={"messages": turns}).json()["prompt"]
        body = {"content": prompt, "add_special": True, "parse_special": True}
        return self._engine.post("/tokenize", json=body).json()["tokens"]

    def _fitted(self, tokens: list[int], body: Body, options: Body, num_ctx: int) -> list[int]:
        """Return the tokens that the model sees, as the server's version shortens or refuses them."""
        knows = not self.is_before(0, 12, 6)
        truncate, shift = (body.get("truncate", True), body.get("shift", True)) if knows else (True, True)
        keep = options["num_keep"]
        if self.is_before(0, 30):  # the runner written in Go
            if len(tokens) <= num_ctx:
                return tokens
            if not truncate:
                raise Refused(400, "the input length exceeds the context length")
            return tokens[:keep] + tokens[len(tokens) - num_ctx + keep :]
        if len(tokens) <= num_ctx - 1:
            return tokens
        if not truncate:
            message = f"request ({len(tokens)} tokens) exceeds the available context size ({num_ctx} tokens)"
            nested = {"code": 400, "message": message, "type": "exceed_context_size_error"}
            raise Refused(400, json.dumps({"error": nested}))
        if not shift:
            raise Refused(
                400, "the prompt is longer than the context length currently available to the model"
            )
        limit = num_ctx - max((num_ctx - keep) // 2, 1)
        return tokens[:keep] + tokens[len(tokens) - limit + keep :]


def _said(text: str) -> Body:
    return {"role": "assistant", "content": text}


def _joined(lines: list[Body]) -> Body:
    """Return the one object that stands for all lines where no stream was asked for."""
    last = dict(lines[-1])
    if "message" in last:
        last["message"] = _said("".join(each["message"]["content"] for each in lines))
    elif "response" in last:
        last["response"] = "".join(each["response"] for each in lines)
    logprobs = [one for each in lines for one in each.get("logprobs", ())]
    return last | ({"logprobs": logprobs} if logprobs else {})


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, stand_in: OllamaServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = stand_in


def _shown(token: Body) -> Body:
    return {name: token[name] for name in ("token", "logprob", "bytes")}


def _lines_of(response: httpx.Response) -> Iterator[str]:
    """Yield lines that end with a line feed; httpx also ends one at each of Unicode's line separators."""
    rest = b""
    for data in response.iter_bytes():
        *whole, rest = (rest + data).split(b"\n")
        yield from (line.decode() for line in whole)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        knows_context = not self.server.stand_in.is_before(0, 11)
        match self.path:
            case "/":
                self._send(200, b"Ollama is running", "text/plain; charset=utf-8")
            case "/api/version":
                self._json(200, {"version": self.server.stand_in.version})
            case "/api/tags":
                self._json(
                    200, {"models": [tag.listed() for tag in self.server.stand_in.models.tags.values()]}
                )
            case "/api/ps":
                self._json(200, {"models": self.server.stand_in.models.running(knows_context=knows_context)})
            case _:
                self._send(404, b"404 page not found", "text/plain")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self._route(self._body(raw))
        except Refused as refused:
            self._json(refused.status, {"error": str(refused)})

    def _body(self, raw: bytes) -> Body:
        if not raw:
            raise Refused(400, "missing request body")
        try:
            return json.loads(raw)
        except ValueError as error:
            raise Refused(400, str(error)) from None

    def _route(self, body: Body) -> None:
        stand_in = self.server.stand_in
        match self.path:
            case "/api/chat":
                stand_in.chats.append(body)
                if body.get("messages") and stand_in.faults:
                    fault = stand_in.faults.pop(0)
                    if fault is None:
                        self.close_connection = True
                        return
                    raise fault
                self._lines(body, stand_in.answer_chat(body))
            case "/api/generate":
                self._lines(body, stand_in.answer_generate(body))
            case "/api/pull":
                self._lines(body, stand_in.pull(body))
            case "/api/create":
                self._lines(body, stand_in.create(body))
            case "/api/show":
                self._json(
                    200, self.server.stand_in.models.tag(body.get("model") or body.get("name") or "").shown()
                )
            case _:
                self._send(404, b"404 page not found", "text/plain")

    def _is_gone(self) -> bool:
        """Return whether whoever asked does not wait any more."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _lines(self, body: Body, lines: Iterator[Body]) -> None:
        """Send lines as they come, or what they come to; an error before the first one has a status of its own."""
        if body.get("stream") is False:
            every = []
            for line in lines:
                if self._is_gone():
                    cast(
                        "Generator[Body]", lines
                    ).close()  # and with it the request to the engine, as Ollama does
                    return
                every.append(line)
            failed = next((each for each in every if "error" in each), None)
            self._json(200 if failed is None else 500, failed or _joined(every))
            return
        first = next(lines)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(first)
        try:
            for line in lines:
                self._chunk(line)
        except Refused as refused:
            self._chunk({"error": str(refused)})
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, line: Body) -> None:
        data = json.dumps(line).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, value: Body) -> None:
        self._send(status, json.dumps(value).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked does not wait any more
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output free of requests."""
