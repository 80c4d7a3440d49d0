"""The inner products of all pairs of fields."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.field_pairs import field_pairs
from mlora_tf.layers.field_pairs import num_pairs


@keras.saving.register_keras_serializable(package="mlora_tf")
class InnerProduct(keras.layers.Layer):
    """Takes the inner product of each pair of field embeddings.

    `p_ij = <v_i, v_j>` for all `i < j`: the product layer of IPNN (section
    II.B). It has no weights; the paper's weights on the products are those
    of the layer that comes next. The paper sums over all `i` and `j`, where
    each pair is twice and the squares `<v_i, v_i>` are too; as in the
    published implementations, each pair is here once.

    Args:
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`, of at least 2 fields.

    Returns:
        Tensor of shape `(batch, pairs)`, in the order (0, 1), (0, 2), ...

    Example:
    >>> InnerProduct()(keras.ops.ones((1, 3, 8))).numpy().tolist()
    [[8.0, 8.0, 8.0]]

    Reference:
        Qu et al., "Product-based Neural Networks for User Response
        Prediction", ICDM 2016.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Checks that there are pairs in inputs of that shape."""
        field_pairs(inputs_shape, self.name)

    def call(self, inputs: Any) -> Any:
        """Multiplies the pairs."""
        fields = inputs.shape[1]
        first, second = field_pairs(inputs.shape, self.name)
        products = ops.matmul(inputs, ops.swapaxes(inputs, 1, 2))
        products = ops.reshape(products, (-1, fields * fields))
        places = [i * fields + j for i, j in zip(first, second, strict=True)]
        return ops.take(products, places, axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, pairs)`."""
        return (inputs_shape[0], num_pairs(inputs_shape[1]))
