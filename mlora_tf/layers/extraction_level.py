"""One level of progressive layered extraction, for all domains at once."""

from typing import Any

import keras
from keras import layers
from keras import ops

from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.side_by_side_dense import SideBySideDense


@keras.saving.register_keras_serializable(package="mlora_tf")
class ExtractionLevel(keras.layers.Layer):
    """Experts of each domain's own and shared ones, gated for every domain.

    With `x_d` domain d's input and `x_s` the shared one, its experts
    `S_dk = act(x_d W_dk + b_dk)` and the shared `S_sk = act(x_s V_k + c_k)`:
    `y_d = softmax(x_d G_d + g_d) [S_d; S_s]` mixes a domain's own and the
    shared experts, and `y_s = softmax(x_s G_s + g_s) [S_1; ..; S_D; S_s]` all
    of them (PLE, section 4.2). Each row passes through all domains' experts,
    because `y_s` needs them; what it gives isn't any domain's own.

    Args:
        num_domains: How many domains there are.
        units: Width of each expert.
        num_specific: How many experts each domain has of its own.
        num_shared: How many experts are shared.
        activation: The experts' activation.
        kernel_initializer: Draws the experts' kernels, each as if alone.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        own: Tensor of shape `(batch, num_domains, in)`, or `(batch, in)` that
            all domains see.
        shared: Tensor of shape `(batch, in)`.

    Returns:
        `y_d` of shape `(batch, num_domains, units)` and `y_s` of shape
        `(batch, units)`.

    Raises:
        ValueError: A number isn't a positive integer.

    Example:
    >>> own, shared = ExtractionLevel(3, 8)(np.ones((2, 5)), np.ones((2, 5)))
    >>> tuple(own.shape), tuple(shared.shape)
    ((2, 3, 8), (2, 8))

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task
        Learning (MTL) Model for Personalized Recommendations", RecSys 2020.
    """

    def __init__(
        self,
        num_domains: int,
        units: int,
        *,
        num_specific: int = 1,
        num_shared: int = 1,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_domains", num_domains, 1)
        check_integer("units", units, 1)
        check_integer("num_specific", num_specific, 1)
        check_integer("num_shared", num_shared, 1)
        self.num_domains = num_domains
        self.units = units
        self.num_specific = num_specific
        self.num_shared = num_shared
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(
        self, own_shape: tuple[int, ...], shared_shape: tuple[int, ...]
    ) -> None:
        """Makes the experts and the gates."""
        experts = self.num_domains * self.num_specific
        self.specific = self._experts(experts, "specific")
        self.shared = self._experts(self.num_shared, "shared")
        self.gates = SideBySideDense(
            self.num_domains,
            self.num_specific + self.num_shared,
            activation="softmax",
            dtype=self.dtype_policy,
            name="gates",
        )
        self.shared_gate = layers.Dense(
            experts + self.num_shared,
            activation="softmax",
            dtype=self.dtype_policy,
            name="shared_gate",
        )
        if len(own_shape) == 3:
            self.specific.build((own_shape[0], experts, own_shape[2]))
        else:
            self.specific.build(own_shape)
        self.shared.build(shared_shape)
        self.gates.build(own_shape)
        self.shared_gate.build(shared_shape)

    def call(self, own: Any, shared: Any) -> tuple[Any, Any]:
        """Computes the level for all domains."""
        gates, shared_gate = self.gates(own), self.shared_gate(shared)
        split = self.num_specific
        if len(own.shape) == 3:
            # All experts of a domain see its input.
            own = ops.repeat(own, split, axis=1)
        specific, common = self.specific(own), self.shared(shared)
        of_domains = ops.reshape(
            specific, (-1, self.num_domains, split, self.units)
        )
        y_own = ops.sum(gates[:, :, :split, None] * of_domains, axis=2)
        y_own += ops.matmul(gates[:, :, split:], common)
        everyone = ops.concatenate([specific, common], axis=1)
        return y_own, ops.sum(shared_gate[:, :, None] * everyone, axis=1)

    def compute_output_shape(
        self, own_shape: tuple[int, ...], shared_shape: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`(batch, num_domains, units)` and `(batch, units)`."""
        batch = own_shape[0]
        return (batch, self.num_domains, self.units), (batch, self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_domains": self.num_domains,
            "units": self.units,
            "num_specific": self.num_specific,
            "num_shared": self.num_shared,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }

    def _experts(self, number: int, name: str) -> SideBySideDense:
        return SideBySideDense(
            number,
            self.units,
            activation=self.activation,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
