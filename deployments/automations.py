"""What a server is to do by itself: a run that nobody hears of any more has crashed."""

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

# Prefect's flow runs send a sign of life every three minutes, and every subflow does.
_SILENT_FOR = timedelta(minutes=10)
_SIGNS_OF_AN_END = ("Completed", "Failed", "Cancelled", "Crashed")


def automations(silent_for: timedelta = _SILENT_FOR) -> tuple[AutomationCore, ...]:
    """Return what a server is to do by itself.

    A run whose machine lost its power stays Running on the server, and keeps the only place of its pool: no later night
    would begin. Runs that are started from the command line send no signs of life and are left alone.

    Args:
        silent_for: how long a run may give no sign of life.
    """
    heartbeat = "prefect.flow-run.heartbeat"
    return (
        AutomationCore(
            name="overnight: silent runs have crashed",
            description="A run that gives no sign of life any more, since its process was killed or its machine is "
            "off, gives its place in the pool back.",
            trigger=EventTrigger(
                after={heartbeat},
                expect={heartbeat, *(f"prefect.flow-run.{state}" for state in _SIGNS_OF_AN_END)},
                match={"prefect.resource.id": ["prefect.flow-run.*"]},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=silent_for,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no sign of life for {silent_for.total_seconds() / 60:g} minutes; go on with it by "
                    "`overnight resume`",
                )
            ],
        ),
    )
