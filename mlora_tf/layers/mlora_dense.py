"""A dense layer with a low-rank adapter for each domain."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.adapter_rank import adapter_rank
from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.domain_layer import DomainLayer


@keras.saving.register_keras_serializable(package="mlora_tf")
class MLoRADense(DomainLayer):
    """A dense layer shared by all domains, plus a low-rank one for each.

    `y = act((x W + b) + s x A_d B_d + b_d)`, with d the row's own domain:
    MLoRA's eq. 9, with the bias `b_d` of its published code and LoRA's scale
    `s`. `B` and `b_d` start at zero, so that a new layer is the shared one. The
    rank follows the width, eq. 10: `r = max(units // temperature, 1)`.

    Args:
        units: Width of the output.
        num_domains: How many domains there are.
        rank: The adapters' rank, in place of `temperature`'s rule. 0 leaves
            the per-domain bias alone.
        temperature: Divides `units` to give the rank (the paper's alpha).
        max_adapter_params: Raises the temperature until one domain's `A` and
            `B` together hold at most this many numbers (section 4.6: 1024).
        lora_alpha: Scales the adapters by `s = lora_alpha / rank`, as LoRA
            does; None, as in MLoRA, is `s = 1`.
        activation: Applied to the sum.
        use_kernel: Whether there is a shared kernel `W`; without it (and
            without `b`) the layer is an adapter, to add to another layer.
        use_bias: Whether there is a shared bias `b`.
        use_lora_bias: Whether there is a bias `b_d` for each domain.
        shared_dropout: Rate of dropout in training on the shared `x W + b`
            alone; the adapters pass undropped, as in the published code.
        lora_dropout: Rate of dropout in training on the adapters' input alone,
            as in LoRA; the per-domain bias passes undropped.
        kernel_initializer: Draws `W`.
        bias_initializer: Draws `b`.
        a_initializer: Draws `A`, with the fan of one domain's slice.
        kernel_regularizer: Penalty on `W`.
        lora_regularizer: Penalty on `A` and on `B`: it draws every domain
            towards the shared layer.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, in)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.

    Returns:
        Tensor of shape `(batch, units)`. Between two such layers a
        gradient in it is None: take it in `tf.identity` of it.

    Raises:
        ValueError: An argument isn't in its range, or not even rank 1 fits
            into `max_adapter_params`.

    Example:
    >>> layer = MLoRADense(4, num_domains=3, rank=2, activation="relu")
    >>> inputs, domain = keras.ops.ones((2, 5)), keras.ops.array([0, 2])
    >>> tuple(layer(inputs, domain).shape)
    (2, 4)

    Reference:
        Yang et al., "MLoRA: Multi-Domain Low-Rank Adaptive Network for
        Click-Through Rate Prediction", RecSys 2024.
    """

    def __init__(
        self,
        units: int,
        num_domains: int,
        *,
        rank: int | None = None,
        temperature: int = 32,
        max_adapter_params: int | None = None,
        lora_alpha: float | None = None,
        activation: Any = None,
        use_kernel: bool = True,
        use_bias: bool = True,
        use_lora_bias: bool = True,
        shared_dropout: float = 0.0,
        lora_dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        a_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        lora_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_domains, **kwargs)
        check_integer("units", units, 1)
        check_integer("temperature", temperature, 1)
        if rank is not None:
            check_integer("rank", rank, 0)
        if max_adapter_params is not None:
            check_integer("max_adapter_params", max_adapter_params, 1)
        if lora_alpha is not None and not lora_alpha > 0:
            raise ValueError(
                f"lora_alpha must be positive. Received: {lora_alpha!r}"
            )
        self.units = units
        self.rank = rank
        self.temperature = temperature
        self.max_adapter_params = max_adapter_params
        self.lora_alpha = lora_alpha
        self.activation = keras.activations.get(activation)
        self.use_kernel = use_kernel
        self.use_bias = use_bias
        self.use_lora_bias = use_lora_bias
        self.shared_dropout = shared_dropout
        self.lora_dropout = lora_dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.a_initializer = keras.initializers.get(a_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.lora_regularizer = keras.regularizers.get(lora_regularizer)
        # They check the rates, and keep their seeds with the layer's state.
        self.dropout = keras.layers.Dropout(
            shared_dropout, dtype=self.dtype_policy
        )
        self.adapter_dropout = keras.layers.Dropout(
            lora_dropout, dtype=self.dtype_policy
        )
        self.input_spec = keras.layers.InputSpec(ndim=2)
        self.supports_masking = True

    def build(self, inputs_shape: tuple[int, ...], domain_shape: Any) -> None:
        """Makes the weights for inputs of shape `(batch, in)`."""
        width = self._width = inputs_shape[-1]
        self.kernel = self.bias = None
        self.lora_kernel_a = self.lora_kernel_b = self.lora_bias = None
        if self.use_kernel:
            self.kernel = self.add_weight(
                name="kernel",
                shape=(width, self.units),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
            )
        if rank := self.adapter_rank(width):
            self.lora_kernel_a = self.add_domain_weight(
                "lora_kernel_a",
                (width, rank),
                self.a_initializer,
                regularizer=self.lora_regularizer,
            )
            self.lora_kernel_b = self.add_domain_weight(
                "lora_kernel_b",
                (rank, self.units),
                regularizer=self.lora_regularizer,
            )
        if self.use_lora_bias:
            self.lora_bias = self.add_domain_weight("lora_bias", (self.units,))

    def adapter_rank(self, width: int) -> int:
        """The adapters' rank for inputs of that width (eq. 10).

        Raises:
            ValueError: Not even rank 1 fits into `max_adapter_params`.
        """
        return adapter_rank(
            self.name,
            width,
            self.units,
            rank=self.rank,
            temperature=self.temperature,
            max_adapter_params=self.max_adapter_params,
        )

    def call(self, inputs: Any, domain: Any, training: Any = None) -> Any:
        """Computes the layer for rows of any mix of domains."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        if training and self._trains_merged():
            return domain_ops.merged(
                inputs,
                ops.convert_to_tensor(self.kernel),
                ops.convert_to_tensor(self.lora_kernel_a),
                ops.convert_to_tensor(self._scaled_b()),
                domain,
                bias=self._biases(),
                activation=self.activation,
            )
        if self.kernel is not None:
            outputs = ops.matmul(inputs, self.kernel)
        else:
            shape = (ops.shape(inputs)[0], self.units)
            outputs = ops.zeros(shape, self.compute_dtype)
        # Dropout takes the shared bias, too. Else it comes last: TensorFlow
        # 2.21 gives up optimizing a graph with relu((product + bias) + sum)
        # wherever oneDNN is on.
        bias_last = not (training and self.shared_dropout)
        if self.bias is not None and not bias_last:
            outputs = outputs + self.bias
        outputs = self.dropout(outputs)
        if self.lora_kernel_a is not None:
            outputs = outputs + domain_ops.low_rank(
                self.adapter_dropout(inputs),
                self.lora_kernel_a,
                self._scaled_b(),
                domain,
                bias=self.lora_bias,
            )
        elif self.lora_bias is not None:
            outputs = outputs + domain_ops.domain_rows(self.lora_bias, domain)
        if self.bias is not None and bias_last:
            outputs = outputs + self.bias
        return self.activation(outputs)

    @property
    def shared_values(self) -> list[tuple[keras.Variable, float]]:
        """`B` and `b_d` are zero in the shared model."""
        own = (self.lora_kernel_b, self.lora_bias)
        return [(weight, 0.0) for weight in own if weight is not None]

    @property
    def low_rank_factors(self) -> tuple[keras.Variable, keras.Variable] | None:
        """`A` and `B`; None where the rank is 0."""
        if self.lora_kernel_a is None:
            return None
        return self.lora_kernel_a, self.lora_kernel_b

    def specialize(self, domain: int) -> keras.layers.Dense:
        """A `Dense` with `W + s A_d B_d` for kernel and `b + b_d` for bias."""
        self._check_specializable(domain)
        kernel = ops.zeros((self._width, self.units), self.variable_dtype)
        bias = ops.zeros((self.units,), self.variable_dtype)
        if self.kernel is not None:
            kernel = kernel + self.kernel
        if self.bias is not None:
            bias = bias + self.bias
        if self.lora_bias is not None:
            bias = bias + self.lora_bias[domain]
        if self.lora_kernel_a is not None:
            kernel = kernel + ops.matmul(
                self.lora_kernel_a[domain], self._scaled_b()[domain]
            )
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
            "rank": self.rank,
            "temperature": self.temperature,
            "max_adapter_params": self.max_adapter_params,
            "lora_alpha": self.lora_alpha,
            "activation": keras.activations.serialize(self.activation),
            "use_kernel": self.use_kernel,
            "use_bias": self.use_bias,
            "use_lora_bias": self.use_lora_bias,
            "shared_dropout": self.shared_dropout,
            "lora_dropout": self.lora_dropout,
            **{
                name: keras.initializers.serialize(getattr(self, name))
                for name in (
                    "kernel_initializer",
                    "bias_initializer",
                    "a_initializer",
                )
            },
            **{
                name: keras.regularizers.serialize(getattr(self, name))
                for name in ("kernel_regularizer", "lora_regularizer")
            },
        }

    def _trains_merged(self) -> bool:
        """Whether to train `W + s A_d B_d` as one kernel.

        Not in inference, where an adapter of zeros then leaves the shared
        layer's outputs as they are, bit for bit; nor where `W` has no
        gradient, or one of the two a dropout of its own.
        """
        return (
            self.kernel is not None
            and self.kernel.trainable
            and self.lora_kernel_a is not None
            and not (self.shared_dropout or self.lora_dropout)
            and domain_ops.merging_pays(self.num_domains)
        )

    def _biases(self) -> Any:
        """`b + b_d` of all domains, `(D, units)`; None where there is none."""
        if self.bias is None:
            return self.lora_bias
        if self.lora_bias is not None:
            return self.bias + self.lora_bias
        return ops.broadcast_to(self.bias, (self.num_domains, self.units))

    def _scaled_b(self) -> Any:
        kernel_b: Any = self.lora_kernel_b
        if self.lora_alpha is None:
            return kernel_b
        return kernel_b * (self.lora_alpha / kernel_b.shape[1])
