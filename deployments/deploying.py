"""What ``overnight deploy`` does, for the command line to find by name."""

from collections.abc import Sequence
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.settings import get_current_settings

from deployments.apply import apply
from deployments.check import check
from deployments.declared import Declared, read_declared
from flows.launching import require_answer
from overnight.credentials import without_credentials
from overnight.errors import OvernightError, UsageError


def check_file(file: Path | None) -> list[str]:
    """Return a line for every deployment of a file, after looking at all of them; no server is asked.

    Raises:
        UsageError: something in the file, or in what it names, is wrong.
    """
    declared = _checked(file)
    return [f"ok        deployment {deployment.label}" for deployment in declared.deployments]


def deploy_file(file: Path | None) -> list[str]:
    """Bring the server that is set to what a file declares; return a line for every thing, and what to do next.

    Raises:
        UsageError: something in the file is wrong, or no server is set.
        OvernightError: the server does not answer, or refuses.
    """
    declared = _checked(file)
    url = get_current_settings().api.url
    if not url:
        raise UsageError(
            "no Prefect server is set; start one with `prefect server start`, and set PREFECT_API_URL to its address, "
            "such as http://127.0.0.1:4200/api"
        )
    require_answer(str(url))
    shown = without_credentials(str(url))
    try:
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch()
            changes = apply(declared, client)
            workers = [
                _worker_line(pool, client)
                for pool in sorted({deployment.work_pool.name for deployment in declared.deployments})
            ]
    except httpx.HTTPStatusError as error:
        raise OvernightError(
            f"{shown}: answered {error.response.status_code} to {error.request.method} {error.request.url.path}: "
            f"{error.response.text[:200]}; is this a Prefect server of the version that is installed here?"
        ) from None
    except (httpx.TransportError, RuntimeError) as error:
        raise OvernightError(f"{shown}: {error}; look after the server, then deploy again") from None
    return [*(change.sentence() for change in changes), *workers]


def _worker_line(pool: str, client: SyncPrefectClient) -> str:
    """Return who carries out the runs of a pool, or how to have somebody."""
    workers = client.read_workers_for_work_pool(pool)
    online = [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]
    if online:
        return f"worker    {', '.join(online)} carries out the runs of {pool}"
    return f"no worker for {pool}: its runs wait until one is started: prefect worker start --pool {pool}"


def _checked(file: Path | None) -> Declared:
    declared = read_declared(file)
    if findings := check(declared):
        raise UsageError(f"{declared.file}: {_first_of([finding.sentence() for finding in findings])}")
    return declared


def _first_of(sentences: Sequence[str]) -> str:
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return sentences[0] + more
