import csv
import inspect
from pathlib import Path
from typing import Any

from overnight.diagnosis.evidence import Arm, Tables
from overnight.diagnosis.tallying import tally_draws, tally_tables
from overnight.engines import llama_cpp, loopback
from overnight.ids import custom_id


def row(item: str, *, condition: str = "control", index: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id(f"facts|{item}", condition, 0.0, index, "closed"),
        "status": "ok",
        "finish_reason": "stop",
        "text": "an answer",
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "completion_tokens": 10,
        "prefill_s": 0.5,
        "decode_s": 1.5,
        "attempt": 1,
    } | changes


def failed(item: str, kind: str, message: str = "") -> dict[str, Any]:
    error = {"kind": kind, "message": message}
    return row(item, status="error", finish_reason="error", text=None, error=error, prompt_tokens=None)


def test_every_draw_counts_once_and_an_answer_takes_back_its_failures() -> None:
    # A resumed run asks for what failed; the journal keeps both rows.
    draws = tally_draws(
        [failed("a", "BadResponse"), row("a"), row("a"), failed("a", "BadResponse"), row("b")]
    )
    assert (draws.n_done, draws.n_failed, draws.n_repeated) == (2, 0, 1)


def test_errors_are_counted_by_kind_with_the_first_message() -> None:
    draws = tally_draws(
        [failed("a", "BadResponse", "one"), failed("b", "BadResponse", "two"), failed("c", "X")]
    )
    assert draws.failed == {"BadResponse": 2, "X": 1}
    assert draws.messages["BadResponse"] == "one"


def test_lengths_are_kept_by_arm_and_apart_from_those_that_were_cut_off() -> None:
    draws = tally_draws(
        [
            row("a", completion_tokens=3),
            row("b", completion_tokens=3),
            row("c", completion_tokens=32, finish_reason="length"),
            row("a", condition="treatment", completion_tokens=None),
        ]
    )
    control = draws.answers[Arm("closed", "control", "0.0")]
    treatment = draws.answers[Arm("closed", "treatment", "0.0")]
    assert (control.ended, control.n_cut, control.n_unknown) == ({3: 2}, 1, 0)
    assert (treatment.ended, treatment.n_cut, treatment.n_unknown) == ({}, 0, 1)


def test_answers_from_the_cache_say_nothing_of_this_machines_speed() -> None:
    # They count as answers, with their lengths, and their seconds are those of another night.
    draws = tally_draws([row("a"), row("b", cached=True)])
    assert (draws.n_done, draws.n_sent) == (2, 1)
    assert (draws.prompt_tokens, draws.cached_tokens, draws.completion_tokens) == (100, 40, 10)
    assert (draws.prefill_s, draws.decode_s) == (0.5, 1.5)


def test_what_an_engine_does_not_count_is_unknown_and_not_zero() -> None:
    draws = tally_draws([row("a", cached_tokens=None, completion_tokens=None, prefill_s=None)])
    assert (draws.prompt_tokens, draws.cached_tokens, draws.completion_tokens) == (None, None, None)
    assert (draws.prefill_s, draws.decode_s) == (None, None)


def test_time_outs_and_the_need_of_long_prompts_are_read_from_our_engines_messages() -> None:
    needs = "the prompt has 700 tokens and its answer up to 64, the context holds 512; raise it"
    draws = tally_draws(
        [failed("a", "BadResponse", "no answer within 5 s"), failed("b", "ContextOverflow", needs)]
    )
    assert (draws.n_timeouts, draws.n_overflow_tokens) == (1, 764)


def test_our_engine_still_puts_it_the_way_that_is_read_here() -> None:
    # The wording is the only thing that carries these numbers into the journal.
    source = inspect.getsource(llama_cpp) + inspect.getsource(loopback)
    assert "no answer within" in source
    assert "tokens and its answer up to" in source


def test_an_answer_of_spaces_is_empty() -> None:
    assert tally_draws([row("a", text=" \n"), row("b", text=""), row("c")]).n_empty == 2


def write(path: Path, names: list[str], rows: list[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def test_rows_of_tables_are_counted_by_item_and_arm(tmp_path: Path) -> None:
    # Two draws of one item and arm are two predictions and one row of scores.
    names = ["custom_id", "dataset", "item_id", "condition", "temp"]
    draws = [("a", "control"), ("a", "control"), ("a", "treatment"), ("b", "control")]
    rows = [[f"id{n}", "facts", item, arm, "0.7"] for n, (item, arm) in enumerate(draws)]
    rows.append(["id3", "facts", "b", "control", "0.7"])  # the last one stands twice
    write(tmp_path / "p.csv", names, rows)
    write(tmp_path / "s.csv", ["item_key"], [["a"], ["a"], ["b"]])
    assert tally_tables(tmp_path / "p.csv", tmp_path / "s.csv") == Tables(
        n_predictions=5, n_prediction_arms=3, n_repeated_ids=1, n_scores=3
    )


def test_tables_that_are_not_there_have_no_number_of_rows(tmp_path: Path) -> None:
    assert tally_tables(tmp_path / "p.csv", tmp_path / "s.csv") == Tables()
