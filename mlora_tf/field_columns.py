"""A feature's values, checked and encoded: ids, or numbers."""

import dataclasses
from typing import Any

from keras import layers

from mlora_tf.layers import CheckedIds
from mlora_tf.layers import CheckedNumbers
from mlora_tf.layers import SequenceMask
from mlora_tf.schema import PADDING
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Feature
from mlora_tf.schema import SequenceFeature

Tensor = Any


@dataclasses.dataclass(frozen=True)
class Column:
    """A field's values.

    Attributes:
        values: Ids of shape `(batch,)` or `(batch, length)`, or numbers of
            shape `(batch, 1)`.
        num_ids: How many ids there are; 0 for numbers.
        table: The name of the ids' table.
        mask: For sequences, where there is an id.
        feature: What the schema says; None for the domain.
    """

    values: Tensor
    num_ids: int
    table: str
    mask: Tensor = None
    feature: Feature | None = None


def encode(feature: Feature, values: Tensor) -> Column:
    """Checks a feature's values, and gives numbers their buckets."""
    name = feature.name
    if isinstance(feature, SequenceFeature):
        ids = CheckedIds(
            feature.num_ids, name, lowest=PADDING, name=f"ids.{name}"
        )(values)
        ids, mask = SequenceMask(name=f"mask.{name}")(ids)
        return Column(ids, feature.num_ids, feature.table_name, mask, feature)
    if not isinstance(feature, DenseFeature):
        ids = CheckedIds(feature.num_ids, name, name=f"ids.{name}")(values)
        return Column(ids, feature.num_ids, feature.table_name, feature=feature)
    values = CheckedNumbers(name, name=f"numbers.{name}")(values)
    if feature.boundaries is not None:
        buckets = layers.Discretization(
            list(feature.boundaries), name=f"buckets.{name}"
        )(values)
        size = len(feature.boundaries) + 1
        return Column(buckets, size, name, feature=feature)
    # Scaled in full precision: half a one can't tell 1995 from 1996.
    values = layers.Reshape((1,), dtype="float32", name=f"column.{name}")(
        values
    )
    if (feature.mean, feature.stddev) != (0.0, 1.0):
        values = layers.Rescaling(
            1 / feature.stddev,
            -feature.mean / feature.stddev,
            dtype="float32",
            name=f"scaled.{name}",
        )(values)
    return Column(values, 0, "", feature=feature)
