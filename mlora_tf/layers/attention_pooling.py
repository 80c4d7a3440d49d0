"""DIN's pooling: items weigh as much as they have to do with the target."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class AttentionPooling(keras.layers.Layer):
    """Sums the embeddings of a row's items, weighted by a small network.

    `sum_j a(k_j, q) k_j`: DIN's eq. 3, with q the target and k_j the items.
    The activation unit `a` is a network from `[q, k_j, q - k_j, q * k_j]` to
    one number.

    Like the paper, and unlike the authors' code, the weights are not
    normalized: their sum tells how much of a user's past the target touches.
    With `use_softmax` they are `softmax_j(a(k_j, q) / sqrt(dim))`, as in the
    code. The paper gives the unit both embeddings and their product in some
    form ("out product"); the four parts, the two hidden layers of 80 and 40
    units and their sigmoid are the code's.

    What keys hold where there is no item doesn't matter. A row without any
    item gets zeros.

    Args:
        hidden_units: Widths of the activation unit's hidden layers.
        activation: Of the hidden layers.
        use_softmax: Whether a row's weights sum to 1.
        kernel_initializer: Draws each of the unit's kernels.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        query: Tensor of shape `(batch, dim)`.
        keys: Tensor of shape `(batch, length, dim)`.
        mask: Boolean tensor of shape `(batch, length)`: True for an item.

    Returns:
        Tensor of shape `(batch, dim)`.

    Raises:
        ValueError: A width isn't a positive integer, or the query's and the
            keys' shapes don't go together.

    Example:
    >>> query, keys = keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 4))
    >>> mask = keras.ops.arange(5)[None] < keras.ops.array([[3], [0]])
    >>> AttentionPooling()(query, keys, mask)[1].numpy().tolist()
    [0.0, 0.0, 0.0, 0.0]

    Reference:
        Zhou et al., "Deep Interest Network for Click-Through Rate
        Prediction", KDD 2018.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (80, 40),
        activation: Any = "sigmoid",
        use_softmax: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for i, units in enumerate(hidden_units):
            check_integer(f"hidden_units[{i}]", units, 1)
        self.hidden_units = tuple(hidden_units)
        self.activation = keras.activations.get(activation)
        self.use_softmax = use_softmax
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.hidden = [
            # No dot: torch's parameters can't have one in their names.
            self._dense(units, self.activation, f"hidden_{i}")
            for i, units in enumerate(self.hidden_units)
        ]
        self.score = self._dense(1, None, "score")
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(
        self, query_shape: tuple[int, ...], keys_shape: tuple[int, ...]
    ) -> None:
        """Builds the activation unit."""
        if len(keys_shape) != 3 or keys_shape[-1] != query_shape[-1]:
            raise ValueError(
                "query must be of shape (batch, dim) and keys of shape "
                f"(batch, length, dim). Received: query.shape={query_shape}, "
                f"keys.shape={keys_shape}"
            )
        shape = (*keys_shape[:-1], 4 * keys_shape[-1])
        for layer in (*self.hidden, self.score):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, query: Any, keys: Any, mask: Any) -> Any:
        """Weighs and sums the items."""
        keys = ops.where(mask[:, :, None], keys, 0.0)
        query = ops.broadcast_to(query[:, None, :], ops.shape(keys))
        unit = ops.concatenate(
            [query, keys, query - keys, query * keys], axis=-1
        )
        for layer in (*self.hidden, self.score):
            unit = layer(unit)
        weights = ops.squeeze(unit, axis=-1)
        if self.use_softmax:
            weights = masked_softmax(weights / keys.shape[-1] ** 0.5, mask)
        # Keys are zero where there is no item, and their weights then idle.
        return ops.squeeze(ops.matmul(weights[:, None, :], keys), axis=1)

    def compute_mask(self, query: Any, mask: Any = None) -> None:
        """None: there is no sequence any more."""
        # Without this Keras would warn of any argument of the name `mask`.
        return None

    def compute_output_shape(
        self, query_shape: tuple[int, ...], keys_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, dim)`."""
        return (keys_shape[0], keys_shape[2])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "activation": keras.activations.serialize(self.activation),
            "use_softmax": self.use_softmax,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }

    def _dense(self, units: int, activation: Any, name: str) -> Any:
        return keras.layers.Dense(
            units,
            activation=activation,
            # One instance for several layers would warn, and draw alike.
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )


def masked_softmax(scores: Any, mask: Any) -> Any:
    """Softmax over the items of each row, and zeros elsewhere.

    Keras's own warns of rows of length 1, where it has nothing to choose.

    Args:
        scores: Tensor of shape `(batch, length)`.
        mask: Boolean tensor of shape `(batch, length)`: True for an item.

    Returns:
        Tensor of shape `(batch, length)`: a row's sum is 1, or 0 if it has no
        item.

    Example:
    >>> scores, mask = np.zeros((2, 3)), np.array([[True, False, True]])
    >>> masked_softmax(scores, mask)[0].numpy().tolist()
    [0.5, 0.0, 0.5]
    """
    some = ops.any(mask, axis=-1, keepdims=True)
    least = -float("inf")
    scores = ops.where(mask, scores, least)
    # With an initial value a batch may have no row.
    highest = ops.max(scores, axis=-1, keepdims=True, initial=least)
    # Without an item the highest is infinite, and would leave no number.
    highest = ops.stop_gradient(ops.where(some, highest, 0.0))
    powers = ops.exp(scores - highest)
    total = ops.sum(powers, axis=-1, keepdims=True)
    return powers / ops.where(some, total, 1.0)
