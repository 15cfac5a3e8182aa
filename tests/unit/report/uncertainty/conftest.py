import pytest

from overnight.uncertainty.analysing import analyse
from overnight.uncertainty.analysis import Analysis, AnalysisSettings
from tests.unit.uncertainty.trials import made_up_run


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    """Return the analysis of 4 models on 2 data sets; the last cell is always right, which judges nothing."""
    return analyse(made_up_run(), AnalysisSettings(n_resamples=200), run_id="r1", experiment="made-up")
