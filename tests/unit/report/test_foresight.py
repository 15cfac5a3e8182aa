from overnight.report.foresight import foresight
from overnight.store.manifest import EstimateRecord


def test_a_prediction_stands_beside_what_was_measured() -> None:
    # 600 s are 10 minutes, 5 to 20; 12 minutes it took
    line = foresight(
        EstimateRecord(
            predicted_s=600.0,
            low_s=300.0,
            high_s=1200.0,
            measured_s=720.0,
            predicted_bytes=2_000_000,
            measured_bytes=1_500_000,
            n_requests=9,
            n_done=9,
        )
    )
    assert line == (
        "Predicted and measured: 10.0 min predicted (5.0 to 20.0), 12.0 min measured; "
        "on disk at most 2.0 MB predicted, 1.5 MB measured before the reports."
    )


def test_a_run_that_did_part_of_its_work_says_how_much() -> None:
    # Twelve minutes for half of the requests contradict no prediction for all of them.
    estimate = EstimateRecord(
        predicted_s=600.0, low_s=300.0, high_s=1200.0, measured_s=720.0, n_requests=10, n_done=5
    )
    assert "12.0 min measured for 5 of 10 requests" in str(foresight(estimate))


def test_no_prediction_has_its_reason() -> None:
    line = str(foresight(EstimateRecord(measured_s=60.0, undefined_because="never measured")))
    assert "1.0 min measured, no prediction (never measured)" in line
    assert "unknown predicted, unknown measured" in line
    assert foresight(None) is None
