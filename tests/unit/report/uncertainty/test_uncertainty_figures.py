from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from overnight.report.uncertainty.curve_figures import chosen_measures
from overnight.report.uncertainty.figures import FIGURES, write_figures
from overnight.report.uncertainty.files import write_analysis
from overnight.report.uncertainty.frame import SMALL_PT, WIDTH_IN, fitted, text_in, wrapped
from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import AnalysisSettings
from tests.unit.uncertainty.trials import made_up, model, trial

# What the seed promised, and the curves.
NAMES = [
    "auroc_heatmap",
    "family_comparison",
    "size_effect",
    "dataset_effect",
    "accuracy_vs_auroc",
    "profiles",
    "statistics",
    "best_performers",
    "findings",
    "summary",
    "roc_curves",
    "risk_coverage",
    "reliability",
]


@pytest.fixture(scope="module")
def nothing_sound():
    tiny = trial(model("m"), "d", {"g_nll": [1.0, 2.0]}, {"f1": [1, 1]})
    return analyse([tiny], AnalysisSettings(n_resamples=50))


def written(figure):
    """Return every text that is drawn with its box in pixels; ticks beyond the end of an axis are not."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = {text for axis in axes for tick in axis.get_major_ticks() for text in (tick.label1, tick.label2)}
    drawn = {text for axis in axes for tick in axis._update_ticks() for text in (tick.label1, tick.label2)}
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text in drawn or text not in ticks)
    ]


@pytest.fixture(scope="module")
def drawn(analysis):
    """Return a figure and its texts by name, each drawn once."""
    known = {}

    def draw(name):
        if name not in known:
            figure = FIGURES[name](analysis)
            known[name] = figure, written(figure)
        return known[name]

    return draw


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_cut_off_and_none_is_too_small_for_a_telephone(drawn, name) -> None:
    figure, texts = drawn(name)
    box = figure.bbox
    for text, extent in texts:
        inside = extent.x0 >= -1 and extent.y0 >= -1 and extent.x1 <= box.x1 + 1 and extent.y1 <= box.y1 + 1
        assert inside, f"{text!r} leaves {name}"
    # 8.5 points on 5.2 inches are 9 pixels on 390.
    assert figure.get_figwidth() <= WIDTH_IN
    assert all(text.get_fontsize() >= SMALL_PT for text in figure.findobj(Text) if text.get_text().strip())


@pytest.mark.parametrize("name", NAMES)
def test_no_two_words_lie_on_each_other(drawn, name) -> None:
    _, texts = drawn(name)
    for place, (one, a) in enumerate(texts):
        for other, b in texts[place + 1 :]:
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert wide < 2 or high < 2.5, f"{one!r} lies on {other!r} in {name}"


@pytest.mark.parametrize(
    "name", ["auroc_heatmap", "roc_curves", "risk_coverage", "reliability", "size_effect", "dataset_effect"]
)
def test_what_cannot_be_judged_is_named_and_not_drawn(drawn, name) -> None:
    figure, texts = drawn(name)
    assert "80 right and 0 wrong" in " ".join(text for text, _ in texts)
    if name in {"roc_curves", "risk_coverage", "reliability"}:
        assert len(figure.axes) == 7  # of 8 trials


def test_bars_begin_at_0_and_chance_is_marked(analysis) -> None:
    (axes,) = FIGURES["family_comparison"](analysis).axes
    assert axes.get_xlim() == (0.0, 1.0)
    assert all(bar.get_x() == 0 for bar in axes.patches)
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in axes.lines]


def test_accuracy_beside_auroc_has_no_diagonal(analysis) -> None:
    for axes in FIGURES["accuracy_vs_auroc"](analysis).axes:
        for line in axes.lines:
            assert len({*line.get_xdata()}) == 1 or len({*line.get_ydata()}) == 1


def test_the_line_over_size_joins_what_differs_in_size_alone(analysis) -> None:
    # small-a and large-a; small-a-int8 has no larger sister, large-b no smaller one.
    squad, _ = FIGURES["size_effect"](analysis).axes
    joined = [line for line in squad.lines if len({*line.get_xdata()}) > 1 and line.get_linestyle() == "-"]
    (only,) = joined
    areas = [analysis.trials[place].result("g_nll", "f1").auroc for place in (0, 4)]
    assert list(only.get_ydata()) == areas


def test_a_run_without_a_sound_result_has_figures_in_words_only(nothing_sound) -> None:
    drawn = [name for name, draw in FIGURES.items() if draw(nothing_sound) is not None]
    assert drawn == ["findings", "summary"]


def test_one_curve_is_drawn_of_measures_that_rank_alike(analysis) -> None:
    chosen = chosen_measures(analysis)
    assert chosen[0] == "g_nll"
    assert chosen[-1] == "n_tokens"
    assert len({"average_nll", "perplexity"} & set(chosen)) == 1


def test_twins_without_any_difference_have_an_axis() -> None:
    twins = [
        made_up(model(name, quantization=name, bits=b), "d", seed=1)
        for name, b in (("none", 16), ("int8", 8))
    ]
    (axes,) = FIGURES["statistics"](analyse(twins, AnalysisSettings(n_resamples=50))).axes
    low, high = axes.get_xlim()
    assert low < 0 < high


def test_figures_are_there_as_png_and_pdf_and_those_of_before_go(nothing_sound, tmp_path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "roc_curves.png").write_bytes(b"old")
    assert write_analysis(tmp_path, nothing_sound) == ["findings", "summary"]
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(first) == {"findings.png", "findings.pdf", "summary.png", "summary.pdf"}
    assert first["summary.png"].startswith(b"\x89PNG")
    assert (tmp_path / "auroc_results.csv").is_file()
    assert (tmp_path / "analysis_summary.json").is_file()
    write_figures(folder, nothing_sound)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_a_dry_run_says_so_in_every_figure(analysis) -> None:
    rehearsed = replace(analysis, is_dry_run=True)
    for name in ("auroc_heatmap", "findings"):
        assert any("DRY RUN" in text.get_text() for text in FIGURES[name](rehearsed).texts)


def test_lines_are_no_wider_than_asked_and_lose_no_letter() -> None:
    text = "a rather long sentence about " + "a" * 200 + " and more"
    lines = wrapped(text, 9, 2.0)
    assert all(text_in(line, 9) <= 2.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert text_in(fitted("m" * 100, 9, 1.0), 9) <= 1.0
    assert fitted("short", 9, 1.0) == "short"
