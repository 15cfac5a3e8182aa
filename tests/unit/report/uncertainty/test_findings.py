from overnight.report.uncertainty.findings import findings
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import AnalysisSettings
from tests.unit.uncertainty.trials import made_up, model, trial


def answers(analysis):
    return {one.question: one.answer for one in findings(analysis)}


def test_every_question_of_the_sweep_is_answered_or_says_why_not(analysis) -> None:
    found = answers(analysis)
    assert len(found) == 10
    assert "int8 less not quantized" in found["Does quantization matter?"]
    assert "over 2 pairs" in found["Does quantization matter?"]
    assert (
        found["Does instruction tuning matter?"] == "Not answered: all cells are alike in instruction tuning."
    )
    assert "one class (5)" in found["What cannot be judged?"]


def test_a_run_without_any_sound_result_says_so_and_gives_no_number() -> None:
    tiny = trial(model("m"), "d", {"g_nll": [1.0, 2.0]}, {"f1": [1, 1]})
    found = answers(analyse([tiny], AnalysisSettings(n_resamples=50)))
    assert found["Does likelihood tell wrong answers from right ones?"].endswith(
        "cannot be judged in any of 1 trial."
    )
    assert found["Which measure is best?"] == "No measure can be judged in any trial."
    assert found["Is it more than the length of the answer?"].startswith("Not answered")


def test_twins_that_are_the_same_model_are_not_called_different() -> None:
    # Both rank alike: the difference is 0 without error, which is no evidence of anything.
    one = made_up(model("m", bits=16.0), "d", seed=1)
    other = made_up(model("m8", quantization="int8", bits=8.0), "d", seed=1)
    found = answers(analyse([one, other], AnalysisSettings(n_resamples=50)))
    assert found["Does quantization matter?"] == "AUROC of m8 on d less m on d: 0.00: not shown."
