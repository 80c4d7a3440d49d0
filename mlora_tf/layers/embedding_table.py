"""A table of learned embeddings, of which a step touches the batch's rows."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.arguments import check_weight
from mlora_tf.layers.replicas import gather_over_replicas
from mlora_tf.layers.replicas import num_replicas
from mlora_tf.layers.replicas import own_loss
from mlora_tf.layers.replicas import own_losses


@keras.saving.register_keras_serializable(package="mlora_tf")
class EmbeddingTable(keras.layers.Layer):
    """Looks up learned embeddings at a cost that follows the batch.

    `y = embeddings[id]`, as in `keras.layers.Embedding`. But rows are looked
    up in the variable itself, never in a copy of the table, and their
    gradient is sparse: with `LazyAdam` a step on six million ids costs about
    what it costs on thousands.

    An `embeddings_regularizer` is on the whole table, and its gradient is
    dense. `batch_l2` keeps the gradient sparse: in training, it adds
    `batch_l2 * sum_k |e_k|^2` over the distinct rows k that the batch looks
    up, to whose gradient it thus adds `2 batch_l2 e_k`, the same as L2 on
    the whole table does, and to that of all other rows nothing. So

    - a row that is in a share p of the batches is shrunk p times as often:
      with SGD by `batch_l2 p` a step on average. Frequent ids are regularized
      as by the whole table's L2, rare ones hardly, and an id that training
      never sees keeps its initial embedding, where L2 on the table would take
      it to zero. Larger batches raise p, but for that of ids in all of them.
    - with Adam the difference is larger. It divides a gradient by its usual
      size, so that in the many steps in which the table's L2 is all that a
      rare row's gradient has, it moves the row towards zero by about the
      learning rate, however small the penalty. Here the penalty never comes
      alone: it is a small part of a gradient that the rows' labels lead.
      `LazyAdam` moves the row in those same steps only.
    - a row counts once in a batch however often it is looked up, on one
      replica or on several. But a layer that is called on several inputs, as
      a table that features share is, penalizes the rows of each call; and
      padding that looks up row 0 is a look-up of it.

    On several replicas the gradient and the loss are those of one.

    Where `trainable_rows` says so, a part of the rows trains and the others
    are frozen: they have no gradient, and no penalty counts them. Nor
    does one count a table that is frozen whole. An optimizer that moves what
    has no gradient, by momentum of earlier steps or by weight decay, moves
    them all the same.

    Args:
        num_ids: How many ids there are.
        dim: Length of an embedding.
        embeddings_initializer: Draws the table.
        embeddings_regularizer: Penalty on the whole table.
        batch_l2: L2 penalty on the rows that a batch looks up.
        trainable_rows: The first row that trains and the first one after it
            that doesn't: `(3, 5)` for the rows 3 and 4. None is all of them.
            The attribute can be set later; compile the model after that.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        ids: Integer tensor of any shape, in `[0, num_ids)`; `CheckedIds` makes
            sure of that.
        training: Whether to add the penalty of `batch_l2`.

    Returns:
        Tensor of the ids' shape and a last axis of length `dim`.

    Raises:
        ValueError: `num_ids` or `dim` isn't a positive integer, or
            `batch_l2` is no number of at least 0.

    Example:
    >>> layer = EmbeddingTable(
    ...     4, dim=2, embeddings_initializer="ones", batch_l2=0.5
    ... )
    >>> layer(np.array([3, 0, 3]), training=True).numpy().tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    >>> float(layer.losses[0])  # of the rows 0 and 3
    2.0
    """

    def __init__(
        self,
        num_ids: int,
        dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        batch_l2: float = 0.0,
        trainable_rows: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_ids", num_ids, 1)
        check_integer("dim", dim, 1)
        check_weight("batch_l2", batch_l2)
        self.num_ids = num_ids
        self.dim = dim
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )
        self.embeddings_regularizer = keras.regularizers.get(
            embeddings_regularizer
        )
        self.batch_l2 = batch_l2
        self.trainable_rows = trainable_rows

    @property
    def trainable_rows(self) -> tuple[int, int] | None:
        """The rows that train: from the first to before the second."""
        return self._trainable_rows

    @trainable_rows.setter
    def trainable_rows(self, rows: Sequence[int] | None) -> None:
        if rows is None:
            self._trainable_rows = None
            return
        pair = isinstance(rows, list | tuple) and len(rows) == 2
        if (
            not pair
            or not all(type(row) is int for row in rows)
            or not 0 <= rows[0] < rows[1] <= self.num_ids
        ):
            raise ValueError(
                "trainable_rows must be the first row that trains and the "
                f"first one after it that doesn't, of {self.num_ids} rows. "
                f"Received: trainable_rows={rows!r}"
            )
        self._trainable_rows = (rows[0], rows[1])

    def build(self, ids_shape: Any = None) -> None:
        """Makes the table."""
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_ids, self.dim),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer and self._penalty,
            # Rows are cast once they are picked, not the whole table.
            autocast=False,
        )

    def call(self, ids: Any, training: bool = False) -> Any:
        """Looks the embeddings up."""
        ids = ops.cast(ids, "int32")
        rows = domain_ops.table_rows(self.embeddings, ids)
        own = None
        if self.trainable_rows is not None:
            first, end = self.trainable_rows
            own = ops.logical_and(ids >= first, ids < end)[..., None]
            rows = ops.where(own, rows, ops.stop_gradient(rows))
        if training and self.batch_l2 and self.embeddings.trainable:
            counted = rows if own is None else ops.where(own, rows, 0.0)
            penalty = self.batch_l2 * _squares_of_distinct(counted, ids)
            self.add_loss(own_loss(penalty))
        return ops.cast(rows, self.compute_dtype)

    def compute_output_shape(
        self, ids_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The ids' shape, and `dim`."""
        return (*ids_shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_ids": self.num_ids,
            "dim": self.dim,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
            "batch_l2": self.batch_l2,
            "trainable_rows": self.trainable_rows and list(self.trainable_rows),
        }

    def _get_own_losses(self) -> list[Any]:
        return own_losses(super()._get_own_losses())

    def _penalty(self, embeddings: Any) -> Any:
        """The regularizer's, of the rows that train."""
        if self.trainable_rows is not None:
            first, end = self.trainable_rows
            embeddings = embeddings[first:end]
        return self.embeddings_regularizer(embeddings)


def _squares_of_distinct(rows: Any, ids: Any) -> Any:
    """The squares of the rows of each id once, summed."""
    ids = ops.reshape(ids, (-1,))
    ordered = ops.sort(gather_over_replicas(ids))
    # Each of an id's n look-ups, on whichever replica, has an n-th of it: the
    # gradient needs no more than the rows that are there.
    times = ops.searchsorted(ordered, ids, side="right") - ops.searchsorted(
        ordered, ids, side="left"
    )
    squares = ops.sum(ops.square(ops.reshape(rows, (-1, rows.shape[-1]))), 1)
    total = ops.sum(squares / ops.cast(times, squares.dtype))
    # Keras takes the mean of the replicas' losses.
    return num_replicas() * total
