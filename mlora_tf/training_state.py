"""The state of a training run, in one file that is always whole."""

import json
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np

from mlora_tf.callbacks import EarlyStopping
from mlora_tf.callbacks import TrainingError


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
            TrainingError: The file belongs to another run or model.
        """
        if not self.path.is_file():
            return 0
        try:
            with (
                open(self.path, "rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                saved = dict(arrays)
            state = json.loads(str(saved.pop("state")))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{self.path} is damaged ({error}): delete it to train this "
                "phase from its start."
            ) from None
        variables = self._variables(model)
        mine = {
            "identity": self.identity,
            "variables": self._shapes(model),
        }
        for key, value in mine.items():
            if state[key] != value:
                raise TrainingError(
                    f"{self.path} was saved by another run: its {key} is not "
                    "this run's. Choose another --output, or delete it."
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
        # A file never says "stopped, but not finished": on_train_end saves.
        if not self.model.stop_training:
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
            "variables": self._shapes(self.model),
            "history": self.history,
            "finished": self.finished,
            "early_stopping": {
                "wait": stopping.wait,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "num_weights": len(best),
            },
        }
        arrays: dict[str, Any] = {
            f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)
        }
        arrays["state"] = np.array(json.dumps(state))
        arrays |= {f"best_{i}": weight for i, weight in enumerate(best)}
        aside = self.path.with_suffix(".tmp.npz")
        with open(aside, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)

    @staticmethod
    def _variables(model: keras.Model) -> list[keras.Variable]:
        return [*model.variables, *model.optimizer.variables]

    @classmethod
    def _shapes(cls, model: keras.Model) -> list[list[Any]]:
        """What tells this model's variables from another's, as JSON has it.

        Optimizers and random generators get numbered names, which differ
        between two of a kind in one process; weights' paths don't.
        """
        weights = {id(weight): weight.path for weight in model.weights}
        return [
            [weights.get(id(variable)), list(variable.shape)]
            for variable in cls._variables(model)
        ]
