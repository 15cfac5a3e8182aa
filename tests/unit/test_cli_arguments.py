import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.cli.arguments import LIST_OPTIONS, normalised, split_list


def given_as(line: str) -> list[str]:
    return normalised(line.split())


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("run s.yaml --limit_items 3", "run s.yaml --limit-items 3"),
        ("run s.yaml --limit_items=3", "run s.yaml --limit-items=3"),
        (
            "run s.yaml --parts_per_dataset 2 --only_step parse",
            "run s.yaml --parts-per-dataset 2 --only-step parse",
        ),
        ("run my_sweep.yaml --run-id my_run", "run my_sweep.yaml --run-id my_run"),
        ("run s.yaml --set experiment.limit_items=3", "run s.yaml --set experiment.limit_items=3"),
        ("run s.yaml --set=experiment.limit_items=3", "run s.yaml --set=experiment.limit_items=3"),
        ("run s.yaml --prompt_sets=a_b,c_d", "run s.yaml --prompt-sets=a_b,c_d"),
    ],
)
def test_underscores_in_options_are_dashes_and_in_values_stay(line: str, meant: str) -> None:
    assert given_as(line) == meant.split()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("run s.yaml --temps 0 0.7", "run s.yaml --temps 0,0.7"),
        ("run s.yaml --temps 0,0.7", "run s.yaml --temps 0,0.7"),
        ("run s.yaml --temps 0, 0.7", "run s.yaml --temps 0,0.7"),
        ("run s.yaml --temps 0 , 0.7 --dry-run", "run s.yaml --temps 0,,0.7 --dry-run"),
        ("run s.yaml --models a b --temps 0 1 --top_k 5", "run s.yaml --models a,b --temps 0,1 --top-k 5"),
        ("run s.yaml --temps", "run s.yaml --temps"),
        ("run s.yaml --temps --dry-run", "run s.yaml --temps --dry-run"),
    ],
)
def test_a_list_may_be_written_with_commas_or_with_spaces(line: str, meant: str) -> None:
    assert given_as(line) == meant.split()


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
@pytest.mark.parametrize("option", sorted(LIST_OPTIONS))
def test_a_config_after_a_list_is_not_taken_into_it(option: str, suffix: str) -> None:
    assert given_as(f"run {option} a b my.{suffix}") == ["run", option, "a,b", f"my.{suffix}"]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("run s.yaml --resume", "run s.yaml --resume newest"),
        ("run s.yaml --resume --dry-run", "run s.yaml --resume newest --dry-run"),
        ("run --resume s.yaml", "run --resume newest s.yaml"),
        ("run s.yaml --resume r1", "run s.yaml --resume r1"),
        ("run s.yaml --resume=r1", "run s.yaml --resume=r1"),
        ("resume r1", "resume r1"),
    ],
)
def test_resume_without_a_run_means_the_newest(line: str, meant: str) -> None:
    assert given_as(line) == meant.split()


@given(
    st.lists(
        st.sampled_from(
            ["run", "s.yaml", "--temps", "0", "0.7", "--dry_run", "--resume", "r_1", "--set", "a_b=1"]
        )
    )
)
def test_normalising_twice_is_normalising_once(argv: list[str]) -> None:
    assert normalised(normalised(argv)) == normalised(argv)


@pytest.mark.parametrize(
    ("text", "members"),
    [(None, None), ("", []), (",", []), ("a", ["a"]), (" a , b ,", ["a", "b"]), ("0,0.7", ["0", "0.7"])],
)
def test_the_members_of_a_list(text: str | None, members: list[str] | None) -> None:
    assert split_list(text) == members
