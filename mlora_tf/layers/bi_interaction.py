"""All pairwise products of the fields, pooled in linear time."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.field_pairs import field_pairs


@keras.saving.register_keras_serializable(package="mlora_tf")
class BiInteraction(keras.layers.Layer):
    """Sums the elementwise products of all pairs of field embeddings.

    `sum_{i<j} v_i * v_j = ((sum_i v_i)^2 - sum_i v_i^2) / 2`: the pooling of
    NFM (eq. 4). Its sum over the last axis is the factorization machine's
    second-order term, as in DeepFM (eq. 2).

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`.

    Returns:
        Tensor of shape `(batch, dim)`.

    Example:
    >>> tuple(BiInteraction()(keras.ops.ones((2, 3, 8))).shape)
    (2, 8)

    Reference:
        He and Chua, "Neural Factorization Machines for Sparse Predictive
        Analytics", SIGIR 2017.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Checks that there are pairs: without one all would be zero."""
        field_pairs(input_shape, self.name)

    def call(self, inputs: Any) -> Any:
        """Pools the pairs."""
        square_of_sum = ops.square(ops.sum(inputs, axis=1))
        sum_of_squares = ops.sum(ops.square(inputs), axis=1)
        return 0.5 * (square_of_sum - sum_of_squares)

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, dim)`."""
        return (input_shape[0], input_shape[2])
