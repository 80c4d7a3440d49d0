"""From raw values to a model's inputs, in a graph that carries vocabularies."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mlora_tf.features import DOMAIN
from mlora_tf.features import OOV_ID
from mlora_tf.features import PADDING
from mlora_tf.features import DenseFeature
from mlora_tf.features import Feature
from mlora_tf.features import SequenceFeature
from mlora_tf.schema import Schema

_INTEGERS = (-1, -(2**63))
_STRINGS = ("", "\0")


class RawInputs(tf.Module):
    """Looks raw values up in a schema's vocabularies, as preparing them does.

    A sparse value that isn't in the vocabulary has the id 0, and NaN is the
    feature's `missing` number, if it has one. An unknown
    domain raises, because no adapter is its own. Everything is TensorFlow's,
    so that an exported model needs nothing else.

    Args:
        schema: Has the vocabularies and the domains' names.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__(name="raw_inputs")
        self._schema = schema
        self._tables: dict[str, Any] = {}
        for feature in schema.features:
            # Features that share a table share its vocabulary.
            if (
                not isinstance(feature, DenseFeature)
                and feature.table_name not in self._tables
            ):
                self._tables[feature.table_name] = _table(
                    feature.vocabulary, OOV_ID + 1, OOV_ID
                )
        # No feature's table has that name.
        self._tables[DOMAIN] = _table(schema.domains, 0, -1)

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """What `__call__` takes: a batch of raw values by name.

        Integers are `int64`, numbers `float32`, all else strings. A sequence
        is of shape `(batch, any length)`, with `padding` after its last value:
        that value itself, which no vocabulary has, can't be a sequence's last.
        """
        specs = {
            feature.name: tf.TensorSpec(
                [None, None] if feature.shape else [None],
                _dtype(feature),
                feature.name,
            )
            for feature in self._schema.features
        }
        return {**specs, DOMAIN: tf.TensorSpec([None], tf.string, DOMAIN)}

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Looks a batch up: the model's inputs."""
        inputs = {}
        for feature in self._schema.features:
            values = raw[feature.name]
            if isinstance(feature, SequenceFeature):
                filled = tf.not_equal(values, padding(feature))
                # Padding within a sequence is a value like another.
                places = tf.where(filled, tf.range(tf.shape(values)[1]) + 1, 0)
                lengths = tf.reduce_max(tf.pad(places, [[0, 0], [1, 0]]), 1)
                values = tf.RaggedTensor.from_tensor(values, lengths)
            inputs[feature.name] = self._ids(feature, values)
        return {**inputs, DOMAIN: self._domains(raw[DOMAIN])}

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads serialised `tf.Example`s: the model's inputs.

        A sparse feature that an example lacks has the id 0, a sequence is
        empty, a number is the feature's `missing` one; a domain that is missing
        raises, and so does a number without. Padding may follow a sequence's
        last value, as in `__call__`.

        Args:
            examples: String tensor of shape `(batch,)`.
        """
        kinds: dict[str, Any] = {DOMAIN: tf.io.FixedLenFeature([], tf.string)}
        for feature in self._schema.features:
            dtype = _dtype(feature)
            if isinstance(feature, SequenceFeature):
                kind = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            elif isinstance(feature, DenseFeature):
                kind = tf.io.FixedLenFeature([], dtype, feature.missing)
            else:
                kind = tf.io.FixedLenFeature([], dtype, padding(feature))
            kinds[feature.name] = kind
        parsed = tf.io.parse_example(examples, kinds)
        return self(
            {
                name: values.to_tensor(padding(self._schema.feature(name)))
                if isinstance(values, tf.RaggedTensor)
                else values
                for name, values in parsed.items()
            }
        )

    def _ids(self, feature: Feature, values: Any) -> tf.Tensor:
        """Of a sequence the last `max_length` values, as a padded tensor."""
        if isinstance(feature, DenseFeature):
            if feature.missing is None:
                return values
            return tf.where(tf.math.is_nan(values), feature.missing, values)
        table = self._tables[feature.table_name]
        if not isinstance(feature, SequenceFeature):
            return tf.cast(table.lookup(values), tf.int32)
        values = values[:, -feature.max_length :]
        ids = values.with_flat_values(table.lookup(values.flat_values))
        padded = ids.to_tensor(PADDING, shape=[None, feature.max_length])
        return tf.cast(padded, tf.int32)

    def _domains(self, names: tf.Tensor) -> tf.Tensor:
        domains = self._tables[DOMAIN].lookup(names)
        known = list(self._schema.domains)
        check = tf.debugging.Assert(
            tf.reduce_all(domains >= 0),
            [
                f"{DOMAIN} must be one of {known[:16]}"
                f"{' and others' if known[16:] else ''}. Received:",
                tf.boolean_mask(names, domains < 0),
            ],
            summarize=16,
        )
        with tf.control_dependencies([check]):
            return tf.cast(domains, tf.int32)


def padding(feature: Feature) -> int | str:
    r"""What follows a sequence's last raw value: "" or -1.

    Where the vocabulary has that value, "\0" or the lowest `int64`.
    """
    vocabulary = () if isinstance(feature, DenseFeature) else feature.vocabulary
    candidates: tuple[Any, ...] = (
        _STRINGS if _dtype(feature) == tf.string else _INTEGERS
    )
    known = {*vocabulary}
    free = [value for value in candidates if value not in known]
    if not free:
        raise ValueError(
            f"{feature.name!r} has no value left to pad sequences with: its "
            f"vocabulary must lack one of {candidates}."
        )
    return free[0]


def _dtype(feature: Feature) -> tf.DType:
    if isinstance(feature, DenseFeature):
        return tf.float32
    return tf.int64 if isinstance(feature.vocabulary[0], int) else tf.string


def _table(values: Any, first: int, default: int) -> tf.lookup.StaticHashTable:
    keys = tf.constant(
        values, tf.int64 if isinstance(values[0], int) else tf.string
    )
    places = tf.range(first, first + len(values), dtype=tf.int64)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys, places),
        default,
    )
