"""The outer products of all pairs of fields, each weighted by a kernel."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.field_pairs import field_pairs
from mlora_tf.layers.field_pairs import num_pairs
from mlora_tf.layers.per_domain import PerDomain

KERNEL_TYPES = ("matrix", "vector", "scalar")


@keras.saving.register_keras_serializable(package="mlora_tf")
class OuterProduct(keras.layers.Layer):
    """Weights the outer product of each pair of field embeddings by a kernel.

    `p_ij = v_i^T K_ij v_j`, the sum over `K_ij * (v_i v_j^T)`, for all
    `i < j`: the kernel product of KPNN. It is PNN's outer product without
    its sum over all fields, which keeps no pair apart; outer products
    themselves are never made.

    Args:
        kernel_type: What each pair has for `K`: a "matrix" of `dim x dim`,
            a "vector" of `dim`, the diagonal, or a "scalar" times identity.
        kernel_initializer: Draws the kernels, each with a fan of its own:
            `dim` to `dim`, `dim` to 1 and 1 to 1.
        kernel_regularizer: Penalty on the kernels.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`, of at least 2 fields.

    Returns:
        Tensor of shape `(batch, pairs)`, in the order (0, 1), (0, 2), ...

    Raises:
        ValueError: There is no such `kernel_type`.

    Example:
    >>> tuple(OuterProduct("vector")(keras.ops.ones((2, 4, 8))).shape)
    (2, 6)

    Reference:
        Qu et al., "Product-based Neural Networks for User Response
        Prediction over Multi-field Categorical Data", TOIS 2018; "Product-
        based Neural Networks for User Response Prediction", ICDM 2016.
    """

    def __init__(
        self,
        kernel_type: str = "matrix",
        *,
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_type not in KERNEL_TYPES:
            raise ValueError(
                f"kernel_type must be one of {KERNEL_TYPES}. "
                f"Received: kernel_type={kernel_type!r}"
            )
        self.kernel_type = kernel_type
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the kernels for inputs of shape `(batch, fields, dim)`."""
        first, _ = field_pairs(inputs_shape, self.name)
        dim = inputs_shape[2]
        kernel_shape = {
            "matrix": (dim, dim),
            "vector": (dim, 1),
            "scalar": (1, 1),
        }[self.kernel_type]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(len(first), *kernel_shape),
            initializer=PerDomain(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )

    def call(self, inputs: Any) -> Any:
        """Multiplies the pairs."""
        first, second = field_pairs(inputs.shape, self.name)
        left = ops.take(inputs, first, axis=1)
        if self.kernel_type == "matrix":
            left = ops.einsum("bpd,pde->bpe", left, self.kernel)
        else:
            left = left * ops.squeeze(self.kernel, axis=2)
        return ops.sum(left * ops.take(inputs, second, axis=1), axis=2)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, pairs)`."""
        return (inputs_shape[0], num_pairs(inputs_shape[1]))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "kernel_type": self.kernel_type,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
