"""Reads pretrained vectors of a log's values, from files beside the log.

A file is csv or Parquet, as a log is, with a row for each value: the value in
a column of the feature's name, its numbers in the column `vector`, as a list
or, in text, parted by spaces. Values that the training rows don't have are
left out; those without a vector have the mean of the others, and so has the
id 0.
"""

import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from data_prep import table_cells
from data_prep import vector_texts
from data_prep.features import table_of
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.table_categories import Categories
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_files import Chunk
from data_prep.table_files import Log

VECTOR = "vector"
"""The column of the vectors in a file of them."""


def files(columns: Columns) -> dict[str, tuple[Categorical | History, Log]]:
    """By table, the feature that states a file of vectors, and the file.

    Raises:
        PreparationError: A file isn't there, or lacks a column.
    """
    found = {}
    for feature in columns.features:
        if isinstance(feature, Numeric) or feature.vectors is None:
            continue
        path = pathlib.Path(feature.vectors)
        if not path.exists():
            raise PreparationError(
                f"'vectors' of {feature.name!r}: {path} isn't there; name a "
                f"csv or Parquet file with the columns {feature.name!r} and "
                f"{VECTOR!r}."
            )
        log = Log(path, "leave the row out")
        log.check_columns((feature.name, VECTOR))
        found[feature.table] = feature, log
    return found


def sources(columns: Columns) -> dict[str, Any]:
    """By `vectors.<table>:<file>`, the digest of each file of vectors."""
    return {
        f"vectors.{table}:{name}": digest
        for table, (_, log) in files(columns).items()
        for name, digest in log.sources().items()
    }


def read(
    columns: Columns, vocabularies: Mapping[str, pa.Array]
) -> dict[str, np.ndarray]:
    """By table, the vectors of its ids, that of the unknown one first."""
    return {
        table: _table(feature, log, columns, vocabularies[table])
        for table, (feature, log) in files(columns).items()
    }


def described(
    features: Sequence[Mapping[str, Any]], vectors: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """The features, with their tables' dimensions."""
    return [
        {**feature, "vectors": vectors[table].shape[1]}
        if (table := table_of(feature)) in vectors
        else dict(feature)
        for feature in features
    ]


def _table(
    feature: Categorical | History,
    log: Log,
    columns: Columns,
    vocabulary: pa.Array,
) -> np.ndarray:
    """The vectors of a vocabulary; what has none gets the others' mean."""
    name, path = feature.name, log.pattern
    vectors = np.empty((0, 0), np.float32)
    there = np.zeros(len(vocabulary), bool)
    for chunk, values, numbers in _chunks(feature, log, columns):
        if values.type != vocabulary.type:
            raise PreparationError(
                f"{path}: column {name!r} holds {_kind(values)}, and in the "
                f"log it holds {_kind(vocabulary)}; convert one of them."
            )
        if not vectors.size:
            vectors = np.zeros((there.size, numbers.shape[1]), np.float32)
        found = pc.index_in(values, value_set=vocabulary).fill_null(-1)
        index = found.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(index >= 0)
        again = there[index[rows]] | _repeated(index[rows])
        if again.any():
            row = int(rows[again.argmax()])
            value = short(values[row].as_py())
            raise chunk.error(
                row,
                name,
                f"holds {value}, which has a vector before; leave one out.",
            )
        vectors[index[rows]] = numbers[rows]
        there[index[rows]] = True
    if not there.any():
        raise PreparationError(
            f"{path} has no vector of any value of {name!r} in the training "
            "rows; see that it is the file of these values."
        )
    if not there.all():
        logging.warning(
            "%s has no vector of %s of the %s values of %r: they get the mean "
            "of the others.",
            path,
            f"{there.size - there.sum():,}",
            f"{there.size:,}",
            name,
        )
    known = vector_texts.with_mean(vectors[there])
    table = np.repeat(known[:1], 1 + there.size, axis=0)
    table[1:][there] = known[1:]
    return table


def _chunks(
    feature: Categorical | History, log: Log, columns: Columns
) -> Iterator[tuple[Chunk, pa.Array, np.ndarray]]:
    """Each chunk, its rows' values, and their vectors."""
    cells = Categories(columns.strings)
    column = Categorical(feature.name, feature.table, 1, "error")
    names = (feature.name, VECTOR)
    dim = None
    for chunk in log.chunks(names, f"Reading the vectors of {feature.name}"):
        coded = cells.one(chunk, column)
        numbers = _numbers(chunk, dim)
        dim = numbers.shape[1]
        yield chunk, coded.values.take(pa.array(coded.indices)), numbers


def _numbers(chunk: Chunk, dim: int | None) -> np.ndarray:
    """The vectors, `float32` of shape `(rows, dimension)`."""
    cells = table_cells.text(chunk, VECTOR)
    empty = cells.is_null().to_numpy(zero_copy_only=False)
    table_cells.check_filled(chunk, VECTOR, empty, "give it numbers")

    def error(row: int, problem: str) -> PreparationError:
        return chunk.error(row, VECTOR, f"is wrong: {problem}.")

    kind = cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return vector_texts.parse(cells.cast(pa.string()), dim, error)
    try:
        lists = cells.cast(pa.list_(pa.float32()), safe=False)
    except pa.ArrowException:
        raise table_cells.wrong_type(
            chunk, VECTOR, "lists of numbers, or text that spaces part,"
        ) from None
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    dim = dim or int(sizes[0])
    if not dim:
        raise error(0, "a vector has no numbers")
    vector_texts.check_sizes(sizes, dim, error)
    numbers = lists.flatten().fill_null(np.nan)
    vectors = numbers.to_numpy(zero_copy_only=False).reshape(-1, dim)
    wrong = ~np.isfinite(vectors).all(axis=1)
    if wrong.any():
        raise error(
            int(wrong.argmax()), "its numbers must be finite in float32"
        )
    return vectors


def _repeated(index: np.ndarray) -> np.ndarray:
    """Which numbers have been there before."""
    again = np.ones(index.size, bool)
    again[np.unique(index, return_index=True)[1]] = False
    return again


def _kind(values: pa.Array) -> str:
    return "text" if pa.types.is_string(values.type) else "integers"
