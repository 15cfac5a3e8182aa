"""What a user reads where something is refused."""

from collections.abc import Callable
from typing import Any, TypeVar

from overnight.errors import OvernightError, UsageError

Result = TypeVar("Result")


def outcome(
    function: Callable[..., Result], *arguments: Any, by: type[OvernightError] = UsageError
) -> tuple[Result | None, str | None]:
    """Call a function; return its result, or the one line that it refuses with.

    Whatever else is raised goes through, and fails the test.
    """
    try:
        return function(*arguments), None
    except by as error:
        message = str(error)
    assert message
    assert "\n" not in message, message
    return None, message
