"""The blocks of a wave: each in a thread of its own, and all of them within the run that they belong to."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context

from prefect import task
from prefect.cache_policies import NO_CACHE

from overnight.store.run_folder import RunFolder
from tasks.ladder import let_all_go


def side_by_side(folder: RunFolder, work: Mapping[str, Callable[[], None]]) -> None:
    """Do the work of some models at the same time; return when all of it has ended.

    Where something goes wrong that is not the failure of a trial, the others are asked to stop first, as by
    `overnight stop`; where this process is told to end at once, their models are taken away from them.

    Args:
        folder: of the run.
        work: of each model, by its name.
    """
    # Prefect knows by the context of a thread to which run its tasks and subflows belong.
    with ThreadPoolExecutor(max_workers=len(work), thread_name_prefix="model") as pool:
        running = [pool.submit(copy_context().run, _beside_others, name, do) for name, do in work.items()]
        try:
            for each in as_completed(running):
                each.result()
        except BaseException as error:
            folder.stop_request.touch()
            if not isinstance(error, Exception):
                let_all_go(folder)
            raise


# A task, because Prefect tells the subflows of a flow apart by counting them, which is safe in one thread only, and
# those that are called within a task by names that it draws. Nothing of it is cached, so nothing can be rolled back.
@task(
    name="beside-others", task_run_name="all trials of {model}", cache_policy=NO_CACHE, persist_result=False
)
def _beside_others(model: str, do: Callable[[], None]) -> None:  # noqa: ARG001 - the name in the UI
    do()
