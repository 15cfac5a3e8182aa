"""``mixed_models.json``: the effect of the prompt in one model of all replies."""

from collections.abc import Iterator, Mapping
from typing import Any

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet

_NAMES = {"gee_em": "GEE of exact match, log odds", "ols_f1": "OLS of token F1, clustered"}


def models(record: Mapping[str, Any]) -> list[Sheet]:
    """Return every coefficient with its robust interval."""
    rows: list[Row] = []
    fits: list[str] = []
    where: dict[str, list[str]] = {}
    for kind, found in sorted(record["results"].items()):
        for key, name in _NAMES.items():
            rows += _rows(kind, name, found[key])
            if found[key]["terms"]:
                fits.append(f"{name}, {kind}")
            for caution in _cautions(found[key]):
                where.setdefault(caution, []).append(f"{name}, {kind}")
    notes = (
        f"{'In every model' if named == fits else '; '.join(named)}: {caution}."
        for caution, named in where.items()
    )
    return [
        Sheet(
            title="All replies in one model",
            head=("type", "model", "term", "estimate", "interval", "p", "rows", "groups"),
            rows=tuple(rows),
            n_text=3,
            notes=(f"{record['note'][:1].upper()}{record['note'][1:]}.", *notes),
        )
    ]


def _rows(kind: str, model: str, fit: Mapping[str, Any]) -> Iterator[Row]:
    if not fit["terms"]:
        yield kind, model, "", w.not_available(fit["undefined_because"]), "", "", w.count(fit["n_rows"]), ""
        return
    for name, term in fit["terms"].items():
        yield (
            kind,
            model,
            name,
            w.decimal(term["estimate"], 3),
            f"{w.decimal(term['low'], 3)} to {w.decimal(term['high'], 3)}",
            w.probability(term["p_value"]),
            w.count(fit["n_rows"]),
            w.count(fit["n_groups"]),
        )


def _cautions(fit: Mapping[str, Any]) -> Iterator[str]:
    yield from fit.get("cautions") or ()
    by_reason: dict[str, list[str]] = {}
    for name, reason in (fit.get("left_out") or {}).items():
        by_reason.setdefault(reason, []).append(name)
    yield from (f"{' and '.join(names)} left out ({reason})" for reason, names in by_reason.items())
