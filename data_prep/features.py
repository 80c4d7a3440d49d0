"""Describes features as `schema.json` holds them, and types their columns.

The three kinds are those of training's schema: `sparse`, one id a row;
`dense`, one number a row; `sequence`, a list of ids a row. An option that is
None is left out, and has training's default.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import numpy as np
import pyarrow as pa

Values: TypeAlias = Sequence[int] | Sequence[str]
Column: TypeAlias = np.ndarray | pa.ListArray


def sparse(
    name: str,
    vocabulary: Values,
    *,
    table: str | None = None,
    vectors: int | None = None,
) -> dict[str, Any]:
    """A feature of one id a row.

    Args:
        name: Name of the column.
        vocabulary: The raw values in the order of their ids: all integers or
            all strings.
        table: Name of the embedding table; None is the feature's own.
        vectors: Dimension of the table's pretrained vectors, if it has any.
    """
    return _feature(
        kind="sparse",
        name=name,
        vocabulary=list(vocabulary),
        table=table,
        vectors=vectors,
    )


def dense(
    name: str,
    *,
    boundaries: Sequence[float] | None = None,
    mean: float | None = None,
    stddev: float | None = None,
    missing: float | None = None,
) -> dict[str, Any]:
    """A feature of one number a row.

    Args:
        name: Name of the column.
        boundaries: The edges of the buckets that the model sorts numbers
            into, in strictly rising order. Fit them on training rows alone.
        mean: Of the training rows; for a feature without boundaries.
        stddev: Of the training rows; for a feature without boundaries.
        missing: What stands for a missing number; None: nothing does.
    """
    return _feature(
        kind="dense",
        name=name,
        boundaries=None if boundaries is None else [*map(float, boundaries)],
        mean=None if mean is None else float(mean),
        stddev=None if stddev is None else float(stddev),
        missing=None if missing is None else float(missing),
    )


def sequence(
    name: str,
    vocabulary: Values,
    max_length: int,
    *,
    pooling: str | None = None,
    target: str | None = None,
    table: str | None = None,
    vectors: int | None = None,
) -> dict[str, Any]:
    """A feature of a list of ids a row, the oldest first.

    Args:
        name: Name of the column.
        vocabulary: As in `sparse`.
        max_length: The most ids of a row.
        pooling: "sum", "mean", "max", "din" or "dien".
        target: For "din" and "dien", the sparse feature of the same table
            that the ids are weighed against.
        table: As in `sparse`.
        vectors: As in `sparse`.
    """
    return _feature(
        kind="sequence",
        name=name,
        vocabulary=list(vocabulary),
        max_length=max_length,
        pooling=pooling,
        target=target,
        table=table,
        vectors=vectors,
    )


def lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """A column of lists, from all their ids in a row and each one's length."""
    offsets = np.append(0, np.cumsum(lengths))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(values, pa.int32())
    )


def quantiles(values: np.ndarray, buckets: int) -> list[float]:
    """Edges of buckets that hold about as many of the values each.

    There are fewer where a value is so frequent that edges coincide.
    """
    shares = np.arange(1, buckets) / buckets
    edges = np.quantile(values, shares, method="inverted_cdf")
    return [*map(float, np.unique(edges))]


def table_of(feature: Mapping[str, Any]) -> str:
    """The name of a feature's embedding table: its own, unless it shares."""
    name: str = feature.get("table", feature["name"])
    return name


def are_integers(vocabulary: Sequence[int | str]) -> bool:
    """Whether the values of a vocabulary are integers, or else text."""
    return isinstance(vocabulary[0], int)


def array(vocabulary: Sequence[int | str]) -> pa.Array:
    """The values of a vocabulary, in its order, as Arrow holds them.

    Args:
        vocabulary: All integers or all strings, at least one.

    Returns:
        An array of `int64` or of `string`.
    """
    kind = pa.int64() if are_integers(vocabulary) else pa.string()
    return pa.array(vocabulary, kind)


def vector_shapes(
    features: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[int, int]]:
    """The shape of each table of pretrained vectors, by the table's name."""
    return {
        table_of(feature): (
            len(feature["vocabulary"]) + 1,
            feature["vectors"],
        )
        for feature in features
        if "vectors" in feature
    }


def typed(feature: Mapping[str, Any], column: Column) -> Column:
    """Returns a feature's column in the type of the format.

    Raises:
        ValueError: The column doesn't hold what the feature says.
    """
    name, kind = feature["name"], feature["kind"]
    if kind == "dense":
        return _numbers(name, column)
    if kind == "sequence":
        return _lists(feature, column)
    return integers(name, column, len(feature["vocabulary"]) + 1, np.int32)


def integers(
    name: str, values: np.ndarray, stop: int, dtype: type[np.integer]
) -> np.ndarray:
    """Returns `values` in that type, once all are known to be below `stop`."""
    if values.dtype.kind not in "biu":
        raise ValueError(
            f"column {name!r} must hold integers. Received: {values.dtype}"
        )
    if values.size and (values.min() < 0 or values.max() >= stop):
        raise ValueError(
            f"column {name!r} must hold integers from 0 to {stop - 1}. "
            f"Received: {values.min()} to {values.max()}"
        )
    return values.astype(dtype)


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"column {name!r} must hold numbers that are finite in float32. "
            f"Received: {values[~np.isfinite(numbers)][0]}"
        )
    return numbers


def _lists(feature: Mapping[str, Any], column: pa.ListArray) -> pa.ListArray:
    name, max_length = feature["name"], feature["max_length"]
    if not isinstance(column, pa.ListArray) or column.null_count:
        raise ValueError(
            f"column {name!r} must hold a list for every row. Received: "
            f"{getattr(column, 'type', type(column))}"
        )
    lengths = np.diff(column.offsets)
    if lengths.size and lengths.max() > max_length:
        raise ValueError(
            f"column {name!r} must hold lists of at most {max_length} ids. "
            f"Received: {lengths.max()}"
        )
    values = column.flatten().to_numpy(zero_copy_only=False)
    stop = len(feature["vocabulary"]) + 1
    return lists(integers(name, values, stop, np.int32), lengths)


def _feature(**content: Any) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value is not None}
