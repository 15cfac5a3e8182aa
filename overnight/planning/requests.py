"""Requests: what exactly is asked, in which order, with which seed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from typing import Any

from overnight.ids import custom_id, digest, split_custom_id, text_digest
from overnight.planning.parts import Part
from overnight.planning.trial import Trial
from overnight.prompting.messages import Message
from overnight.records import Arm, Condition, Item


@dataclass(frozen=True, kw_only=True)
class Request:
    """One completion to ask for, in the terms of no engine in particular."""

    custom_id: str
    part: str  # the slice that it is asked in; no part of its identity
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    seed: int
    stop: tuple[str, ...]
    logprobs: bool = False  # the answer comes with its mean log-probability
    tokens: bool = False
    """The answer comes with its tokens, each with its log-probability; one that was kept without them is another."""
    alternatives: int = 0
    """Above 0: an answer that is looked into. It comes with as many of the likeliest tokens of each step and with our
    count of the prompt, as far as the engine has them, and takes nothing from the prefix cache where the engine can
    be told so. No part of its identity: it asks for the same answer."""

    @property
    def wants_steps(self) -> bool:
        """True where the answer comes token by token."""
        return self.tokens or self.alternatives > 0

    @cached_property
    def prompt_digests(self) -> dict[str, str]:
        """The sha256 of each message, by role."""
        return {message["role"]: text_digest(message["content"]) for message in self.messages}

    def digest(self, model_digest: str | None) -> str:
        """Return the identity of the answer: equal digests ask the same of the same weights."""
        identity = {name: getattr(self, name) for name in _IDENTITY}
        if self.tokens:
            identity["tokens"] = True
        return digest(identity | {"model": model_digest, "messages": self._turns()})

    def _turns(self) -> dict[str, str] | list[tuple[str, str]]:
        """Return what is said, by role; as a list where the roles alone do not tell the order of the turns."""
        roles = [message["role"] for message in self.messages]
        if roles == sorted(set(roles)):
            return self.prompt_digests
        return [(message["role"], text_digest(message["content"])) for message in self.messages]

    @property
    def draw(self) -> int:
        """The 0-based index among the draws of its item and arm."""
        return split_custom_id(self.custom_id)[4]


_NO_IDENTITY = {"custom_id", "part", "tokens", "alternatives"}
_IDENTITY = tuple(field.name for field in fields(Request) if field.name not in _NO_IDENTITY)


def request_seed(seed: int, label: str, sample_index: int) -> int:
    """Return the seed of one draw, below 2**31.

    It depends on the item and the draw alone: both arms and all trials draw with common random numbers, and
    neither the batch nor the order of the requests changes a draw.
    """
    key = f"{seed}|{label}|{sample_index}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") >> 1


def part_requests(trial: Trial, part: Part, conditions: Iterable[Condition]) -> Iterator[Request]:
    """Yield the requests of one part in the order in which they are best sent.

    The longest shared prefix first: all items of the longer system prompt, then those of the shorter one;
    within an arm, items with the same passage side by side; all draws of one prompt next to each other.
    """
    for condition in sorted(conditions, key=lambda c: -len(trial.beginning(c))):
        arms = trial.arms([condition])
        for item in sorted(part.items, key=_prefix_order):
            for arm in arms:
                for sample_index in range(trial.draws(arm.temperature)):
                    yield request(trial, part.name, item, arm, sample_index)


def part_ids(trial: Trial, part: Part, conditions: Iterable[Condition]) -> Iterator[str]:
    """Yield the custom ids of the requests of one part, each once, item by item: not in the order they are sent in."""
    arms = trial.arms(conditions)
    for item in part.items:
        for arm in arms:
            for sample_index in range(trial.draws(arm.temperature)):
                yield custom_id(item.key, arm.condition.value, arm.temperature, sample_index, item.type.value)


def request(trial: Trial, part: str, item: Item, arm: Arm, sample_index: int) -> Request:
    """Return the request for one draw."""
    return Request(
        custom_id=custom_id(item.key, arm.condition.value, arm.temperature, sample_index, item.type.value),
        part=part,
        messages=trial.messages(item, arm.condition),
        temperature=arm.temperature,
        top_p=trial.top_p,
        top_k=trial.top_k,
        max_new_tokens=trial.token_limit(item.type),
        seed=request_seed(trial.sampling.seed, trial.seed_label(item), sample_index),
        stop=trial.sampling.stop,
        logprobs=trial.sampling.logprobs,
        tokens=trial.keeps_tokens,
    )


def same_prompt_groups(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Yield runs of requests that differ only in how they are sampled: one prompt, evaluated once."""
    for _, group in groupby(requests, key=lambda request: request.messages):
        yield list(group)


def as_row(request: Request, model: str) -> dict[str, Any]:
    """Return a request as a line of ``batch_inputs/``."""
    return {
        "custom_id": request.custom_id,
        "body": {
            "model": model,
            "messages": list(request.messages),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "max_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stop": list(request.stop),
            "logprobs": request.logprobs,
        }
        | ({"tokens": True} if request.tokens else {}),
    }


def from_row(row: dict[str, Any], part: str) -> Request:
    """Return the request that a line of ``batch_inputs/`` holds."""
    body = row["body"]
    return Request(
        custom_id=row["custom_id"],
        part=part,
        messages=tuple(body["messages"]),
        temperature=body["temperature"],
        top_p=body["top_p"],
        top_k=body["top_k"],
        max_new_tokens=body["max_tokens"],
        seed=body["seed"],
        stop=tuple(body["stop"]),
        logprobs=body["logprobs"],
        tokens=body.get("tokens", False),
    )


def _prefix_order(item: Item) -> tuple[str, str, str]:
    return item.context or "", item.question, item.item_id
