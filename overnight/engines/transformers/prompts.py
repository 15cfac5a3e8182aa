"""From messages to token ids, by what the tokenizer is able to."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

_MARK = "b7e1"  # stands in no template
_PROBE = [{"role": "system", "content": _MARK}, {"role": "user", "content": "?"}]


class PromptRenderer:
    """Renders messages in one way, which ``template`` names.

    ``chat``: by the tokenizer's chat template. ``system_in_user``: likewise, with the system text in front of the
    user's, because the template refuses a system role or leaves its text out. ``plain``: there is no template; the
    texts stand one after another, with an empty line between them and nothing behind the last, which the answer
    goes on from.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.template = "plain"
        if tokenizer.chat_template:
            self.template = "chat" if self._keeps_system() else "system_in_user"

    def ids(self, messages: Sequence[dict[str, str]]) -> tuple[int, ...]:
        """Return the prompt of some messages, with whatever makes the model answer next."""
        if self.template == "plain":
            text = "\n\n".join(message["content"] for message in messages)
            return tuple(self._tokenizer(text)["input_ids"])
        if self.template == "system_in_user":
            messages = with_system_in_user(messages)
        # The template writes the special tokens itself, the first one of the text included.
        return tuple(
            self._tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )

    def conversation(self, messages: Sequence[dict[str, str]]) -> str:
        """Return a conversation as text, with nothing behind it that makes the model answer.

        Raises:
            TemplateError: the template does not take such a one.
        """
        if self.template == "plain":
            return "\n\n".join(message["content"] for message in messages)
        if self.template == "system_in_user":
            messages = with_system_in_user(messages)
        text: str = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=False, tokenize=False
        )
        return text

    def _keeps_system(self) -> bool:
        try:
            text = self._tokenizer.apply_chat_template(_PROBE, add_generation_prompt=True, tokenize=False)
        except TemplateError:
            return False
        return _MARK in text


def with_system_in_user(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the messages with each system text in front of the user's turn that follows it."""
    folded: list[dict[str, str]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message["content"])
            continue
        text = message["content"]
        if message["role"] == "user" and waiting:
            text, waiting = "\n\n".join([*waiting, text]), []
        folded.append({"role": message["role"], "content": text})
    return folded + [{"role": "user", "content": text} for text in waiting]
