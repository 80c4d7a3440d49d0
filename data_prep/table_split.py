"""Which rows of a log are for training: at random, by time, or as given.

A splitter reads the columns `names`. It is shown every chunk by `observe`,
then asked for the split of each row by `split`.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from data_prep import table_cells
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.splits import add_up
from data_prep.splits import hashed_split
from data_prep.splits import split_sizes
from data_prep.table_files import Chunk
from data_prep.table_numbers import Sample

KINDS = ("random", "time", "given")
FRACTIONS = (0.8, 0.1, 0.1)
GIVEN = {
    "train": 0,
    "valid": 1,
    "val": 1,
    "validation": 1,
    "test": 2,
}
"""What a column of given splits may hold, in small or capital letters."""

_FORM = "must be a number or a time, as in 2026-01-31 23:59:59"
_TIMES = {
    "integers": pa.int64(),
    "numbers": pa.float64(),
    "times": pa.timestamp("us"),
    "times with a zone": pa.timestamp("us", "UTC"),
}
"""What a column of times may hold. In csv, the first cell decides."""


class Splitter(Protocol):
    """What deals rows out to the splits."""

    names: tuple[str, ...]
    hint: str

    def prime(self, chunk: Chunk) -> None:
        """Learns from the log's first rows how its column is written."""

    def observe(self, chunk: Chunk) -> None:
        """Sees the rows of a chunk, before any `split`."""

    def split(self, chunk: Chunk) -> np.ndarray:
        """Returns each row's split, an index into `SPLITS`."""


def make(
    kind: str, column: str | None, fractions: Sequence[float], seed: int
) -> Splitter:
    """Makes the splitter of that kind, one of `KINDS`."""
    if kind not in KINDS:
        raise PreparationError(
            f"--split must be one of {', '.join(KINDS)}; it is {kind!r}."
        )
    if kind == "random" and column is not None:
        raise PreparationError(
            f"--split=random has no --split_column; it is {column!r}. Leave "
            "it out, or choose --split=time or --split=given."
        )
    if kind != "random" and column is None:
        raise PreparationError(
            f"--split={kind} needs --split_column: the column of "
            + ("the times." if kind == "time" else "train, valid and test.")
        )
    if column is not None and kind == "given":
        if tuple(fractions) != FRACTIONS:
            raise PreparationError(
                "--split=given has no --fractions; they are "
                f"{','.join(map(str, fractions))}. Leave them out: the column "
                f"{column!r} says each row's split."
            )
        return Given(column)
    _check(fractions)
    return (
        ByTime(column, fractions, seed) if column else Random(fractions, seed)
    )


class Random:
    """Each row by itself, by the seed and its number in the log."""

    names: tuple[str, ...] = ()
    hint = "prepare a larger log, or choose other --fractions"

    def __init__(self, fractions: Sequence[float], seed: int) -> None:
        self._fractions = fractions
        self._seed = seed

    def prime(self, chunk: Chunk) -> None:
        """Needs to see nothing."""

    def observe(self, chunk: Chunk) -> None:
        """Needs to see nothing."""

    def split(self, chunk: Chunk) -> np.ndarray:
        """Returns each row's split, an index into `SPLITS`."""
        return hashed_split(
            chunk.start, len(chunk), self._fractions, self._seed
        )


class ByTime:
    """The first rows by time for training, the last ones for the test.

    Rows of one time are in one split. The two points in time are exact for a
    log of at most `table_numbers.SAMPLE` rows, and else those of a sample.
    """

    hint = "too many rows have the same time, or choose other --fractions"

    def __init__(
        self, column: str, fractions: Sequence[float], seed: int
    ) -> None:
        self.names: tuple[str, ...] = (column,)
        self._fractions = fractions
        self.sample = Sample(seed)
        self._latest: int | float | None = None
        self._sorted = True
        self._kind: tuple[str, str] | None = None
        self._points: np.ndarray | None = None

    def prime(self, chunk: Chunk) -> None:
        """Learns from the log's first rows how times are written."""
        self._times(chunk)

    def observe(self, chunk: Chunk) -> None:
        """Remembers a sample of the times."""
        times = self._times(chunk)
        self.sample.add(times, chunk.start)
        if self._sorted:
            before = times[0] if self._latest is None else self._latest
            self._sorted = bool(
                before <= times[0] and (times[1:] >= times[:-1]).all()
            )
            self._latest = times[-1]
            if not self._sorted:
                logging.warning(
                    "%s: column %r isn't sorted. The split is right, but rows "
                    "keep their order: sort the log by time if it is to be "
                    "read as a stream.",
                    chunk.file.path,
                    self.names[0],
                )

    def split(self, chunk: Chunk) -> np.ndarray:
        """Returns each row's split, an index into `SPLITS`."""
        points = self.finish() if self._points is None else self._points
        later = np.searchsorted(points, self._times(chunk), "right")
        return later.astype(np.int8)

    def finish(self) -> np.ndarray:
        """Finds the points in time, once all rows have been observed."""
        times = np.sort(self.sample.finish())
        stops = np.cumsum(split_sizes(times.size, self._fractions))[:-1]
        self._points = times[np.minimum(stops, times.size - 1)]
        return self._points

    def _times(self, chunk: Chunk) -> np.ndarray:
        """The column as integers, or as finite numbers."""
        name, path = self.names[0], str(chunk.file.path)
        cells = table_cells.text(chunk, name)
        csv = pa.types.is_binary(chunk.columns[name].type)
        empty = cells.is_null()
        if csv:
            empty = pc.equal(cells, "")
        empty = empty.to_numpy(zero_copy_only=False)
        if empty.any():
            raise chunk.error(int(empty.argmax()), name, "is empty; mend it.")
        if self._kind is None or not csv:
            kind = _first_kind(cells) if csv else _kind(cells.type)
            if kind is None:
                raise chunk.error(0, name, f"{_FORM}; it is {cells[0]}.")
            self._kind = self._kind or (kind, path)
            if kind != self._kind[0]:
                raise PreparationError(
                    f"{path}: column {name!r} holds {kind}, and "
                    f"{self._kind[1]} {self._kind[0]}; convert one of them."
                )
        what = f"one of the {self._kind[0]} that {self._kind[1]} begins with"
        kind = _TIMES[self._kind[0]]
        if csv:
            times = table_cells.cast(chunk, name, cells, kind, what)
        else:
            times = cells.cast(kind, safe=False)
        if pa.types.is_timestamp(kind):
            times = times.cast(pa.int64())
        values = times.to_numpy(zero_copy_only=False)
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).argmax())
            raise chunk.error(
                row, name, f"must be finite; it is {values[row]}."
            )
        return values


class Given:
    """As a column says."""

    hint = "see that the column of --split_column names all three"

    def __init__(self, column: str) -> None:
        self.names: tuple[str, ...] = (column,)

    def prime(self, chunk: Chunk) -> None:
        """Needs to see nothing."""

    def observe(self, chunk: Chunk) -> None:
        """Needs to see nothing."""

    def split(self, chunk: Chunk) -> np.ndarray:
        """Returns each row's split, an index into `SPLITS`."""
        name = self.names[0]
        indices, values = table_cells.coded(
            chunk, name, table_cells.text(chunk, name)
        )
        known = [
            GIVEN.get(str(value).lower(), -1) for value in values.to_pylist()
        ]
        split = np.array([*known, -1], np.int8)[indices]
        if (split < 0).any():
            row = int((split < 0).argmax())
            index = int(indices[row])
            value = values[index].as_py() if index >= 0 else ""
            raise chunk.error(
                row,
                name,
                f"must be train, valid or test; it is {short(value)}.",
            )
        return split


def _check(fractions: Sequence[float]) -> None:
    positive = all(0 < fraction < 1 for fraction in fractions)
    if not positive or not add_up(fractions):
        raise PreparationError(
            "--fractions must be three positive numbers that add up to 1, as "
            f"in 0.8,0.1,0.1; they are {','.join(map(str, fractions))}."
        )


def _kind(kind: pa.DataType) -> str | None:
    if pa.types.is_integer(kind):
        return "integers"
    if pa.types.is_floating(kind):
        return "numbers"
    if pa.types.is_timestamp(kind) and kind.tz:
        return "times with a zone"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "times"
    return None


def _first_kind(cells: pa.Array) -> str | None:
    for name, kind in _TIMES.items():
        try:
            cells[:1].cast(kind)
        except pa.ArrowInvalid:
            continue
        return name
    return None
