"""All pairs of fields, multiplied through a learned matrix."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.field_pairs import field_pairs
from mlora_tf.layers.field_pairs import num_pairs
from mlora_tf.layers.per_domain import PerDomain

BILINEAR_TYPES = ("interaction", "all", "each")


@keras.saving.register_keras_serializable(package="mlora_tf")
class BilinearInteraction(keras.layers.Layer):
    """Multiplies each pair of field embeddings, the first through a matrix.

    `p_ij = (v_i W) * v_j` for all `i < j`, elementwise: FiBiNET's eqs. 7-8,
    between the inner and the elementwise product.

    Args:
        bilinear_type: How many `W` there are: "all" has one for all pairs,
            "each" one for each field `i` that is the first of a pair (all
            but the last), "interaction" one for each pair.
        kernel_initializer: Draws `W`, with the fan of one matrix.
        kernel_regularizer: Penalty on `W`.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`, of at least 2 fields.

    Returns:
        Tensor of shape `(batch, pairs, dim)`, in the order (0, 1), (0, 2), ...

    Raises:
        ValueError: There is no such `bilinear_type`.

    Example:
    >>> tuple(BilinearInteraction("each")(keras.ops.ones((2, 4, 8))).shape)
    (2, 6, 8)

    Reference:
        Huang et al., "FiBiNET: Combining Feature Importance and Bilinear
        feature Interaction for Click-Through Rate Prediction", RecSys 2019.
    """

    def __init__(
        self,
        bilinear_type: str = "interaction",
        *,
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if bilinear_type not in BILINEAR_TYPES:
            raise ValueError(
                f"bilinear_type must be one of {BILINEAR_TYPES}. "
                f"Received: bilinear_type={bilinear_type!r}"
            )
        self.bilinear_type = bilinear_type
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the matrices for inputs of shape `(batch, fields, dim)`."""
        first, _ = field_pairs(inputs_shape, self.name)
        _, fields, dim = inputs_shape
        stack = {"all": (), "each": (fields - 1,), "interaction": (len(first),)}
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*stack[self.bilinear_type], dim, dim),
            initializer=PerDomain(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )

    def call(self, inputs: Any) -> Any:
        """Multiplies the pairs."""
        first, second = field_pairs(inputs.shape, self.name)
        if self.bilinear_type == "interaction":
            left = ops.take(inputs, first, axis=1)
            left = ops.einsum("bpd,pde->bpe", left, self.kernel)
        else:
            # A field's product is made once, for all of its pairs.
            left = inputs[:, :-1]
            if self.bilinear_type == "each":
                left = ops.einsum("bfd,fde->bfe", left, self.kernel)
            else:
                _, fields, dim = left.shape
                left = ops.matmul(ops.reshape(left, (-1, dim)), self.kernel)
                left = ops.reshape(left, (-1, fields, dim))
            left = ops.take(left, first, axis=1)
        return left * ops.take(inputs, second, axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, pairs, dim)`."""
        batch, fields, dim = inputs_shape
        return (batch, num_pairs(fields), dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "bilinear_type": self.bilinear_type,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
