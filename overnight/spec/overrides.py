"""Changes that a command line makes to a config file: applied to the plain mapping, and remembered."""

from dataclasses import dataclass, field
from typing import Any

from overnight.credentials import without_credentials
from overnight.errors import UsageError
from overnight.spec.yaml_values import parse_yaml, require_writable_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One changed value."""

    key: str  # dotted path, e.g. experiment.sweep.temps
    old: Any  # None where the file had nothing
    new: Any
    source: str  # the option that asked for it

    def sentence(self) -> str:
        """Return the line for the log."""
        return without_credentials(f"{self.source}: {self.key} is {self.new!r} (the config has {self.old!r})")


@dataclass(slots=True)
class Overrides:
    """A config mapping and what was changed in it so far."""

    value: dict[str, Any]
    made: list[Override] = field(default_factory=list)

    def set(self, key: str, new: Any, source: str) -> None:
        """Put ``new`` at a dotted path, making the mappings on the way there.

        Raises:
            UsageError: the path goes through something that is not a mapping.
        """
        *parents, last = key.split(".")
        here = self.value
        for parent in parents:
            below = here.get(parent)
            if below is None:
                below = here[parent] = {}
            if not isinstance(below, dict):
                raise UsageError(f"{source}: {key}: {parent!r} is not a mapping in this config")
            here = below
        old = here.get(last)
        if last in here and old == new:  # null where the config has nothing is not the default
            return
        here[last] = new
        self.made.append(Override(key=key, old=old, new=new, source=source))

    def set_text(self, assignment: str) -> None:
        """Apply one ``key=value`` of ``--set``; the value is read as YAML.

        Raises:
            UsageError: there is no ``=``, or the value is not YAML.
        """
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {assignment}: wanted key=value, e.g. --set execution.parts_per_dataset=2"
            )
        value = parse_yaml(text, f"--set {key}")
        require_writable_texts({key.strip(): value}, "--set")
        self.set(key.strip(), value, "--set")
