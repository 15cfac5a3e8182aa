"""The process that holds a text-pair model and answers on loopback, behind a token.

Started by ``EngineHost`` as ``python -m overnight.text_models.host``. The first line of standard input is the
settings as JSON; one line on standard output says that it serves; the end of standard input ends it.

    POST /pairs     pairs -> of each, what the model says of it, and whether it was cut
    GET  /health    what is held, and where
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from overnight.engines.transformers.hosting import HEALTH, run_host
from overnight.engines.transformers.serving import Caller, Handler, RefusedRequest
from overnight.errors import BadResponse, OutOfMemory


class HeldTextModel:
    """A text-pair model on its device."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch  # noqa: PLC0415 - only where a model is held

        from overnight.engines.placement import Placement  # noqa: PLC0415 - the same
        from overnight.text_models.computing import TextModel  # noqa: PLC0415
        from overnight.text_models.devices import choose_device  # noqa: PLC0415

        torch.set_num_threads(settings["threads"])
        torch.set_num_interop_threads(1)  # one batch at a time: nothing runs beside an operation
        device = choose_device(settings["device"], settings["gpus_there"])
        self._model = TextModel(Path(settings["model_path"]), settings["facts"], device)
        self._device = device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "Apple GPU"
        self.placement = Placement(devices=() if device.type == "cpu" else (name,))
        self._worker = ThreadPoolExecutor(max_workers=1)  # one request after the other

    def start(self) -> None:
        """Nothing works on its own: pairs are computed as they come."""

    def handlers(self) -> dict[str, Handler]:
        """Return what answers."""
        return {"POST /pairs": self.pairs, HEALTH: self.health}

    async def health(self, _: dict[str, Any], __: Caller) -> dict[str, Any]:
        """Return what is held."""
        return {
            "status": "ok",
            "device": str(self._device),
            "kind": self._model.kind.value,
            "max_tokens": self._model.max_tokens,
            "halvings": self._model.halvings,
        }

    async def pairs(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Return what the model says of some pairs."""
        try:
            pairs = [(str(one), str(other)) for one, other in body["pairs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedRequest(400, "BadRequest", f"pairs: {type(error).__name__}: {error}") from None
        loop = asyncio.get_running_loop()
        try:
            found = await caller.wait_for(loop.run_in_executor(self._worker, self._model.values, pairs))
        except OutOfMemory as error:
            raise RefusedRequest(507, "OutOfMemory", str(error)) from None
        except BadResponse as error:
            raise RefusedRequest(500, "BadResponse", str(error)) from None
        return {"values": [each.values for each in found], "cut": [each.is_cut for each in found]}


if __name__ == "__main__":
    run_host(HeldTextModel)
