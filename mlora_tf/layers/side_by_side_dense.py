"""One dense layer of each of several networks that stand side by side."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.per_domain import PerDomain


@keras.saving.register_keras_serializable(package="mlora_tf")
class SideBySideDense(keras.layers.Layer):
    """A dense layer for each network, which all rows pass through.

    `y_n = act(x_n W_n + b_n)` for every network n: the experts of a mixture,
    or the networks that cross-stitch units mix.

    Args:
        networks: How many networks there are.
        units: Width of each one's output.
        activation: Applied to the sum, over the last axis.
        kernel_initializer: Draws the kernels, each as if it were alone.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, networks, in)`, or `(batch, in)` that
            all networks see.

    Returns:
        Tensor of shape `(batch, networks, units)`.

    Raises:
        ValueError: `networks` or `units` isn't a positive integer, or the
            inputs' shape isn't one of the two.

    Example:
    >>> layer = SideBySideDense(3, 8)
    >>> tuple(layer(np.ones((2, 5))).shape)
    (2, 3, 8)
    """

    def __init__(
        self,
        networks: int,
        units: int,
        *,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("networks", networks, 1)
        check_integer("units", units, 1)
        self.networks = networks
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, max_ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the weights for inputs of shape `(batch, ..., in)`."""
        if len(inputs_shape) == 3 and inputs_shape[1] != self.networks:
            raise ValueError(
                f"inputs must be of shape (batch, {self.networks}, in) or "
                f"(batch, in). Received: inputs.shape={inputs_shape}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.networks, inputs_shape[-1], self.units),
            initializer=PerDomain(self.kernel_initializer),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.networks, self.units), initializer="zeros"
        )

    def call(self, inputs: Any) -> Any:
        """Computes the layer for all networks."""
        # Not ops.einsum: a training step of it takes up to twice as long.
        if len(inputs.shape) == 2:
            # One product, with the networks' columns side by side.
            kernel = ops.transpose(self.kernel, (1, 0, 2))
            kernel = ops.reshape(kernel, (inputs.shape[-1], -1))
            outputs = ops.reshape(
                ops.matmul(inputs, kernel), (-1, self.networks, self.units)
            )
        else:
            outputs = ops.transpose(
                ops.matmul(ops.transpose(inputs, (1, 0, 2)), self.kernel),
                (1, 0, 2),
            )
        return self.activation(outputs + self.bias)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, networks, units)`."""
        return (inputs_shape[0], self.networks, self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "networks": self.networks,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
