"""What a study's process does: it trains runs, one after the other."""

import contextlib
import functools
import logging
import os
import pathlib
import shutil
import threading
import time
from typing import TYPE_CHECKING
from typing import Any

from data_prep.folder_lock import FolderInUseError
from data_prep.folder_lock import locked
from experiments import binary  # noqa: F401 -- before TensorFlow
from experiments.errors import RunError
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals

if TYPE_CHECKING:
    import tensorflow as tf

    from mlora_tf.data import ClickLog

PAUSE = 2.0
"""Seconds until a process looks again whether another study's run ended."""


def start(parent: int) -> None:
    """Sets up a process: one thread, and an end with its parent's."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # A study has the two phases on the same rows on purpose, in run after run.
    logging.getLogger("mlora_tf.training").setLevel(logging.ERROR)
    _strategy()


def train(
    run: Run, folder: pathlib.Path, log: pathlib.Path, *, wait: bool
) -> dict[str, Any] | None:
    """Trains a run, unless another study has it, and adds it to the log.

    Args:
        run: The run.
        folder: Holds the folders of runs that are being trained.
        log: The file of finished runs.
        wait: Whether to wait for another study that trains it just now.

    Returns:
        The run's row in the log; None if another study trains it just now.
    """
    output = folder / run.key
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(folder / f"{run.key}.lock", output))
            except FolderInUseError:
                pass
            else:
                done = RunLog(log)
                # It may have ended since this study began.
                if run not in done:
                    done.append(_row(run, output))
                    shutil.rmtree(output)
                return done[run]
        if not wait:
            return None
        time.sleep(PAUSE)


def _row(run: Run, output: pathlib.Path) -> dict[str, Any]:
    """Trains a run in its folder and gives back its row."""
    import keras

    from experiments import runs
    from experiments.study.run_row import row

    # Names that Keras counts and seeds that it keeps start anew.
    keras.utils.clear_session()
    log = _load(run.data.path)
    if log.fingerprint != run.data.fingerprint:
        raise RunError(f"{run.data.path} has changed since the start.")
    try:
        with StopSignals() as stop:
            runs.run(
                log,
                run.recipe,
                output,
                strategy=_strategy(),
                export=False,
                stop=stop,
            )
    except Stopped as stopped:
        # The pool has the next run for this process already.
        os._exit(stopped.status)
    return row(run, output)


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
