"""The instructions before a question, the worked examples of one style, and where an answer ends."""

from typing import Final, NamedTuple

from overnight.spec.asking import BriefStyle

BRIEFS: Final = {
    BriefStyle.NONE: "",
    BriefStyle.DEFAULT: "Reply to the question with one complete sentence, and keep it brief.",
    BriefStyle.CHAT: (
        "Somebody asks you this in a conversation. Reply as you would there, in one short sentence that is complete."
    ),
    BriefStyle.SENTENCE: (
        "Write the answer as exactly one complete sentence that can be understood without the question."
    ),
    BriefStyle.DETAILED: (
        "Write the answer as one well-built, full sentence that names what is asked for and says whatever else a "
        "reader needs to understand it."
    ),
    BriefStyle.SHORT: "Give only the words that answer the question, as few of them as will do.",
    BriefStyle.MANUAL: "Answer as these examples do: with the words that were asked for and nothing around them.",
}


class WorkedExample(NamedTuple):
    """A question with its passage and the answer that is wanted."""

    context: str
    question: str
    answer: str


WORKED_EXAMPLES: Final = (
    WorkedExample(
        "A spider is no insect. Insects walk on six legs, spiders on eight, and neither of them ever has a backbone.",
        "On how many legs does a spider walk?",
        "eight",
    ),
    WorkedExample(
        "The Danube rises in the Black Forest, flows past Vienna, Budapest and Belgrade, and ends in a delta on the "
        "Black Sea.",
        "Into which sea does the Danube flow?",
        "the Black Sea",
    ),
    WorkedExample(
        "In bread dough, yeast turns sugar into alcohol and carbon dioxide. The gas makes the dough rise; the alcohol "
        "leaves it in the oven.",
        "Which gas makes bread dough rise?",
        "carbon dioxide",
    ),
)

# What a model writes when it goes on with another question of its own. Three and four newlines begin with two, and
# some servers take no more than four texts.
_HEADINGS: Final = ("Question:", "Context:", "Answer:")
_PARAGRAPH: Final = "\n\n"
_GAP: Final = "\n\n\n\n"  # a detailed answer may have paragraphs


def stop_strings(style: BriefStyle) -> tuple[str, ...]:
    """Return the texts at which an answer ends; none of them is part of it."""
    return (_GAP if style is BriefStyle.DETAILED else _PARAGRAPH, *_HEADINGS)
