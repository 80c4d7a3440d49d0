"""The state of a training run, in one file that is always whole."""

import json
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlora_tf import durable
from mlora_tf import state_file
from mlora_tf.callbacks import EarlyStopping
from mlora_tf.callbacks import TrainingError
from mlora_tf.divergence import check_finite
from mlora_tf.recipes import DEFAULTS
from mlora_tf.stop_signals import StopSignals
from mlora_tf.workers import Workers

SAVE_SECONDS = 600.0
"""A long epoch's state is saved that often, or more rarely if it is large."""

SAVING_SHARE = 0.01
"""The most of the time that such saving takes."""


class TrainingState(keras.callbacks.Callback):
    """Saves all that training needs to go on, in one file.

    That is the weights, the optimizer's and the random generators' state, the
    early stopping's count and best weights, the history and, in the midst of
    an epoch, how far it is and its metrics. The file is written aside and
    renamed, so that it is always whole, and only numbers that are finite
    replace it. It is written after each epoch, every ten minutes of a long
    one, and by `save`. Put it last.

    Args:
        path: The file, `*.npz`. It holds arrays and JSON, never pickles.
        early_stopping: The callback whose state is saved.
        identity: JSON-ready values that tell this run from others.
        domains: The domains' names, for errors.
        stop: Signals that end training after the steps under way.
        workers: Those that train together: the chief alone has the file, and
            tells the others what it holds. None is this process alone.

    Attributes:
        history: The logs of each finished epoch, in order.
        epoch: The epoch that is next, or under way.
        done: How many steps of it are done.
        seconds: How long these took.
        finished: Whether this training has ended.
        best: The best score so far.
        best_epoch: The epoch it is from, -1 for the start.
    """

    def __init__(
        self,
        path: pathlib.Path,
        early_stopping: EarlyStopping,
        identity: dict[str, Any],
        domains: Sequence[str] = (),
        stop: StopSignals | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__()
        self.workers = workers
        self.path = path
        self.early_stopping = early_stopping
        self.identity = identity
        self.domains = domains
        self.stop = stop or StopSignals()
        self.history: list[dict[str, float]] = []
        self.epoch = 0
        self.done = 0
        self.seconds = 0.0
        self.finished = False
        self.best = float("nan")
        self.best_epoch = -1
        self._restored: dict[str, Any] | None = None
        self._skipped = 0
        self._began = 0.0
        self._due = float("inf")

    def restore(self, model: keras.Model) -> int:
        """Restores weights and optimizer, if there is a file.

        Args:
            model: A compiled model whose optimizer is built.

        Returns:
            The epoch to go on with: `fit`'s `initial_epoch`.

        Raises:
            TrainingError: The file belongs to another run or model.
        """
        if self.workers is None:
            saved = self._load()
        else:
            saved = self.workers.arrays_from_chief(self._load)
        if saved is None:
            return 0
        state = json.loads(str(saved.pop("state")))
        variables = self._variables(model)
        state["identity"] = _comparable(state["identity"])
        mine = {
            "identity": _comparable(self.identity),
            "variables": self._shapes(model),
        }
        for key, value in mine.items():
            if state[key] != value:
                raise TrainingError(
                    f"{self.path} was saved by another run: its {key} is not "
                    "this run's. Choose another --output, or delete it."
                )
        best = [
            saved[f"best_{i}"].shape
            for i in range(state["early_stopping"]["num_weights"])
        ]
        if best and best != [tuple(one.shape) for one in model.weights]:
            raise self._damaged("its best weights aren't the model's")
        metrics = _parts(model) if state["done"] else []
        if state["num_metrics"] != len(metrics):
            raise self._damaged("its metrics aren't the model's")
        for i, variable in enumerate(variables):
            variable.assign(saved[f"variable_{i}"])
        self.history = state["history"]
        self.epoch = len(self.history)
        self.done = state["done"]
        self.seconds = state["seconds"]
        self.finished = state["finished"]
        self.best = state["early_stopping"]["best"]
        self.best_epoch = state["early_stopping"]["best_epoch"]
        self._restored = {**state, "arrays": saved}
        return self.epoch

    def _load(self) -> dict[str, np.ndarray] | None:
        """The file's arrays, and JSON as one of them; None without a file."""
        if not self.path.is_file():
            return None
        try:
            return state_file.read(self.path)
        except ValueError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: object) -> TrainingError:
        return TrainingError(
            f"{self.path} is damaged ({error}): delete it to train this phase "
            "from its start."
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the early stopping, after it has reset itself."""
        self._due = time.monotonic() + SAVE_SECONDS
        if self._restored is None:
            return
        stopping, state = self.early_stopping, self._restored["early_stopping"]
        stopping.wait = state["wait"]
        stopping.best_epoch = state["best_epoch"]
        # Keras says None for both before the first epoch has ended.
        best = state["best"]
        stopping.best = None if math.isnan(best) else best
        arrays = self._restored["arrays"]
        stopping.best_weights = [
            # A copy: what a file was read into can't be written to.
            np.array(arrays[f"best_{i}"])
            for i in range(state["num_weights"])
        ] or None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics of an epoch that goes on."""
        self.epoch = epoch
        self._skipped = self.done
        self._began = time.monotonic() - self.seconds
        restored, self._restored = self._restored, None
        if restored is None or not self.done:
            return
        for i, part in enumerate(_parts(self.model)):
            part.assign(restored["arrays"][f"metric_{i}"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the steps; `batch` is the last one of an execution."""
        self.done = min(self._skipped + batch + 1, self.params["steps"])
        self.seconds = time.monotonic() - self._began
        self.stop.check()
        if time.monotonic() > self._due:
            self.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves everything."""
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch, **numbers})
        self.epoch, self.done, self.seconds = epoch + 1, 0, 0.0
        # A file never says "stopped, but not finished": on_train_end saves.
        if not self.model.stop_training:
            self._save()
            self.stop.check()

    def on_train_end(self, logs: Any = None) -> None:
        """Saves that training has ended, with the best weights restored."""
        self.finished = True
        self._save()

    def save(self) -> None:
        """Saves the epoch under way, after the steps that are done.

        Raises:
            DivergedError: Its numbers aren't finite. The file stays.
        """
        if self.done:
            check_finite(
                self.model,
                self.domains,
                f"after step {self.done} of epoch {self.epoch + 1}",
            )
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        stopping = self.early_stopping
        self.best = math.nan if stopping.best is None else float(stopping.best)
        self.best_epoch = stopping.best_epoch
        if self.workers is not None and not self.workers.is_chief:
            return
        variables = self._variables(self.model)
        weights = stopping.best_weights or []
        metrics = _parts(self.model) if self.done else []
        state = {
            "identity": self.identity,
            "variables": self._shapes(self.model),
            "history": self.history,
            "done": self.done,
            "seconds": self.seconds,
            "num_metrics": len(metrics),
            "finished": self.finished,
            "early_stopping": {
                "wait": stopping.wait,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "num_weights": len(weights),
            },
        }
        arrays: dict[str, Any] = {
            f"variable_{i}": _stored(v) for i, v in enumerate(variables)
        }
        arrays["state"] = np.array(json.dumps(state))
        arrays |= {f"best_{i}": _stored(w) for i, w in enumerate(weights)}
        arrays |= {f"metric_{i}": _stored(m) for i, m in enumerate(metrics)}
        aside = self.path.with_suffix(".tmp.npz")
        with open(aside, "wb") as file:
            np.savez(file, **arrays)
        durable.replace(aside, self.path)
        ended = time.monotonic()
        pause = max(SAVE_SECONDS, (ended - began) / SAVING_SHARE)
        self._due = ended + pause

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


def _comparable(identity: Any) -> Any:
    """An identity in which a field that an older version lacked is no change.

    What is saved has all values, so that a default that changes later isn't
    taken for the older one.
    """
    if not isinstance(identity, dict) or "recipe" not in identity:
        return identity
    return {**identity, "recipe": {**DEFAULTS, **identity["recipe"]}}


def _stored(values: Any) -> np.ndarray:
    """As NumPy can store it: bfloat16, which it hasn't, as float32, exactly."""
    array = np.asarray(values)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _parts(model: keras.Model) -> list[tf.Variable]:
    """The variables of a model's metrics, each replica's part by itself."""
    strategy = model.distribute_strategy
    return [
        part
        for variable in model.metrics_variables
        for part in strategy.experimental_local_results(variable.value)
    ]
