"""What the journal says of how requests went: latency, prefill and decode rates, how the answers ended."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from overnight.store.journal import Row, is_done
from overnight.store.telemetry_record import RequestSpeeds
from overnight.telemetry.signal_stats import SignalStats

# What is left of a prompt that the prefix cache holds is evaluated in the time of a call, whatever its length.
_FEWEST_PREFILLED = 16


class SpeedTally:
    """Journal rows, added up; answers from the request cache took no time here and count as answers alone."""

    def __init__(self) -> None:
        self._finish_reasons: Counter[str] = Counter()
        self._failed: set[str] = set()
        self.latency_s = SignalStats()
        self._prefill = SignalStats()
        self._decode = SignalStats()
        self.began: datetime | None = None
        self.ended: datetime | None = None

    def add(self, row: Row) -> None:
        """Count a row in; a failed draw that is answered later is answered."""
        if not is_done(row):
            self._failed.add(row["custom_id"])
            return
        self._failed.discard(row["custom_id"])
        self._finish_reasons[row["finish_reason"]] += 1
        latency_s = row.get("latency_s")
        if row.get("cached") or latency_s is None:
            return
        self.latency_s.add(latency_s)
        self._bound(row, latency_s)
        if (rate := prefill_rate(row)) is not None:
            self._prefill.add(rate)
        if (rate := decode_rate(row)) is not None:
            self._decode.add(rate)

    def speeds(self) -> RequestSpeeds:
        """Return what the rows come to."""
        reasons = self._finish_reasons + Counter({"error": len(self._failed)})
        return RequestSpeeds(
            finish_reasons=dict(sorted(reasons.items())),
            latency_s=self.latency_s.summary(),
            prefill_tokens_per_s=self._prefill.summary(),
            decode_tokens_per_s=self._decode.summary(),
        )

    def _bound(self, row: Row, latency_s: float) -> None:
        """Keep when the first request was sent and the last one answered."""
        try:
            ended = datetime.fromisoformat(row["at"])
        except (KeyError, TypeError, ValueError):
            return
        began = ended - timedelta(seconds=latency_s)
        self.began = min(self.began or began, began)
        self.ended = max(self.ended or ended, ended)


def request_speeds(rows: Iterable[Row]) -> RequestSpeeds:
    """Return what the rows of a journal come to."""
    tally = SpeedTally()
    for row in rows:
        tally.add(row)
    return tally.speeds()


def prefill_rate(row: Row) -> float | None:
    """Return how many prompt tokens were evaluated a second; None where the engine does not say, or hardly any were."""
    prompt, seconds = row.get("prompt_tokens"), row.get("prefill_s")
    if prompt is None or not seconds:
        return None
    evaluated = prompt - (row.get("cached_tokens") or 0)
    return float(evaluated / seconds) if evaluated >= _FEWEST_PREFILLED else None


def decode_rate(row: Row) -> float | None:
    """Return how many tokens of one answer came a second; None where the engine does not say.

    The first token comes out of the prefill, so that ``decode_s`` is the time of the others.
    """
    tokens, seconds = row.get("completion_tokens"), row.get("decode_s")
    if tokens is None or not seconds or tokens < 2:  # noqa: PLR2004 - one token, and no time after it
        return None
    return float((tokens - 1) / seconds)
