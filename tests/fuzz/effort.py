"""How many examples a test takes: a share of what the profile says, so that exploring digs deeper everywhere."""

from hypothesis import settings


def effort(share: float) -> settings:
    """Return settings with a share of the examples of the profile in use."""
    assert settings.default is not None
    return settings(max_examples=max(1, round(share * settings.default.max_examples)))
