"""One of several processes that hold the same model: a host that tells the others where it listens.

Started by torchrun's agent in ``group``, with the settings in the environment.
"""

import json
import os
from datetime import timedelta

from overnight.engines.messages import say_ready
from overnight.engines.placement import Placement
from overnight.engines.transformers.host import HeldModel
from overnight.engines.transformers.hosting import serve_held
from overnight.processes import free_port

SETTINGS = "OVERNIGHT_RANK_SETTINGS"
_LONGEST_LOAD = timedelta(days=1)  # the parent ends all of them before


def main() -> None:
    """Load, serve, and leave with the process that started it."""
    settings = json.loads(os.environ.pop(SETTINGS))
    # A GPU each, in the order in which torch sees them.
    mine = {"port": free_port(), "gpu": int(os.environ["LOCAL_RANK"])}
    serve_held(HeldModel, settings | mine, _say_where_all_are)


def _say_where_all_are(url: str, load_s: float, placement: Placement) -> None:
    """Wait until all serve, and have the first one say where."""
    import torch  # noqa: PLC0415 - only where a model is held
    from torch import distributed  # noqa: PLC0415

    on_gpu = bool(placement.devices)
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_LONGEST_LOAD)
    found: list[tuple[str, float, Placement]] = [(url, load_s, placement)] * distributed.get_world_size()
    distributed.all_gather_object(found, (url, load_s, placement))
    if distributed.get_rank() == 0:
        urls, seconds, places = zip(*found, strict=True)
        devices = tuple(device for place in places for device in place.devices)
        say_ready(url, max(seconds), Placement(devices=devices), urls)


if __name__ == "__main__":
    main()
