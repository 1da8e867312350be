"""Progress bars on standard error: they are for eyes, and standard output is for results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[int, int], None]
"""Called with (done, in all)."""


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar, as a function of (done, in all, a note beside it)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(label, total=None, note="")

        def show(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield show


@contextmanager
def steps(label: str) -> Iterator[Advance]:
    """A bar, as a function of (done, in all)."""
    with bar(label) as show:
        yield lambda done, total: show(done, total, "")
