"""Passes numbers through, unless one is none."""

from typing import Any

import keras

from mlora_tf.layers import domain_ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class CheckedNumbers(keras.layers.Layer):
    """Raises where a number is NaN or infinite, and passes the others through.

    Without it a NaN falls into some bucket, or makes a whole prediction NaN,
    and says nothing. The numbers stay `float32` under any policy: half a
    precision can't tell 1995 from 1996.

    Args:
        feature: Whose numbers they are, for the message.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of numbers, of any shape.

    Returns:
        The same numbers, in the same shape.

    Raises:
        tf.errors.InvalidArgumentError: One isn't finite; see
            `domain_ops.check_finite` for where nothing can raise.

    Example:
    >>> CheckedNumbers("price")(np.array([0.5, 2.0])).numpy().tolist()
    [0.5, 2.0]
    """

    def __init__(self, feature: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.feature = feature

    def call(self, inputs: Any) -> Any:
        """Checks the numbers."""
        return domain_ops.check_finite(inputs, self.feature)

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "feature": self.feature}
