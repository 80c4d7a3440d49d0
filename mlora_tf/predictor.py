"""Scores whole splits and evaluates them exactly."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mlora_tf.data import Split
from mlora_tf.evaluation import Evaluation
from mlora_tf.evaluation import evaluate
from mlora_tf.schema import Schema


class Predictor:
    """Scores any number of rows with a model, in large batches.

    One graph, traced once for any number of rows, serves every call. It reads
    the model's current weights, so one predictor serves all epochs. Under a
    strategy it runs on the first replica, whose weights all replicas share.

    Args:
        model: A model with an output `"ctr"`.
        batch_size: Rows per call.

    Call arguments:
        inputs: Each input by name, arrays of shape `(rows,)`, or
            `(rows, max_length)` for a sequence.

    Returns:
        Probabilities, a `float32` array of shape `(rows,)`.
    """

    def __init__(self, model: keras.Model, batch_size: int = 16384) -> None:
        self.batch_size = batch_size
        signature = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
            for name, tensor in model.input.items()
        }

        @tf.function(input_signature=[signature], autograph=False)
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            return model(inputs, training=False)["ctr"][:, 0]

        self._forward = forward
        self._names = tuple(signature)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores the rows."""
        columns = {name: inputs[name] for name in self._names}
        rows = len(next(iter(columns.values())))
        scores = [
            self._forward(
                {
                    name: tf.constant(column[start : start + self.batch_size])
                    for name, column in columns.items()
                }
            ).numpy()
            for start in range(0, rows, self.batch_size)
        ]
        return np.concatenate(scores) if scores else np.empty(0, np.float32)


def evaluate_split(
    predictor: Predictor,
    split: Split,
    schema: Schema,
    *,
    user_feature: str | None = None,
) -> Evaluation:
    """Scores a split and evaluates it exactly, per domain and overall.

    Args:
        predictor: Scores the rows.
        split: The rows.
        schema: Names the domains.
        user_feature: The feature that tells whose click it is, for the
            user-weighted AUC (STAR, eq. 9); None leaves it out.
    """
    users = None if user_feature is None else split.inputs[user_feature]
    return evaluate(
        split.label,
        predictor(split.inputs),
        split.domain,
        schema.domains,
        users=users,
    )
