import pytest

from overnight.errors import UsageError
from overnight.planning.tracking import TrackingMode, decide
from overnight.spec.execution import Execution
from overnight.spec.reading import validate
from overnight.spec.tracking import TrackingSettings

KEY = {"WANDB_API_KEY": "k"}


@pytest.fixture(autouse=True)
def nobody_is_logged_in(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def _mode(wandb: str, environment: dict[str, str], **changes) -> TrackingMode | None:
    how = {"is_installed": True, "is_rehearsal": False} | changes
    return decide(TrackingSettings(wandb=wandb), environment, **how).mode


@pytest.mark.parametrize(
    ("wandb", "environment", "mode"),
    [
        # Left open, the environment decides; nothing there is nothing done.
        ("auto", {}, None),
        ("auto", KEY, "online"),
        ("auto", {"WANDB_API_KEY": ""}, None),
        ("auto", {"WANDB_MODE": "offline"}, "offline"),
        ("auto", KEY | {"WANDB_MODE": "offline"}, "offline"),
        ("auto", KEY | {"WANDB_MODE": "dryrun"}, "offline"),
        ("auto", KEY | {"WANDB_MODE": "disabled"}, None),
        ("auto", {"WANDB_MODE": "online"}, "offline"),
        # The settings win over it.
        ("off", KEY | {"WANDB_MODE": "online"}, None),
        ("offline", KEY | {"WANDB_MODE": "online"}, "offline"),
        ("online", KEY | {"WANDB_MODE": "disabled"}, "online"),
        # Without a key nothing can be sent.
        ("online", {}, "offline"),
    ],
)
def test_the_settings_decide_and_then_the_environment(wandb, environment, mode) -> None:
    assert _mode(wandb, environment) == mode


def test_a_rehearsal_is_shown_only_where_somebody_asks_for_it() -> None:
    # Its numbers are synthetic: they must not turn up in a project by themselves.
    assert _mode("auto", KEY, is_rehearsal=True) is None
    assert _mode("offline", {}, is_rehearsal=True) is TrackingMode.OFFLINE


def test_without_wandb_only_those_who_asked_for_it_are_told() -> None:
    assert decide(TrackingSettings(), KEY, is_installed=False, is_rehearsal=False).note is None
    asked = decide(TrackingSettings(wandb="online"), KEY, is_installed=False, is_rehearsal=False)
    assert asked.mode is None
    assert "pip install wandb" in (asked.note or "")


def test_who_is_logged_in_needs_no_key_in_the_environment(tmp_path) -> None:
    file = tmp_path / "logins"
    file.write_text("machine api.wandb.ai\n  login user\n  password p\n")
    assert _mode("online", {"NETRC": str(file)}) is TrackingMode.ONLINE
    # A login at one server is none at another.
    assert (
        _mode("online", {"NETRC": str(file), "WANDB_BASE_URL": "https://w.example"}) is TrackingMode.OFFLINE
    )
    file.write_text("machine api.wandb.ai nonsense")
    assert _mode("online", {"NETRC": str(file)}) is TrackingMode.OFFLINE


def test_an_unquoted_off_is_off_and_a_key_has_no_place_in_a_file(tmp_path) -> None:
    # YAML reads it as false.
    assert Execution.model_validate({"tracking": {"wandb": False}}).tracking.wandb == "off"
    for wrong in ({"wandb": True}, {"wandb": "on"}, {"api_key": "k"}):
        with pytest.raises(UsageError, match=r"tracking\.(wandb|api_key)"):
            validate(Execution, {"tracking": wrong}, tmp_path / "c.yaml")
