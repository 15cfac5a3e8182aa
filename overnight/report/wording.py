"""Numbers and settings in words: the same ones in Markdown, on the page and in the figures."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from overnight.engines.placement import NO_GPU, Placement
from overnight.records import FinishReason
from overnight.report.comparisons import McNemarRow, MetricRow
from overnight.report.results import Reply, RunReport, TrialReport
from overnight.report.telemetry import Series
from overnight.store.manifest import BlockRecord, TrialState

MINUS = "\u2212"
ARROW = "\u2192"
METRIC_NAMES = {
    "em": "exact match",
    "f1": "token F1",
    "abstain_rate": "abstention",
    "false_answer_rate": "false answers",
    "unsupported_rate": "unsupported answers",
}
NOT_AVAILABLE = "n/a"
MEMORY = ("predicted memory, MiB", "measured peak, MiB")
_CHARS_OF_A_DIGEST = 12
_GIB = 1 << 30
_SMALL_USD = 0.001

DRY_RUN = (
    "DRY RUN: no model was loaded. The answers are synthetic, so every number below says something about "
    "the machinery and nothing about a model."
)
HOW_TO_READ = (
    "A difference is treatment minus control over the items that both arms answered, in percentage points; "
    "its interval says how far chance in the choice of items can move it, and an interval that holds 0 "
    "leaves open which prompt is better.",
    "q is the p-value after allowing for the number of comparisons in the whole run: below 0.05 the "
    "difference is called shown, and neither a larger q nor an interval of width 0 (no item differed) says "
    "that the prompts are equal.",
    "Questions on one passage count as one unit in intervals, sign flips and tests of equivalence; McNemar's "
    "test, whose p stands for exact match, takes every question for one, so with many questions on a passage "
    "its p is too small.",
    "Compare arms only where few replies are truncated and nearly all items are paired, because an answer "
    "that was cut off or lost says little about the prompt.",
)


def metric_name(metric: str) -> str:
    """Return what a metric is called."""
    return METRIC_NAMES.get(metric, metric)


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share in percent without its sign, or nothing where there is none."""
    return "" if share is None else _signed(f"{100 * share:.{decimals}f}")


def points(difference: float | None) -> str:
    """Return a difference of shares in percentage points with its sign, or nothing where there is none."""
    if difference is None:
        return ""
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else _signed(text)


def interval(row: MetricRow) -> str:
    """Return the interval of a difference, or nothing where there is none."""
    return (
        f"{points(row.ci_low)} to {points(row.ci_high)}"
        if row.ci_low is not None and row.ci_high is not None
        else ""
    )


def arm_interval(bounds: tuple[float, float] | None) -> str:
    """Return the interval of one arm's mean in percent, or nothing where there is none."""
    return f"{percent(bounds[0])} to {percent(bounds[1])}" if bounds else ""


def probability(p: float | None) -> str:
    """Return a p- or q-value with two significant digits, or nothing where there is none."""
    return "" if p is None else f"{p:#.2g}"


def decimal(value: float | None, decimals: int = 1) -> str:
    """Return a number with its thousands apart, or nothing where there is none."""
    return "" if value is None else _signed(f"{value:,.{decimals}f}")


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with some significant digits and its thousands apart, or nothing where there is none."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _signed(f"{value:,.{decimals}f}")


def count(value: int | None) -> str:
    """Return a whole number with its thousands apart, or nothing where there is none."""
    return "" if value is None else f"{value:,}"


def memory(run: RunReport, block: BlockRecord) -> tuple[str, str]:
    """Return what a model was predicted to hold as it was asked for, and what it held at most; in MiB, or n/a."""
    stepped = bool(block.rung_history)  # then the prediction is of another rung
    predicted = None if stepped else run.predicted_memory.get(block.model)
    peak = block.peak_memory
    known = [] if peak is None else [n for n in (peak.host_bytes, peak.device_bytes) if n is not None]
    return _mib(predicted), _mib(sum(known) if known else None)


def _mib(n_bytes: int | None) -> str:
    return NOT_AVAILABLE if n_bytes is None else f"{n_bytes / 2**20:,.0f}"


def usd(value: float | None) -> str:
    """Return an amount in US dollars, a small one with two significant digits, or nothing for none."""
    if value is None:
        return ""
    size = abs(value)
    digits = significant(size, 2) if 0 < size < _SMALL_USD else f"{size:,.4f}"
    return f"{MINUS if value < 0 else ''}${digits}"


def moment(value: datetime | None) -> str:
    """Return a time to the second, or nothing where there is none."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def change(row: MetricRow | None) -> str:
    """Return a comparison in one line: ``25.0 -> 33.3 (+8.3, -10.0 to 25.0; q 0.50)``."""
    if row is None:
        return ""
    if row.delta is None:
        return not_available(row.undefined_because)
    inside = ", ".join(text for text in (points(row.delta), interval(row)) if text)
    q = f"; q {probability(row.q_value)}" if row.q_value is not None else ""
    return f"{percent(row.mean_control)} {ARROW} {percent(row.mean_treatment)} ({inside}{q})"


def odds_ratio(row: McNemarRow) -> str:
    """Return the odds ratio with its interval; no upper bound is said as such, without a ratio nothing."""
    return f"{decimal(row.odds_ratio, 2)} ({odds_ratio_interval(row)})" if row.odds_ratio is not None else ""


def odds_ratio_interval(row: McNemarRow) -> str:
    """Return the interval of an odds ratio; no upper bound is said as such, without a ratio nothing."""
    if row.odds_ratio is None:
        return ""
    high = "unbounded" if row.odds_ratio_high is None else decimal(row.odds_ratio_high, 2)
    return f"{decimal(row.odds_ratio_low, 2)} to {high}"


def hypothetical(pricing: Mapping[str, Any]) -> str:
    """Return what a price means, and at which rates it was computed."""
    return (
        "The price is hypothetical: what a hosted service would ask for the same tokens at "
        f"${pricing['input_per_million']:g} per million prompt tokens and "
        f"${pricing['output_per_million']:g} per million completion tokens"
        f"{_discount(pricing.get('batch_discount'))}. Nothing was paid."
    )


def _discount(multiplier: float | None) -> str:
    return "" if multiplier in (None, 1) else f", times {multiplier:g} for batches"


def verdict_of(reply: Reply) -> str:
    """Return how a reply was scored."""
    if reply.em is None:
        return "not scored"
    if reply.n_samples > 1:
        parts = [f"right in {percent(reply.em, 0)} % of {reply.n_samples} draws, the first is shown"]
    else:
        parts = ["right" if reply.em else "wrong"]
    parts.append(f"F1 {percent(reply.f1, 0)} %")
    if reply.abstain_rate and reply.n_samples == 1:
        parts.append("abstains")
    if reply.finish_reason == FinishReason.LENGTH:
        parts.append("cut off at the token limit")
    return ", ".join(parts)


def counted(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shortened(label: str, limit: int) -> str:
    """Return a label without its middle where it is too long: names tend to differ at their ends."""
    if len(label) <= limit:
        return label
    n_last = (limit - 1) // 2
    return f"{label[: limit - 1 - n_last]}\u2026{label[-n_last:]}"


def tick(difference: float) -> str:
    """Return a difference as it stands on an axis."""
    return _signed(f"{100 * difference:+g}") if difference else "0"


def place(difference: float, limit: float) -> str:
    """Return where a difference stands on an axis from 20 to 400 units whose ends are ``limit``."""
    return f"{210 + 190 * difference / limit:.1f}"


def plotted(points: Sequence[tuple[float, float]]) -> str:
    """Return where points in [0, 1] stand in a box of 360 by 200 units whose lower left corner is at 40, 226."""
    return " ".join(f"{40 + 360 * x:.1f},{226 - 200 * y:.1f}" for x, y in points)


def polyline(series: Series) -> str:
    """Return where the points of a measured column stand in a box of 420 by 80 units, 4 below the top."""
    span = series.points[-1][0] or 1.0
    height = (series.high - series.low) or 1.0
    return " ".join(
        f"{420 * second / span:.1f},{84 - 80 * (value - series.low) / height:.1f}"
        for second, value in series.points
    )


def not_available(reason: str | None = None) -> str:
    """Return why there is no value."""
    return f"{NOT_AVAILABLE} ({reason})" if reason else NOT_AVAILABLE


def setting(key: str, value: object) -> str:
    """Return the value of a setting, digests by their first digits."""
    if value is None:
        return NOT_AVAILABLE
    if key.endswith("digest"):
        return str(value)[:_CHARS_OF_A_DIGEST]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting(name, part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(key, part) for part in value) or "none"
    return str(value)


def short_digest(digest: str) -> str:
    """Return the first digits of a digest."""
    return digest[:_CHARS_OF_A_DIGEST]


def confidence(trials: tuple[TrialReport, ...]) -> str:
    """Return how wide the intervals of some trials are: ``95 %``."""
    levels = {trial.statistics["confidence"] for trial in trials if "confidence" in trial.statistics}
    return " or ".join(f"{100 * level:g} %" for level in sorted(levels)) or "confidence"


def environment_rows(run: RunReport) -> list[tuple[str, str]]:
    """Return on what a run ran, line by line."""
    env = run.environment
    git = env.get("git") or {}
    commit = git.get("commit")
    changed = {True: ", with changes", False: "", None: ", changes unknown"}[git.get("changed")]
    gpus = env.get("gpus")
    return [
        ("processor", f"{env.get('cpu') or NOT_AVAILABLE}, {env.get('cores') or NOT_AVAILABLE} cores"),
        ("memory", _gib(env.get("memory_bytes"))),
        (
            "GPU",
            "; ".join(f"{g['name']}, {_gib(g['memory_bytes'])}, driver {g['driver']}" for g in gpus)
            if gpus
            else _no_nvidia(env),
        ),
        *(
            (f"{block.model} lies", Placement.from_row(block.placement).label)
            for block in run.blocks
            if block.placement
        ),
        ("system", str(env.get("system") or NOT_AVAILABLE)),
        ("Python", str(env.get("python") or NOT_AVAILABLE)),
        (
            "packages",
            ", ".join(f"{name} {version}" for name, version in (env.get("packages") or {}).items() if version)
            or NOT_AVAILABLE,
        ),
        ("git commit", f"{commit}{changed}" if commit else not_available("not run from a repository")),
    ]


def _no_nvidia(env: Mapping[str, Any]) -> str:
    is_apple = str(env.get("system")).startswith("macOS") and env.get("machine") == "arm64"
    return "Apple's, of the processor" if is_apple else NO_GPU


def where_rows(run: RunReport) -> list[list[str]]:
    """Return what lies where in the folder of a run."""
    return [
        ["this run on one page, with examples", "report.html"],
        ["every comparison as numbers", "summary.csv"],
        ["figures", "figures/"],
        ["what ran, how far, with what", "manifest.json"],
        ["the configuration, which can be run again", "effective_config.yaml"],
        ["the questions as they were asked", "items/"],
        *([["what the machine did, sample by sample", "telemetry/"]] if run.telemetry else []),
        *([f"report of {trial.label}", f"{trial.slug}/reports/report.md"] for trial in run.trials),
    ]


def trial_heading(run: RunReport) -> str:
    """Return what the labels of a run's trials are."""
    return "prompt set" if all(trial.label == trial.prompt_set for trial in run.trials) else "trial"


def why_unfinished(trial: TrialReport) -> str:
    """Return what the state of a trial means."""
    return {
        TrialState.PLANNED: "never begun",
        TrialState.RUNNING: "still running, or its process was killed",
        TrialState.PARTIAL: "only some of its steps were asked for",
        TrialState.STOPPED: "somebody asked it to stop",
    }.get(trial.state, NOT_AVAILABLE)


def _gib(n_bytes: float | None) -> str:
    return NOT_AVAILABLE if n_bytes is None else f"{n_bytes / _GIB:.1f} GiB"


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
