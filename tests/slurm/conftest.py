import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import pytest
import yaml

from overnight.processes import free_port
from tests.slurm.cluster import SlurmCluster, why_not
from tests.slurm.site import PATIENCE_S, Site, kill_tree
from tests.slurm.slow_model import NAMES, SlowModel

_ROOT = Path(__file__).parents[2]
_DEPLOYMENTS = [
    {"name": "cluster", "entrypoint": "small_flows.small_job", "description": "A small job."},
    {
        "name": "night",
        "entrypoint": "flows.prompt_sweep.prompt_sweep",
        "description": "A sweep that is a job.",
        "parameters": {"sweep": "night"},
    },
]
# Two trials of 40 requests a model: long enough to be in the middle of it.
_SWEEP = {
    "kind": "prompt-sweep",
    "name": "night",
    "experiment": {
        "datasets": ["starter_closed"],
        "limit_items": 20,
        "defaults": {"top_k": 0, "max_new_tokens": {"closed": 8, "open": 8}},
        "sweep": {"models": ["slow"], "prompt_sets": ["short_answer", "evidence_first"], "temps": [0.0]},
        "statistics": {"analyses": []},
    },
    "execution": {
        "max_concurrent_requests": 1,
        "attempts_per_item": 1,
        "request_cache": False,
        "audit": {"share": 0},
    },
}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[SlurmCluster]:
    if reason := why_not():
        pytest.skip(reason)
    cluster = SlurmCluster(tmp_path_factory.mktemp("cluster") / "slurm")
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def slow_model() -> Iterator[SlowModel]:
    with SlowModel() as model:
        yield model


@pytest.fixture(scope="session")
def site(cluster, slow_model, tmp_path_factory) -> Iterator[Site]:
    """Return a site whose worker runs; all of it is gone afterwards."""
    if not any(
        each.value == "deployments.slurm.worker" for each in entry_points(group="prefect.collections")
    ):
        pytest.skip("the worker type is not installed here; pip install -e . once more")
    folder = tmp_path_factory.mktemp("site")
    _write_config(folder, slow_model)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = cluster.environment | {
        "DO_NOT_TRACK": "1",
        "OVERNIGHT_CACHE_DIR": str(folder / "cache"),
        "OVERNIGHT_CONFIG_DIR": str(folder / "user-config"),
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PYTHONPATH": os.pathsep.join(
            [str(_ROOT), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    site = Site(folder=folder, environment=environment, api=api, cluster=cluster)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(api, server)
        site.overnight("deploy")
        site.start_worker()
        yield site
    finally:
        site.kill_worker()
        kill_tree(server)


def _write_config(folder: Path, slow_model: SlowModel) -> None:
    deployments = [each | {"work_pool": {"name": "cluster"}} for each in _DEPLOYMENTS]
    (folder / "prefect.yaml").write_text(yaml.safe_dump({"deployments": deployments}))
    for name in ("models", "sweeps"):
        (folder / "config" / name).mkdir(parents=True)
    for name in NAMES:
        model = {
            "engine": "openai_compatible",
            "source": f"openai:{name}",
            "family": "none",
            "params_billion": 1,
            "quantization": "unknown",
            "context_tokens": 4096,
            "endpoint": {"base_url": slow_model.url, "dialect": "openai"},
        }
        (folder / "config" / "models" / f"{name}.yaml").write_text(yaml.safe_dump(model))
    (folder / "config" / "sweeps" / "night.yaml").write_text(yaml.safe_dump(_SWEEP))


def _wait_until_healthy(api: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None
        try:
            if httpx.get(f"{api}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the Prefect server does not answer")
