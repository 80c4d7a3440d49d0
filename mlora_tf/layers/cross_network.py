"""Crosses of the input with itself, one degree more in each layer."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer

PARAMETERIZATIONS = ("vector", "matrix")


@keras.saving.register_keras_serializable(package="mlora_tf")
class CrossNetwork(keras.layers.Layer):
    """Crosses the input with what was made of it so far, layer by layer.

    With `x_0` the input, for l = 0, 1, ...:

    - "vector": `x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l`, DCN's eq. 3;
    - "matrix": `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`, DCN-V2's eq. 1.

    Rows are vectors here, so that a kernel of the second form is `W_l^T`.

    Args:
        num_layers: How many crosses.
        parameterization: "vector" or "matrix", as above.
        kernel_initializer: Draws `w_l` or `W_l`; biases start at zero.
        kernel_regularizer: Penalty on `w_l` or `W_l`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, width)`.

    Returns:
        Tensor of shape `(batch, width)`.

    Raises:
        ValueError: `num_layers` isn't a positive integer, or there is no such
            `parameterization`.

    Example:
    >>> tuple(CrossNetwork(3, "matrix")(keras.ops.ones((2, 24))).shape)
    (2, 24)

    Reference:
        Wang et al., "Deep & Cross Network for Ad Click Predictions", ADKDD
        2017; Wang et al., "DCN V2: Improved Deep & Cross Network and
        Practical Lessons for Web-scale Learning to Rank Systems", WWW 2021.
    """

    def __init__(
        self,
        num_layers: int = 2,
        parameterization: str = "vector",
        *,
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_layers", num_layers, 1)
        if parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {PARAMETERIZATIONS}. "
                f"Received: parameterization={parameterization!r}"
            )
        self.num_layers = num_layers
        self.parameterization = parameterization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the weights for inputs of shape `(batch, width)`."""
        width = inputs_shape[-1]
        units = width if self.parameterization == "matrix" else 1
        self.kernels = [
            self.add_weight(
                name=f"kernel_{i}",
                shape=(width, units),
                initializer=self.kernel_initializer.clone(),
                regularizer=self.kernel_regularizer,
            )
            for i in range(self.num_layers)
        ]
        self.biases = [
            self.add_weight(
                name=f"bias_{i}", shape=(width,), initializer="zeros"
            )
            for i in range(self.num_layers)
        ]

    def call(self, inputs: Any) -> Any:
        """Crosses the input with itself."""
        outputs = inputs
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            crossed = ops.matmul(outputs, kernel)
            if self.parameterization == "matrix":
                outputs = inputs * (crossed + bias) + outputs
            else:
                outputs = inputs * crossed + bias + outputs
        return outputs

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, width)`."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "parameterization": self.parameterization,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
