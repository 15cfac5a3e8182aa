"""What a judge is asked of an answer, and how its reply is read: one token, yes or no."""

from collections.abc import Iterable, Iterator
from typing import Final

from overnight.engines.alternatives import ALTERNATIVES
from overnight.engines.protocol import Completion
from overnight.errors import UndefinedMetricError
from overnight.ids import custom_id, digest
from overnight.planning.requests import Request, request_seed
from overnight.prompting.messages import Message
from overnight.records import Item
from overnight.uncertainty.judging import Judgement, read_judgement

CONDITION: Final = "judge"  # in the custom ids of its requests, where others name an arm
_SYSTEM: Final = (
    "You compare an answer to a question with answers that are known to be right. You say yes if it means the same "
    "as one of them, and no if it does not. You reply with one word."
)
_NOTHING: Final = "(no answer was given)"


def judge_messages(question: str, golds: Iterable[str], answer: str) -> tuple[Message, ...]:
    """Return what a judge reads.

    How they become a prompt is the engine's business, by what the judge's tokenizer can do.
    """
    right = "\n".join(f"- {' '.join(gold.split())}" for gold in golds)
    lines = (
        f"QUESTION:\n{question}",
        f"RIGHT ANSWERS (each of them alone is enough):\n{right}",
        f"ANSWER TO BE COMPARED:\n{answer.strip() or _NOTHING}",
        "Does the answer to be compared mean the same as one of the right answers? Reply yes or no.",
    )
    return (
        Message(role="system", content=_SYSTEM),
        Message(role="user", content="\n\n".join(lines)),
    )


def judge_request(item: Item, answer: str, *, seed: int) -> Request:
    """Return the request that asks a judge of the greedy answer to an item.

    Args:
        item: with its gold answers; the passage is not shown, since these are what counts.
        answer: as it is scored.
        seed: of the run; the judge is asked greedily, and some engines want one.

    Raises:
        UndefinedMetricError: the item has no gold answer to compare with.
    """
    if not item.answers:
        raise UndefinedMetricError("the item has no gold answer that a judge could compare with")
    return Request(
        custom_id=custom_id(item.key, CONDITION, 0.0, 0, item.type.value),
        part=CONDITION,
        messages=judge_messages(item.question, item.answers, answer),
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=1,
        seed=request_seed(seed, item.key, 0),
        stop=(),
        logprobs=True,
        alternatives=ALTERNATIVES,
    )


def judge_requests(answers: Iterable[tuple[Item, str]], *, seed: int) -> Iterator[Request]:
    """Yield the requests for those items that have gold answers; others have no label of a judge."""
    for item, answer in answers:
        if item.answers:
            yield judge_request(item, answer, seed=seed)


def read_reply(completion: Completion, judge: str) -> Judgement:
    """Return what a judge said, by the first step of its reply.

    Args:
        completion: its reply, with the likeliest tokens of each step.
        judge: ``judge_name``.

    Raises:
        UndefinedMetricError: the engine gave no likeliest tokens, or the reply is empty.
    """
    if not completion.steps:
        raise UndefinedMetricError("the judge's engine gave no likeliest tokens with its reply")
    first = completion.steps[0]
    is_among = any(token.piece == first.taken.piece for token in first.likeliest)
    return read_judgement(first.likeliest if is_among else (first.taken, *first.likeliest), judge)


def judge_name(model: str, weights_identity: str | None) -> str:
    """Return what stands in the results for a judge: its model, its weights and what it is asked.

    Args:
        model: its name.
        weights_identity: ``ModelSpec.weights_identity``; None where a rehearsal has none.
    """
    weights = (weights_identity or "unknown").removeprefix("served-")[:8]
    return f"{model}@{weights}/{wording_digest()[:8]}"


def wording_digest() -> str:
    """Return the digest of everything that this module adds to a prompt."""
    return digest(list(judge_messages("<question>", ("<gold>", "<other gold>"), "")))
