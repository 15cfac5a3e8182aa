"""What a run was predicted to take beside what it took, in one line."""

from overnight.store.manifest import EstimateRecord

_SECONDS_PER_MINUTE = 60
_BYTES_PER_MB = 1e6


def foresight(estimate: EstimateRecord | None) -> str | None:
    """Return predicted against measured minutes and megabytes, or None where the run knows of neither."""
    if estimate is None:
        return None
    return f"Predicted and measured: {_time(estimate)}; {_disk(estimate)}."


def _time(estimate: EstimateRecord) -> str:
    measured = (
        "not measured" if estimate.measured_s is None else f"{_minutes(estimate.measured_s)} min measured"
    )
    if estimate.predicted_s is None or estimate.low_s is None or estimate.high_s is None:
        return f"{measured}, no prediction ({estimate.undefined_because or 'the reason is not recorded'})"
    predicted = (
        f"{_minutes(estimate.predicted_s)} min predicted "
        f"({_minutes(estimate.low_s)} to {_minutes(estimate.high_s)})"
    )
    done = ""
    if estimate.n_done is not None and estimate.n_done < estimate.n_requests:
        done = f" for {estimate.n_done:,} of {estimate.n_requests:,} requests"
    return f"{predicted}, {measured}{done}"


def _disk(estimate: EstimateRecord) -> str:
    predicted, measured = (
        "unknown" if n_bytes is None else f"{n_bytes / _BYTES_PER_MB:,.1f} MB"
        for n_bytes in (estimate.predicted_bytes, estimate.measured_bytes)
    )
    return f"on disk at most {predicted} predicted, {measured} measured before the reports"


def _minutes(seconds: float) -> str:
    return f"{seconds / _SECONDS_PER_MINUTE:,.1f}"
