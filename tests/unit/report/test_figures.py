from overnight.report.writing import write_reports
from overnight.store.manifest import TrialState


def test_figures_are_there_as_png_and_pdf_and_repeat_to_the_byte(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    write_reports(folder)
    first = {path.name: path.read_bytes() for path in folder.figures.iterdir()}
    assert set(first) == {
        f"{name}.{kind}" for name in ("abstention", "accuracy", "differences") for kind in ("pdf", "png")
    }
    assert first["differences.png"].startswith(b"\x89PNG")
    write_reports(folder)
    assert {path.name: path.read_bytes() for path in folder.figures.iterdir()} == first


def test_figures_of_before_are_taken_away_where_there_is_nothing_to_draw(make_run, trial, questions) -> None:
    folder = make_run([trial("waiting", state=TrialState.PLANNED)], questions)
    folder.figures.mkdir()
    (folder.figures / "differences.png").write_bytes(b"old")
    write_reports(folder)
    assert not list(folder.figures.iterdir())
