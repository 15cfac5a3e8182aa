import pytest

from overnight.prompting.lint import abstention_orders, lint
from overnight.prompting.messages import CLOSED_INSTRUCTION, OPEN_INSTRUCTION
from overnight.records import Condition
from overnight.spec.config_root import ConfigRoot, shipped_config

TASK = CLOSED_INSTRUCTION


def rules(text: str, task: str = TASK) -> list[str]:
    return [finding.rule for finding in lint(text, task)]


@pytest.mark.parametrize("task", [CLOSED_INSTRUCTION, OPEN_INSTRUCTION])
def test_the_task_says_how_to_abstain(task: str) -> None:
    (order,) = abstention_orders(task)
    assert order.phrase == "I don't know"
    assert order.is_recognised


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("If you do not know the answer, reply exactly: unknown.", "unknown"),
        ("If you do not know the answer, reply exactly `unknown`.", "unknown"),
        ("If you don\u2019t know, respond with \u201cNOANSWER\u201d.", "NOANSWER"),
        ("When the passage does not contain the answer, output 'UNANSWERABLE'.", "UNANSWERABLE"),
        ("Reply with exactly unknown, and nothing else.", "unknown"),
        ("Say only: I cannot answer that", "I cannot answer that"),
        ("If unsure, say 'not sure'.", "not sure"),
    ],
)
def test_another_way_to_abstain_than_the_task_asks_for_is_found(text: str, phrase: str) -> None:
    # The seed's control arm asked for "unknown" while its task asked for "I don't know.".
    (finding,) = lint(text, TASK)
    assert finding.rule == "abstention_phrase"
    assert f'"{phrase}"' in finding.message
    assert '"I don\'t know"' in finding.message


@pytest.mark.parametrize(("phrase", "reads"), [("unknown", "the scorer reads"), ("ZZZ", "does not read")])
def test_it_is_said_whether_the_scorer_would_notice(phrase: str, reads: str) -> None:
    (finding,) = lint(f"If you are not sure, reply exactly: {phrase}.", TASK)
    assert reads in finding.message


@pytest.mark.parametrize(
    "text",
    [
        "If you are not sure, reply exactly: I don't know.",
        "If you are not sure, reply: I don\u2019t know",
        'If you cannot tell, say "I don\'t know."',
        "IF YOU ARE NOT SURE, REPLY EXACTLY: I DON'T KNOW",
        "Question: Which tool drives in nails?\nAnswer: hammer",
        "Reply only with the name.",
        "Answer with exactly one word.",
        "If you are not sure, answer only briefly.",
        "Do not reply 'unknown'.",
        "The Unknown Soldier is buried in Arlington.",
    ],
)
def test_the_same_way_to_abstain_and_other_orders_are_no_contradiction(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Never say that you do not know.", "never_abstains"),
        ("You must not say you don't know.", "never_abstains"),
        ("Always give an answer.", "never_abstains"),
        ("You must provide a definite answer to every question.", "never_abstains"),
        ("If you are not sure, make your best guess.", "never_abstains"),
        ("Do not leave any question unanswered.", "never_abstains"),
        ("Never abstain.", "never_abstains"),
        ("Answer in German.", "language"),
        ("Always reply to the user in formal French.", None),  # too far from a plain order: not claimed
        ("Respond only in Spanish, please.", "language"),
        ("Write at least 200 words.", "length"),
        ("Use a minimum of three sentences.", "length"),
        ("Give a detailed, well-structured explanation.", "length"),
        ("Think step by step.", "length"),
        ("Explain your reasoning.", "length"),
        ("Answer in full sentences.", "length"),
        ("Return your answer as valid JSON.", "format"),
        ("Answer with bullet points.", "format"),
        ("Format the reply in Markdown.", "format"),
    ],
)
def test_orders_that_cannot_be_kept_with_the_task_are_found(text: str, rule: str | None) -> None:
    assert rules(text) == ([] if rule is None else [rule])
    assert rules(f"You are a helpful assistant. {text} Be kind.") == ([] if rule is None else [rule])


@pytest.mark.parametrize(
    "text",
    [
        "Do not always give an answer.",
        "Do not guess; never make a guess.",
        "Do not answer in German.",
        "If the question is in German, answer in German.",
        "Answer in English.",
        "The answer may be in French history.",
        "Do not explain your reasoning.",
        "Reply without a detailed explanation.",
        "Think step by step silently, then give the answer alone.",
        "Use at least one word.",
        "Use at least 3 words.",
        "Do not answer in JSON.",
        "If the user asks for it, answer in JSON.",
        "Do not write a sentence, do not repeat the question and do not explain.",
        "Never say that you do not know unless the passage lacks the answer.",
        "Do not hold back an answer that you do know, because refusing an easy question is also a mistake.",
        "A wrong answer is worse than saying that you do not know.",
        "Answer questions about tables, lists and JSON files.",
        "",
    ],
)
def test_orders_that_can_be_kept_raise_no_alarm(text: str) -> None:
    assert rules(text) == []


def test_a_task_that_asks_for_no_short_answer_is_not_contradicted_by_a_long_one() -> None:
    assert rules("Explain your reasoning in at least 200 words.", "Discuss the question.") == []


def test_the_shipped_prompt_sets_contradict_nothing() -> None:
    root = ConfigRoot(shipped_config())
    for name in root.names("prompts"):
        for arm in Condition:
            for task in (CLOSED_INSTRUCTION, OPEN_INSTRUCTION):
                assert lint(root.prompt_set(name).text(arm), task) == []
