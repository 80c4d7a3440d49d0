"""A GRU's cell whose update gate is dampened by an attention."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class AUGRUCell(keras.layers.Layer):
    """One step of DIEN's GRU with attentional update gate, for a Keras `RNN`.

    With i_t the step's input and a_t its attention:
    `u_t = sigmoid(W_u i_t + U_u h_{t-1} + b_u)`,
    `r_t = sigmoid(W_r i_t + U_r h_{t-1} + b_r)`,
    `h~_t = tanh(W_h i_t + r_t * U_h h_{t-1} + b_h)`,
    `u'_t = a_t u_t` and `h_t = (1 - u'_t) * h_{t-1} + u'_t * h~_t`.
    A step without attention leaves the state as it is.

    That is the paper's text. In the authors' code the gate says how much of
    the state stays, and `(1 - a_t)` multiplies it: there a step without
    attention is a plain GRU's.

    A Keras `RNN` hands its cell one tensor a step, so that the attention is
    its last column.

    Args:
        units: Width of the state.
        activation: Of the candidate `h~`.
        recurrent_activation: Of the gates.
        kernel_initializer: Draws the `W`, side by side.
        recurrent_initializer: Draws the `U`, side by side.
        bias_initializer: Draws the `b`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, dim + 1)`: the input and, in the last
            column, the attention.
        states: A list of one tensor, of shape `(batch, units)`.

    Returns:
        The new state, and a list of it alone.

    Example:
    >>> inputs = keras.ops.ones((2, 5, 3))
    >>> attention = keras.ops.full((2, 5, 1), 0.2)
    >>> layer = keras.layers.RNN(AUGRUCell(4))
    >>> steps = keras.ops.concatenate([inputs, attention], axis=-1)
    >>> tuple(layer(steps).shape)
    (2, 4)

    Reference:
        Zhou et al., "Deep Interest Evolution Network for Click-Through Rate
        Prediction", AAAI 2019.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("units", units, 1)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.state_size = units
        self.output_size = units

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the weights, in the order update, reset, candidate."""
        dim = inputs_shape[-1] - 1
        if dim < 1:
            raise ValueError(
                "inputs must have a column besides the attention. "
                f"Received: inputs.shape={inputs_shape}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(dim, 3 * self.units),
            initializer=self.kernel_initializer,
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, 3 * self.units),
            initializer=self.recurrent_initializer,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(3 * self.units,),
            initializer=self.bias_initializer,
        )

    def call(self, inputs: Any, states: Any) -> Any:
        """Computes the next state."""
        state = states[0]
        attention = inputs[:, -1:]
        x = ops.matmul(inputs[:, :-1], self.kernel) + self.bias
        x_update, x_reset, x_candidate = ops.split(x, 3, axis=-1)
        h = ops.matmul(state, self.recurrent_kernel)
        h_update, h_reset, h_candidate = ops.split(h, 3, axis=-1)
        update = attention * self.recurrent_activation(x_update + h_update)
        reset = self.recurrent_activation(x_reset + h_reset)
        candidate = self.activation(x_candidate + reset * h_candidate)
        state = (1.0 - update) * state + update * candidate
        return state, [state]

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], states_shape: Any
    ) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """`(batch, units)`, and a list of it alone."""
        shape = (inputs_shape[0], self.units)
        return shape, [shape]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the cell again."""
        return {
            **super().get_config(),
            "units": self.units,
            **{
                name: keras.activations.serialize(getattr(self, name))
                for name in ("activation", "recurrent_activation")
            },
            **{
                name: keras.initializers.serialize(getattr(self, name))
                for name in (
                    "kernel_initializer",
                    "recurrent_initializer",
                    "bias_initializer",
                )
            },
        }
