"""The second-order term of a factorization machine."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class FactorizationMachine(keras.layers.Layer):
    """Sums the inner products of all pairs of field embeddings.

    `sum_{i<j} <v_i, v_j>`, in linear time as half of
    `|sum_i v_i|^2 - sum_i |v_i|^2` (DeepFM, eq. 2).

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`.

    Returns:
        Tensor of shape `(batch, 1)`.

    Example:
    >>> FactorizationMachine()(np.ones((1, 3, 8))).numpy().tolist()
    [[24.0]]

    Reference:
        Rendle, "Factorization Machines", ICDM 2010.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """Sums the pairs."""
        square_of_sum = ops.square(ops.sum(inputs, axis=1))
        sum_of_squares = ops.sum(ops.square(inputs), axis=1)
        pairs = square_of_sum - sum_of_squares
        return 0.5 * ops.sum(pairs, axis=1, keepdims=True)

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, 1)`."""
        return (input_shape[0], 1)
