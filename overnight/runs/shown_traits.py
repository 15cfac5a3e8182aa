"""From what shows a trait to sequences that a model can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overnight.activations.request import SequenceInput
from overnight.ids import digest
from overnight.runs.instructed_replies import Asking, Reply, instructed_replies
from overnight.spec.trait import TraitSpec
from overnight.spec.trait_capture import ReplySettings
from overnight.traits.contrastive import ContrastiveSet
from overnight.traits.instructions import InstructionSet
from overnight.traits.sources import read_trait


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrait:
    """A trait as sequences: those that show it, and those that do not; the id of one is the digest of what it says."""

    name: str
    positive: tuple[SequenceInput, ...]
    negative: tuple[SequenceInput, ...]
    is_paired: bool
    facts: Mapping[str, Any]  # for whoever reads the key: where they came from, and who judged

    @property
    def sequences(self) -> tuple[SequenceInput, ...]:
        """All sequences, the positive ones first."""
        return self.positive + self.negative

    @property
    def digest(self) -> str:
        """What makes two of them the same."""
        sides = [[each.id for each in side] for side in (self.positive, self.negative)]
        return digest({"sides": sides, "is_paired": self.is_paired})


async def shown_trait(trait: TraitSpec, settings: ReplySettings, asking: Asking) -> ShownTrait:
    """Return the sequences of a trait; one that is given by instructions is answered and judged first.

    Raises:
        UsageError: its files are not what they should be, or too few replies are left.
        StopRequested: somebody asked the run to stop.
        EngineError: the engine is gone for good.
    """
    found = read_trait(trait)
    if not isinstance(found, InstructionSet):
        return shown_texts(found)
    replies = await instructed_replies(found, settings, asking)
    pairs = _paired(replies.positive, replies.negative)
    return ShownTrait(
        name=trait.name,
        positive=tuple(map(_reply, pairs[0] if pairs else replies.positive)),
        negative=tuple(map(_reply, pairs[1] if pairs else replies.negative)),
        is_paired=pairs is not None,
        facts={
            "kind": "replies to instructions",
            "asked": replies.n_asked,
            "positive": len(replies.positive),
            "negative": len(replies.negative),
            "unscored": replies.n_unscored,
            "not as asked": replies.n_off_side,
            "judge": replies.judge,
            "digest": found.digest,
        },
    )


def shown_texts(found: ContrastiveSet) -> ShownTrait:
    """Return the sequences of contrastive texts, which are read as they are."""
    return ShownTrait(
        name=found.name,
        positive=tuple(map(_text, found.positive)),
        negative=tuple(map(_text, found.negative)),
        is_paired=found.is_paired,
        facts={"kind": "contrastive texts", "texts": len(found.texts), "digest": found.digest},
    )


def _paired(
    positive: tuple[Reply, ...], negative: tuple[Reply, ...]
) -> tuple[tuple[Reply, ...], tuple[Reply, ...]] | None:
    """Return both sides as pairs of one question under one pair of instructions; None where one lacks its fellow."""
    others = {reply.name: reply for reply in negative}
    if {reply.name for reply in positive} != others.keys():
        return None
    return positive, tuple(others[reply.name] for reply in positive)


def _text(text: str) -> SequenceInput:
    return SequenceInput(id=digest({"text": text})[:40], text=text)


def _reply(reply: Reply) -> SequenceInput:
    messages = [dict(message) for message in reply.messages]
    name = digest({"messages": messages, "reply": list(reply.reply_ids)})[:40]
    return SequenceInput(id=name, messages=reply.messages, reply_ids=reply.reply_ids)
