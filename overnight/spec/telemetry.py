"""Whether, and how often, the machine is looked at while a run runs."""

from pydantic import Field

from overnight.spec.base import Spec


class TelemetrySettings(Spec):
    """The sampler beside a model; it changes no answer and can fail no run."""

    enabled: bool = Field(default=True, description="false: the machine is not looked at")
    hz: float = Field(default=2, ge=1, le=10, description="samples a second")
