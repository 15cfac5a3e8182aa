"""What engines are asked when they are compared: short and long, code, lists, numbers, and scripts of many kinds."""

from overnight.prompting.messages import Message

_BRIEF = "Answer in one or two sentences."
_PLAIN = "You are a careful assistant."

_STORY = (
    "Marta kept bees behind the old station. In March she counted nine hives; two had not come through the winter, "
    "and their combs were dry. In April the plum trees flowered early, and the bees of the other seven were out before "
    "the morning train. By June she had split three of the strong colonies and given one of the young queens to her "
    "brother, who lives across the river and has no patience for smoke. In July it rained for eleven days. The honey "
    "was thin and late, and she took only fourteen jars, one of which she left on the bench for the stationmaster, as "
    "her father had done. In autumn a lorry brought sugar, and she fed the weakest first."
)
_CODE = """def merge(left, right):
    result = []
    while left and right:
        if left[0] <= right[0]:
            result.append(left.pop(0))
        else:
            result.append(right.pop(0))
    return result
"""
_LOG = "\n".join(
    f"2031-04-{day:02d} 06:{minute:02d} pump={pump} pressure={pressure} bar"
    for day, minute, pump, pressure in (
        (1, 5, "A", 2.4),
        (2, 7, "B", 2.1),
        (3, 4, "A", 0.3),
        (4, 6, "C", 2.2),
    )
)

# Name, system prompt (none where it is empty), question.
_ASKED = (
    ("capital", _BRIEF, "What is the capital of Norway?"),
    ("no-system", "", "Name the largest planet of the solar system."),
    ("one-word", _BRIEF, "Hello!"),
    ("sum", _BRIEF, "What is 48 + 77?"),
    ("product", _PLAIN, "Work out 36 times 14 step by step."),
    ("digits", _BRIEF, "Repeat this number: 3.14159265358979"),
    ("count", _PLAIN, "Count from one to fifteen, separated by commas."),
    ("list", _PLAIN, "List five kitchen tools, one on each line, with a dash before each."),
    ("numbered", _PLAIN, "Give four steps for making tea, numbered."),
    ("json", _PLAIN, 'Reply with JSON that has the keys "city" and "river" for Vienna.'),
    ("table", _PLAIN, "| tree | leaves |\n|---|---|\n| oak | broad |\n| pine |\nComplete the last row."),
    ("python", _PLAIN, "Write a Python function that reverses the words of a sentence."),
    ("read-code", _PLAIN, f"What does this function return for [1, 4] and [2, 3]?\n\n```python\n{_CODE}```"),
    ("sql", _PLAIN, "Write an SQL query that counts the orders of each customer."),
    ("accents", _BRIEF, "Répète : « Où est passé l'élève naïf ? »"),
    ("german", _BRIEF, "Wie heißt der längste Fluss Europas?"),
    ("greek", _BRIEF, "Μετάφρασε στα αγγλικά: καλημέρα"),
    ("chinese", _BRIEF, "请用一句话介绍长江。"),
    ("arabic", _BRIEF, "ما هو لون السماء؟"),
    ("emoji", _BRIEF, "What do these have in common? 🍎 🍐 🍇 👩‍🌾"),
    ("whitespace", _BRIEF, "  Two  spaces,\ta tab\n\n\nand blank lines: what is odd here?  "),
    ("story", _PLAIN, f"{_STORY}\n\nHow many hives did Marta have in April, and who got a queen?"),
    ("log", _PLAIN, f"{_LOG}\n\nWhich pump had a problem, and on which day?"),
    ("rewrite", _PLAIN, f"Shorten this to one sentence:\n\n{_STORY}"),
    ("opinion", _PLAIN, "Is it better to read a book in the morning or in the evening? Give reasons."),
    ("poem", _PLAIN, "Write two lines about fog over a harbour."),
)


def prompts() -> dict[str, tuple[Message, ...]]:
    """Return the messages of every prompt by its name."""
    return {
        name: (
            *((Message(role="system", content=system),) if system else ()),
            Message(role="user", content=question),
        )
        for name, system, question in _ASKED
    }
