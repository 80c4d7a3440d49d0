"""Stops training whose numbers aren't finite any more, and says where."""

import contextlib
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mlora_tf.batches import Batches
from mlora_tf.callbacks import DivergedError
from mlora_tf.layers import EmbeddingTable
from mlora_tf.schema import Schema

SHOWN = 10
"""The most domains of a batch that are named, those with most rows first."""


class FiniteSteps:
    """Counts the steps of an epoch until the loss isn't finite any more.

    The count is kept where the steps run, beside the loss of the epoch so
    far, which stays NaN or infinite once it is. So a step in the midst of an
    execution of many is found without a return to Python for each.

    Args:
        strategy: Where the model trains.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        with strategy.scope():
            self._finite = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )

    @contextlib.contextmanager
    def counted(self, model: keras.Model) -> Iterator[None]:
        """Within, a step of the model is counted; it must be compiled."""
        step = model.train_step

        def train_step(data: Any) -> dict[str, Any]:
            logs = step(data)
            finite = tf.math.is_finite(logs["loss"])
            self._finite.assign_add(tf.cast(finite, tf.int64))
            return logs

        model.train_step = train_step
        try:
            yield
        finally:
            del model.train_step

    def reset(self) -> None:
        """Begins an epoch."""
        self._finite.assign(0)

    @property
    def count(self) -> int:
        """The steps before the first one with such a loss on any replica."""
        replicas = self._strategy.experimental_local_results(self._finite)
        return min(int(finite) for finite in replicas)


class Divergence(keras.callbacks.Callback):
    """Stops training when the loss or a weight isn't finite. Put it first.

    Not every number that isn't finite reaches the loss: where oneDNN computes
    a layer's product, bias and ReLU in one, NaN becomes 0. So after each
    execution all weights but the tables of embeddings are looked at, whose
    size no step shall depend on, and after each epoch those too.

    Args:
        batches: The training batches.
        schema: Names the domains.
        steps: Counts the steps with a finite loss.
        done: Steps of the first epoch that a run before has done.

    Raises:
        DivergedError: With the step and the domains of its batch, or the
            weight and its domains.
    """

    def __init__(
        self, batches: Batches, schema: Schema, steps: FiniteSteps, done: int
    ) -> None:
        super().__init__()
        self.batches = batches
        self.schema = schema
        self.steps = steps
        self._done = done
        self._epoch = 0
        self._weights_sum: Callable[[], tf.Tensor] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes what looks at the weights."""
        self._weights_sum = _sum_of(_without_tables(self.model))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins to count."""
        self._epoch = epoch
        self.steps.reset()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss of the epoch so far, after each execution."""
        if math.isfinite(logs["loss"]):
            self._look_at_weights(batch)
            return
        step = self._done + self.steps.count
        raise DivergedError(
            f"the loss isn't finite from step {step + 1} of epoch "
            f"{self._epoch + 1} on: {logs['loss']}. That step's batch has "
            f"{self._mix(step)}."
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at the weights, before anything is made of them."""
        self._done = 0
        check_finite(
            self.model, self.schema.domains, f"after epoch {epoch + 1}"
        )

    def _look_at_weights(self, batch: int) -> None:
        assert self._weights_sum is not None
        # A sum is finite only if all of it is.
        if not math.isfinite(self._weights_sum()):
            check_finite(
                self.model,
                self.schema.domains,
                f"after step {self._done + batch + 1} of epoch "
                f"{self._epoch + 1}",
            )

    def _mix(self, step: int) -> str:
        """How many rows of a batch are of which domain."""
        domains = self.batches.domains(self._epoch, step)
        counts = np.bincount(domains, minlength=self.schema.num_domains)
        order = np.argsort(-counts, kind="stable")
        order = order[: np.count_nonzero(counts)]
        named = [
            f"{counts[domain]} of {self.schema.domains[domain]!r}"
            for domain in order[:SHOWN]
        ]
        if len(order) > SHOWN:
            rest = counts[order[SHOWN:]].sum()
            named.append(f"{rest} of {len(order) - SHOWN} other domains")
        return f"{len(domains)} rows: {', '.join(named)}"


def _without_tables(model: keras.Model) -> list[keras.Variable]:
    tables = {
        id(variable)
        for layer in model._flatten_layers()
        if isinstance(layer, (EmbeddingTable, keras.layers.Embedding))
        for variable in layer.variables
    }
    return [
        variable
        for variable in model.trainable_variables
        if id(variable) not in tables
    ]


def _sum_of(variables: Sequence[keras.Variable]) -> Callable[[], tf.Tensor]:
    @tf.function(autograph=False)
    def total() -> tf.Tensor:
        sums = [tf.reduce_sum(variable.value) for variable in variables]
        return tf.add_n([tf.cast(one, tf.float32) for one in sums or [0.0]])

    # Not `total` itself: of the fifth phase in a program TensorFlow would warn
    # that it traces too often.
    return total.get_concrete_function()


def check_finite(model: keras.Model, domains: Sequence[str], when: str) -> None:
    """Raises unless all that a state keeps of a model is finite.

    Args:
        model: A compiled model whose optimizer is built.
        domains: The domains' names.
        when: Says in the error which weights these are.

    Raises:
        DivergedError: A number isn't: names its variable and, where that has
            a slice for each domain, the domains.
    """
    for variable in [*model.variables, *model.optimizer.variables]:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        finite = ops.isfinite(variable)
        if ops.all(finite):
            continue
        words = f"{variable.path!r} isn't finite"
        if domains and getattr(variable, "per_domain", False):
            rows = ops.all(ops.reshape(finite, (variable.shape[0], -1)), axis=1)
            bad = np.flatnonzero(~ops.convert_to_numpy(rows))
            names = ", ".join(repr(domains[i]) for i in bad[:SHOWN])
            more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            words += f" for {names}{more}"
        raise DivergedError(f"{words} {when}.")
