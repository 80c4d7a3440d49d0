"""From a prepared folder's files to arrays, each checked against the schema."""

import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from mlora_tf.schema import DOMAIN
from mlora_tf.schema import PADDING
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature


class DataError(ValueError):
    """Data that can't be used: says which file, what is wrong, what to do."""


def read_columns(
    path: pathlib.Path, schema: Schema
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Reads the columns of one Parquet file.

    Returns:
        The model's inputs by name in the schema's order, the label, and the
        other columns of the file by name.
    """
    try:
        table = pa.parquet.read_table(path, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: can't be read as Parquet ({error}); prepare the data "
            "again."
        ) from None
    columns = {name: table.column(name) for name in table.column_names}
    for name, column in columns.items():
        if column.null_count:
            raise DataError(
                f"{path}: column {name!r} has {column.null_count} empty cells; "
                "prepare the data again."
            )
    missing = sorted({*schema.input_names, schema.label} - set(columns))
    if missing:
        raise DataError(
            f"{path}: schema.json names columns that the file lacks: "
            f"{missing}. It has {sorted(columns)}."
        )
    inputs = {}
    for feature in schema.features:
        column, where = columns.pop(feature.name), _where(path, feature.name)
        if isinstance(feature, DenseFeature):
            inputs[feature.name] = _numbers(where, column)
        elif isinstance(feature, SequenceFeature):
            inputs[feature.name] = _sequences(where, column, feature)
        else:
            inputs[feature.name] = _ids(where, column, feature.num_ids)
    inputs[DOMAIN] = _ids(
        _where(path, DOMAIN), columns.pop(DOMAIN), schema.num_domains
    )
    label = _ids(_where(path, schema.label), columns.pop(schema.label), 2)
    extra = {name: column.to_numpy() for name, column in columns.items()}
    return inputs, label.astype(np.float32), extra


def read_vectors(path: pathlib.Path, num_ids: int, dim: int) -> np.ndarray:
    """Reads a table of pretrained vectors, `float32 (num_ids, dim)`."""
    try:
        with path.open("rb") as file:
            vectors = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, MemoryError) as error:
        raise DataError(
            f"{path}: can't be read as a NumPy array ({error}); prepare the "
            "data again."
        ) from None
    if (vectors.dtype, vectors.shape) != (np.float32, (num_ids, dim)):
        raise DataError(
            f"{path}: must hold an array of float32 and of shape "
            f"{(num_ids, dim)}. Received: {vectors.dtype} and {vectors.shape}"
        )
    wrong = np.argwhere(~np.isfinite(vectors))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}: row {row}, column {column}: vectors must be finite. "
            f"Received: {vectors[row, column]}"
        )
    return vectors


def _where(path: pathlib.Path, name: str) -> str:
    return f"{path}: column {name!r}"


def _ids(where: str, column: Any, size: int) -> np.ndarray:
    """A column of one id in `[0, size)` a row."""
    ids = column.to_numpy()
    if ids.dtype.kind not in "iub":
        raise DataError(f"{where} must hold integers. Received: {ids.dtype}")
    wrong = _first_outside(ids, size)
    if wrong is not None:
        raise DataError(
            f"{where}, row {wrong}: ids must be in [0, {size}). Received: "
            f"{ids[wrong]}"
        )
    return ids.astype(np.int32)


def _numbers(where: str, column: Any) -> np.ndarray:
    """A column of one finite number a row."""
    if column.type not in (pa.float32(), pa.float64()):
        raise DataError(
            f"{where} must hold numbers, float32 or float64. Received: "
            f"{column.type}"
        )
    # What float32 can't hold becomes infinite, and is refused as that.
    with np.errstate(over="ignore"):
        numbers = column.to_numpy().astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise DataError(
            f"{where}, row {wrong[0]}: numbers must be finite in float32. "
            f"Received: {column[int(wrong[0])]}"
        )
    return numbers


def _sequences(where: str, column: Any, feature: SequenceFeature) -> np.ndarray:
    """A column of lists of ids, padded at the end to a rectangle."""
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not lists or not pa.types.is_integer(kind.value_type):
        raise DataError(
            f"{where} must hold lists of integers. Received: {kind}"
        )
    shape = (len(column), *feature.shape)
    padded = np.full(shape, PADDING, np.int32)
    start = 0
    for chunk in column.chunks:
        rows = padded[start : start + len(chunk)]
        _pad(where, start, chunk, feature.num_ids, rows)
        start += len(chunk)
    return padded


def _pad(
    where: str, start: int, lists: Any, size: int, padded: np.ndarray
) -> None:
    """Writes lists, the first of which is row `start`, into their rows."""
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    max_length = padded.shape[1]
    longer = np.flatnonzero(lengths > max_length)
    if len(longer):
        raise DataError(
            f"{where}, row {start + longer[0]}: a list must have at most "
            f"{max_length} ids. Received: {lengths[longer[0]]}"
        )
    values = lists.flatten()
    if values.null_count:
        row = _row(offsets, int(values.is_null().to_numpy(False).argmax()))
        raise DataError(
            f"{where}, row {start + row}: a list has an empty cell; prepare "
            "the data again."
        )
    ids = values.to_numpy()
    wrong = _first_outside(ids, size)
    if wrong is not None:
        raise DataError(
            f"{where}, row {start + _row(offsets, wrong)}: ids must be in "
            f"[0, {size}). Received: {ids[wrong]}"
        )
    # A mask picks cells row by row, which is the order of the ids.
    padded[np.arange(max_length) < lengths[:, None]] = ids


def _row(offsets: np.ndarray, position: int) -> int:
    """The list that holds the flat position, counted from the first list."""
    place = offsets[0] + position
    return int(np.searchsorted(offsets, place, side="right")) - 1


def _first_outside(ids: np.ndarray, size: int) -> int | None:
    wrong = np.flatnonzero((ids < 0) | (ids >= size))
    return int(wrong[0]) if len(wrong) else None
