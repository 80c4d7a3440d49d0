"""A table of vectors that come from elsewhere and never train."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class PretrainedEmbedding(keras.layers.Layer):
    """Looks up vectors that were trained elsewhere, and never trains them.

    `y = vectors[id]`. The vectors are state, not a trainable weight that is
    frozen: `layer.trainable = True` doesn't thaw them. They are zeros until
    `set_vectors` or a loaded file fills them, and go into saved files.

    Args:
        num_ids: How many ids there are.
        dim: Length of a vector.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        ids: Integer tensor of any shape, in `[0, num_ids)`; `CheckedIds` makes
            sure of that.

    Returns:
        Tensor of the ids' shape and a last axis of length `dim`.

    Raises:
        ValueError: `num_ids` or `dim` isn't a positive integer.

    Example:
    >>> layer = PretrainedEmbedding(num_ids=3, dim=2)
    >>> layer.set_vectors(np.array([[0, 0], [1, 2], [3, 4]]))
    >>> layer(np.array([2, 1])).numpy().tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """

    def __init__(self, num_ids: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("num_ids", num_ids, 1)
        check_integer("dim", dim, 1)
        self.num_ids = num_ids
        self.dim = dim

    def build(self, ids_shape: Any = None) -> None:
        """Makes the table, of zeros."""
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.num_ids, self.dim),
            initializer="zeros",
            trainable=False,
            # Rows are cast once they are picked, not the whole table.
            autocast=False,
        )

    def set_vectors(self, vectors: Any) -> None:
        """Fills the table.

        Args:
            vectors: Array of shape `(num_ids, dim)` of finite numbers.

        Raises:
            ValueError: The shape is another, or a number isn't finite.
        """
        if not self.built:
            self.build(None)
        shape = tuple(ops.shape(vectors))
        if shape != (self.num_ids, self.dim):
            raise ValueError(
                f"the vectors of {self.name!r} must be of shape "
                f"{(self.num_ids, self.dim)}. Received: vectors.shape={shape}"
            )
        vectors = ops.cast(ops.convert_to_tensor(vectors), self.vectors.dtype)
        finite = ops.all(ops.isfinite(vectors), axis=1)
        if not ops.all(finite):
            raise ValueError(
                f"the vectors of {self.name!r} must be finite. Received: in "
                f"the row of id {int(ops.argmin(ops.cast(finite, 'int32')))} "
                "one that isn't"
            )
        self.vectors.assign(vectors)

    def call(self, ids: Any) -> Any:
        """Looks the vectors up."""
        vectors = ops.take(self.vectors, ops.cast(ids, "int32"), axis=0)
        return ops.cast(vectors, self.compute_dtype)

    def compute_output_shape(
        self, ids_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The ids' shape, and `dim`."""
        return (*ids_shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again; the vectors are state."""
        config = super().get_config()
        return {**config, "num_ids": self.num_ids, "dim": self.dim}
