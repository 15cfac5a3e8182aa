"""Who says a token: by where it stands in what the template writes; tokenizers here are as small as their claims."""

import re
from typing import Any

import pytest
from jinja2 import Environment
from jinja2.exceptions import TemplateRuntimeError

from overnight.engines.transformers.conversations import read_conversation, read_text, spans_of_messages
from overnight.engines.transformers.prompts import PromptRenderer
from overnight.errors import UsageError
from overnight.prompting.messages import Message

CHAT = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="user"),  # what the template writes as well
    Message(role="assistant", content=" Yes.\nNo. "),
)
MARKED = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}"
TRIMMED = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>\n{% endfor %}"
WITHOUT_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)


class _Tokenizer:
    """A token is a word with the blank before it, a sign, or a mark ``<...>``; id 1 stands in front of a text."""

    all_special_ids = (1,)

    def __init__(self, template: str | None = MARKED, *, says_where: bool = True) -> None:
        self.chat_template = template
        self._says_where = says_where

    def __call__(self, text: str, *, add_special_tokens=True, return_offsets_mapping=False) -> dict[str, Any]:
        if return_offsets_mapping and not self._says_where:
            raise NotImplementedError
        found = [match.span() for match in re.finditer(r"</?\w+>| ?\w+|\n+|.", text)]
        ids, spans = [2] * len(found), found
        if add_special_tokens:
            ids, spans = [1, *ids], [(0, 0), *spans]
        return {"input_ids": ids, "offset_mapping": spans}

    def apply_chat_template(self, messages, *, add_generation_prompt, tokenize, return_dict=False):
        def refuse(message):
            raise TemplateRuntimeError(message)

        assert not tokenize
        template = Environment(autoescape=False).from_string(self.chat_template)
        return template.render(
            messages=messages, add_generation_prompt=add_generation_prompt, raise_exception=refuse
        )


def said(template: str | None, messages=CHAT) -> dict[str, str]:
    """Return by role what its tokens write, one after another."""
    tokenizer = _Tokenizer(template)
    read = read_conversation(tokenizer, PromptRenderer(tokenizer), messages)
    found: dict[str, str] = {}
    for role, (start, end) in zip(read.roles, read.spans, strict=True):
        found[role] = found.get(role, "") + read.text[start:end]
    return found


def test_a_token_is_of_who_says_it_and_what_the_template_adds_is_special() -> None:
    assert said(MARKED) == {
        "special": "<system></system>\n<user></user>\n<assistant></assistant>\n",
        "system": "Be brief.",
        "user": "user",
        "assistant": " Yes.\nNo. ",
    }


def test_a_template_may_trim_what_is_said() -> None:
    assert said(TRIMMED)["assistant"] == "Yes.\nNo."


def test_a_system_text_in_the_users_turn_is_still_the_systems() -> None:
    found = said(WITHOUT_SYSTEM)
    assert found["system"] == "Be brief."
    assert found["user"] == "user"
    assert found["special"] == "<user>\n\n<assistant>"


def test_without_a_template_what_stands_between_messages_is_special() -> None:
    messages = [Message(role="user", content="One."), Message(role="assistant", content="Two.")]
    assert said(None, messages) == {"special": "\n\n", "user": "One.", "assistant": "Two."}


def test_nothing_asks_for_an_answer_behind_a_conversation() -> None:
    template = MARKED + "{% if add_generation_prompt %}<assistant>{% endif %}"
    assert said(template)["special"].endswith("</assistant>\n")


def test_messages_that_a_template_rewrites_are_looked_for_one_behind_another() -> None:
    # As templates do that drop what a model thought in earlier turns, where there is such a thing.
    template = "{% for m in messages %}[{{ m.role }}{% if 'Yes' in m.content %}!{% endif %}]{{ m.content }}{% endfor %}"
    messages = [Message(role="user", content="Far?"), Message(role="assistant", content="Yes.\n")]
    found = said(template, messages)
    assert (found["user"], found["assistant"]) == ("Far?", "Yes.")


def test_a_message_that_the_template_leaves_out_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves a message out"):
        said("{% for m in messages if m.role != 'assistant' %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    with pytest.raises(ValueError, match="does not write a message as it is"):
        spans_of_messages(lambda turns: turns[0]["content"], [{"role": "user", "content": "a"}], "b")


def test_a_plain_text_has_no_roles_and_begins_behind_the_tokenizers_own_token() -> None:
    read = read_text(_Tokenizer(), "One two.")
    assert (read.roles, read.first, read.ids) == (None, 1, (1, 2, 2, 2))
    assert [read.text[start:end] for start, end in read.spans] == ["", "One", " two", "."]


def test_a_tokenizer_that_does_not_say_where_tokens_stand_is_refused() -> None:
    with pytest.raises(UsageError, match="name a model with a fast one"):
        read_text(_Tokenizer(says_where=False), "One two.")
