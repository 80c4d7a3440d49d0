"""The tables that embed fields."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from mlora_tf.field_columns import Column
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import PretrainedEmbedding
from mlora_tf.schema import Schema

Tensor = Any


@dataclasses.dataclass
class Tables:
    """Makes the tables of ids that embed fields.

    Args:
        dim: Width of an embedding.
        initializer: Draws the tables.
        l2: Penalty on each table.
        l2_rows: "all", or those of the "batch" alone.
        vectors: Pretrained tables, by name.
    """

    dim: int
    initializer: Any
    l2: float
    l2_rows: str
    vectors: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.made: dict[str, Any] = {}

    def embed(self, column: Column) -> Tensor:
        """Ids to embeddings `(..., dim)`; features may share a table."""
        if column.table not in self.made:
            self.made[column.table] = self._make(column)
        embeddings = column.values
        for layer in self.made[column.table]:
            embeddings = layer(embeddings)
        return embeddings

    def _make(self, column: Column) -> list[keras.layers.Layer]:
        name = f"embedding.{column.table}"
        if column.table not in self.vectors:
            return [self.table(name, column.num_ids)]
        vectors = self.vectors[column.table]
        pretrained = PretrainedEmbedding(*vectors.shape, name=name)
        pretrained.set_vectors(vectors)
        if vectors.shape[1] == self.dim:
            return [pretrained]
        projection = layers.Dense(
            self.dim, use_bias=False, name=f"projection.{column.table}"
        )
        return [pretrained, projection]

    def table(self, name: str, size: int) -> EmbeddingTable:
        """A table of `size` learned rows of `dim` numbers."""
        # One instance for two tables would draw the same numbers twice.
        initializer = keras.initializers.get(self.initializer).clone()
        return self._table(name, size, self.dim, initializer)

    def first_order(self, name: str, size: int) -> EmbeddingTable:
        """A table of one learned number for each of `size` ids."""
        return self._table(name, size, 1, "zeros")

    def _table(
        self, name: str, size: int, dim: int, initializer: Any
    ) -> EmbeddingTable:
        whole = self.l2_rows == "all"
        return EmbeddingTable(
            size,
            dim,
            embeddings_initializer=initializer,
            embeddings_regularizer=l2_penalty(self.l2) if whole else None,
            batch_l2=0.0 if whole else self.l2,
            name=name,
        )

    def scale(self, column: Column) -> Tensor:
        """Numbers to embeddings `(batch, dim)`: each times a vector."""
        assert column.feature is not None
        return layers.Dense(
            self.dim,
            use_bias=False,
            kernel_initializer=keras.initializers.get(self.initializer).clone(),
            kernel_regularizer=l2_penalty(self.l2),
            name=f"embedding.{column.feature.name}",
        )(column.values)


def check_vectors(schema: Schema, vectors: Mapping[str, Any]) -> None:
    """Raises unless the vectors are those that the schema declares."""
    if set(vectors) != set(schema.vectors):
        raise ValueError(
            "vectors must have the pretrained tables that the schema "
            f"declares, {sorted(schema.vectors)}: pass `log.vectors`. "
            f"Received: {sorted(vectors)}"
        )
    for name, dim in schema.vectors.items():
        expected = (schema.tables[name], dim)
        if vectors[name].shape != expected:
            raise ValueError(
                f"the vectors of table {name!r} must be of shape {expected}. "
                f"Received: {vectors[name].shape}"
            )


def l2_penalty(strength: float) -> Any:
    """An L2 penalty; None of strength 0."""
    return keras.regularizers.L2(strength) if strength else None
