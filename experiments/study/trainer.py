"""Trains the runs that a study lacks, several at a time."""

import concurrent.futures
import contextlib
import functools
import logging
import multiprocessing
import os
import pathlib
import shutil
import statistics
import threading
import time
from collections.abc import Generator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from rich.console import Console
from rich.progress import Progress

from experiments import binary  # noqa: F401 -- before TensorFlow
from experiments.runs import RunError
from experiments.study import lines
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals

if TYPE_CHECKING:
    import tensorflow as tf

    from mlora_tf.data import ClickLog

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
    """Trains what the log lacks and adds each run to it as it ends.

    Stopped by a signal and called again, it goes on where it was: finished
    runs are in the log, and one in training saves its state at once. Killed,
    such a run goes on from what it saved last.

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
        contextlib.closing(_rows(wanted, folder, jobs)) as rows,
        Progress(
            console=console, transient=True, disable=not console.is_terminal
        ) as progress,
    ):
        bar = progress.add_task("runs", total=len(wanted))
        for done, (one, row) in enumerate(rows, start=1):
            log.append(row)
            shutil.rmtree(folder / one.key)
            progress.advance(bar)
            pace = (time.monotonic() - began) / done
            console.print(
                f"{done}/{len(wanted)} {one.label}: test WAUC "
                f"{100 * row['phases'][-1]['test']['wauc']:.2f}, "
                f"{pace * (len(wanted) - done) / 60:.0f} min left",
                soft_wrap=True,
            )


def _rows(
    runs: Sequence[Run], folder: pathlib.Path, jobs: int
) -> Generator[tuple[Run, dict[str, Any]], None, None]:
    """Trains runs, several at a time; each comes with its row as it ends."""
    most = jobs * RUNS_PER_PROCESS
    for first in range(0, len(runs), most):
        with concurrent.futures.ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(os.getpid(),),
        ) as pool:
            pending = {
                pool.submit(_train, one, str(folder)): one
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


def _start(parent: int) -> None:
    """Sets up a process: one thread, and an end with its parent's."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # A study has the two phases on the same rows on purpose, in run after run.
    logging.getLogger("mlora_tf.training").setLevel(logging.ERROR)
    _strategy()


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@functools.cache
def _strategy() -> "tf.distribute.Strategy":
    from experiments.runs import start_tensorflow

    return start_tensorflow(replicas=1, threads=1)


@functools.lru_cache(maxsize=1)
def _load(path: str) -> "ClickLog":
    from mlora_tf import data

    return data.load(path, "memory")


def _train(run: Run, folder: str) -> dict[str, Any]:
    """Trains a run in this process and gives back its row."""
    import keras

    from experiments import runs
    from experiments.study.run_row import row

    # Names that Keras counts and seeds that it keeps start anew.
    keras.utils.clear_session()
    log = _load(run.data.path)
    if log.fingerprint != run.data.fingerprint:
        raise RunError(f"{run.data.path} has changed since the start.")
    output = pathlib.Path(folder) / run.key
    try:
        with StopSignals() as stop:
            runs.run(
                *(log, run.recipe, output),
                strategy=_strategy(),
                export=False,
                stop=stop,
            )
    except Stopped as stopped:
        # The pool has the next run for this process already.
        os._exit(stopped.status)
    return row(run, output)
