"""Trials in Weights & Biases, by the real wandb: what an offline run holds is read back from its files."""

import logging

import pytest

from tasks.tracking import track_run
from tests.tracking.runs import PNG, write_run
from tests.tracking.wandb_files import offline_runs

SECRET = "5ec4e7" * 7  # as long as keys are


def test_each_trial_that_was_begun_is_a_run_in_the_group_of_its_sweep(folder, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    analysis = write_run(folder, tracking={"wandb": "offline"})
    ((level, sentence),) = track_run(folder)
    assert (level, sentence) == (
        logging.INFO,
        f"wandb: 2 trials are in {folder.path / 'wandb'}; `wandb sync` sends them",
    )

    done, failed = offline_runs(folder.path)
    assert [run.name for run in (done, failed)] == ["tiny-facts", "tiny-passages"]
    assert {(run.group, run.job_type, run.project) for run in (done, failed)} == {
        ("r1", "uncertainty-sweep", "overnight")
    }
    assert done.run_id != failed.run_id
    assert (done.exit_code, failed.exit_code) == (0, 1)

    assert (done.config["model"], done.config["dataset"], done.config["temps"]) == ("tiny", "facts", [0.0])
    assert done.config["trial"] == {"slug": "tiny-facts", "state": "done", "fingerprint": "0" * 64}
    assert done.config["run"]["fingerprint"] == "f" * 64

    assert done.logged["counts/done"] == 24
    assert done.logged["speed/tokens_per_s"] == 15  # 120 tokens in 8 s
    assert done.logged["timings/elapsed_s"] == 10
    assert done.logged["energy/joules"] == 33.5
    assert "energy/joules" not in failed.logged  # unknown is not there, and not 0
    label = analysis.trials[0].label("f1")
    assert label is not None
    assert done.logged["f1/accuracy"] == pytest.approx(label.accuracy)
    for measure in label.measures:
        ranking = measure.discrimination.ranking
        assert ranking is not None
        place = f"auroc/f1/{measure.measure}"
        assert done.logged[place] == pytest.approx(ranking.auroc)
        assert done.logged[f"{place}_low"] == pytest.approx(ranking.delong.low)
        assert done.logged[f"{place}_bootstrap_high"] == pytest.approx(ranking.bootstrap.high)
    assert "auroc/em/g_nll" in done.logged  # every label, not only the one that is shown

    columns, rows = done.table("uncertainty")
    assert columns[:4] == ["dataset", "item_key", "finish_reason", "g_nll"]
    assert len(rows) == 24
    assert rows[0][1] == "facts|000"
    table = (folder.trial("tiny-facts").uncertainty).read_text().splitlines()
    assert rows[0][3] == pytest.approx(float(table[1].split(",")[3]))
    assert rows[-1][3] is None  # an empty answer has no measure
    assert [done.media(f"figures/{name}").read_bytes() for name in ("auroc_heatmap", "roc_curves")] == [
        PNG,
        PNG,
    ]

    for path in folder.path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_run_that_is_tracked_again_leaves_one_offline_run_a_trial(folder, tmp_path) -> None:
    write_run(
        folder, tracking={"wandb": "online", "dir": str(tmp_path / "else"), "project": "p", "entity": "e"}
    )
    (tmp_path / "else" / "wandb" / "offline-run-20260101_000000-of-somebody-else").mkdir(parents=True)
    said = list(track_run(folder))
    # Online without a key is offline, and says so.
    assert [level for level, _ in said] == [logging.WARNING, logging.INFO]
    assert "WANDB_API_KEY is not set" in said[0][1]
    list(track_run(folder))
    assert len(list((tmp_path / "else" / "wandb").glob("offline-run-*-of-somebody-else"))) == 1
    (tmp_path / "else" / "wandb" / "offline-run-20260101_000000-of-somebody-else").rmdir()
    runs = offline_runs(tmp_path / "else")
    assert sorted(run.name for run in runs) == ["tiny-facts", "tiny-passages"]
    assert {(run.project, run.entity) for run in runs} == {("p", "e")}
    assert not (folder.path / "wandb").exists()


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_is_one_line_in_time_and_leaves_no_key(folder, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    write_run(folder)
    ((level, sentence),) = track_run(folder)
    assert level == logging.WARNING
    assert sentence.startswith("wandb: ")
    assert sentence.endswith("0 trials are tracked, the run is complete without it")
    assert "\n" not in sentence
    for path in folder.path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
