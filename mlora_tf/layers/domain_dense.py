"""A dense layer whose weights are all a domain's own."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.domain_layer import DomainLayer


@keras.saving.register_keras_serializable(package="mlora_tf")
class DomainDense(DomainLayer):
    """A dense layer for each domain, with nothing shared.

    `y = act(x W_d + b_d)`, with d the row's own domain: the specific layers
    of a shared-bottom model and of PLE, and the gates of MMoE. Only a row's
    own domain is computed. There is no shared model to start from: a domain
    that is added starts from its initializer.

    Args:
        units: Width of the output.
        num_domains: How many domains there are.
        activation: Applied to the sum.
        use_bias: Whether there is a bias `b_d`.
        kernel_initializer: Draws `W`, with the fan of one domain's slice.
        bias_initializer: Draws `b`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, in)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.

    Returns:
        Tensor of shape `(batch, units)`. Between two such layers a
        gradient in it is None: take it in `tf.identity` of it.

    Raises:
        ValueError: `units` or `num_domains` isn't a positive integer.

    Example:
    >>> layer = DomainDense(4, num_domains=3)
    >>> inputs, domain = keras.ops.ones((2, 5)), keras.ops.array([0, 2])
    >>> tuple(layer(inputs, domain).shape)
    (2, 4)

    Reference:
        Ruder, "An Overview of Multi-Task Learning in Deep Neural Networks",
        2017.
    """

    def __init__(
        self,
        units: int,
        num_domains: int,
        *,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_domains, **kwargs)
        check_integer("units", units, 1)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=2)
        self.supports_masking = True

    def build(self, inputs_shape: tuple[int, ...], domain_shape: Any) -> None:
        """Makes the weights for inputs of shape `(batch, in)`."""
        self.domain_kernel = self.add_domain_weight(
            "domain_kernel",
            (inputs_shape[-1], self.units),
            self.kernel_initializer,
        )
        self.domain_bias = None
        if self.use_bias:
            self.domain_bias = self.add_domain_weight(
                "domain_bias", (self.units,), self.bias_initializer
            )

    def call(self, inputs: Any, domain: Any) -> Any:
        """Computes the layer for rows of any mix of domains."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        return domain_ops.full_rank(
            inputs,
            ops.convert_to_tensor(self.domain_kernel),
            domain,
            bias=self.domain_bias,
            activation=self.activation,
        )

    def specialize(self, domain: int) -> keras.layers.Dense:
        """A `Dense` with `W_d` for kernel and `b_d` for bias."""
        self._check_specializable(domain)
        weights = [variable[domain] for variable in self.domain_variables]
        return self._as_dense(self.activation, *weights)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], domain_shape: Any
    ) -> tuple[int, ...]:
        """`(batch, units)`."""
        return (inputs_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
