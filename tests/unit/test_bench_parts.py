import json
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import bench, bench_parts, main
from overnight.cli.bench_table import read_record, render_table
from overnight.errors import UsageError

RECORD: dict[str, Any] = {
    "schema_version": 1,
    "benchmark": "made_up",
    "at": "2026-11-22T08:00:00+00:00",
    "environment": {
        "python": "3.11.2",
        "system": "Linux-6.1",
        "machine": "x86_64",
        "cpu": "A Processor",
        "cores": 2,
        "memory_bytes": 24 << 30,
        "gpus": None,
        "packages": {"torch": "2.13.0", "prefect": None},
        "git": {"commit": "abcdef0123456789", "changed": True},
    },
    "load_average": {"before": [0.25, 1.0, 1.0], "after": None},
    "settings": {"items": 4, "sizes": [1, 10], "words": None},
    "figures": [
        {
            "name": "a|b",
            "unit": "s",
            "value": {"min": 1.0, "median": 2.0, "max": 3.0, "values": [1.0, 2.0, 3.0]},
            "baseline": {"name": "bare", "min": 4.0, "median": 4.0, "max": 4.0, "values": [4.0]},
            "ratio": {"min": 0.25, "median": 0.5, "max": 0.75, "values": [0.25, 0.5, 0.75]},
            "target": {"of": "ratio", "bound": "at most", "limit": 0.4},
            "verdict": "short",
            "note": None,
        }
    ],
    "not_measured": {"other": "no such\npackage"},
}


def made_up(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(f"BENCHMARK = ('{name}', 'something')\nimport sys\n{body}\n")


def writes(record: dict[str, Any], code: int = 0) -> str:
    # as the scripts do: the record at --out, then the exit code
    return (
        f"open(sys.argv[sys.argv.index('--out') + 1], 'w').write({json.dumps(record)!r})\n"
        f"print('note', *sys.argv[1:], file=sys.stderr)\nsys.exit({code})"
    )


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks"
    monkeypatch.setattr(bench_parts, "_FOLDER", folder)
    return folder


def left(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["bench", *arguments])
    out, err = capsys.readouterr()
    return int(leaving.value.code or 0), out, err


def test_a_benchmark_is_found_without_being_imported(parts: Path) -> None:
    # Whoever lists them need not have the packages of all of them.
    made_up(parts, "one", "import a_package_that_nobody_has")
    (parts / "figures.py").write_text("import sys\n")  # what benchmarks share is none
    assert [(part.name, part.measures) for part in bench_parts.find_parts().values()] == [
        ("one", "something")
    ]


def test_what_fails_is_named_at_the_end_and_the_others_go_on(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up(parts, "a", "import a_package_that_nobody_has")
    made_up(parts, "b", writes(RECORD, code=1))
    made_up(parts, "c", writes(RECORD | {"not_measured": {}}))
    table = tmp_path / "table.md"
    code, out, err = left(capsys, "all", "--out", str(tmp_path / "out"), "--table", str(table))
    assert code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.json", "c.json", "benchmarks.md"}
    assert err.rstrip().splitlines()[-1] == "overnight: not measured: a; b, other"
    assert "not measured: b, other: no such" in out
    assert "not measured: a: ModuleNotFoundError: No module named 'a_package_that_nobody_has'" in out
    assert "- a: ModuleNotFoundError: No module named 'a_package_that_nobody_has'" in table.read_text()


def test_all_is_measured_is_exit_code_0_whatever_the_figures_are(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The verdict of the one figure is `short`.
    made_up(parts, "c", writes(RECORD | {"not_measured": {}}))
    assert left(capsys, "all", "--out", str(tmp_path / "out"))[0] == 0


def test_options_of_a_part_are_handed_on(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up(parts, "c", writes(RECORD | {"not_measured": {}}))
    code, _, err = left(capsys, "c", "--out", str(tmp_path), "--quick", "--items", "3", "--no-lm-eval")
    assert code == 0
    assert err.startswith(f"note --out {tmp_path / 'c.json'} --quick --items 3 --no-lm-eval")


def test_an_option_that_a_part_does_not_know_is_wrong_usage(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up(parts, "c", "import argparse\nargparse.ArgumentParser(prog='c.py').parse_args()")
    code, _, err = left(capsys, "c", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "unrecognized arguments: --out" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["all", "scaling"])
def test_outside_a_checkout_one_line_says_so(
    parts: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # `parts` was not made: the folder is not in the wheel.
    code, _, err = left(capsys, part)
    assert code == 2
    assert "not in the installed package; clone the repository" in err
    assert len(err.splitlines()) == 1


def test_a_part_that_is_not_there_is_named(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(parts, "c", "")
    code, _, err = left(capsys, "all", "--only", "d")
    assert (code, err) == (2, "overnight: found no benchmark d, wanted one of c\n")


def test_every_script_of_the_checkout_is_known_outside_of_one() -> None:
    # Else the command would say `No such command` there.
    assert set(bench_parts.find_parts()) - {"capture"} <= set(bench._KNOWN_PARTS)


def test_the_table_has_figure_baseline_ratio_target_verdict_and_machine() -> None:
    text = render_table([RECORD])
    assert "| a\\|b | 1 / 2 / 3 s | 4 (bare) | 0.25 / 0.5 / 0.75 | ratio at most 0.4 | **short** |" in text
    assert "0 of 1 targets are kept." in text
    assert (
        "2026-11-22T08:00:00+00:00, A Processor, 2 cores, 24 GiB, no GPU, Linux-6.1, Python 3.11.2, torch 2.13.0, "
        "commit abcdef012345 (changed). Load 0.2 before, unknown after." in text
    )
    assert "Settings: items 4, sizes 1+10." in text
    assert "- made_up, other: no such package" in text


def test_another_file_is_not_taken_for_a_record(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(UsageError, match="found no record of a benchmark"):
        read_record(path)


def test_importing_the_commands_reads_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    # `overnight --help` is not to parse two dozen files.
    monkeypatch.setattr(bench_parts, "find_parts", lambda *_: pytest.fail("looked for scripts"))
    with pytest.raises(SystemExit):
        main(["--help"])
