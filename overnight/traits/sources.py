"""What shows a trait, as a configuration names it: contrastive texts, or instructions and questions."""

from dataclasses import replace

from overnight.errors import UsageError
from overnight.spec.trait import TraitSpec
from overnight.traits.contrastive import ContrastiveSet, read_contrastive_set
from overnight.traits.instructions import InstructionSet, read_instruction_set

INSTRUCTIONS = ("instructions.yaml", "instructions.json", "trait_definition.json")


def with_trait_digest(spec: TraitSpec) -> TraitSpec:
    """Return the trait with the digest of what shows it.

    Raises:
        UsageError: its folder is not what it should be.
    """
    found = _read(spec)
    texts = (
        (
            f"{pair.positive}{pair.negative}{question}"
            for pair in found.instructions
            for question in found.questions
        )
        if isinstance(found, InstructionSet)
        else found.texts
    )
    longest = max(len(text.encode("utf-8", "replace")) for text in texts)
    return spec.model_copy(update={"sha256": found.digest, "longest_bytes": longest})


def read_trait(spec: TraitSpec) -> ContrastiveSet | InstructionSet:
    """Return what shows a resolved trait.

    Raises:
        UsageError: its folder is not what it should be, or not what it was when the run began.
    """
    found = _read(spec)
    if spec.sha256 is not None and found.digest != spec.sha256:
        raise UsageError(
            f"{spec.path}: it is not what the run began with; restore its files, or start a new run"
        )
    return found


def _read(spec: TraitSpec) -> ContrastiveSet | InstructionSet:
    named = [spec.path / name for name in INSTRUCTIONS if (spec.path / name).is_file()]
    if not named:
        return replace(read_contrastive_set(spec.path, may_be_unpaired=not spec.is_paired), name=spec.name)
    if (spec.path / "positive.txt").exists():
        raise UsageError(
            f"{spec.path}: found positive.txt and {named[0].name}; a trait is shown by one of them, take the other out"
        )
    return replace(read_instruction_set(named[0]), name=spec.name)
