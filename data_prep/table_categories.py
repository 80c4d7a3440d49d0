"""Reads columns of categories: integers or text, one a row or a list of them.

A column is the one or the other, all over the log. In csv a cell is an integer
if it is written as one: "7", but not "007", "+7" or "7.0".
"""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep import table_cells
from data_prep.layout import short
from data_prep.table_columns import Categorical
from data_prep.table_columns import History
from data_prep.table_files import Chunk

INTEGER = "integer"
TEXT = "text"

_INTEGER = "^(0|-?[1-9][0-9]*)$"

RowOf = Callable[[int], int]
"""Says in which row a cell of a list is."""


@dataclasses.dataclass(frozen=True)
class Coded:
    """Categories: each distinct value once, and an index for each cell.

    Args:
        indices: Indices into `values`; -1 where the cell is empty.
        values: `int64` or `string`; some may be in no cell.
    """

    indices: np.ndarray
    values: pa.Array

    def find(self, wanted: pa.Array) -> np.ndarray:
        """Returns the index of each cell in `wanted`, or -1."""
        if self.values.type != wanted.type:
            return np.full(self.indices.size, -1, np.int32)
        found = pc.index_in(self.values, value_set=wanted).fill_null(-1)
        # The last one is for the empty cells, whose index is -1.
        return np.append(found.to_numpy(zero_copy_only=False), np.int32(-1))[
            self.indices
        ]

    def counts(self, kept: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        """Returns the values in the cells of that mask, and how often."""
        indices = self.indices[kept & (self.indices >= 0)]
        counts = np.bincount(indices, minlength=len(self.values))
        there = np.flatnonzero(counts)
        return self.values.take(pa.array(there)), counts[there]


@dataclasses.dataclass(frozen=True)
class _First:
    """A column's first cell: what all others must be like."""

    kind: str
    shown: str
    chunk: Chunk
    row: int


@dataclasses.dataclass(frozen=True)
class Known:
    """What an earlier folder says of the columns.

    Args:
        folder: The folder.
        kinds: By feature, `INTEGER` or `TEXT`.
    """

    folder: pathlib.Path
    kinds: Mapping[str, str]


class Categories:
    """Reads columns, and holds each to what its first cell was.

    With an earlier folder each feature is held to what it is there. Cells of
    csv have no type: where the feature is text there, "360" is text, too. So
    are the domains of a csv, whose names are what they are known by.

    Args:
        strings: Columns that are text even if they look like integers.
        known: What an earlier folder says of them, if there is one.
    """

    def __init__(
        self, strings: Collection[str] = (), known: Known | None = None
    ) -> None:
        self._strings = frozenset(strings)
        self._known = known
        self._firsts: dict[str, _First] = {}

    def kinds(self) -> dict[str, str]:
        """What each column holds of which a cell was read."""
        return {name: first.kind for name, first in self._firsts.items()}

    def said(self, name: str) -> str:
        """Where the column's first cell is, and what it holds."""
        first = self._firsts[name]
        return f"{first.chunk.place(first.row)} holds {first.shown}"

    def domain(self, chunk: Chunk, name: str) -> Coded:
        """Reads the column of the domains, which nothing can stand for.

        With an earlier folder they are text: it has their names alone, which
        of integers are their digits.
        """
        coded = self._one(chunk, name)
        table_cells.check_filled(
            chunk, name, coded.indices < 0, "mend it, or leave the row out"
        )
        if self._known is not None:
            return Coded(coded.indices, coded.values.cast(pa.string()))
        return coded

    def one(self, chunk: Chunk, column: Categorical) -> Coded:
        """Reads a column of one category a row."""
        coded = self._one(chunk, column.name)
        if column.missing == "error":
            table_cells.check_filled(chunk, column.name, coded.indices < 0)
        return coded

    def several(
        self, chunk: Chunk, column: History
    ) -> tuple[Coded, np.ndarray]:
        """Reads a column of lists: the last cells of each, and how many.

        Empty cells at a list's end are left out: in a request they can't be
        told from what pads it to the longest one's length.
        """
        name = column.name
        cells, lengths, missing = table_cells.lists(chunk, column)
        starts = np.cumsum(lengths) - lengths
        stops = starts + lengths
        if column.missing == "error":
            table_cells.check_filled(chunk, name, missing)
        else:
            stops = _filled(cells, starts, stops)
        kept = np.minimum(stops - starts, column.max_length)
        if (kept < lengths).any():
            # How many cells there are from this one to the last filled one.
            left = np.repeat(stops, lengths)
            left -= np.arange(left.size)
            cells = cells.filter(
                pa.array((left > 0) & (left <= column.max_length))
            )
        ends = np.cumsum(kept)

        def row_of(cell: int) -> int:
            return int(np.searchsorted(ends, cell, "right"))

        coded = self._coded(chunk, name, cells, row_of)
        if column.missing == "error" and (coded.indices < 0).any():
            row = row_of(int((coded.indices < 0).argmax()))
            raise chunk.error(
                row,
                name,
                "has an empty place in its list; "
                f"{table_cells.empty_advice(chunk)}.",
            )
        return coded, kept

    def _one(self, chunk: Chunk, name: str) -> Coded:
        cells = chunk.columns[name]
        return self._coded(chunk, name, cells, lambda cell: cell)

    def _coded(
        self, chunk: Chunk, name: str, cells: pa.Array, row_of: RowOf
    ) -> Coded:
        indices, values = table_cells.coded(chunk, name, cells, row_of)
        csv = pa.types.is_binary(values.type)
        if csv:
            values = _decoded(chunk, name, Coded(indices, values), row_of)
        if pa.types.is_string(values.type):
            indices = table_cells.without(indices, pc.equal(values, ""))
        filled = np.flatnonzero(indices >= 0)
        if not filled.size:
            return Coded(indices, pa.array([], pa.string()))
        if name in self._strings or (csv and self._known_text(name)):
            return Coded(indices, values.cast(pa.string()))
        integer = _are_integers(chunk, name, values, csv)
        kind = self._checked(
            chunk, name, Coded(indices, values), integer, row_of
        )
        if kind == TEXT:
            return Coded(indices, values.cast(pa.string()))
        if csv:
            # No cell has a value that isn't one, but the empty text.
            values = pc.if_else(pa.array(integer), values, None)
        try:
            return Coded(indices, values.cast(pa.int64()))
        except pa.ArrowInvalid:
            wrong = table_cells.first_failing(
                values, lambda part: part.cast(pa.int64())
            )
            advice = f"add --strings={name}" if not self._known else "mend it"
            raise chunk.error(
                row_of(int((indices == wrong).argmax())),
                name,
                f"holds an integer beyond 64 bits; {advice}.",
            ) from None

    def _known_text(self, name: str) -> bool:
        """Whether an earlier folder has that column as text."""
        return (
            self._known is not None
            and self._known.kinds.get(name, TEXT) == TEXT
        )

    def _checked(
        self,
        chunk: Chunk,
        name: str,
        coded: Coded,
        integer: np.ndarray,
        row_of: RowOf,
    ) -> str:
        """The column's kind; raises at the first cell that isn't of it."""

        def first(cells: np.ndarray) -> _First:
            cell = int(cells.argmax())
            index = int(coded.indices[cell])
            kind = INTEGER if integer[index] else TEXT
            value = short(coded.values[index].as_py())
            # Without its columns, which would stay in memory.
            where = dataclasses.replace(chunk, columns={})
            return _First(kind, f"the {kind} {value}", where, row_of(cell))

        if name not in self._firsts:
            self._firsts[name] = first(coded.indices >= 0)
        known = self._known.kinds.get(name) if self._known else None
        kind = known or self._firsts[name].kind
        unlike = integer != (kind == INTEGER)
        # The last one is for the empty cells, whose index is -1.
        wrong = np.append(unlike, False)[coded.indices]
        if unlike.any() and wrong.any():
            other = first(wrong)
            raise chunk.error(
                other.row, name, f"holds {other.shown}, {self._unlike(name)}"
            )
        return kind

    def _unlike(self, name: str) -> str:
        """What the column holds elsewhere, and what to do."""
        if self._known is None:
            return f"and {self.said(name)}; {mend(name)}"
        if name not in self._known.kinds:
            return f"and {self.said(name)}; mend one of them."
        held = "text" if self._known.kinds[name] == TEXT else "integers"
        return (
            f"but in {self._known.folder} it holds {held}; mend it, or the "
            "column's type."
        )


def mend(name: str) -> str:
    """What to do about a column that holds integers and text."""
    return f"mend one of them, or, if the column is text, add --strings={name}."


def _filled(
    cells: pa.Array, starts: np.ndarray, stops: np.ndarray
) -> np.ndarray:
    """Where each list stops without the empty cells at its end."""
    filled = ~table_cells.are_empty(cells)
    # By place, the one after the last filled cell before it.
    after = np.where(filled, np.arange(1, filled.size + 1), 0)
    after = np.maximum.accumulate(np.append(0, after))
    return np.maximum(after[stops], starts)


def _are_integers(
    chunk: Chunk, name: str, values: pa.Array, csv: bool
) -> np.ndarray:
    """Which values are integers, by their text or by the column's type."""
    kind = values.type
    if csv:
        return pc.match_substring_regex(values, _INTEGER).to_numpy(
            zero_copy_only=False
        )
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.ones(len(values), bool)
    if pa.types.is_string(kind):
        return np.zeros(len(values), bool)
    raise table_cells.wrong_type(chunk, name, "integers or text")


def _decoded(chunk: Chunk, name: str, coded: Coded, row_of: RowOf) -> pa.Array:
    try:
        return coded.values.cast(pa.string())
    except pa.ArrowInvalid:
        wrong = table_cells.first_failing(
            coded.values, lambda part: part.cast(pa.string())
        )
        row = row_of(int((coded.indices == wrong).argmax()))
        raise chunk.error(row, name, table_cells.ENCODING) from None
