"""DIEN's pooling: how the interest in the target evolved, as one state."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.attention_pooling import masked_softmax
from mlora_tf.layers.augru_cell import AUGRUCell


@keras.saving.register_keras_serializable(package="mlora_tf")
class InterestEvolution(keras.layers.Layer):
    """Reads a row's items in their order, and minds those near the target.

    A GRU reads the items' embeddings, oldest first; its state h_t stands for
    the interest at that time. `a_t = softmax_t(h_t W q)` is how much of it
    concerns the target q, and a GRU with attentional update gate (`AUGRUCell`)
    reads the states with these weights. Its final state is the result.

    DIEN's auxiliary loss is left out: it wants an item that was not clicked
    for each that was, and sequences hold only those that were. Where the
    paper's update gate says how much is new, Keras's GRU says how much stays:
    the same family, since `1 - sigmoid(x) = sigmoid(-x)`.

    A step without an item keeps the states, wherever it is in the sequence,
    and what its key holds doesn't matter. A row without any item gets zeros.

    Args:
        units: Width of both GRUs' states; None takes that of the keys.
        kernel_initializer: Draws `W`, and what either GRU multiplies its
            input with.
        recurrent_initializer: Draws what either GRU multiplies its state with.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        query: Tensor of shape `(batch, dim)`.
        keys: Tensor of shape `(batch, length, key_dim)`, oldest first.
        mask: Boolean tensor of shape `(batch, length)`: True for an item.

    Returns:
        Tensor of shape `(batch, units)`.

    Raises:
        ValueError: `units` isn't a positive integer, or the keys aren't of
            rank 3.

    Example:
    >>> query, keys = keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 4))
    >>> mask = keras.ops.arange(5)[None] < keras.ops.array([[3], [0]])
    >>> InterestEvolution()(query, keys, mask)[1].numpy().tolist()
    [0.0, 0.0, 0.0, 0.0]

    Reference:
        Zhou et al., "Deep Interest Evolution Network for Click-Through Rate
        Prediction", AAAI 2019.
    """

    def __init__(
        self,
        units: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units is not None:
            check_integer("units", units, 1)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(
        self, query_shape: tuple[int, ...], keys_shape: tuple[int, ...]
    ) -> None:
        """Makes both GRUs, as wide as asked for, and `W`."""
        if len(keys_shape) != 3:
            raise ValueError(
                "keys must be of shape (batch, length, key_dim). "
                f"Received: keys.shape={keys_shape}"
            )
        units = self._width(keys_shape)
        self.extractor = keras.layers.GRU(
            units,
            # One instance for several weights would warn, and draw alike.
            kernel_initializer=self.kernel_initializer.clone(),
            recurrent_initializer=self.recurrent_initializer.clone(),
            return_sequences=True,
            # cuDNN takes no row without items, and padding only at the end.
            use_cudnn=False,
            dtype=self.dtype_policy,
            name="extractor",
        )
        self.evolution = keras.layers.RNN(
            AUGRUCell(
                units,
                kernel_initializer=self.kernel_initializer.clone(),
                recurrent_initializer=self.recurrent_initializer.clone(),
                dtype=self.dtype_policy,
                name="cell",
            ),
            dtype=self.dtype_policy,
            name="evolution",
        )
        self.extractor.build(keys_shape)
        self.attention_kernel = self.add_weight(
            name="attention_kernel",
            shape=(units, query_shape[-1]),
            initializer=self.kernel_initializer.clone(),
        )
        self.evolution.build((*keys_shape[:2], units + 1))

    def call(self, query: Any, keys: Any, mask: Any) -> Any:
        """Computes the final state."""
        keys = ops.where(mask[:, :, None], keys, 0.0)
        states = self.extractor(keys, mask=mask)
        target = ops.matmul(query, ops.transpose(self.attention_kernel))
        scores = ops.squeeze(ops.matmul(states, target[:, :, None]), axis=-1)
        attention = masked_softmax(scores, mask)
        steps = ops.concatenate([states, attention[:, :, None]], axis=-1)
        # A step without an item has no attention, and so keeps the state.
        return self.evolution(steps)

    def compute_mask(self, query: Any, mask: Any = None) -> None:
        """None: there is no sequence any more."""
        # Without this Keras would warn of any argument of the name `mask`.
        return None

    def compute_output_shape(
        self, query_shape: tuple[int, ...], keys_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, units)`."""
        return (query_shape[0], self._width(keys_shape))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            **{
                name: keras.initializers.serialize(getattr(self, name))
                for name in ("kernel_initializer", "recurrent_initializer")
            },
        }

    def _width(self, keys_shape: tuple[int, ...]) -> int:
        return keys_shape[-1] if self.units is None else self.units
