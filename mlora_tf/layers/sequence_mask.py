"""Parts padded ids into ids that a table holds and a mask."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class SequenceMask(keras.layers.Layer):
    """Tells ids from padding, which is negative.

    Call arguments:
        inputs: Integer tensor of shape `(batch, length)`.

    Returns:
        The ids, with 0 for padding, so that any table can look them up; and
        where there is an id, a bool tensor. Both of the inputs' shape.

    Example:
    >>> ids, mask = SequenceMask()(np.array([[5, 7, -1]]))
    >>> ids.numpy().tolist(), mask.numpy().tolist()
    ([[5, 7, 0]], [[True, True, False]])
    """

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Parts the ids from the padding."""
        return ops.maximum(inputs, 0), ops.greater_equal(inputs, 0)

    def compute_output_spec(
        self, inputs: Any
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The ids' shape, as the ids' dtype and as bool."""
        shape = inputs.shape
        return (
            keras.KerasTensor(shape, dtype=inputs.dtype),
            keras.KerasTensor(shape, dtype="bool"),
        )

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids' shape, twice."""
        return input_shape, input_shape
