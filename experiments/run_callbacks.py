"""The callbacks that every run has: TensorBoard logs and progress."""

import atexit
import pathlib
from collections.abc import Callable
from typing import Any

import keras
from rich.console import Console
from rich.progress import Progress

from mlora_tf import callbacks


def standard_callbacks(
    output: pathlib.Path, console: Console | None = None
) -> Callable[[str, int], list[keras.callbacks.Callback]]:
    """Makes every run's own callbacks: TensorBoard logs and progress.

    Args:
        output: The run's folder.
        console: Shows progress; None shows none.
    """

    def make(phase: str, steps: int) -> list[keras.callbacks.Callback]:
        logs = str(output / "tensorboard" / phase)
        chosen = [keras.callbacks.TensorBoard(logs, write_graph=False)]
        if console is not None:
            chosen.append(ProgressBar(console, phase, steps))
        return chosen

    return make


class ProgressBar(callbacks.EpochLines):
    """Shows a bar within an epoch, and leaves a line behind for each.

    Args:
        console: Where to show them; only a terminal gets bars.
        phase: Name of the phase.
        steps: Steps in an epoch.
    """

    def __init__(self, console: Console, phase: str, steps: int) -> None:
        super().__init__(console.print, phase)
        self.steps = steps
        self._progress = Progress(
            console=console, transient=True, disable=not console.is_terminal
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Shows the bar."""
        # However training ends, the terminal gets its cursor back.
        atexit.register(self._progress.stop)
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's bar."""
        self._task = self._progress.add_task(
            f"{self.phase} epoch {epoch + 1}", total=self.steps
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar on; `batch` is the last one of an execution."""
        self._progress.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Leaves the epoch's line."""
        self._progress.remove_task(self._task)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self._progress.stop()
        atexit.unregister(self._progress.stop)
