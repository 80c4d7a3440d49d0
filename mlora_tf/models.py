"""Any backbone with any tower, as a functional Keras model."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mlora_tf.backbones import BACKBONES
from mlora_tf.fields import add
from mlora_tf.fields import auxiliary_logit
from mlora_tf.fields import make_fields
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema
from mlora_tf.towers import TOWERS
from mlora_tf.towers import Hidden
from mlora_tf.towers import normalized


def build_model(
    schema: Schema,
    backbone: str = "mlp",
    tower: str = "shared",
    *,
    norm: str = "none",
    auxiliary: bool = False,
    hidden_units: Sequence[int] = (256, 128, 64),
    activation: str = "relu",
    dropout: float = 0.0,
    dropout_placement: str = "shared",
    embedding_dim: int = 8,
    embedding_initializer: Any = None,
    embedding_l2: float = 1e-5,
    embedding_l2_rows: str = "all",
    domain_field: bool = True,
    kernel_initializer: Any = "glorot_normal",
    auxiliary_units: int = 64,
    vectors: Mapping[str, Any] | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    tower_options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Builds a click model for many domains.

    STAR is `build_model(schema, "mlp", "star", norm="partitioned",
    auxiliary=True, domain_field=False)`, and its paper's Base
    `build_model(schema, "mlp", "shared", norm="batch", auxiliary=True,
    domain_field=False, hidden_units=(512, 256, 128, 64, 32, 16))`: seven
    layers with the last one.

    Args:
        schema: The features and the domains.
        backbone: How features interact: a name in `BACKBONES`.
        tower: How domains share weights: a name in `TOWERS`.
        norm: What normalizes the tower's input: a name in `NORMS`.
        auxiliary: Whether STAR's auxiliary network is added to the logit.
        hidden_units: Widths of the tower's hidden layers.
        activation: Their activation.
        dropout: Their rate of dropout.
        dropout_placement: "shared" or "output"; see `Hidden`.
        embedding_dim: Width of each field's embedding.
        embedding_initializer: Draws the tables; None draws N(0, 1e-4). One
            with a seed of its own draws alike in all tables of a size.
        embedding_l2: L2 penalty on each table of embeddings.
        embedding_l2_rows: "all" puts it on the whole table in each step, and
            makes the table's gradient dense; "batch" on the rows that a batch
            looks up. `EmbeddingTable` says how they differ.
        domain_field: Whether the domain is one of the embedded fields. With
            `norm="partitioned"` it tells the tower little: within a domain
            that field is a constant, which the norm takes to zero, before its
            scale and shift, in training, and in inference to how far the
            moving mean lags behind it. STAR's paper leaves it out.
        kernel_initializer: Draws the tower's kernels.
        auxiliary_units: Width of the auxiliary network's first layer.
        vectors: By table, the pretrained vectors that the schema declares:
            `ClickLog.vectors`.
        backbone_options: More arguments for the backbone, such as
            `{"num_layers": 3}` for `"dcn"`.
        tower_options: More arguments for the tower, such as
            `{"temperature": 16}` for `"mlora"`.

    Returns:
        A functional model. Inputs: a dict with a tensor per feature, of its
        `shape` and `dtype`, and `"domain"`. Output: `{"ctr": probability}`
        of shape `(batch, 1)`.

    Raises:
        ValueError: There is no such backbone, tower, norm or kind of penalty,
            or the vectors aren't those that the schema declares.
        TypeError: The backbone or the tower has no such option.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "deepfm", "mlora", hidden_units=[8])
    >>> inputs = {"item": np.array([1, 2]), "domain": np.array([0, 1])}
    >>> tuple(model(inputs)["ctr"].shape)
    (2, 1)
    """
    if not isinstance(schema, Schema):
        raise ValueError(
            "schema must be a Schema, such as Schema((SparseFeature('item', "
            "('pen', 'ink')),), 'country', ('fr', 'it')). "
            f"Received: {schema!r}"
        )
    if not isinstance(hidden_units, Sequence):
        raise ValueError(
            "hidden_units must be the widths of the hidden layers, such as "
            f"(256, 128, 64). Received: {hidden_units!r}"
        )
    make_logits = _lookup(BACKBONES, backbone, "backbone")
    make_tower = _lookup(TOWERS, tower, "tower")
    if embedding_initializer is None:
        embedding_initializer = keras.initializers.RandomNormal(stddev=1e-4)
    fields = make_fields(
        schema,
        embedding_dim=embedding_dim,
        embedding_initializer=embedding_initializer,
        embedding_l2=embedding_l2,
        embedding_l2_rows=embedding_l2_rows,
        domain_field=domain_field,
        vectors=vectors,
    )
    hidden = Hidden(
        units=tuple(hidden_units),
        activation=activation,
        dropout=dropout,
        dropout_placement=dropout_placement,
        kernel_initializer=kernel_initializer,
    )
    domain = fields.domain, schema.num_domains
    plug = normalized(
        make_tower(*domain, hidden, **(tower_options or {})), norm, *domain
    )
    logits = make_logits(fields, plug, **(backbone_options or {}))
    if auxiliary:
        logits = add(
            "sum.logits",
            logits,
            auxiliary_logit(fields, schema.num_domains, auxiliary_units),
        )
    # The sigmoid stays last: Keras's cross-entropy then finds the logits
    # behind it and is exact where a probability rounds to 0 or 1.
    ctr = keras.layers.Activation("sigmoid", name="sigmoid.ctr")(logits)
    return keras.Model(fields.inputs, {"ctr": ctr}, name=f"{backbone}_{tower}")


def with_domain_output(model: keras.Model) -> keras.Model:
    """The same model with one more output, for metrics that need the domain.

    Args:
        model: A model with an input `"domain"` and an output `"ctr"`.

    Returns:
        A model that shares all layers. Its output `"ctr_domain"`, of shape
        `(batch, 2)`, is the prediction beside its row's domain, as `float32`
        at least: what `StreamingWAUC` reads in `compile` and `evaluate`.
    """
    ctr = model.output["ctr"]
    # Half precision has no room for domains.
    dtype = keras.backend.result_type(ctr.dtype, "float32")
    domain = ops.expand_dims(ops.cast(model.input[DOMAIN], dtype), 1)
    whole = ctr if ctr.dtype == dtype else ops.cast(ctr, dtype)
    both = ops.concatenate([whole, domain], axis=1)
    return keras.Model(model.input, {**model.output, "ctr_domain": both})


def _lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(
            f"{what} must be one of {sorted(table)}. Received: {name!r}"
        )
    return table[name]
