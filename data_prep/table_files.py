"""A click log in csv or Parquet files, chunk by chunk."""

import contextlib
import dataclasses
import glob
import os
import pathlib
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep import progress
from data_prep import staging
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.table_csv import CsvFile
from data_prep.table_parquet import ParquetFile

CHUNK_ROWS = 1 << 18
"""The fewest rows that are worked on at once, but at the end of a file."""

CHUNK_BYTES = 1 << 30
"""The most bytes that are waited for, however few rows they are.

Arrow's texts and lists have offsets of 32 bits, so no column of a chunk may
have 2 GiB.
"""

PARQUET = (".parquet",)
SHOWN_PLACES = 9
"""The most further rows that an error names."""

FILL = "choose --missing=fill"
"""What a log may have done to its empty cells, other than to mend them."""

CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

LogFile = CsvFile | ParquetFile


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some rows of a log.

    Args:
        file: The file they are from.
        first: The number of the first one in the file, from 0.
        start: The number of the first one in the whole log, from 0.
        columns: The columns by name, as the file has them.
        fill: What may be done about an empty cell, other than to mend it.
    """

    file: LogFile
    first: int
    start: int
    columns: dict[str, pa.Array]
    fill: str = FILL

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def place(self, row: int) -> str:
        """The file and the line of one of the rows."""
        (place,) = self.file.places([self.first + row])
        return f"{self.file.path}, {place}"

    def error(
        self,
        row: int,
        name: str,
        problem: str,
        alike: Sequence[int] | np.ndarray = (),
        advice: str = "",
    ) -> PreparationError:
        """The error that names the file, the line and the column.

        Args:
            row: The first row that has the problem.
            name: The column.
            problem: What it is, and what to do.
            alike: All rows of the chunk that have it, in order.
            advice: A sentence for the end, if there is more to say.
        """
        others = [int(one) for one in alike if one != row]
        shown = [self.first + one for one in others[:SHOWN_PLACES]]
        # Together, because a csv file is read once more for them.
        first, *places = self.file.places([self.first + row, *shown])
        text = f"{self.file.path}, {first}: column {name!r} {problem}"
        if len(others) > len(places):
            places.append(f"{len(others) - len(places):,} more")
        if others:
            text += (
                f" The same in {', '.join(places)} of the {len(self):,} rows "
                "read with it."
            )
        return PreparationError(text + advice)


class Log:
    """All files of a click log, in the order of their names.

    Args:
        pattern: A file, a folder of files, or a glob pattern.
        fill: What may be done about an empty cell, other than to mend it: what
            an error says.

    Attributes:
        pattern: As it was given.
        files: The files; all have the same columns.
    """

    def __init__(self, pattern: str | pathlib.Path, fill: str = FILL) -> None:
        self.pattern = pattern
        self._fill = fill
        self.files: list[LogFile] = []
        for path in find(pattern):
            parquet = path.name.endswith(PARQUET)
            self.files.append(ParquetFile(path) if parquet else CsvFile(path))
        _check_same_columns(self.files)

    def check_columns(
        self, names: Iterable[str], advice: Mapping[str, str] | None = None
    ) -> None:
        """Raises unless the log has all these columns.

        Args:
            names: Their names.
            advice: By name, a sentence to say of a column that isn't there.
        """
        first = self.files[0]
        for name in names:
            if name not in first.names:
                more = (advice or {}).get(name)
                raise PreparationError(
                    f"{first.path} has no column {short(name)}; it has "
                    f"{', '.join(map(repr, first.names))}."
                    f"{_other_delimiter(first.names)}"
                    f"{f' {more}' if more else ''}"
                )

    def chunks(
        self, names: Sequence[str], description: str, rows: int | None = None
    ) -> Iterator[Chunk]:
        """Yields all rows, in order, with a progress bar.

        Args:
            names: The columns to read.
            description: What is going on, for the progress bar.
            rows: The fewest rows of a chunk, but for a file's last, and for
                one of about `CHUNK_BYTES`.
        """
        rows = rows or CHUNK_ROWS
        names = list(dict.fromkeys(names))
        start = 0
        total = sum(file.size for file in self.files)
        with progress.bar(description, total) as advance:
            for file in self.files:
                batches = file.batches(names)
                for chunk, size in chunked(file, batches, rows, start=start):
                    yield dataclasses.replace(chunk, fill=self._fill)
                    start += len(chunk)
                    advance(size)

    def source_names(self) -> list[str]:
        """A name for each file, no two the same."""
        paths = [file.path for file in self.files]
        names = [path.name for path in paths]
        if len(set(names)) < len(names):
            parent = os.path.commonpath(path.parent for path in paths)
            names = [path.relative_to(parent).as_posix() for path in paths]
        return names

    def sources(self) -> dict[str, Any]:
        """By name, the digest of each file."""
        names, paths = self.source_names(), [file.path for file in self.files]
        digests = {}
        for name, path in progress.track(
            list(zip(names, paths, strict=True)), "Hashing the log"
        ):
            with path.open("rb") as stream:
                digests[name] = staging.digest(stream)
        return digests


def chunked(
    file: LogFile,
    batches: Iterable[tuple[pa.RecordBatch, float]],
    rows: int,
    *,
    first: int = 0,
    start: int = 0,
) -> Iterator[tuple[Chunk, float]]:
    """Yields rows of a file in chunks, and about how many bytes they took.

    Args:
        file: The file.
        batches: The rows, as it gives them.
        rows: The fewest rows of a chunk, but for the last, and for one of
            about `CHUNK_BYTES`.
        first: The number of the first row in the file.
        start: Its number in the whole log.
    """
    # Closed even if the one who asked for the rows has failed.
    with contextlib.closing(_grouped(batches, rows)) as groups:
        for table, size in groups:
            yield _chunk(file, first, start, table), size
            first += table.num_rows
            start += table.num_rows


def find(pattern: str | pathlib.Path) -> list[pathlib.Path]:
    """The files of a log, sorted by their names.

    Raises:
        PreparationError: There are none, or csv and Parquet files both.
    """
    path = pathlib.Path(pattern)
    if path.is_dir():
        paths = [one for one in path.iterdir() if _counts(one)]
    elif path.exists():
        paths = [path]
    else:
        found = glob.glob(str(pattern), recursive=True)
        paths = [one for one in map(pathlib.Path, found) if one.is_file()]
    endings = ", ".join((*PARQUET, *CSV))
    if not paths:
        raise PreparationError(
            f"--input={pattern}: there is no such file; name a file, a folder "
            f"of files that end in {endings}, or a pattern in quotes, such "
            "as 'logs/*.parquet'."
        )
    for one in paths:
        if not one.name.endswith((*PARQUET, *CSV)):
            raise PreparationError(
                f"{one}: a log's file must end in one of {endings}."
            )
    parquet = [one.name.endswith(PARQUET) for one in paths]
    if any(parquet) and not all(parquet):
        raise PreparationError(
            f"--input={pattern}: there are csv and Parquet files; name one "
            "kind, such as '*.parquet'."
        )
    return sorted(paths)


def _other_delimiter(names: Sequence[str]) -> str:
    """What to do about a csv file that seems to have no commas."""
    if len(names) != 1:
        return ""
    for delimiter in ";\t|":
        if delimiter in names[0]:
            return (
                f" If {delimiter!r} parts its cells, save it with commas, or "
                "with tabs as .tsv."
            )
    return ""


def _counts(path: pathlib.Path) -> bool:
    # Spark writes "_SUCCESS" and ".part-0.crc" beside its files.
    hidden = path.name.startswith((".", "_"))
    return (
        path.is_file() and not hidden and path.name.endswith((*PARQUET, *CSV))
    )


def _check_same_columns(files: Sequence[LogFile]) -> None:
    first = files[0]
    for file in files[1:]:
        for one, other in ((first, file), (file, first)):
            for name in one.names:
                if name not in other.names:
                    raise PreparationError(
                        f"{other.path} has no column {name!r}, and "
                        f"{one.path} has; all files of a log must have the "
                        "same columns."
                    )


def _grouped(
    batches: Iterable[tuple[pa.RecordBatch, float]], rows: int
) -> Generator[tuple[pa.Table, float]]:
    """Puts batches together until there are as many rows, or enough bytes."""
    held: list[pa.RecordBatch] = []
    count, weight, size = 0, 0, 0.0
    for batch, amount in batches:
        if count and weight + batch.nbytes > CHUNK_BYTES:
            yield pa.Table.from_batches(held), size
            held, count, weight, size = [], 0, 0, 0.0
        held.append(batch)
        count += batch.num_rows
        weight += batch.nbytes
        size += amount
        if count >= rows:
            yield pa.Table.from_batches(held), size
            held, count, weight, size = [], 0, 0, 0.0
    if count:
        yield pa.Table.from_batches(held), size


def _chunk(file: LogFile, first: int, start: int, table: pa.Table) -> Chunk:
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        # Some versions of Arrow return one chunk, some an array.
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        columns[name] = column
    return Chunk(file, first, start, columns)
