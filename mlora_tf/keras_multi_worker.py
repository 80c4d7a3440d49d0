"""Mends the two places where Keras's `fit` breaks on several workers.

Keras 3.15 reduces what workers have with `strategy.reduce("MEAN", ...)`, and
both times in a way that `MultiWorkerMirroredStrategy` refuses:

1. `Trainer._maybe_symbolic_build` reduces a whole batch, only to see its
   shapes, outside of any graph: "Attempt to convert a value (PerReplica...".
2. `reduce_per_replica` reduces a step's logs, which are scalars, along their
   axis 0: "Invalid reduction dimension 0 for input with 0 dimensions".

`tests/test_multi_worker.py` fails once Keras does without: then this
module goes.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from mlora_tf.workers import cluster_of

KNOWN = {
    "_maybe_symbolic_build": ["self", "iterator", "data_batch"],
    "reduce_per_replica": ["values", "strategy", "reduction"],
}
"""The arguments of what is mended, as Keras 3.15 has it."""


@contextlib.contextmanager
def mended_fit(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Within it, Keras's `fit` and `evaluate` run on several workers.

    Any other strategy's training is left as it is. The logs that callbacks
    get within an epoch are then the means of this worker's replicas, as Keras
    has them under `MirroredStrategy`; those of an epoch are of all workers.

    Args:
        strategy: Where the model was made.

    Raises:
        RuntimeError: This Keras's `fit` isn't the one that is known.

    Example:
        >>> with mended_fit(tf.distribute.get_strategy()):
        ...     pass  # model.fit(...)
    """
    if cluster_of(strategy) is None:
        yield
        return
    owner = trainer.TensorFlowTrainer
    original_build = _known(owner, "_maybe_symbolic_build")
    original_reduce = _known(trainer, "reduce_per_replica")

    def build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds from the first batch of a replica of this worker."""
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0],
                next(batches),
            )
        original_build(self, data_batch=data_batch)

    def reduce(values: Any, strategy: Any, reduction: str) -> Any:
        """Takes the mean over this worker's replicas."""
        if reduction not in ("auto", "mean"):
            return original_reduce(values, strategy, reduction)
        return keras.tree.map_structure(
            lambda value: tf.reduce_mean(
                tf.stack(strategy.experimental_local_results(value)), axis=0
            ),
            values,
        )

    owner._maybe_symbolic_build = build
    trainer.reduce_per_replica = reduce
    try:
        yield
    finally:
        owner._maybe_symbolic_build = original_build
        trainer.reduce_per_replica = original_reduce


def _known(owner: Any, name: str) -> Any:
    """A function of Keras that is mended: no other than the one known."""
    function = getattr(owner, name, None)
    if (
        not callable(function)
        or list(inspect.signature(function).parameters) != KNOWN[name]
    ):
        raise RuntimeError(
            f"training on several workers mends Keras's {name}, and this "
            "Keras has none that is known: use Keras 3.15. "
            f"Received: keras {keras.__version__}"
        )
    return function
