"""The kinds of features, in DeepCTR's terms: sparse, dense, sequence.

A feature is data, not code. It checks itself when it is made, so that whatever
holds one, holds one that a model can be built from.
"""

import dataclasses
import itertools
from typing import Any
from typing import ClassVar

from mlora_tf.schema_checks import SMALLEST
from mlora_tf.schema_checks import SchemaError
from mlora_tf.schema_checks import check_input_name
from mlora_tf.schema_checks import check_number
from mlora_tf.schema_checks import check_positive
from mlora_tf.schema_checks import check_tuple
from mlora_tf.schema_checks import check_values
from mlora_tf.schema_checks import get
from mlora_tf.schema_checks import short

DOMAIN = "domain"
"""The name of the domain column and of the domain input of every model."""

OOV_ID = 0
"""The id of the out-of-vocabulary bucket of every table of ids."""

PADDING = -1
"""What follows the last id of a sequence shorter than its `max_length`."""

TARGET_POOLINGS = ("din", "dien")
"""How a sequence is pooled with an eye on a target item."""

POOLINGS = ("sum", "mean", "max", *TARGET_POOLINGS)
"""How a sequence's embeddings become one."""


MAX_LENGTH = 1 << 16
"""The most ids of a sequence: what a row of it takes is memory at once."""

MAX_VECTOR = 1 << 14
"""The most numbers of a pretrained vector."""

MAX_VECTORS = 1 << 38
"""The most bytes of a table of pretrained vectors."""


@dataclasses.dataclass(frozen=True)
class SparseFeature:
    """A categorical feature: one id a row.

    Prepared columns hold `int32` ids: 0 is the out-of-vocabulary bucket, and
    `i + 1` is the vocabulary's i-th entry.

    Args:
        name: Name of the column and of the model's input.
        vocabulary: The raw values, all integers or all strings, each once.
        table: Name of the embedding table; None is the feature's own name.
            Features that name the same table share it.
        vectors: The dimension of the pretrained, frozen vectors of its ids,
            which the prepared folder holds as `vectors.<table>.npy`; None:
            there are none.

    Raises:
        SchemaError: The name can't be an input's, or the vocabulary, the
            table or the dimension isn't as above.

    Example:
    >>> SparseFeature("item", ("pen", "ink")).num_ids
    3
    """

    kind: ClassVar[str] = "sparse"
    dtype: ClassVar[str] = "int32"

    name: str
    vocabulary: tuple[int, ...] | tuple[str, ...]
    table: str | None = None
    vectors: int | None = None

    def __post_init__(self) -> None:
        _check_feature_name(self.name)
        _check_table(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: `()`."""
        return ()

    @property
    def num_ids(self) -> int:
        """How many ids there are, the out-of-vocabulary bucket included."""
        return len(self.vocabulary) + 1

    @property
    def table_name(self) -> str:
        """The name of the embedding table."""
        return self.table or self.name

    def to_dict(self) -> dict[str, Any]:
        """The feature as JSON-ready values."""
        return _to_dict(self)


@dataclasses.dataclass(frozen=True)
class DenseFeature:
    """A numeric feature: one finite `float32` number a row.

    With boundaries the model sorts the numbers into
    `len(boundaries) + 1` buckets; without, it takes `(x - mean) / stddev`.

    Args:
        name: Name of the column and of the model's input.
        boundaries: Where one bucket ends and the next begins, in strictly
            rising order, such as quantiles of the training rows.
        mean: What is taken away from each number.
        stddev: What the rest is divided by.
        missing: What stands for a number that is missing, or NaN, where raw
            values are read; None: that is an error.

    Raises:
        SchemaError: The name can't be an input's, a number isn't finite, the
            boundaries don't rise, or they come with a mean or a stddev.

    Example:
    >>> DenseFeature("age", boundaries=(18.0, 30.0)).shape
    ()
    >>> DenseFeature("price", mean=12.5, stddev=4.0).dtype
    'float32'
    """

    kind: ClassVar[str] = "dense"
    dtype: ClassVar[str] = "float32"

    name: str
    boundaries: tuple[float, ...] | None = None
    mean: float = 0.0
    stddev: float = 1.0
    missing: float | None = None

    def __post_init__(self) -> None:
        _check_feature_name(self.name)
        if self.missing is not None:
            check_number(self.missing, f"what is missing of {self.name!r}")
        check_number(self.mean, f"the mean of {self.name!r}")
        check_number(self.stddev, f"the stddev of {self.name!r}")
        if self.stddev < SMALLEST:
            raise SchemaError(
                f"the stddev of {self.name!r} must be positive. Received: "
                f"{short(self.stddev)}"
            )
        if self.boundaries is not None:
            self._check_boundaries(self.boundaries)

    def _check_boundaries(self, boundaries: tuple[float, ...]) -> None:
        what = f"the boundaries of {self.name!r}"
        check_tuple(boundaries, what)
        for boundary in boundaries:
            check_number(boundary, f"each of {what}")
        for low, high in itertools.pairwise(boundaries):
            if low >= high:
                raise SchemaError(
                    f"{what} must rise strictly. Received: {low} before {high}"
                )
        if (self.mean, self.stddev) != (0.0, 1.0):
            raise SchemaError(
                f"{self.name!r} is either bucketed by boundaries or scaled by "
                "mean and stddev, not both. Received: "
                f"mean={self.mean}, stddev={self.stddev}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: `()`."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The feature as JSON-ready values."""
        return _to_dict(self)


@dataclasses.dataclass(frozen=True)
class SequenceFeature:
    """Up to `max_length` ids a row: a history, or a feature of many values.

    The ids are those of `SparseFeature`. Prepared columns hold lists of any
    length up to `max_length`, the oldest id first; a model's input has
    `PADDING` after the last one.

    Args:
        name: Name of the column and of the model's input.
        vocabulary: The raw values, all integers or all strings, each once.
        max_length: The most ids of a row.
        pooling: How the ids' embeddings become one: a name in `POOLINGS`.
        target: For "din" and "dien": the sparse feature that the ids are
            weighed against. It shares their table.
        table: As in `SparseFeature`.
        vectors: As in `SparseFeature`.

    Raises:
        SchemaError: As for `SparseFeature`; or `max_length` isn't positive,
            there is no such pooling, or it doesn't go with the target.

    Example:
    >>> feature = SequenceFeature(
    ...     "history", ("pen", "ink"), max_length=4, table="item"
    ... )
    >>> feature.shape, feature.table_name
    ((4,), 'item')
    """

    kind: ClassVar[str] = "sequence"
    dtype: ClassVar[str] = "int32"

    name: str
    vocabulary: tuple[int, ...] | tuple[str, ...]
    max_length: int
    pooling: str = "mean"
    target: str | None = None
    table: str | None = None
    vectors: int | None = None

    def __post_init__(self) -> None:
        _check_feature_name(self.name)
        _check_table(self)
        check_positive(
            self.max_length, f"the max_length of {self.name!r}", MAX_LENGTH
        )
        if self.pooling not in POOLINGS:
            raise SchemaError(
                f"the pooling of {self.name!r} must be one of {POOLINGS}. "
                f"Received: {short(self.pooling)}"
            )
        if self.pooling in TARGET_POOLINGS:
            check_input_name(self.target, f"the target of {self.name!r}")
        elif self.target is not None:
            raise SchemaError(
                f"the pooling of {self.name!r} is {self.pooling!r}, which has "
                f"no target. Received: {short(self.target)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: `(max_length,)`."""
        return (self.max_length,)

    @property
    def num_ids(self) -> int:
        """How many ids there are, the out-of-vocabulary bucket included."""
        return len(self.vocabulary) + 1

    @property
    def table_name(self) -> str:
        """The name of the embedding table."""
        return self.table or self.name

    def to_dict(self) -> dict[str, Any]:
        """The feature as JSON-ready values."""
        return _to_dict(self)


Feature = SparseFeature | DenseFeature | SequenceFeature

KINDS: dict[str, Any] = {
    kind.kind: kind for kind in (SparseFeature, DenseFeature, SequenceFeature)
}


def from_dict(content: Any) -> Feature:
    """Reads what `to_dict` gave.

    Raises:
        SchemaError: The content is no feature; the message says why.
    """
    kind = get(content, "kind", str)
    if kind not in KINDS:
        raise SchemaError(
            f"'kind' must be one of {tuple(KINDS)}. Received: {short(kind)}"
        )
    fields = dataclasses.fields(KINDS[kind])
    # An optional key that is misspelt would else count as left out.
    unknown = set(content) - {"kind", *(field.name for field in fields)}
    if unknown:
        raise SchemaError(
            f"a {kind} feature has no {short(min(unknown))}. Received: "
            f"{short(content)}"
        )
    get(content, "name", str)
    values = {
        field.name: get(content, field.name, object)
        for field in fields
        if field.name in content or field.default is dataclasses.MISSING
    }
    feature: Feature = KINDS[kind](
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
    )
    return feature


def _check_feature_name(name: Any) -> None:
    check_input_name(name, "a feature's name")
    if name == DOMAIN:
        raise SchemaError(
            f'a feature can\'t be named "{DOMAIN}": that is the name of the '
            "domain column."
        )


def _check_table(feature: SparseFeature | SequenceFeature) -> None:
    """Checks what features with ids have: vocabulary, table, vectors."""
    name = feature.name
    check_values(feature.vocabulary, f"the vocabulary of {name!r}")
    if feature.table is not None:
        check_input_name(feature.table, f"the table of {name!r}")
        if feature.table == DOMAIN:
            raise SchemaError(
                f'the table of {name!r} can\'t be named "{DOMAIN}": that is '
                "the domains' own."
            )
    if feature.vectors is not None:
        check_positive(
            feature.vectors, f"the vectors' dimension of {name!r}", MAX_VECTOR
        )
        size = 4 * feature.num_ids * feature.vectors
        if size > MAX_VECTORS:
            raise SchemaError(
                f"the vectors of {name!r} must take at most {MAX_VECTORS:,} "
                f"bytes. Received: {feature.num_ids:,} of {feature.vectors:,} "
                f"numbers, {size:,} bytes"
            )


def _to_dict(feature: Feature) -> dict[str, Any]:
    """The feature's fields; those at their defaults are left out."""
    content: dict[str, Any] = {"kind": feature.kind}
    for field in dataclasses.fields(feature):
        value = getattr(feature, field.name)
        if value != field.default:
            content[field.name] = (
                list(value) if isinstance(value, tuple) else value
            )
    return content
