"""Parts a click log for many workers: files of csv, row groups of Parquet."""

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence

from data_prep import table_files
from data_prep.table_files import Chunk
from data_prep.table_files import Log
from data_prep.table_files import LogFile
from data_prep.table_parquet import ParquetFile

PIECE_ROWS = 1 << 20
"""The fewest rows of a piece of a Parquet file, but for its last."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows of a log that one worker reads, one after the other.

    Args:
        index: Its place among the pieces of the log.
        file: The file they are in.
        first: The number of the first one in the file.
        start: Its number in the whole log.
        rows: How many there are.
        groups: The row groups that hold them; None is the whole file.
    """

    index: int
    file: LogFile
    first: int
    start: int
    rows: int
    groups: range | None = None

    def chunks(self, names: Sequence[str], rows: int = 0) -> Iterator[Chunk]:
        """Yields the rows, in order, `rows` or more at a time."""
        names = list(dict.fromkeys(names))
        if isinstance(self.file, ParquetFile):
            batches = self.file.batches(names, self.groups)
        else:
            batches = self.file.batches(names)
        for chunk, _ in table_files.chunked(
            self.file,
            batches,
            rows or table_files.CHUNK_ROWS,
            first=self.first,
            start=self.start,
        ):
            yield chunk


def plan(log: Log, rows: Sequence[int]) -> list[Piece]:
    """All pieces of a log, in the order of the rows.

    Args:
        log: The log.
        rows: How many rows each of its files has.
    """
    pieces: list[Piece] = []
    start = 0
    for file, count in zip(log.files, rows, strict=True):
        if not isinstance(file, ParquetFile):
            pieces.append(Piece(len(pieces), file, 0, start, count))
            start += count
            continue
        first = 0
        for groups, size in _grouped(file.group_rows):
            pieces.append(Piece(len(pieces), file, first, start, size, groups))
            first += size
            start += size
    return [piece for piece in pieces if piece.rows]


def _grouped(sizes: Sequence[int]) -> Iterator[tuple[range, int]]:
    """Row groups that are read together, and how many rows they have."""
    begin, size = 0, 0
    for index, count in enumerate(sizes):
        size += count
        if size >= PIECE_ROWS or index == len(sizes) - 1:
            yield range(begin, index + 1), size
            begin, size = index + 1, 0
