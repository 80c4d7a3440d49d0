"""Callbacks: exact evaluation, early stopping, resumable state, progress."""

import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mlora_tf.data import Batches
from mlora_tf.data import Split
from mlora_tf.evaluation import Predictor
from mlora_tf.evaluation import evaluate_split
from mlora_tf.schema import Schema


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

    Args:
        split: The rows to evaluate.
        schema: Names the domains.
    """

    def __init__(self, split: Split, schema: Schema) -> None:
        super().__init__()
        self.split = split
        self.schema = schema
        self._predictor: Predictor | None = None
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the split's metrics to the logs."""
        trained = time.perf_counter()
        if self._predictor is None:
            self._predictor = Predictor(self.model)
        result = evaluate_split(self._predictor, self.split, self.schema)
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
        if self.rollback and self.wait:
            self.model.set_weights(self.best_weights)


class TrainingState(keras.callbacks.Callback):
    """Saves all that training needs to go on, after each epoch, in one file.

    That is the weights, the optimizer's and the random generators' state, the
    early stopping's count and best weights, and the history. The file is
    written aside and renamed, so that it is always whole; a run killed in an
    epoch does that epoch again, with the same batches. Put it last.

    Args:
        path: The file, `*.npz`. It holds arrays and JSON, never pickles.
        early_stopping: The callback whose state is saved.
        identity: JSON-ready values that tell this run from others.

    Attributes:
        history: The logs of each finished epoch, in order.
        finished: Whether this training has ended.
        best: The best score so far.
        best_epoch: The epoch it is from, -1 for the start.
    """

    def __init__(
        self,
        path: pathlib.Path,
        early_stopping: EarlyStopping,
        identity: dict[str, Any],
    ) -> None:
        super().__init__()
        self.path = path
        self.early_stopping = early_stopping
        self.identity = identity
        self.history: list[dict[str, float]] = []
        self.finished = False
        self.best = float("nan")
        self.best_epoch = -1
        self._saved: dict[str, Any] | None = None

    def restore(self, model: keras.Model) -> int:
        """Restores weights and optimizer, if there is a file.

        Args:
            model: A compiled model whose optimizer is built.

        Returns:
            The epoch to go on with: `fit`'s `initial_epoch`.

        Raises:
            ValueError: The file belongs to another run or model.
        """
        if not self.path.is_file():
            return 0
        with np.load(self.path, allow_pickle=False) as file:
            saved = dict(file)
        state = json.loads(str(saved.pop("state")))
        variables = self._variables(model)
        mine = {
            "identity": self.identity,
            "variables": [variable.path for variable in variables],
        }
        for key, value in mine.items():
            if state[key] != value:
                raise ValueError(
                    f"{self.path} was saved by another run: its {key} is not "
                    "this run's. Choose another --output, or delete it. "
                    f"Received: {state[key]}"
                )
        for i, variable in enumerate(variables):
            variable.assign(saved[f"variable_{i}"])
        self.history = state["history"]
        self.finished = state["finished"]
        self.best = state["early_stopping"]["best"]
        self.best_epoch = state["early_stopping"]["best_epoch"]
        self._saved = {**state, "arrays": saved}
        return len(self.history)

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the early stopping, after it has reset itself."""
        if self._saved is None:
            return
        stopping, state = self.early_stopping, self._saved["early_stopping"]
        stopping.wait = state["wait"]
        stopping.best = state["best"]
        stopping.best_epoch = state["best_epoch"]
        arrays = self._saved["arrays"]
        stopping.best_weights = [
            arrays[f"best_{i}"] for i in range(state["num_weights"])
        ]
        self._saved = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves everything."""
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch, **numbers})
        self._save()

    def on_train_end(self, logs: Any = None) -> None:
        """Saves that training has ended, with the best weights restored."""
        self.finished = True
        self._save()

    def _save(self) -> None:
        stopping = self.early_stopping
        self.best = float(stopping.best)
        self.best_epoch = stopping.best_epoch
        variables = self._variables(self.model)
        best = stopping.best_weights or []
        state = {
            "identity": self.identity,
            "variables": [variable.path for variable in variables],
            "history": self.history,
            "finished": self.finished,
            "early_stopping": {
                "wait": stopping.wait,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "num_weights": len(best),
            },
        }
        arrays = {
            f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)
        }
        arrays |= {f"best_{i}": weight for i, weight in enumerate(best)}
        aside = self.path.with_suffix(".tmp.npz")
        with open(aside, "wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)

    @staticmethod
    def _variables(model: keras.Model) -> list[keras.Variable]:
        return [*model.variables, *model.optimizer.variables]


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
