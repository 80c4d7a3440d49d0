"""Turns a gradient round, so that what feeds a network works against it."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_weight


@keras.saving.register_keras_serializable(package="mlora_tf")
class GradientReversal(keras.layers.Layer):
    """Passes its inputs on unchanged, and their gradient times `-weight` back.

    `R(x) = x`, `dR/dx = -weight I`: Ganin and Lempitsky's eqs. 11 and 12.
    Between a shared network and a domain's discriminator it makes the first
    hide what the second looks for, in one step of one optimizer.

    Args:
        weight: What the gradient is multiplied with, besides its sign; 0
            stops it.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of any shape.

    Returns:
        The inputs, in their shape.

    Raises:
        ValueError: `weight` isn't a number of at least 0.

    Example:
    >>> GradientReversal(0.1)(np.array([1.0, -2.0])).numpy().tolist()
    [1.0, -2.0]

    Reference:
        Ganin and Lempitsky, "Unsupervised Domain Adaptation by
        Backpropagation", ICML 2015.
    """

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_weight("weight", weight)
        self.weight = weight

    def call(self, inputs: Any) -> Any:
        """Passes the inputs on."""

        @ops.custom_gradient
        def reverse(x: Any) -> Any:
            def grad(*args: Any, upstream: Any = None) -> Any:
                # Backends differ in how they hand over the gradient.
                (upstream,) = args if upstream is None else (upstream,)
                return -self.weight * upstream

            return x, grad

        return reverse(inputs)

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "weight": self.weight}
