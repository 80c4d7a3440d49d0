"""Fields that attend to one another."""

import math
from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer

FEW_FIELDS = 5
"""Up to so many fields their pairs are multiplied one by one: for each row a
product of matrices as small as that costs more than the numbers in it
(`experiments/results/attention.json`)."""


@keras.saving.register_keras_serializable(package="mlora_tf")
class FieldAttention(keras.layers.Layer):
    """Lets each field attend to all fields: AutoInt's interacting layer.

    For each head h, `a_mk = softmax_k(<W_Q v_m, W_K v_k>)` (eq. 5) and
    `u_m^h = sum_k a_mk W_V v_k` (eq. 6); the heads are put side by side
    (eq. 7), and `relu(u_m + W_res v_m)` (eq. 8) is the field's new embedding.

    Args:
        num_heads: How many heads.
        head_size: Width of each.
        use_residual: Whether `W_res v_m` is added; without it the layer is
            `relu(u_m)`.
        use_scale: Whether the scores are divided by `sqrt(head_size)`. The
            paper's are not.
        kernel_initializer: Draws the four matrices, with the fan of all
            heads together.
        kernel_regularizer: Penalty on the four matrices.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`.

    Returns:
        Tensor of shape `(batch, fields, num_heads * head_size)`.

    Raises:
        ValueError: `num_heads` or `head_size` isn't a positive integer.

    Example:
    >>> layer = FieldAttention(num_heads=2, head_size=6)
    >>> tuple(layer(keras.ops.ones((2, 3, 8))).shape)
    (2, 3, 12)

    Reference:
        Song et al., "AutoInt: Automatic Feature Interaction Learning via
        Self-Attentive Neural Networks", CIKM 2019.
    """

    def __init__(
        self,
        num_heads: int = 4,
        head_size: int = 8,
        *,
        use_residual: bool = True,
        use_scale: bool = False,
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_heads", num_heads, 1)
        check_integer("head_size", head_size, 1)
        self.num_heads = num_heads
        self.head_size = head_size
        self.use_residual = use_residual
        self.use_scale = use_scale
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the weights for inputs of shape `(batch, fields, dim)`."""
        dim = inputs_shape[-1]
        self.query_kernel = self._add_kernel("query_kernel", dim)
        self.key_kernel = self._add_kernel("key_kernel", dim)
        self.value_kernel = self._add_kernel("value_kernel", dim)
        self.residual_kernel = None
        if self.use_residual:
            self.residual_kernel = self._add_kernel("residual_kernel", dim)

    def call(self, inputs: Any) -> Any:
        """Computes the fields' new embeddings."""
        if inputs.shape[1] <= FEW_FIELDS:
            outputs = self.by_pair(inputs)
        else:
            outputs = self.by_row(inputs)
        if self.residual_kernel is not None:
            outputs = outputs + self._project(inputs, self.residual_kernel)
        return ops.relu(outputs)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, fields, num_heads * head_size)`."""
        return (*inputs_shape[:2], self._width)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_size": self.head_size,
            "use_residual": self.use_residual,
            "use_scale": self.use_scale,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }

    def _add_kernel(self, name: str, dim: int) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(dim, self._width),
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
        )

    def by_row(self, inputs: Any) -> Any:
        """Attends by products of matrices, two for each row and head.

        Args:
            inputs: Tensor of shape `(batch, fields, dim)`.

        Returns:
            The heads' `u_m`, of shape `(batch, fields, num_heads *
            head_size)`.
        """
        _, fields, _ = inputs.shape
        shape = (-1, fields, self.num_heads, self.head_size)
        queries, keys, values = (
            ops.reshape(part, shape) for part in self._queries_to_values(inputs)
        )
        scores = self._scaled(ops.einsum("bmhs,bkhs->bhmk", queries, keys))
        attention = ops.softmax(scores, axis=-1)
        outputs = ops.einsum("bhmk,bkhs->bmhs", attention, values)
        return ops.reshape(outputs, (-1, fields, self._width))

    def by_pair(self, inputs: Any) -> Any:
        """As `by_row`, by products of numbers, two fields at a time."""
        _, fields, _ = inputs.shape
        # Fields first: to sum over them is to add whole blocks of memory.
        queries, keys, values = self._queries_to_values(
            ops.swapaxes(inputs, 0, 1)
        )
        pairs = queries[:, None] * keys
        # Sums and repeats a head's numbers as a product of matrices.
        head_of = ops.repeat(
            ops.eye(self.num_heads, dtype=pairs.dtype), self.head_size, axis=0
        )
        scores = ops.matmul(ops.reshape(pairs, (-1, self._width)), head_of)
        scores = self._scaled(
            ops.reshape(scores, (fields, fields, -1, self.num_heads))
        )
        # Of a batch of no rows there is no maximum.
        largest = ops.max(scores, axis=1, keepdims=True, initial=-math.inf)
        attention = ops.exp(scores - ops.stop_gradient(largest))
        attention = attention / ops.sum(attention, axis=1, keepdims=True)
        attention = ops.matmul(
            ops.reshape(attention, (-1, self.num_heads)),
            ops.transpose(head_of),
        )
        shape = (fields, fields, -1, self._width)
        outputs = ops.sum(ops.reshape(attention, shape) * values, axis=1)
        return ops.swapaxes(outputs, 0, 1)

    def _queries_to_values(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Queries, keys and values, of the inputs' first two axes."""
        return (
            self._project(inputs, self.query_kernel),
            self._project(inputs, self.key_kernel),
            self._project(inputs, self.value_kernel),
        )

    def _scaled(self, scores: Any) -> Any:
        return scores / math.sqrt(self.head_size) if self.use_scale else scores

    def _project(self, inputs: Any, kernel: Any) -> Any:
        """Each vector through all heads' parts of a kernel, side by side."""
        dim = inputs.shape[-1]
        # One plain matrix product: faster than an einsum over more axes.
        projected = ops.matmul(ops.reshape(inputs, (-1, dim)), kernel)
        first, second = (-1 if n is None else n for n in inputs.shape[:2])
        return ops.reshape(projected, (first, second, self._width))

    @property
    def _width(self) -> int:
        return self.num_heads * self.head_size
