"""From a prepared folder's files to arrays, each checked against the schema."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlora_tf import npy_header
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import PADDING
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema_checks import short


class DataError(ValueError):
    """Data that can't be used: says which file, what is wrong, what to do."""


Columns = tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]


def read_columns(path: pathlib.Path, rows: int, schema: Schema) -> Columns:
    """Reads the columns of one Parquet file.

    Args:
        path: The file.
        rows: How many rows it must have: a file may state far more than its
            bytes would let one think.
        schema: What it must hold.

    Returns:
        The model's inputs by name in the schema's order, the label, and the
        other columns of the file by name.
    """
    read_footer(path, rows, schema)
    with reading(path):
        table = pq.read_table(path, use_threads=False)
    return to_columns(path, table, schema)


def read_footer(path: pathlib.Path, rows: int, schema: Schema) -> Any:
    """Checks what a file's footer says, and reads no row.

    The statistics are left alone: Arrow ends the process at damaged ones.

    Returns:
        The file's metadata, and the names of its columns.
    """
    with reading(path):
        metadata = pq.read_metadata(path)
        found = metadata.schema.to_arrow_schema()
        names = found.names
    if metadata.num_rows != rows:
        raise DataError(
            f"{path}: manifest.json says {rows} rows and the file has "
            f"{metadata.num_rows}; prepare the data again."
        )
    check_types(path, found, schema)
    return metadata, names


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Says which file it was that can't be read."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Arrow's messages may have several lines.
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: can't be read as Parquet ({reason}); prepare the data "
            "again."
        ) from None


def to_columns(
    path: pathlib.Path, table: pa.Table, schema: Schema, first_row: int = 0
) -> Columns:
    """Checks the columns of a file, or of a part of it.

    Args:
        path: The file, for messages.
        table: The rows.
        schema: What they must be.
        first_row: The first one's number in the file, for messages.

    Returns:
        As `read_columns`.
    """
    columns = {name: table.column(name) for name in table.column_names}
    for name, column in columns.items():
        if column.null_count:
            raise DataError(
                f"{path}: column {name!r} has {column.null_count} empty cells; "
                "prepare the data again."
            )
    check_types(path, table.schema, schema)
    place = Place(path, first_row)
    inputs = {}
    for feature in schema.features:
        column = columns.pop(feature.name)
        if isinstance(feature, DenseFeature):
            inputs[feature.name] = _numbers(place, feature.name, column)
        elif isinstance(feature, SequenceFeature):
            inputs[feature.name] = _sequences(place, column, feature)
        else:
            inputs[feature.name] = to_ids(
                place, feature.name, column, feature.num_ids
            )
    inputs[DOMAIN] = to_ids(
        place, DOMAIN, columns.pop(DOMAIN), schema.num_domains
    )
    label = to_ids(place, schema.label, columns.pop(schema.label), 2)
    extra = {name: column.to_numpy() for name, column in columns.items()}
    return inputs, label.astype(np.float32), extra


def check_types(path: pathlib.Path, found: pa.Schema, schema: Schema) -> None:
    """Raises unless a file has the schema's columns, in types that will do."""
    types = dict(zip(found.names, found.types, strict=True))
    if len(types) < len(found.names):
        raise DataError(
            f"{path}: a column is there twice. Received: {found.names}"
        )
    missing = sorted({*schema.input_names, schema.label} - set(types))
    if missing:
        raise DataError(
            f"{path}: schema.json names columns that the file lacks: "
            f"{missing}. It has {sorted(types)}."
        )
    kinds = {feature.name: feature for feature in schema.features}
    for name in (*schema.input_names, schema.label):
        kind, feature = types[name], kinds.get(name)
        where = f"{path}: column {name!r}"
        if isinstance(feature, DenseFeature):
            if kind not in (pa.float32(), pa.float64()):
                raise DataError(
                    f"{where} must hold numbers, float32 or float64. "
                    f"Received: {kind}"
                )
        elif isinstance(feature, SequenceFeature):
            lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
            if not lists or not pa.types.is_integer(kind.value_type):
                raise DataError(
                    f"{where} must hold lists of integers. Received: {kind}"
                )
        elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise DataError(f"{where} must hold integers. Received: {kind}")
    for name in sorted(set(types) - {*schema.input_names, schema.label}):
        kind = types[name]
        # Texts and lists could take any amount of memory.
        if not (pa.types.is_primitive(kind) or pa.types.is_boolean(kind)):
            raise DataError(
                f"{path}: column {short(name)} is none of the schema's, so it "
                f"must hold numbers. Received: {kind}"
            )


@dataclasses.dataclass(frozen=True)
class Place:
    """Where rows come from, for messages.

    Attributes:
        path: The file.
        first_row: The number of the first row in the file.
    """

    path: pathlib.Path
    first_row: int = 0

    def row(self, name: str, row: int) -> str:
        """Names a cell, given its row's number from the first row."""
        return f"{self.path}: column {name!r}, row {self.first_row + row}"


def read_vectors(path: pathlib.Path, num_ids: int, dim: int) -> np.ndarray:
    """Reads a table of pretrained vectors, `float32 (num_ids, dim)`."""
    try:
        with path.open("rb") as file:
            head = file.read(npy_header.LENGTH)
            head += file.read(npy_header.end(head) - len(head))
            header = npy_header.parse(head, path.stat().st_size)
            numbers = np.fromfile(file, header.dtype)
        vectors = numbers.reshape(header.shape, order=header.order)
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


def to_ids(place: Place, name: str, column: Any, size: int) -> np.ndarray:
    """A column of integers: one id in `[0, size)` a row."""
    ids = column.to_numpy()
    wrong = _first_outside(ids, size)
    if wrong is not None:
        raise DataError(
            f"{place.row(name, wrong)}: ids must be in [0, {size}). Received: "
            f"{ids[wrong]}"
        )
    return ids.astype(np.int32)


def _numbers(place: Place, name: str, column: Any) -> np.ndarray:
    """A column of one finite number a row."""
    # What float32 can't hold becomes infinite, and is refused as that.
    with np.errstate(over="ignore"):
        numbers = column.to_numpy().astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise DataError(
            f"{place.row(name, wrong[0])}: numbers must be finite in float32. "
            f"Received: {column[int(wrong[0])]}"
        )
    return numbers


def _sequences(
    place: Place, column: Any, feature: SequenceFeature
) -> np.ndarray:
    """A column of lists of ids, padded at the end to a rectangle."""
    shape = (len(column), *feature.shape)
    padded = np.full(shape, PADDING, np.int32)
    start = 0
    for chunk in column.chunks:
        rows = padded[start : start + len(chunk)]
        chunk_place = Place(place.path, place.first_row + start)
        _pad(chunk_place, chunk, feature, rows)
        start += len(chunk)
    return padded


def _pad(
    place: Place, lists: Any, feature: SequenceFeature, padded: np.ndarray
) -> None:
    """Writes lists into their rows."""
    name, size, max_length = feature.name, feature.num_ids, padded.shape[1]
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    longer = np.flatnonzero(lengths > max_length)
    if len(longer):
        raise DataError(
            f"{place.row(name, longer[0])}: a list must have at most "
            f"{max_length} ids. Received: {lengths[longer[0]]}"
        )
    values = lists.flatten()
    if values.null_count:
        row = _row(offsets, int(values.is_null().to_numpy(False).argmax()))
        raise DataError(
            f"{place.row(name, row)}: a list has an empty cell; prepare the "
            "data again."
        )
    ids = values.to_numpy()
    wrong = _first_outside(ids, size)
    if wrong is not None:
        raise DataError(
            f"{place.row(name, _row(offsets, wrong))}: ids must be in "
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
