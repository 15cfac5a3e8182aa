from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from deployments.check import load_flow
from overnight.cli.launching import FLOWS
from overnight.spec.sweep import KINDS


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of the form: its place, and what the schema says of it."""
    for name, said in schema["properties"].items():
        yield name, said
    for model, definition in schema["definitions"].items():
        for name, said in definition.get("properties", {}).items():
            yield f"{model}.{name}", said


@pytest.fixture(scope="module", params=FLOWS)
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the form of a flow as Prefect's UI gets it."""
    flow = load_flow(FLOWS[request.param].replace(":", "."))
    assert flow.name == request.param
    return parameter_schema(flow).model_dump_for_openapi()


def test_every_field_of_the_form_has_a_title_and_says_what_it_is(schema: dict[str, Any]) -> None:
    definitions = schema["definitions"]
    nameless = [
        place
        for place, said in fields(schema)
        if not said.get("title")
        # A group of fields is described where it is defined.
        or not (
            said.get("description")
            or definitions.get(said.get("$ref", "").split("/")[-1], {}).get("description")
        )
    ]
    assert nameless == []


def test_the_form_asks_for_a_sweep_only_and_takes_its_name(schema: dict[str, Any]) -> None:
    assert schema["required"] == ["sweep"]
    assert list(schema["properties"]) == ["sweep", "changes", "run"]
    assert schema["properties"]["sweep"]["anyOf"][0]["type"] == "string"


def test_defaults_and_choices_are_those_of_the_specification(schema: dict[str, Any]) -> None:
    said = schema["definitions"]["Execution"]["properties"]
    assert said["condition"]["enum"] == ["control", "treatment", "both"]
    assert said["condition"]["default"] == "both"
    assert said["request_timeout_s"]["default"] == 600
    assert schema["definitions"]["RunOptions"]["properties"]["experiments_dir"]["default"] == "experiments"


def test_every_kind_of_sweep_has_a_flow() -> None:
    assert KINDS.keys() == FLOWS.keys()
