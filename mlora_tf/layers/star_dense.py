"""A dense layer that each domain scales by weights of its own."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.adapter_rank import adapter_rank
from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.domain_layer import DomainLayer


@keras.saving.register_keras_serializable(package="mlora_tf")
class StarDense(DomainLayer):
    """A dense layer in the star topology.

    `y = act(x (W * W_d) + b + b_d)`, with d the row's own domain and `*` the
    elementwise product: STAR's eqs. 5 and 6. `W_d` starts at one and `b_d` at
    zero, so that a new layer is the shared one. With `low_rank=True`,
    `W_d = 1 + A_d B_d`: MLoRA's rank and start (`B = 0`) in STAR's place.

    Args:
        units: Width of the output.
        num_domains: How many domains there are.
        activation: Applied to the sum.
        use_bias: Whether there are the biases `b` and `b_d`.
        low_rank: Whether `W_d` is `1 + A_d B_d`.
        rank: The rank of `A_d B_d`, in place of `temperature`'s rule; this
            and the next two are for `low_rank=True`, as in `MLoRADense`.
        temperature: Divides `units` to give the rank.
        max_adapter_params: The most numbers of one domain's `A` and `B`.
        kernel_initializer: Draws `W`.
        bias_initializer: Draws `b`.
        domain_kernel_initializer: Draws `W_d`, or `A_d` with
            `low_rank=True`; None is ones, or glorot_normal for `A_d`.
        kernel_regularizer: Penalty on `W`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, in)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.

    Returns:
        Tensor of shape `(batch, units)`. Between two such layers a
        gradient in it is None: take it in `tf.identity` of it.

    Raises:
        ValueError: An argument isn't in its range, or `rank` or
            `max_adapter_params` is given without `low_rank`.

    Example:
    >>> layer = StarDense(4, num_domains=3, activation="relu")
    >>> inputs, domain = keras.ops.ones((2, 5)), keras.ops.array([0, 2])
    >>> tuple(layer(inputs, domain).shape)
    (2, 4)

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021.
    """

    def __init__(
        self,
        units: int,
        num_domains: int,
        *,
        activation: Any = None,
        use_bias: bool = True,
        low_rank: bool = False,
        rank: int | None = None,
        temperature: int = 32,
        max_adapter_params: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        domain_kernel_initializer: Any = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_domains, **kwargs)
        check_integer("units", units, 1)
        check_integer("temperature", temperature, 1)
        if rank is not None:
            check_integer("rank", rank, 1)
        if max_adapter_params is not None:
            check_integer("max_adapter_params", max_adapter_params, 1)
        if not low_rank and (rank, max_adapter_params) != (None, None):
            raise ValueError(
                "rank and max_adapter_params are for low_rank=True. "
                f"Received: low_rank={low_rank!r}, rank={rank!r}, "
                f"max_adapter_params={max_adapter_params!r}"
            )
        if domain_kernel_initializer is None:
            domain_kernel_initializer = "glorot_normal" if low_rank else "ones"
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.low_rank = low_rank
        self.rank = rank
        self.temperature = temperature
        self.max_adapter_params = max_adapter_params
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.domain_kernel_initializer = keras.initializers.get(
            domain_kernel_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=2)
        self.supports_masking = True

    def build(self, inputs_shape: tuple[int, ...], domain_shape: Any) -> None:
        """Makes the weights for inputs of shape `(batch, in)`."""
        width = inputs_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.domain_bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
            )
        if self.low_rank:
            rank = adapter_rank(
                self.name,
                width,
                self.units,
                rank=self.rank,
                temperature=self.temperature,
                max_adapter_params=self.max_adapter_params,
            )
            self.domain_kernel_a = self.add_domain_weight(
                "domain_kernel_a",
                (width, rank),
                self.domain_kernel_initializer,
            )
            self.domain_kernel_b = self.add_domain_weight(
                "domain_kernel_b", (rank, self.units)
            )
        else:
            self.domain_kernel = self.add_domain_weight(
                "domain_kernel",
                (width, self.units),
                self.domain_kernel_initializer,
            )
        if self.use_bias:
            self.domain_bias = self.add_domain_weight(
                "domain_bias", (self.units,)
            )

    def call(self, inputs: Any, domain: Any) -> Any:
        """Computes the layer for rows of any mix of domains."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        return domain_ops.full_rank(
            inputs,
            self._domain_kernels(),
            domain,
            shared=ops.convert_to_tensor(self.kernel),
            bias=None if self.bias is None else self.bias + self.domain_bias,
            activation=self.activation,
        )

    @property
    def shared_values(self) -> list[tuple[keras.Variable, float]]:
        """`W_d` is one in the shared model, or its `B_d` zero, and `b_d`."""
        if self.low_rank:
            values = [(self.domain_kernel_b, 0.0)]
        else:
            values = [(self.domain_kernel, 1.0)]
        if self.domain_bias is not None:
            values.append((self.domain_bias, 0.0))
        return values

    @property
    def low_rank_factors(self) -> tuple[keras.Variable, keras.Variable] | None:
        """`A` and `B` with `low_rank=True`, else None."""
        if not self.low_rank:
            return None
        return self.domain_kernel_a, self.domain_kernel_b

    def specialize(self, domain: int) -> keras.layers.Dense:
        """A `Dense` with `W * W_d` for kernel and `b + b_d` for bias."""
        self._check_specializable(domain)
        bias = None
        if self.domain_bias is not None:
            bias = self.bias + self.domain_bias[domain]
        kernel = self.kernel * self._domain_kernels()[domain]
        return self._as_dense(self.activation, kernel, bias)

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
            "low_rank": self.low_rank,
            "rank": self.rank,
            "temperature": self.temperature,
            "max_adapter_params": self.max_adapter_params,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "domain_kernel_initializer": keras.initializers.serialize(
                self.domain_kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }

    def _domain_kernels(self) -> Any:
        """`W_d` of all domains: `(D, in, units)`."""
        if not self.low_rank:
            return ops.convert_to_tensor(self.domain_kernel)
        return 1.0 + ops.matmul(self.domain_kernel_a, self.domain_kernel_b)
