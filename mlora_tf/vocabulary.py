"""New values of a model's features: ids, and rows of its tables for them."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mlora_tf.cloning import cloned
from mlora_tf.cloning import copy_weights
from mlora_tf.layers import CheckedIds
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import PretrainedEmbedding
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.transform import domain_names

_SIZED = (CheckedIds, EmbeddingTable, PretrainedEmbedding)


def extend_vocabulary(
    schema: Schema, feature: str, values: Iterable[int] | Iterable[str]
) -> Schema:
    """A schema with more values of a feature, behind those that it has.

    All old ids keep their meaning, that of unknown values too. Features that
    share the table get the same values.

    Args:
        schema: The schema; it stays as it is.
        feature: The feature's name.
        values: Raw values in any number, known ones and repeated ones too.

    Returns:
        The longer schema, for `grow_vocabulary` or `build_model`.

    Raises:
        SchemaError: There is no such feature, it is of numbers, or the values
            are no integers or strings, as the vocabulary's are, or a single
            string.

    Example:
    >>> from mlora_tf.schema import SparseFeature
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> extend_vocabulary(schema, "item", ["ink", "nib"]).features[0].vocabulary
    ('pen', 'ink', 'nib')
    """
    one = schema.feature(feature)
    if isinstance(one, DenseFeature):
        raise SchemaError(
            f"{feature!r} is a feature of numbers and has no vocabulary to "
            "extend."
        )
    if isinstance(values, str | bytes):
        raise SchemaError(
            f"values of {feature!r} must be a list of them. "
            f"Received: {values!r}"
        )
    new = values.tolist() if hasattr(values, "tolist") else values
    vocabulary = tuple(dict.fromkeys((*one.vocabulary, *new)))
    return dataclasses.replace(
        schema,
        features=tuple(
            dataclasses.replace(other, vocabulary=vocabulary)
            if not isinstance(other, DenseFeature)
            and other.table_name == one.table_name
            else other
            for other in schema.features
        ),
    )


def grow_vocabulary(
    model: keras.Model,
    schema: Schema,
    *,
    vectors: Mapping[str, Any] | None = None,
) -> keras.Model:
    """A copy of a model with a row more for each new value of its features.

    The old rows are copied bit for bit; the new ones are drawn by the tables'
    initializers. Of a table that grew only the new rows train, until
    `unfreeze` lets all train again; `train_only` leaves them and a domain's
    own weights as the only ones to train. So first add the domain, then grow
    the vocabularies, once with all that is new: the rows of an earlier growth
    count as old.

    Args:
        model: A model from `build_model`; it stays as it is.
        schema: The model's schema with longer vocabularies, by
            `extend_vocabulary`. The model knows their sizes alone: that the
            old values are the same, at the same places, is up to you.
        vectors: The pretrained vectors of the tables that have any, old rows
            and new ones: `ClickLog.vectors`.

    Returns:
        The larger model: not compiled, and with nothing else frozen.

    Raises:
        ValueError: The schema's features or domains aren't the model's, a
            vocabulary is shorter than it was, or vectors are missing or not
            the old ones in the old rows.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> schema = extend_vocabulary(schema, "item", ["nib"])
    >>> larger = grow_vocabulary(model, schema)
    >>> tuple(larger.get_layer("embedding.item").embeddings.shape)
    (4, 8)
    """
    sizes = _sizes(model, schema)
    filled = _vectors(model, sizes, dict(vectors or {}))

    def change(layer: keras.layers.Layer, config: dict[str, Any]) -> None:
        if id(layer) in sizes:
            config["num_ids"] = sizes[id(layer)]

    larger, pairs = cloned(model, change)
    copy_weights(
        pairs, lambda old, new: ops.concatenate([old, new[old.shape[0] :]])
    )
    for layer, copy in pairs:
        if id(layer) in filled:
            copy.set_vectors(filled[id(layer)])
        elif isinstance(copy, EmbeddingTable) and copy.num_ids > layer.num_ids:
            copy.trainable_rows = (layer.num_ids, copy.num_ids)
    return larger


def _sizes(model: keras.Model, schema: Schema) -> dict[int, int]:
    """How many ids each layer is to have that knows their number."""
    if domain_names(model) != schema.domains:
        raise ValueError(
            "the schema's domains must be the model's, "
            f"{list(domain_names(model))}: use add_domain first. "
            f"Received: {list(schema.domains)}"
        )
    known: dict[str, int] = {}
    features = []
    for feature in schema.features:
        if not isinstance(feature, DenseFeature):
            features.append(feature.name)
            for name in (
                f"ids.{feature.name}",
                f"first_order.{feature.name}",
                f"embedding.{feature.table_name}",
            ):
                known[name] = feature.num_ids
    layers = list(model._flatten_layers(include_self=False))
    found = [one.feature for one in layers if isinstance(one, CheckedIds)]
    if sorted(found) != sorted(features):
        raise ValueError(
            "the schema's features with ids must be the model's, "
            f"{sorted(found)}. Received: {sorted(features)}"
        )
    sizes = {}
    for layer in layers:
        if layer.name not in known or not isinstance(layer, _SIZED):
            continue
        if known[layer.name] < layer.num_ids:
            raise ValueError(
                f"{layer.name!r} has {layer.num_ids} ids, and a vocabulary "
                "keeps all that it had: use extend_vocabulary. "
                f"Received: {known[layer.name]} ids"
            )
        sizes[id(layer)] = known[layer.name]
    return sizes


def _vectors(
    model: keras.Model, sizes: Mapping[int, int], vectors: Mapping[str, Any]
) -> dict[int, np.ndarray]:
    """The pretrained vectors of each layer of them that grows."""
    filled = {}
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, PretrainedEmbedding):
            continue
        size = sizes.get(id(layer), layer.num_ids)
        if size == layer.num_ids:
            continue
        table = layer.name.removeprefix("embedding.")
        given = np.asarray(vectors.get(table, ()), layer.vectors.dtype)
        old = ops.convert_to_numpy(layer.vectors)
        if given.shape != (size, layer.dim) or (given[: len(old)] != old).any():
            raise ValueError(
                f"vectors[{table!r}] must be of shape {(size, layer.dim)}, "
                f"the first {len(old)} rows those that the model has. "
                f"Received: {given.shape if table in vectors else None}"
            )
        filled[id(layer)] = given
    return filled
