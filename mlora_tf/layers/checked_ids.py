"""Passes ids through, unless one has no row in its table."""

from typing import Any

import keras

from mlora_tf.layers import domain_ops
from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class CheckedIds(keras.layers.Layer):
    """Raises where an id is out of range, and passes the others through.

    Without it a table takes -1 for its last row, and says nothing. A whole
    model makes its inputs `int32` before any layer sees them: there a larger
    integer, a 64-bit hash, say, has wrapped to another one already.

    Args:
        num_ids: How many ids there are.
        feature: Whose ids they are, for the message.
        lowest: The smallest id: -1 where that pads sequences.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Integer tensor of shape `(batch,)` or `(batch, length)`.

    Returns:
        The same ids in the same shape, as `int32`.

    Raises:
        tf.errors.InvalidArgumentError: An id is not in `[lowest, num_ids)`;
            see `domain_ops.check_ids` for where nothing can raise.

    Example:
    >>> CheckedIds(3, "item")(np.array([0, 2])).numpy().tolist()
    [0, 2]
    """

    def __init__(
        self, num_ids: int, feature: str, lowest: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_ids", num_ids, 1)
        if type(lowest) is not int or lowest >= num_ids:
            raise ValueError(
                f"lowest must be an integer below num_ids={num_ids}. "
                f"Received: lowest={lowest!r}"
            )
        self.num_ids = num_ids
        self.feature = feature
        self.lowest = lowest

    def call(self, inputs: Any) -> Any:
        """Checks the ids."""
        return domain_ops.check_ids(
            inputs, self.num_ids, self.feature, self.lowest
        )

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """The ids' shape, as `int32`."""
        return keras.KerasTensor(inputs.shape, dtype="int32")

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The ids' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_ids": self.num_ids,
            "feature": self.feature,
            "lowest": self.lowest,
        }
