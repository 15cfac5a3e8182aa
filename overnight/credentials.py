"""Secrets stay where they are given: what is said and written holds none."""

import os
import re
from typing import Any, Final

from overnight.errors import UsageError

# user:password@ of an address, wherever in a text it stands.
_IN_ADDRESS: Final = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"<>]*@")
_SECRET: Final = re.compile(
    r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH_STRING|NOTIFY_URL|CONNECTION_URL)$",
    re.IGNORECASE,
)
# What os.path.expandvars replaces.
_NAMED: Final = re.compile(r"\$(?:\{([^}]*)\}|(\w+))" + (r"|%(\w+)%" if os.name == "nt" else ""))


def without_credentials(text: str) -> str:
    """Return a text whose addresses show neither user names nor passwords."""
    return _IN_ADDRESS.sub(r"\g<scheme>***@", text)


def values_without_credentials(value: Any) -> Any:
    """Return a JSON value whose texts went through `without_credentials`."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, list | tuple):
        return [values_without_credentials(each) for each in value]
    if isinstance(value, dict):
        return {key: values_without_credentials(each) for key, each in value.items()}
    return value


def is_secret(variable: str) -> bool:
    """True for an environment variable whose name says that its value is for nobody else."""
    return _SECRET.search(variable) is not None


def require_no_secret(text: str) -> None:
    """Refuse a text that asks for the value of a secret in a configuration, which is written into the run's folder.

    Raises:
        UsageError: it does.
    """
    for found in _NAMED.finditer(text):
        variable = next(name for name in found.groups() if name is not None)
        if is_secret(variable) and variable in os.environ:
            raise UsageError(
                f"found ${variable}, whose value is a secret and would stand in the files of the run; take it out: "
                "what needs a secret reads it from the environment (endpoint.api_key_env names the variable)"
            )
