"""Addresses of datasets on the Hugging Face hub."""

import re
from dataclasses import dataclass

from pydantic import Field

from overnight.spec.base import Spec

_ADDRESS = re.compile(r"hf:(?P<path>[^:@\s]+)(?::(?P<split>[^@\s]+))?(?:@(?P<revision>\S+))?")
_MOST_SEGMENTS = 3  # organisation, dataset, configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRepository:
    """What a public dataset is, so that nobody has to say it."""

    format: str
    config: str | None = None
    split: str = "validation"


# By the last part of the repository's name: `squad_v2` and `rajpurkar/squad_v2` are the same rows.
KNOWN_REPOSITORIES = {
    "squad": KnownRepository(format="squad"),
    "squad_v2": KnownRepository(format="squad"),
    "trivia_qa": KnownRepository(format="triviaqa", config="rc.nocontext"),
    "nq_open": KnownRepository(format="nq_open"),
    "truthful_qa": KnownRepository(format="truthfulqa", config="generation"),
    "svamp": KnownRepository(format="svamp", split="test"),
}


def dataset_of(repo: str) -> str:
    """Return a repository's name without its organisation, in lower case."""
    return repo.rsplit("/", 1)[-1].lower()


class HubSource(Spec):
    """One split of one configuration of a repository."""

    repo: str = Field(description="organisation/name")
    config: str | None = Field(
        default=None, description="the configuration; null: the only one, or the usual one of a known dataset"
    )
    split: str = Field(default="validation", description="which of its splits")
    revision: str | None = Field(default=None, description="branch, tag or commit; null: the newest")

    @classmethod
    def parse(cls, address: str) -> "HubSource":
        """Return what ``hf:REPO[/CONFIG][:SPLIT][@REVISION]`` means.

        ``REPO`` is ``organisation/name``, or the bare name of a dataset that is known here (``squad_v2``,
        ``trivia_qa``, ``nq_open``, ``truthful_qa``, ``squad``, ``svamp``); whatever follows it is the configuration.

        Raises:
            ValueError: the text is no such address.
        """
        match = _ADDRESS.fullmatch(address)
        segments = match["path"].split("/") if match else []
        if match is None or not all(segments) or len(segments) > _MOST_SEGMENTS:
            raise ValueError(
                f"found {address!r}, wanted hf:REPO[/CONFIG][:SPLIT][@REVISION], e.g. hf:trivia_qa/rc.nocontext"
            )
        n_repo = 1 if segments[0].lower() in KNOWN_REPOSITORIES or len(segments) == 1 else 2
        repo, rest = "/".join(segments[:n_repo]), segments[n_repo:]
        if len(rest) > 1:
            raise ValueError(f"found {address!r}: {rest[1]!r} stands after the configuration; take it out")
        known = KNOWN_REPOSITORIES.get(dataset_of(repo), KnownRepository(format="jsonl"))
        return cls(
            repo=repo,
            config=rest[0] if rest else known.config,
            split=match["split"] or known.split,
            revision=match["revision"],
        )

    @property
    def address(self) -> str:
        """The address in full, as messages and reports show it."""
        config = f"/{self.config}" if self.config else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{config}:{self.split}{revision}"
