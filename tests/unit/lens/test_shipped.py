"""The lenses that are shipped can be fitted as they stand, and are not fitted on what a sweep measures them on."""

import pytest

from overnight.errors import UsageError
from overnight.runs.resolving import lens_to_fit
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.dataset import DatasetFormat
from overnight.spec.execution import EngineSettings

ROOT = ConfigRoot(shipped_config())


@pytest.mark.parametrize("name", ROOT.names("lenses"))
def test_a_shipped_lens_names_texts_that_are_shipped(name: str) -> None:
    lens, model = lens_to_fit(name, "smollm2-135m-instruct-fp32", ROOT, EngineSettings())
    assert lens.fit is not None
    assert model.sha256 is not None
    for dataset in lens.fit.datasets:
        assert not isinstance(dataset, str)
        assert dataset.format is DatasetFormat.TEXTS
        assert dataset.sha256 is not None
        assert dataset.name != "starter_texts"  # those are for sweeps


def test_a_lens_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'smollm2-patched'"):
        ROOT.lens("smollm2-patch")
