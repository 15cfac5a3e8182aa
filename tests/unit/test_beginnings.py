import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from overnight.engines.beginnings import Beginnings
from overnight.errors import BadResponse, EngineUnavailable
from overnight.planning.requests import Request
from overnight.prompting.messages import Message

LONG = "Answer with one word. " * 40
COPIED = ["/apply-template", "/completion", "/slots/0?action=save", "/slots/1?action=restore"]


def request(system: str = LONG, **changes: Any) -> Request:
    made = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=(Message(role="system", content=system), Message(role="user", content="?")),
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=4,
        seed=1,
        stop=(),
    )
    return dataclasses.replace(made, **changes)


class Host:
    """Notes what it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    async def post(self, path: str, _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.asked.append(path)
        if self.error is not None:
            raise self.error
        return {"prompt": "text"}


async def ask(slots: Beginnings, host: Host, name: str, one: Request) -> None:
    async with slots.before(one):
        host.asked.append(f"{name} begins")
        await asyncio.sleep(0.01)
        host.asked.append(f"{name} ends")


def test_a_new_beginning_is_copied_once_and_by_nobody_who_shares_the_engine(tmp_path: Path) -> None:
    # A slot that answers cannot be saved or overwritten, and a second copy of the same would be for nothing.
    host = Host()

    async def run() -> None:
        slots = Beginnings(host.post, tmp_path, 2)
        await asyncio.gather(*(ask(slots, host, str(n), request()) for n in range(3)))
        late = asyncio.create_task(ask(slots, host, "late", request()))
        await asyncio.sleep(0.005)
        await asyncio.gather(late, ask(slots, host, "other", request(LONG + "Be brief.")))

    asyncio.run(run())
    assert host.asked[:4] == COPIED
    second = host.asked.index("/apply-template", 4)
    assert host.asked[second - 1] == "late ends"
    assert host.asked[second : second + 4] == COPIED
    assert host.asked.count("/completion") == 2


@pytest.mark.parametrize(
    ("slots", "one"),
    [
        (1, request()),  # nobody to copy it to
        (2, request("Be brief.")),  # evaluated as fast as it is copied
        (2, request(alternatives=5)),  # it is to take nothing from the cache
        (2, request(messages=(Message(role="user", content=LONG),))),
    ],
)
def test_what_is_not_worth_it_is_not_copied(slots: int, one: Request, tmp_path: Path) -> None:
    host = Host()
    asyncio.run(ask(Beginnings(host.post, tmp_path, slots), host, "it", one))
    assert host.asked == ["it begins", "it ends"]


def test_a_host_that_cannot_copy_is_asked_once_and_answers_all_the_same(tmp_path: Path) -> None:
    host = Host(BadResponse("this server does not save slots"))

    async def run() -> None:
        slots = Beginnings(host.post, tmp_path, 2)
        await ask(slots, host, "one", request())
        await ask(slots, host, "other", request(LONG + "Be brief."))

    asyncio.run(run())
    assert host.asked == ["/apply-template", "one begins", "one ends", "other begins", "other ends"]


def test_a_host_that_dies_meanwhile_leaves_nobody_waiting(tmp_path: Path) -> None:
    host = Host(EngineUnavailable("gone"))

    async def run() -> None:
        slots = Beginnings(host.post, tmp_path, 2)
        with pytest.raises(EngineUnavailable):
            await ask(slots, host, "one", request())
        await asyncio.wait_for(ask(slots, host, "other", request()), timeout=5)

    asyncio.run(run())
    assert host.asked[-1] == "other ends"
