import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.activations.answer import ActivationAnswer, Failure, SequenceAnswer
from overnight.activations.points import Component, Point
from overnight.activations.positions import Positions
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.errors import UsageError
from overnight.prompting.messages import Message

CHAT = SequenceInput(id="p0", messages=(Message(role="user", content="Hm?"),), reply_ids=(7, 8))
TEXT = SequenceInput(id="line_3", text="Oh.")
WHOLE = SequenceInput(id="w", messages=(Message(role="user", content="Hm?"),), is_whole=True, places=(4, 2))


def request(**changes: Any) -> ActivationRequest:
    fields = {"sequences": (CHAT, TEXT), "out": Path("/out")}
    return ActivationRequest(**(fields | changes))


def test_what_is_posted_is_what_was_asked() -> None:
    asked = request(
        directions=Path("/d.safetensors"),
        projected=(Point(1, Component.RESIDUAL_OUT), Point(0, Component.RESIDUAL_MID)),
        pooled=(Point(2, Component.K),),
        positions=Positions.parse("response[:5]"),
        raw=(Point(0, Component.RESIDUAL_IN),),
        raw_dtype="float16",
        internals=(Point(1, Component.GATED),),
        attention_layer=1,
        attention_summary=True,
        batch_tokens=64,
    )
    assert ActivationRequest.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert ActivationRequest.from_json(json.loads(json.dumps(request().to_json()))) == request()
    some = request(sequences=(WHOLE,), placed=(Point(1, Component.RESIDUAL_OUT),))
    assert ActivationRequest.from_json(json.loads(json.dumps(some.to_json()))) == some


def test_what_is_answered_is_what_was_computed() -> None:
    fields = {"token_ids": (1, 2), "pieces": ({"text": "a"}, {"hex": "c3"}), "n_prompt": 1}
    answer = ActivationAnswer(
        sequences=(
            SequenceAnswer(id="a", path=Path("/out/a.safetensors"), error=None, **fields),
            SequenceAnswer(id="b", path=None, error=Failure("OutOfMemory", "too long"), **fields),
        ),
        seconds=0.5,
        n_batches=2,
        halvings=1,
        largest_probe_difference=None,
    )
    assert ActivationAnswer.from_json(json.loads(json.dumps(answer.to_json()))) == answer
    assert answer.sequences[0].n_tokens == 2


def test_points_are_looked_at_once_and_in_the_order_of_the_pass() -> None:
    mid, late = Point(0, Component.RESIDUAL_MID), Point(3, Component.Q)
    assert request(raw=(late, mid), internals=(late,)).points == (mid, late)


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", ".hidden", "a b", "x" * 121, "naïve", "-rf"], ids=lambda name: name[:8]
)
def test_a_sequence_has_a_name_that_is_one_of_a_file(name: str) -> None:
    with pytest.raises(UsageError, match="a file is named after it"):
        SequenceInput(id=name, text="a")


def test_a_sequence_is_a_chat_or_a_text() -> None:
    with pytest.raises(UsageError, match="either messages or a text"):
        SequenceInput(id="a")
    with pytest.raises(UsageError, match="either messages or a text"):
        SequenceInput(id="a", text="a", messages=CHAT.messages)
    with pytest.raises(UsageError, match="a plain text has no reply"):
        SequenceInput(id="a", text="a", reply_ids=(1,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sequences": (TEXT, TEXT)}, "line_3: named twice"),
        ({"directions": Path("d")}, "directions and the points"),
        ({"projected": (Point(0, Component.Q),)}, "directions and the points"),
        ({"positions": Positions.parse("mean")}, "positions and the points"),
        ({"pooled": (Point(0, Component.Q),)}, "positions and the points"),
        ({"raw": (Point(0, Component.Q),) * 2}, "raw: 0.q is named twice"),
        ({"raw_dtype": "int8"}, "wanted one of float32, bfloat16, float16"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused_before_it_is_sent(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        request(**changes)


def test_asking_imports_no_torch() -> None:
    # It takes seconds to import, and it is the host's.
    code = (
        "import json, sys, overnight.activations.answer, overnight.engines.transformers.client\n"
        "sys.stdout.write(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert imported & {"torch", "transformers", "numpy", "safetensors"} == set()


def test_states_at_places_are_asked_for_alone_and_of_every_sequence() -> None:
    # Nothing behind the last place is computed, so that nothing else can be told of all tokens.
    point = Point(1, Component.RESIDUAL_OUT)
    assert request(sequences=(WHOLE,), placed=(point,)).points == (point,)
    with pytest.raises(UsageError, match="places and the points that are wanted at them come together"):
        request(sequences=(WHOLE, TEXT), placed=(point,))
    with pytest.raises(UsageError, match="places and the points that are wanted at them come together"):
        request(sequences=(WHOLE,))
    for other in ({"raw": (point,)}, {"attention_layer": 0}, {"internals_of": 0}):
        with pytest.raises(UsageError, match="ask for other things by themselves"):
            request(sequences=(WHOLE,), placed=(point,), **other)


def test_what_is_not_to_be_answered_has_no_reply() -> None:
    with pytest.raises(UsageError, match="has messages and no reply"):
        SequenceInput(id="a", messages=WHOLE.messages, is_whole=True, reply_ids=(7,))
    with pytest.raises(UsageError, match="has messages and no reply"):
        SequenceInput(id="a", text="Oh.", is_whole=True)
    with pytest.raises(UsageError, match="place -1: wanted 0 or more"):
        SequenceInput(id="a", text="Oh.", places=(3, -1))
