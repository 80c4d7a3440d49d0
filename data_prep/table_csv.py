"""Reads a csv file chunk by chunk, and says on which line a row is."""

import contextlib
import csv
import gzip
import itertools
import pathlib
import threading
import zlib
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from data_prep.layout import PreparationError

BLOCK = 1 << 24
"""Bytes that are parsed at once. A row must be shorter."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error)

_LIMIT = threading.Lock()
"""Of who has changed the limit that all of a process's csv readers share."""


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Lets Python's reader take cells as long as Arrow's does, meanwhile."""
    with _LIMIT:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, BLOCK))
        try:
            yield
        finally:
            csv.field_size_limit(before)


class CsvFile:
    """A csv file in UTF-8 with a line of names first, maybe gzipped.

    Cells are read as bytes: what a column holds is not to be guessed from a
    file's first block.

    Args:
        path: Its name ends in `.csv` or `.tsv`, and maybe in `.gz`.

    Attributes:
        names: Names of its columns.
        size: Its bytes.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._gzip = path.suffix == ".gz"
        suffix = path.suffixes[-2] if self._gzip else path.suffix
        self._delimiter = DELIMITERS[suffix]
        self.names = self._header()

    def batches(
        self, names: list[str]
    ) -> Iterator[tuple[pa.RecordBatch, float]]:
        """Yields rows of those columns, and how many bytes they took."""
        with self.path.open("rb") as file:
            stream: Any = pa.PythonFile(file, "r")
            if self._gzip:
                stream = pa.CompressedInputStream(stream, "gzip")
            at = 0
            try:
                for batch in self._open(stream, names):
                    yield batch, file.tell() - at
                    at = file.tell()
            except pa.ArrowInvalid as error:
                raise self._bad_line(error) from None
            except UNREADABLE as error:
                raise self._damaged(error) from None

    @_long_cells()
    def places(self, rows: Collection[int]) -> list[str]:
        """Where those rows, 0 for the first, are: `["line 2"]`."""
        last = max(rows) + 2
        return [
            f"line {line}"
            for row, (line, _) in enumerate(
                itertools.islice(self._records(), last), start=-1
            )
            if row in rows
        ]

    def _open(self, stream: Any, names: list[str]) -> Any:
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(block_size=BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                include_columns=names,
                null_values=[],
                strings_can_be_null=False,
            ),
        )

    @_long_cells()
    def _header(self) -> list[str]:
        try:
            _, names = next(self._records(), (1, None))
        except UNREADABLE as error:
            raise self._damaged(error) from None
        if names is None:
            raise PreparationError(
                f"{self.path} is empty; it needs a line of names first."
            )
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise PreparationError(
                    f"{self.path}, line 1: the names aren't UTF-8; save the "
                    "file in UTF-8."
                ) from None
            if names.count(name) > 1:
                raise PreparationError(
                    f"{self.path}, line 1: the column {name!r} is there "
                    "twice; rename one."
                )
        return names

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yields each line that isn't empty, its number first.

        Slow, and right where quoted cells go over several lines.
        """
        opened = gzip.open if self._gzip else open
        # Bytes that aren't UTF-8 must not stop the count of lines.
        with opened(
            self.path, "rt", -1, "utf-8-sig", "surrogateescape", newline=""
        ) as stream:
            reader = csv.reader(stream, delimiter=self._delimiter)
            line = 1
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1

    @_long_cells()
    def _bad_line(self, error: pa.ArrowInvalid) -> PreparationError:
        """Finds the line that the fast reader, which can't say, choked on."""
        try:
            for line, record in self._records():
                if len(record) != len(self.names):
                    return PreparationError(
                        f"{self.path}, line {line}: there must be "
                        f"{len(self.names)} cells, as on the first line, and "
                        f"there are {len(record)}; mend that line."
                    )
        except UNREADABLE:
            pass
        return self._damaged(error)

    def _damaged(self, error: BaseException) -> PreparationError:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        return PreparationError(
            f"{self.path} can't be read as csv ({reason}); is it cut short? "
            "Copy it again."
        )
