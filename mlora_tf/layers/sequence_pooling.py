"""Pools the embeddings of a sequence of items into one."""

from typing import Any

import keras
from keras import ops

MODES = ("mean", "sum", "max")


@keras.saving.register_keras_serializable(package="mlora_tf")
class SequencePooling(keras.layers.Layer):
    """Averages, sums or maximizes the embeddings of a row's items.

    `sum_j m_j k_j / sum_j m_j` for "mean", with m_j = 1 where there is an
    item and 0 elsewhere. What keys hold where there is no item doesn't
    matter. A row without any item gets zeros.

    Args:
        mode: "mean", "sum" or "max" (of each dimension by itself).
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        keys: Tensor of shape `(batch, length, dim)`.
        mask: Boolean tensor of shape `(batch, length)`: True for an item.

    Returns:
        Tensor of shape `(batch, dim)`.

    Raises:
        ValueError: There is no such `mode`.

    Example:
    >>> keys = np.array([[[1.0], [3.0], [99.0]]])
    >>> mask = np.array([[True, True, False]])
    >>> SequencePooling("mean")(keys, mask).numpy().tolist()
    [[2.0]]

    Reference:
        Covington et al., "Deep Neural Networks for YouTube Recommendations",
        RecSys 2016.
    """

    def __init__(self, mode: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(
                f"mode must be one of {', '.join(MODES)}. "
                f"Received: mode={mode!r}"
            )
        self.mode = mode
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def call(self, keys: Any, mask: Any) -> Any:
        """Pools the items."""
        mask = mask[:, :, None]
        if self.mode == "max":
            # With an initial value a batch may have no row.
            least = -float("inf")
            keys = ops.where(mask, keys, least)
            largest = ops.max(keys, axis=1, initial=least)
            pooled = ops.where(ops.any(mask, axis=1), largest, 0.0)
            # Under torch Keras's max of no row has a last axis of 1.
            batch, _, dim = ops.shape(keys)
            return ops.broadcast_to(pooled, (batch, dim))
        # Half precision can't count to 5,000, nor add that many numbers up.
        dtype = keras.backend.result_type(keys.dtype, "float32")
        total = ops.sum(ops.where(mask, ops.cast(keys, dtype), 0.0), axis=1)
        if self.mode == "mean":
            count = ops.sum(ops.cast(mask, dtype), axis=1)
            total = total / ops.maximum(count, 1.0)
        return ops.cast(total, keys.dtype)

    def compute_mask(self, keys: Any, mask: Any = None) -> None:
        """None: there is no sequence any more."""
        # Without this Keras would warn of any argument of the name `mask`.
        return None

    def compute_output_shape(
        self, keys_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, dim)`."""
        return (keys_shape[0], keys_shape[2])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "mode": self.mode}
