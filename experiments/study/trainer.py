"""Trains the runs that a study lacks, several at a time."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

from experiments.errors import RunError
from experiments.study import lines
from experiments.study import worker
from experiments.study.run import Run
from experiments.study.run_log import RunLog

RUNS_PER_PROCESS = 8
"""Processes end after these: what TensorFlow keeps doesn't pile up.

The pool ends with them: told to replace single processes, Python 3.11's waits
forever for one that it doesn't start (python/cpython#115634).
"""

LATEST = 5
"""As many runs tell how long another one takes."""


def missing(log: RunLog, runs: Sequence[Run]) -> list[Run]:
    """The runs that the log hasn't, each once, in order."""
    return [
        run
        for run in dict((one.key, one) for one in runs).values()
        if run not in log
    ]


def train(
    log: RunLog,
    runs: Sequence[Run],
    folder: pathlib.Path,
    *,
    jobs: int,
    console: Console,
) -> None:
    """Trains what the log lacks; each run is added to it as it ends.

    Stopped by a signal and called again, it goes on where it was: finished
    runs are in the log, and one in training saves its state at once. Killed,
    such a run goes on from what it saved last. Another study may train some of
    the same runs meanwhile, with the same folder: each is trained once.

    Args:
        log: The finished runs.
        runs: The runs that are wanted.
        folder: Holds the folders of runs that are being trained.
        jobs: How many at a time, each on one thread.
        console: Where to say how far it is.

    Raises:
        RunError: A run failed; those that finished before are in the log.
    """
    wanted = missing(log, runs)
    if not wanted:
        return
    lines.make(log.path)  # before anything is trained in vain
    left = sum(estimate(log, one) or 0 for one in wanted) / jobs
    console.print(
        f"{len(wanted)} runs to train, {jobs} at a time"
        + (f", about {left / 60:.0f} min" if left else "")
    )
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (
        # Whatever ends the loop ends the processes, at once.
        contextlib.closing(
            _all_rows(log, wanted, folder, jobs, console)
        ) as rows,
        Progress(
            console=console, transient=True, disable=not console.is_terminal
        ) as progress,
    ):
        bar = progress.add_task("runs", total=len(wanted))
        for done, (one, row) in enumerate(rows, start=1):
            log.take(row)
            progress.advance(bar)
            pace = (time.monotonic() - began) / done
            console.print(
                f"{done}/{len(wanted)} {one.label}: test WAUC "
                f"{100 * row['phases'][-1]['test']['wauc']:.2f}, "
                f"{pace * (len(wanted) - done) / 60:.0f} min left",
                soft_wrap=True,
            )


Rows = Generator[tuple[Run, dict[str, Any] | None], None, None]
"""Runs as they end, each with its row; None while another study has it."""


def _all_rows(
    log: RunLog,
    runs: Sequence[Run],
    folder: pathlib.Path,
    jobs: int,
    console: Console,
) -> Generator[tuple[Run, dict[str, Any]], None, None]:
    """Trains runs; those that another study is training come last."""
    for wait in (False, True):
        elsewhere = []
        with contextlib.closing(_rows(log, runs, folder, jobs, wait)) as rows:
            for one, row in rows:
                if row is None:
                    elsewhere.append(one)
                else:
                    yield one, row
        for one in elsewhere:
            console.print(
                f"{one.label}: another study trains it; waits for its end.",
                soft_wrap=True,
            )
        runs = elsewhere


def _rows(
    log: RunLog,
    runs: Sequence[Run],
    folder: pathlib.Path,
    jobs: int,
    wait: bool,
) -> Rows:
    """Trains runs, several at a time; each comes with its row as it ends."""
    most = jobs * RUNS_PER_PROCESS
    for first in range(0, len(runs), most):
        with concurrent.futures.ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.start,
            initargs=(os.getpid(),),
        ) as pool:
            pending = {
                pool.submit(worker.train, one, folder, log.path, wait=wait): one
                for one in runs[first : first + most]
            }
            try:
                for future in concurrent.futures.as_completed(pending):
                    yield pending[future], _result(future, pending[future])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # Those that still train save where they are, and end.
                for process in multiprocessing.active_children():
                    process.terminate()
                raise


def estimate(log: RunLog, run: Run) -> float | None:
    """Seconds that a run will take, from those most like it; None if unknown.

    The latest ones tell, as code and machines get faster. Alike are runs on
    the same data with the same backbone and tower, then with the same
    backbone, then all on that data.
    """
    recipe = run.recipe
    mine = (run.data.fingerprint, recipe.backbone, recipe.tower)
    rows = [
        (
            (
                row["fingerprint"],
                row["recipe"]["backbone"],
                row["recipe"]["tower"],
            ),
            row["seconds"],
        )
        for row in log.rows.values()
    ]
    for shared in range(len(mine), 0, -1):
        alike = [
            seconds for key, seconds in rows if key[:shared] == mine[:shared]
        ]
        if alike:
            return statistics.median(alike[-LATEST:])
    return None


def _result(future: "concurrent.futures.Future[Any]", run: Run) -> Any:
    try:
        return future.result()
    except concurrent.futures.process.BrokenProcessPool:
        raise RunError(
            f"A process ended while it trained {run.label} or another run "
            "(killed, or out of memory): the same command goes on; --jobs=1 "
            "needs less memory."
        ) from None
    except Exception as error:
        raise RunError(f"{run.label}: {error}") from error
