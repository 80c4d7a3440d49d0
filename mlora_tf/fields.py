"""From a schema to a model's inputs and field embeddings, and to its logit."""

import dataclasses
from typing import Any

import keras
from keras import ops

from mlora_tf.layers import CheckedIds
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema

Tensor = Any

# A feature's name is an identifier and names its input. Layers' names have a
# dot, so that no feature's name is taken.
DOMAIN_TABLES = (f"embedding.{DOMAIN}", f"first_order.{DOMAIN}")
"""Names of the layers that hold a row for each domain, as for any id."""


@dataclasses.dataclass(frozen=True)
class Fields:
    """What a backbone receives: the embedded fields of a batch.

    Attributes:
        inputs: Each input by name, integer tensors of shape `(batch,)`; the
            last one is the domain.
        ids: The same, checked: each is in its table.
        num_ids: The fields' names in order, with their numbers of ids.
        embeddings: Tensor of shape `(batch, fields, dim)`.
        l2: Penalty on every table of ids, as on those of `embeddings`.
    """

    inputs: dict[str, Tensor]
    ids: dict[str, Tensor]
    num_ids: dict[str, int]
    embeddings: Tensor
    l2: float

    @property
    def domain(self) -> Tensor:
        """The rows' domains, an integer tensor of shape `(batch,)`."""
        return self.ids[DOMAIN]


def make_fields(
    schema: Schema,
    *,
    embedding_dim: int,
    embedding_initializer: Any,
    embedding_l2: float,
    domain_field: bool,
) -> Fields:
    """Makes the inputs and embeds them.

    Args:
        schema: Says which inputs there are.
        embedding_dim: Width of each field's embedding.
        embedding_initializer: Draws the tables.
        embedding_l2: Penalty on the whole of each table.
        domain_field: Whether the domain is a field too, as in both papers.
    """
    inputs = {
        name: keras.Input(shape=(), dtype="int32", name=name)
        for name in schema.num_ids
    }
    ids = {
        name: CheckedIds(size, name, name=f"ids.{name}")(inputs[name])
        for name, size in schema.num_ids.items()
    }
    num_ids = dict(schema.num_ids)
    if not domain_field:
        del num_ids[DOMAIN]
    embedded = [
        _table(
            f"embedding.{name}",
            size,
            embedding_dim,
            # One instance for two tables would draw the same numbers twice.
            keras.initializers.get(embedding_initializer).clone(),
            embedding_l2,
        )(ids[name])
        for name, size in num_ids.items()
    ]
    embeddings = ops.stack(embedded, axis=1)
    return Fields(inputs, ids, num_ids, embeddings, embedding_l2)


def first_order(fields: Fields) -> Tensor:
    """One learned number per id, summed over the fields: `(batch, 1)`."""
    weights = [
        _table(f"first_order.{name}", size, 1, "zeros", fields.l2)(
            fields.ids[name]
        )
        for name, size in fields.num_ids.items()
    ]
    return keras.layers.Add(name="sum.first_order")(weights)


def flatten(fields: Fields) -> Tensor:
    """The fields' embeddings side by side: `(batch, fields * dim)`."""
    return keras.layers.Flatten(name="flat.embeddings")(fields.embeddings)


def logit(inputs: Tensor) -> Tensor:
    """The last layer of every backbone: `(batch, width)` to `(batch, 1)`."""
    return keras.layers.Dense(
        1, kernel_initializer="glorot_normal", name="logit.deep"
    )(inputs)


def _table(
    name: str, size: int, dim: int, initializer: Any, l2: float
) -> keras.layers.Embedding:
    return keras.layers.Embedding(
        size,
        dim,
        embeddings_initializer=initializer,
        embeddings_regularizer=keras.regularizers.L2(l2) if l2 else None,
        name=name,
    )
