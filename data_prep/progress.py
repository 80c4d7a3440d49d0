"""Shows how far a long preparation is: on a terminal only."""

import contextlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sized
from typing import Any

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn


@contextlib.contextmanager
def bar(
    description: str, total: float | None = None
) -> Iterator[Callable[[float], None]]:
    """Shows a bar on stderr, if that is a terminal, until the `with` ends.

    Args:
        description: What is going on: `"Reading log.csv"`.
        total: The amount that is all; None if nobody knows.

    Yields:
        A function that moves the bar on by an amount.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(description, total=total)
        yield lambda amount: progress.advance(task, amount)


@contextlib.contextmanager
def waiting(description: str) -> Iterator[None]:
    """Says on stderr, if that is a terminal, what takes its time.

    Args:
        description: What is going on: `"Exporting"`.
    """
    with Console(stderr=True).status(f"{description} ..."):
        yield


def track(
    items: Iterable[Any] | None, description: str, total: int | None = None
) -> Iterator[Any]:
    """Goes over the items, with a bar that moves on by one after each.

    Args:
        items: What to go over; None is the numbers below `total`.
        description: As in `bar`.
        total: How many items; None is their `len`, if they have one.
    """
    if items is None:
        if total is None:
            raise ValueError("total must be given without items.")
        items = range(total)
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
