"""Runs in processes of their own, with progress on standard error."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from threading import Thread
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Task = TypeVar("Task")
Result = TypeVar("Result")


def perform(
    run: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    title: str,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """Yields what `run` makes of each task as it is done. Each process has one thread: the cores are shared out among runs."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by the workers' BLAS when they start
        os.environ[name] = "1"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    spawn = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads in an unknown state
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=begin, initargs=(initializer, initargs)) as pool,
    ):
        bar = progress.add_task(title, total=len(tasks))
        try:
            for future in as_completed([pool.submit(run, task) for task in tasks]):
                progress.advance(bar)
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def begin(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """The start of a worker, which ends with its parent, however that ends: by itself it would wait for tasks for ever."""
    Thread(target=end_with_parent, daemon=True).start()
    if initializer:
        initializer(*initargs)


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "workers have a parent"
    parent.join()
    os._exit(1)
