"""From a schema to a model's inputs and field embeddings.

A field is a feature, or the domain, embedded in `dim` numbers:

- sparse: its id's row of a table, its own or one that it shares;
- sparse with pretrained vectors: its id's frozen vector, projected to `dim`
  unless it has that many numbers already;
- dense with boundaries: its bucket's row of a table;
- dense without: the scaled number times a learned vector (AutoInt, eq. 4);
- sequence: its ids' embeddings, pooled as the schema says.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from mlora_tf.field_columns import Column
from mlora_tf.field_columns import encode
from mlora_tf.field_tables import Tables
from mlora_tf.field_tables import check_vectors
from mlora_tf.field_tables import l2_penalty
from mlora_tf.layers import AttentionPooling
from mlora_tf.layers import DomainIds
from mlora_tf.layers import InterestEvolution
from mlora_tf.layers import SequencePooling
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature

Tensor = Any

# A feature's name is an identifier and names its input. All other layers'
# names have a dot, so that no feature's name is taken.
DOMAIN_TABLES = (
    f"embedding.{DOMAIN}",
    f"first_order.{DOMAIN}",
    f"auxiliary.{DOMAIN}",
)
"""Names of the layers that hold a row for each domain, as for any id."""

L2_ROWS = ("all", "batch")
"""The rows of a table that a step's L2 penalty is on."""


@dataclasses.dataclass(frozen=True)
class Fields:
    """What a backbone receives: the embedded fields of a batch.

    Attributes:
        inputs: Each input by name; the last one is the domain.
        columns: Each field by name: its values, checked and encoded.
        embeddings: Tensor of shape `(batch, fields, dim)`.
        flat: The same side by side, of shape `(batch, fields * dim)`.
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        tables: Makes the tables of ids.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> fields = make_fields(
    ...     schema,
    ...     embedding_dim=4,
    ...     embedding_initializer="uniform",
    ...     embedding_l2=0.0,
    ...     domain_field=True,
    ... )
    >>> list(fields.columns)
    ['item', 'domain']
    >>> fields.embeddings.shape, fields.flat.shape
    ((None, 2, 4), (None, 8))
    """

    inputs: dict[str, Tensor]
    columns: dict[str, Column]
    embeddings: Tensor
    flat: Tensor
    domain: Tensor
    tables: Tables


def make_fields(
    schema: Schema,
    *,
    embedding_dim: int,
    embedding_initializer: Any,
    embedding_l2: float,
    embedding_l2_rows: str = "all",
    domain_field: bool,
    vectors: Mapping[str, Any] | None = None,
) -> Fields:
    """Makes the inputs and embeds them.

    Args:
        schema: Says which inputs there are.
        embedding_dim: Width of each field's embedding.
        embedding_initializer: Draws the tables.
        embedding_l2: Penalty on each table.
        embedding_l2_rows: "all" puts it on the whole table, "batch" on the
            rows that a batch looks up.
        domain_field: Whether the domain is a field too, as in MLoRA; STAR
            gives it to the auxiliary network alone.
        vectors: The pretrained vectors by table, `ClickLog.vectors`.

    Raises:
        ValueError: The vectors aren't those that the schema declares, or
            there is no such kind of penalty.
    """
    if embedding_l2_rows not in L2_ROWS:
        raise ValueError(
            f"embedding_l2_rows must be one of {L2_ROWS}. "
            f"Received: {embedding_l2_rows!r}"
        )
    vectors = dict(vectors or {})
    check_vectors(schema, vectors)
    inputs = {
        feature.name: keras.Input(
            shape=feature.shape, dtype=feature.dtype, name=feature.name
        )
        for feature in schema.features
    }
    inputs[DOMAIN] = keras.Input(shape=(), dtype="int32", name=DOMAIN)
    columns = {
        feature.name: encode(feature, inputs[feature.name])
        for feature in schema.features
    }
    domain = DomainIds(schema.domains, name=f"ids.{DOMAIN}")(inputs[DOMAIN])
    if domain_field:
        columns[DOMAIN] = Column(domain, schema.num_domains, DOMAIN)
    tables = Tables(
        embedding_dim,
        embedding_initializer,
        embedding_l2,
        embedding_l2_rows,
        vectors,
    )
    embedded = _embed(columns, tables)
    flat = embedded[0]
    if len(embedded) > 1:
        flat = layers.Concatenate(name="flat.embeddings")(embedded)
    embeddings = layers.Reshape(
        (len(embedded), embedding_dim), name="fields.embeddings"
    )(flat)
    return Fields(inputs, columns, embeddings, flat, domain, tables)


def first_order(fields: Fields) -> Tensor:
    """The linear part of a model.

    One learned number per id, summed over the fields; of a sequence, their
    mean; and of a dense feature without buckets, the number times a weight.

    Args:
        fields: The embedded fields, of which it reads the `columns`.

    Returns:
        A tensor of shape `(batch, 1)`, to add to a logit.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> fields = make_fields(
    ...     schema,
    ...     embedding_dim=4,
    ...     embedding_initializer="uniform",
    ...     embedding_l2=0.0,
    ...     domain_field=True,
    ... )
    >>> first_order(fields).shape
    (None, 1)
    """
    weights = []
    for name, column in fields.columns.items():
        layer_name = f"first_order.{name}"
        if not column.num_ids:
            weight = layers.Dense(
                1,
                use_bias=False,
                kernel_initializer="zeros",
                kernel_regularizer=l2_penalty(fields.tables.l2),
                name=layer_name,
            )(column.values)
        else:
            weight = fields.tables.first_order(layer_name, column.num_ids)(
                column.values
            )
        if column.mask is not None:
            weight = SequencePooling("mean", name=f"first_order_pooled.{name}")(
                weight, column.mask
            )
        weights.append(weight)
    return add("sum.first_order", *weights)


def auxiliary_logit(fields: Fields, num_domains: int, units: int) -> Tensor:
    """STAR's auxiliary network: `(batch, 1)`, to add to a logit (eq. 7).

    Two layers on the domain's embedding and the other features', as they are
    before any normalization, so that a domain's CTR has a short way to its
    predictions (section 3.5).

    Args:
        fields: The embedded fields.
        num_domains: How many domains there are.
        units: Width of the first layer.
    """
    x = fields.flat
    if DOMAIN not in fields.columns:
        domain = fields.tables.table(f"auxiliary.{DOMAIN}", num_domains)(
            fields.domain
        )
        x = layers.Concatenate(name="auxiliary.inputs")([x, domain])
    x = layers.Dense(
        units,
        activation="relu",
        kernel_initializer="glorot_normal",
        name="auxiliary.0",
    )(x)
    return layers.Dense(
        1, kernel_initializer="glorot_normal", name="logit.auxiliary"
    )(x)


def add(name: str, *parts: Tensor) -> Tensor:
    """The sum of tensors of one shape.

    Args:
        name: The name of the layer that adds; with a dot, so that it is no
            feature's.
        *parts: Tensors of one shape, such as `(batch, 1)`; one at least.

    Returns:
        A tensor of the parts' shape; of a single part, that part itself.

    Example:
    >>> linear, deep = np.array([[1.0]]), np.array([[2.0]])
    >>> add("sum.parts", linear, deep).numpy().tolist()
    [[3.0]]
    """
    return layers.Add(name=name)(parts) if len(parts) > 1 else parts[0]


def _embed(columns: dict[str, Column], tables: Tables) -> list[Tensor]:
    """Each field's embedding, `(batch, dim)`, in order."""
    embedded = {
        name: tables.embed(column) if column.num_ids else tables.scale(column)
        for name, column in columns.items()
    }
    for name, column in columns.items():
        feature = column.feature
        if not isinstance(feature, SequenceFeature):
            continue
        pooled = f"pooled.{name}"
        if feature.target is None:
            embedded[name] = SequencePooling(feature.pooling, name=pooled)(
                embedded[name], column.mask
            )
        else:
            pooling = {"din": AttentionPooling, "dien": InterestEvolution}
            embedded[name] = pooling[feature.pooling](name=pooled)(
                embedded[feature.target], embedded[name], column.mask
            )
    return list(embedded.values())
