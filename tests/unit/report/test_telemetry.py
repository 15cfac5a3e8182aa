from overnight.report.page import run_page
from overnight.report.reading import read_run
from overnight.report.telemetry import MOST_POINTS, read_telemetry


def test_every_numeric_column_over_time_is_read_and_others_are_not(tmp_path) -> None:
    (tmp_path / "system.csv").write_bytes(
        b"\xef\xbb\xbftimestamp,cpu_percent,host\r\n"
        b"2026-01-02T03:04:05+00:00,10,a\r\n"
        b"2026-01-02T03:04:07+00:00,nan,a\r\n"
        b"not a time,50,a\r\n"
        b"2026-01-02T03:04:09+00:00,30,a\r\n"
    )
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")  # no column of times
    [series] = read_telemetry(tmp_path)
    assert (series.file, series.name, series.points) == ("system", "cpu_percent", ((0.0, 10.0), (4.0, 30.0)))
    assert (series.low, series.mean, series.high, series.n_rows) == (10, 20, 30, 2)


def test_a_long_column_is_thinned_and_keeps_its_mean_and_ends(tmp_path) -> None:
    n = 50_000
    rows = "".join(f"{i},{i}\n" for i in range(n))
    (tmp_path / "t.csv").write_text(f"time,value\n{rows}")
    [series] = read_telemetry(tmp_path)
    assert len(series.points) <= 2 * MOST_POINTS
    assert (series.low, series.high, series.n_rows) == (0, n - 1, n)
    assert series.mean == (n - 1) / 2
    # Of a straight line every mean lies on the line.
    assert all(abs(x - y) < 1e-6 for x, y in series.points)


def test_a_run_without_telemetry_says_nothing_of_it(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    assert "What was measured meanwhile" not in run_page(read_run(folder))
    (folder.path / "telemetry").mkdir()
    (folder.path / "telemetry" / "system.csv").write_text("timestamp,<b>x\n0,1\n60,3\n")
    page = run_page(read_run(folder))
    assert "system: &lt;b&gt;x" in page
    assert "1.00 to 3.00, mean 2.00 over 2 rows, 1.0 min" in page
