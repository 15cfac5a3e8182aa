"""The rules: each looks at a run's evidence and says what it saw, what is wrong, or why it could not look."""

from collections.abc import Callable

from overnight.diagnosis.evidence import RunEvidence
from overnight.diagnosis.finding import Look
from overnight.diagnosis.rules.answers import empty_answers, truncated
from overnight.diagnosis.rules.asking import connection, context_overflow, errors
from overnight.diagnosis.rules.completeness import row_mismatch, unfinished
from overnight.diagnosis.rules.hosting import restarts
from overnight.diagnosis.rules.machine import cpu_bound, low_ram, low_utilisation, thermal
from overnight.diagnosis.rules.memory import gpu_memory_full, out_of_memory
from overnight.diagnosis.rules.prefixes import prefix_cache
from overnight.diagnosis.rules.speed import slow

Rule = Callable[[RunEvidence], Look]

RULES: tuple[Rule, ...] = (
    out_of_memory,
    restarts,
    unfinished,
    row_mismatch,
    connection,
    context_overflow,
    errors,
    truncated,
    empty_answers,
    slow,
    prefix_cache,
    low_utilisation,
    cpu_bound,
    thermal,
    gpu_memory_full,
    low_ram,
)
