"""Callbacks: order, exact evaluation, early stopping, progress."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mlora_tf.batches import Batches
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import score_split
from mlora_tf.schema import Schema
from mlora_tf.split import Split
from mlora_tf.stop_signals import StopSignals
from mlora_tf.streaming import StreamedSplit
from mlora_tf.workers import Workers


class TrainingError(RuntimeError):
    """Training can't go on: says why, and what to do."""


class DivergedError(TrainingError):
    """A number of training isn't finite any more: says which, and when."""


class EpochOrder(keras.callbacks.Callback):
    """Tells the batches which epoch comes next, so that resuming keeps order.

    Args:
        batches: The training batches.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the epoch."""
        self.batches.epoch = epoch


class ExactEvaluation(keras.callbacks.Callback):
    """Evaluates a split exactly after each epoch and adds the logs.

    The logs get `val_wauc`, `val_macro_auc`, `val_auc`, `val_logloss` and, for
    each domain that has an AUC, `val_auc_<domain>`; besides, `train_seconds`
    and `val_seconds`. Put it before callbacks that read them.

    Where several workers train, each scores a part of the rows, and all get
    the chief's logs: what they decide by them, such as to stop, is the same.

    Args:
        split: The rows to evaluate, in memory or streamed.
        schema: Names the domains.
        stop: Signals that end it at once, even where they are held.

    Attributes:
        spent: Seconds that training spent on the coming epoch before it was
            stopped in its midst.
    """

    def __init__(
        self,
        split: Split | StreamedSplit,
        schema: Schema,
        stop: StopSignals | None = None,
    ) -> None:
        super().__init__()
        self.split = split
        self.schema = schema
        self.stop = stop or StopSignals()
        self.spent = 0.0
        self._predictor: Predictor | None = None
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter() - self.spent
        self.spent = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the split's metrics to the logs."""
        trained = time.perf_counter()
        if self._predictor is None:
            self._predictor = Predictor(self.model)
        workers = Workers(self.model.distribute_strategy)
        # It may take long, and leaves the model as it is.
        with self.stop.at_once():
            scored = score_split(self._predictor, self.split, workers=workers)
            if not np.isfinite(scored.score).all():
                raise DivergedError(
                    f"training diverged in epoch {epoch + 1}: predictions are "
                    "not finite."
                )
            result = scored.evaluate(self.schema)
        logs.update(
            val_wauc=result.wauc,
            val_macro_auc=result.macro_auc,
            val_auc=result.auc,
            val_logloss=result.logloss,
        )
        for domain in result.domains:
            if not np.isnan(domain.auc):
                logs[f"val_auc_{domain.name}"] = domain.auc
        logs["train_seconds"] = trained - self._began
        logs["val_seconds"] = time.perf_counter() - trained
        if workers.count > 1:
            logs.update(workers.from_chief(lambda: _floats(logs)))


def _floats(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's early stopping on a maximum, whose state can be saved.

    The best weights are restored at the end of training.

    Args:
        monitor: The log to maximise.
        patience: How many epochs may pass without a new best.
        start: A score that the weights at the start already have. They are
            kept unless an epoch beats it.
        rollback: Whether an epoch without a new best is thrown away, so that
            training goes on from the best weights: what MLoRA's published
            code does. The optimizer's moments are not rolled back there.
    """

    best: float | None
    wait: int

    def __init__(
        self,
        monitor: str,
        patience: int,
        *,
        start: float | None = None,
        rollback: bool = False,
    ) -> None:
        super().__init__(
            monitor=monitor,
            patience=patience,
            mode="max",
            restore_best_weights=True,
        )
        self.start = start
        self.rollback = rollback

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts from the score that the weights have, if it is known."""
        super().on_train_begin(logs)
        self.best_epoch = -1
        if self.start is not None:
            self.best = self.start
            self.best_weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps or counts, and rolls back if asked to."""
        super().on_epoch_end(epoch, logs)
        # Keras lets the first epoch pass, which has always been the best
        # where there was no score before it.
        if self.start is not None and self.wait >= self.patience:
            self.model.stop_training = True
        if self.rollback and self.wait:
            self.model.set_weights(self.best_weights)


class EpochLines(keras.callbacks.Callback):
    """Reports each epoch on one line, from the logs of `ExactEvaluation`.

    Args:
        write: Called with the line, such as `print` or `logging.info`.
        phase: Name of the phase, at the start of the line.
    """

    def __init__(self, write: Callable[[str], Any], phase: str) -> None:
        super().__init__()
        self.write = write
        self.phase = phase

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the line."""
        seconds = logs["train_seconds"] + logs["val_seconds"]
        self.write(
            f"{self.phase} epoch {epoch + 1}: loss {logs['loss']:.4f}, "
            f"val WAUC {100 * logs['val_wauc']:.3f}, {seconds:.1f} s"
        )
