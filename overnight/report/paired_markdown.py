"""A comparison of systems in Markdown."""

from overnight.report import paired_wording as words
from overnight.report.markdown import table as markdown_table
from overnight.report.paired import PairedReport, PairedTable
from overnight.report.text import cell
from overnight.report.wording import count, probability

ITEMS_SHOWN = 20
_TEXT_CHARS = 120


def paired_markdown(report: PairedReport) -> str:
    """Return the report as Markdown; every text is escaped."""
    blocks = [f"# {cell(report.title)}", cell(words.verdict(report), limit=2000)]
    blocks += [f"> {cell(finding, limit=2000)}" for finding in report.findings]
    if report.settings:
        blocks += [
            "## Settings that differ",
            markdown_table(
                ["setting", *report.setting_columns], [[row.key, *row.values] for row in report.settings]
            ),
        ]
    for one in report.tables:
        blocks += _table_blocks(one)
    blocks += ["## What was compared", markdown_table(["what", "which"], report.facts)]
    blocks += ["## How to read this", *(cell(sentence, limit=2000) for sentence in words.HOW_TO_READ)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table_blocks(one: PairedTable) -> list[str]:
    comparison = one.comparison
    level = f"{100 * comparison.confidence:g} % interval"
    return [
        f"## {cell(one.heading)}",
        cell(" ".join(part for part in (words.direction(one), words.cochran(one)) if part)),
        markdown_table(
            ["system", "items", "unscored", f"mean ({words.unit(one)})", level],
            [
                [
                    mean.system,
                    count(mean.n_items),
                    count(mean.n_undefined),
                    words.score(one, mean.mean) or f"n/a ({mean.undefined_because})",
                    words.interval(one, mean.ci_low, mean.ci_high, signed=False) or "n/a",
                ]
                for mean in comparison.systems
            ],
        ),
        markdown_table(
            ["first", "second", "items", "difference", level, "only first / only second right", "p", "q"],
            [
                [
                    pair.first,
                    pair.second,
                    count(pair.n_pairs),
                    words.difference(one, pair.mean_difference) or f"n/a ({pair.undefined_because})",
                    words.interval(one, pair.ci_low, pair.ci_high)
                    or f"n/a ({pair.undefined_because or 'no interval'})",
                    words.split(pair),
                    probability(pair.p_value),
                    probability(pair.q_value),
                ]
                for pair in comparison.pairs
            ],
        ),
        *_items(one),
    ]


def _items(one: PairedTable) -> list[str]:
    if not one.n_differing:
        return ["The systems have the same score on every item that they share."]
    if not one.differing:
        return [f"Items on which the systems differ: {one.n_differing:,} of {one.comparison.n_items:,}."]
    shown = one.differing[:ITEMS_SHOWN]
    systems = [mean.system for mean in one.comparison.systems]
    return [
        f"Items on which the systems differ: {one.n_differing:,} of {one.comparison.n_items:,}"
        + (f"; the {len(shown)} most contested:" if one.n_differing > len(shown) else ":"),
        markdown_table(
            ["item", "text", *systems],
            [
                [item.name, item.text, *(words.plain(value) or "n/a" for value in item.values)]
                for item in shown
            ],
            limit=_TEXT_CHARS,
        ),
    ]
