"""Messages become a prompt by what the tokenizer is able to; tokenizers here are as small as their claims."""

from jinja2 import Environment, TemplateError
from jinja2.exceptions import TemplateRuntimeError

from overnight.engines.transformers.prompts import PromptRenderer, with_system_in_user

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]


class _Tokenizer:
    """Ids are code points; the template is rendered as transformers renders it."""

    def __init__(self, template: str | None) -> None:
        self.chat_template = template

    def __call__(self, text: str):
        return {"input_ids": [1, *map(ord, text)]}

    def apply_chat_template(self, messages, *, add_generation_prompt, tokenize, return_dict=False):
        def refuse(message):
            raise TemplateRuntimeError(message)

        template = Environment(autoescape=False).from_string(self.chat_template)
        text = template.render(
            messages=messages, add_generation_prompt=add_generation_prompt, raise_exception=refuse
        )
        return list(map(ord, text)) if tokenize else text


def _text(renderer: PromptRenderer) -> str:
    return "".join(map(chr, renderer.ids(MESSAGES)))


def test_a_chat_template_is_used_and_asks_for_an_answer() -> None:
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    template = turns + "{% if add_generation_prompt %}<a>{% endif %}"
    renderer = PromptRenderer(_Tokenizer(template))
    assert renderer.template == "chat"
    assert _text(renderer) == "<system>Be brief.<user>Who?<a>"


def test_a_template_that_refuses_a_system_role_gets_its_text_in_the_users_turn() -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    renderer = PromptRenderer(_Tokenizer(template))
    assert renderer.template == "system_in_user"
    assert _text(renderer) == "<user>Be brief.\n\nWho?"


def test_a_template_that_leaves_the_system_text_out_gets_it_in_the_users_turn() -> None:
    # Nothing is refused here, and the instructions would be gone without a word.
    template = "{% for m in messages if m.role == 'user' %}<user>{{ m.content }}{% endfor %}"
    renderer = PromptRenderer(_Tokenizer(template))
    assert renderer.template == "system_in_user"
    assert _text(renderer) == "<user>Be brief.\n\nWho?"


def test_without_a_template_the_texts_stand_one_after_another_behind_the_tokenizers_first_token() -> None:
    renderer = PromptRenderer(_Tokenizer(None))
    assert renderer.template == "plain"
    # Nothing behind the last: "Answer:" is gone on from, and an empty line there would end the answer before it.
    assert _text(renderer) == "\x01Be brief.\n\nWho?"


def test_every_system_text_goes_to_the_users_turn_after_it() -> None:
    turns = [
        ("system", "a"),
        ("user", "b"),
        ("assistant", "c"),
        ("system", "d"),
        ("user", "e"),
        ("system", "f"),
    ]
    folded = with_system_in_user([{"role": role, "content": text} for role, text in turns])
    assert [(m["role"], m["content"]) for m in folded] == [
        ("user", "a\n\nb"),
        ("assistant", "c"),
        ("user", "d\n\ne"),
        ("user", "f"),
    ]


def test_what_a_template_raises_is_a_template_error() -> None:
    # transformers raises jinja2's own class for raise_exception; this is what the renderer catches.
    assert issubclass(TemplateRuntimeError, TemplateError)
