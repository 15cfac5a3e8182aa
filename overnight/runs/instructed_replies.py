"""Texts of a trait that is given by instructions: the model answers as it is told to, and a judge says whether it did.

Replies and judgements lie in journals of the cache, so that a run that was stopped goes on and a second one has them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from overnight.engines.dispatch import DispatchPolicy, dispatch
from overnight.engines.protocol import Engine
from overnight.errors import StopRequested, UsageError
from overnight.ids import custom_id, digest, item_key, text_digest
from overnight.planning.requests import Request, request_seed
from overnight.prompting.messages import Message
from overnight.spec.trait_capture import ReplySettings
from overnight.store.journal import Journal, Row, finished_ids, is_done, read_rows
from overnight.traits.instructions import InstructedPrompt, InstructionSet, Polarity
from overnight.traits.judged_replies import Thresholds, keep_replies

_PART = "instructed"
_JUDGE_TOKENS = 8
_NUMBER = re.compile(r"\b(100|[1-9]?[0-9])\b")
_FEWEST = 4  # replies of a side: fewer show what was said, not how


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply that shows what it was asked to show."""

    name: str  # the same on both sides for the same question under the same pair of instructions
    messages: tuple[Message, ...]
    reply_ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """What is left of the replies of both sides."""

    positive: tuple[Reply, ...]
    negative: tuple[Reply, ...]
    n_asked: int
    n_unscored: int  # the judge gave no number
    n_off_side: int  # scored, and not as they were asked for
    judge: str

    @property
    def digest(self) -> str:
        """What makes two sets of replies the same."""
        return digest([[[r.name, r.reply_ids] for r in side] for side in (self.positive, self.negative)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to ask, and how."""

    engine: Engine
    model_digest: str
    policy: DispatchPolicy
    folder: Path  # of the journals
    should_stop: Callable[[], bool]


async def instructed_replies(found: InstructionSet, settings: ReplySettings, asking: Asking) -> Replies:
    """Have every question answered under every instruction, and keep the replies that do as they were told.

    Args:
        found: the instructions and questions.
        settings: of the replies, and of the judge.
        asking: whom.

    Raises:
        UsageError: too few replies are left of a side.
        StopRequested: somebody asked the run to stop.
        EngineError: the engine is gone for good.
    """
    rows = await _answered(list(_requests(found, settings)), "replies", asking)
    scores = await _scores(found, settings, rows, asking)
    sides, n_unscored, n_off_side = [], 0, 0
    thresholds = Thresholds(
        positive_at_least=settings.positive_at_least, negative_at_most=settings.negative_at_most
    )
    for polarity in Polarity:
        names = [name for name in rows if name.startswith(f"{polarity.value}-")]
        if scores is None:
            kept: Sequence[int] = range(len(names))
        else:
            found_kept = keep_replies(polarity, [scores[name] for name in names], thresholds)
            kept, n_unscored = found_kept.indices, n_unscored + found_kept.n_unscored
            n_off_side += found_kept.n_off_side
        side = tuple(_reply(found, polarity, names[index], rows[names[index]]) for index in kept)
        if len(side) < _FEWEST:
            raise UsageError(
                f"trait {found.name}: {len(side)} of {len(names)} {polarity.value} replies are left, wanted at least "
                f"{_FEWEST}; soften experiment.vectors.replies, ask another judge, or write clearer instructions"
            )
        sides.append(side)
    return Replies(
        positive=sides[0],
        negative=sides[1],
        n_asked=len(rows),
        n_unscored=n_unscored,
        n_off_side=n_off_side,
        judge=settings.judge,
    )


def read_number(text: str) -> float | None:
    """Return the first number from 0 to 100 that a judge wrote, or None.

    It is read off what was written: a tokenizer that writes digit by digit would make 9 of the first token of 95.
    """
    number = _NUMBER.search(text)
    return float(number[1]) if number else None


def _prompts(found: InstructionSet) -> Iterator[tuple[str, InstructedPrompt]]:
    for polarity in Polarity:
        for prompt in found.prompts(polarity):
            yield f"{polarity.value}-{prompt.instruction_index}-{prompt.question_index}", prompt


def _requests(found: InstructionSet, settings: ReplySettings) -> Iterator[tuple[str, Request]]:
    for name, prompt in _prompts(found):
        yield (
            name,
            Request(
                custom_id=_custom_id(name, settings.temperature),
                part=_PART,
                messages=_messages(prompt),
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=0,
                max_new_tokens=settings.max_new_tokens,
                seed=request_seed(settings.seed, text_digest(prompt.system + prompt.question), 0),
                stop=(),
                logprobs=True,
                tokens=True,
            ),
        )


async def _scores(
    found: InstructionSet, settings: ReplySettings, rows: dict[str, Row], asking: Asking
) -> dict[str, float | None] | None:
    """Return the judge's score of each reply; None where nobody judges."""
    if settings.judge == "none" or found.eval_prompt is None:
        return None
    questions = dict(_prompts(found))
    asked = [
        (
            name,
            Request(
                custom_id=_custom_id(name, 0.0),
                part=_PART,
                messages=(
                    {"role": "user", "content": found.judge_prompt(questions[name].question, row["text"])},
                ),
                temperature=0.0,
                top_p=1.0,
                top_k=0,
                max_new_tokens=_JUDGE_TOKENS,
                seed=settings.seed,
                stop=(),
                logprobs=True,
            ),
        )
        for name, row in rows.items()
    ]
    judged = await _answered(asked, "judgements", asking)
    return {name: read_number(judged[name]["text"]) if name in judged else None for name in rows}


async def _answered(requests: Sequence[tuple[str, Request]], what: str, asking: Asking) -> dict[str, Row]:
    """Return the row of each request that was answered, in their order; those that are known are not asked again."""
    names = {request.custom_id: name for name, request in requests}
    identity = [request.digest(asking.model_digest) for _, request in requests]
    path = asking.folder / f"{digest(identity)[:32]}.{what}.jsonl"
    with Journal(path) as journal:
        done = finished_ids(path)
        await dispatch(
            (request for _, request in requests if request.custom_id not in done),
            asking.engine,
            journal,
            policy=asking.policy,
            row_fields={"model_digest": asking.model_digest},
            should_stop=asking.should_stop,
            on_answered=lambda _: None,
        )
    if asking.should_stop():
        raise StopRequested("the replies of a trait are not all there")
    rows = {names[row["custom_id"]]: row for row in read_rows(path) if is_done(row)}
    return {name: rows[name] for name, _ in requests if name in rows}


def _reply(found: InstructionSet, polarity: Polarity, name: str, row: Row) -> Reply:
    _, instruction, question = name.split("-")
    prompt = next(
        p
        for p in found.prompts(polarity)
        if (p.instruction_index, p.question_index) == (int(instruction), int(question))
    )
    return Reply(
        name=f"{instruction}-{question}",
        messages=_messages(prompt),
        reply_ids=tuple(int(token["id"]) for token in row["tokens"]),
        text=row["text"],
    )


def _messages(prompt: InstructedPrompt) -> tuple[Message, ...]:
    return {"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.question}


def _custom_id(name: str, temperature: float) -> str:
    return custom_id(item_key(_PART, name), "control", temperature, 0, "closed")
