"""Several calls of `fit` as one training."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class OneTraining(keras.callbacks.CallbackList):
    """Callbacks to which several calls of `fit` are one training.

    Keras fits whole epochs of one dataset. An epoch that was stopped in its
    midst is fitted from there by a call of its own: to the callbacks training
    begins once, and ends with `end`.

    Args:
        callbacks: The callbacks.
        model: The compiled model.
        steps: Steps of a whole epoch.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        steps: int,
    ) -> None:
        super().__init__(
            list(callbacks), add_history=True, model=model, steps=steps
        )
        self._begun = False
        self._logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins, the first time."""
        if not self._begun:
            self._begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Waits for `end`."""
        self._logs = logs

    def fit(self, dataset: tf.data.Dataset, first: int, epochs: int) -> None:
        """Fits epochs from the first one on, before `epochs`."""
        self.model.fit(
            dataset,
            epochs=epochs,
            initial_epoch=first,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
            callbacks=self,
        )

    def end_epoch(self, epoch: int) -> None:
        """Ends an epoch all of whose steps were done before."""
        self.on_train_begin()
        self.model.reset_metrics()
        self.on_epoch_begin(epoch)
        self.on_epoch_end(epoch, self.model.get_metrics_result())

    def end(self) -> None:
        """Ends training."""
        super().on_train_end(self._logs)
