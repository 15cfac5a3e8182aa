"""Pictures of Prefect's UI for these pages: a server, a worker and a run of their own, and a browser without a screen.

    make screenshots          needs chromium; takes a few minutes

The browser is driven by its own protocol over a websocket, which Prefect brings along, as matplotlib does Pillow.
"""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

from overnight.processes import free_port

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1280, 900)
COLOURS = 64  # a user interface has few
SETTLE_S = 20.0  # a page asks the server several times before it is whole
RUN = {
    "changes": {"experiment.limit_items": 12, "experiment.sweep.prompt_sets": ["short_answer", "calibrated"]},
    "run": {"run_id": "friday"},
}


def main() -> None:
    """Take all pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _started(Path(folder)) as (api, flow_run),
        _browser(Path(folder)) as tab,
    ):
        pictures = asyncio.run(_taken(tab, _pages(api, flow_run)))
    IMAGES.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        path = IMAGES / f"{name}.png"
        Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size // 1000} kB")  # noqa: T201


def _pages(api: str, flow_run: str) -> dict[str, tuple[str, str | None]]:
    """Return the pages, each with what is clicked on it first."""
    ui = api.removesuffix("/api") + "/v2"
    deployment = httpx.get(f"{api}/deployments/name/prompt-sweep/quickstart").json()["id"]
    report = httpx.get(f"{api}/artifacts/prompt-sweep-report/latest").json()["id"]
    return {
        "run": (f"{ui}/runs/flow-run/{flow_run}", "Subflow Runs"),
        "report": (f"{ui}/artifacts/artifact/{report}", None),
        "form": (f"{ui}/deployments/deployment/{deployment}/run", None),
        "deployments": (f"{ui}/deployments", None),
        "pool": (f"{ui}/work-pools/work-pool/local-gpu", "Workers"),
    }


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the address of a server, and the id of a run on it that has ended."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
    }
    prefect = [sys.executable, "-m", "prefect"]
    with contextlib.ExitStack() as ended:
        ended.enter_context(_running([*prefect, "server", "start"], environment, folder / "server.log"))
        _until(lambda: httpx.get(f"{api}/health").is_success, "the server")
        environment["PREFECT_API_URL"] = api
        overnight = [sys.executable, "-m", "overnight"]
        subprocess.run([*overnight, "deploy"], env=environment, cwd=folder, check=True)
        worker = [*prefect, "worker", "start", "--pool", "local-gpu", "--name", "workstation"]
        ended.enter_context(_running(worker, environment, folder / "worker.log"))
        arguments = [f"-p={name}={json.dumps(value)}" for name, value in RUN.items()]
        subprocess.run(
            [*prefect, "deployment", "run", "prompt-sweep/quickstart", "--watch", *arguments],
            env=environment,
            check=True,
        )
        named = {"flow_runs": {"name": {"any_": ["friday"]}}}
        (found,) = httpx.post(f"{api}/flow_runs/filter", json=named).json()
        yield api, found["id"]


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _browser(folder: Path) -> Iterator[str]:
    """Give the address of the page of a browser, for its protocol."""
    profile = folder / "browser"
    command = [
        *(_executable(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
        *(f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}", "about:blank"),
    ]
    with _running(command, dict(os.environ), folder / "browser.log"):
        active = profile / "DevToolsActivePort"
        _until(lambda: len(active.read_text().split()) > 1, "the browser")
        port = active.read_text().split()[0]
        targets = httpx.get(f"http://127.0.0.1:{port}/json").json()
        yield next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")


async def _taken(address: str, pages: dict[str, tuple[str, str | None]]) -> dict[str, bytes]:
    async with connect(address, max_size=None, proxy=None) as socket:
        tab = _Tab(socket)
        return {name: await tab.picture(url, clicked) for name, (url, clicked) in pages.items()}


class _Tab:
    """A page of the browser, asked by its protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def picture(self, url: str, clicked: str | None) -> bytes:
        """Return the picture of a page, as PNG, after a click on one of its tabs."""
        await self._ask("Page.navigate", url=url)
        await asyncio.sleep(SETTLE_S)
        if clicked is not None:
            by_name = (
                f"[...document.querySelectorAll('[role=tab]')].find(t => t.innerText.trim() == '{clicked}')"
            )
            mouse = "['mousedown', 'mouseup', 'click'].map(e => new MouseEvent(e, {bubbles: true}))"
            await self._ask(
                "Runtime.evaluate", expression=f"{mouse}.forEach(e => {by_name}.dispatchEvent(e))"
            )
            await asyncio.sleep(SETTLE_S / 2)
        taken = await self._ask("Page.captureScreenshot", format="png")
        return base64.b64decode(taken["data"])

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(await self._socket.recv())).get("id") != number:
            continue  # something that happened on the page
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])


def _executable() -> str:
    for folder in os.get_exec_path():
        for name in BROWSERS:
            if (path := Path(folder) / name).is_file():
                return str(path)
    sys.exit(f"no browser here; wanted one of {', '.join(BROWSERS)}, as in `apt-get install chromium`")


def _until(is_there: Any, what: str, patience_s: float = 240.0) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, OSError):
            if is_there():
                return
        time.sleep(0.5)
    sys.exit(f"{what} did not start within {patience_s:g} s")


if __name__ == "__main__":
    main()
