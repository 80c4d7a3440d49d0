"""Weights for the fields, learned from the fields themselves."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class SqueezeExcitation(keras.layers.Layer):
    """Weights each field embedding by how much it matters in its row.

    `z_f = mean(v_f)`, `a = relu(relu(z W_1) W_2)`, and the output is
    `a_f v_f`: the SENET layer of FiBiNET (eqs. 3-6: squeeze, excitation,
    re-weight). `W_1` narrows to `max(1, fields // reduction_ratio)` numbers.
    Neither layer has a bias.

    Args:
        reduction_ratio: Divides the number of fields to give the width
            between both layers.
        kernel_initializer: Draws `W_1` and `W_2`.
        kernel_regularizer: Penalty on `W_1` and on `W_2`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`.

    Returns:
        Tensor of shape `(batch, fields, dim)`.

    Raises:
        ValueError: `reduction_ratio` isn't a positive integer.

    Example:
    >>> tuple(SqueezeExcitation()(keras.ops.ones((2, 6, 8))).shape)
    (2, 6, 8)

    Reference:
        Huang et al., "FiBiNET: Combining Feature Importance and Bilinear
        feature Interaction for Click-Through Rate Prediction", RecSys 2019.
    """

    def __init__(
        self,
        reduction_ratio: int = 3,
        *,
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("reduction_ratio", reduction_ratio, 1)
        self.reduction_ratio = reduction_ratio
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the weights for inputs of shape `(batch, fields, dim)`."""
        fields = inputs_shape[1]
        reduced = max(1, fields // self.reduction_ratio)
        self.reduction_kernel = self.add_weight(
            name="reduction_kernel",
            shape=(fields, reduced),
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
        )
        self.expansion_kernel = self.add_weight(
            name="expansion_kernel",
            shape=(reduced, fields),
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
        )

    def call(self, inputs: Any) -> Any:
        """Weights the fields."""
        squeezed = ops.mean(inputs, axis=2)
        reduced = ops.relu(ops.matmul(squeezed, self.reduction_kernel))
        weights = ops.relu(ops.matmul(reduced, self.expansion_kernel))
        return inputs * ops.expand_dims(weights, axis=2)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, fields, dim)`."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
