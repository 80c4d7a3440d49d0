"""Reads a csv file in blocks, every value checked and every line counted.

A file of many gigabytes takes as much memory as one block of it. A field may
be quoted, but no field holds a line break: so rows are lines.
"""

import csv
import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from data_prep.archive import File
from data_prep.layout import PreparationError
from data_prep.layout import cut

BLOCK = 1 << 22
"""Bytes that are read at once; no line may be longer."""

_INTEGER = "^-?[0-9]{1,18}$"


@dataclasses.dataclass(frozen=True)
class Block:
    """Some rows of a csv file, one after the other.

    Attributes:
        file: The file.
        line: The line of the first row.
        columns: By name, the fields as they are written.
    """

    file: File
    line: int
    columns: dict[str, pa.StringArray]

    def error(self, row: int, problem: str) -> PreparationError:
        """The error about one of these rows."""
        return self.file.error(self.line + row, problem)

    def integers(self, name: str, stop: int, because: str = "") -> np.ndarray:
        """A column of integers from 0 to `stop - 1`.

        Args:
            name: Name of the column.
            stop: What all must be below.
            because: Added to the error that says so.
        """
        texts = self.columns[name]
        wrong = ~_numpy(pc.match_substring_regex(texts, _INTEGER))
        if wrong.any():
            row = int(wrong.argmax())
            raise self.error(
                row, f"{name} must be an integer, and is {show(texts[row])}"
            )
        values = pc.cast(texts, pa.int64()).to_numpy()
        wrong = values < 0
        if wrong.any():
            row = int(wrong.argmax())
            raise self.error(
                row, f"{name} must not be negative, and is {values[row]}"
            )
        wrong = values >= stop
        if wrong.any():
            row = int(wrong.argmax())
            raise self.error(
                row,
                f"{name} must be below {stop:,}{because}, and is {values[row]}",
            )
        return values


def read_header(file: File) -> list[str]:
    """Reads the names of the columns, the first line."""
    line = file.stream.readline(BLOCK)
    try:
        # Some programs begin a file with a byte order mark.
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise file.error(1, "the names of the columns aren't UTF-8") from None
    if not text:
        raise PreparationError(
            f"{file.path} is empty, or has no line of column names; "
            "fetch it again."
        )
    try:
        return next(csv.reader([text]))
    except csv.Error as error:
        raise file.error(
            1, f"the names of the columns can't be read ({error})"
        ) from None


def check_columns(
    file: File, header: Sequence[str], expected: Sequence[str]
) -> None:
    """Raises unless the columns are these, in any order."""
    names = ",".join(expected)
    for name in expected:
        if name not in header:
            raise file.error(
                1, f"the columns must be {names}, and {name!r} is missing"
            )
    if len(header) > len(expected):
        extra = [name for name in header if name not in expected] or header
        raise file.error(
            1, f"the columns must be {names}, and {extra[0]!r} is one too many"
        )


def blocks(file: File, names: Sequence[str]) -> Iterator[Block]:
    """Reads the rows below the header, block by block.

    Args:
        file: The file, read up to the end of its header.
        names: The names of its columns, in its order.
    """
    line = 2
    for data in _whole_lines(file):
        yield Block(file, line, _parse(file, line, data, names))
        line += data.count(b"\n")


def show(value: pa.StringScalar | str) -> str:
    """A value of a file for an error: its invisible characters escaped."""
    return cut(ascii(value if isinstance(value, str) else value.as_py()))


def _whole_lines(file: File) -> Iterator[bytes]:
    """Cuts what is left of a file into blocks that end where a line does."""
    rest = b""
    while data := file.stream.read(BLOCK):
        data = rest + data
        stop = data.rfind(b"\n") + 1
        if stop:
            yield data[:stop]
        rest = data[stop:]
        if len(rest) > BLOCK:
            raise PreparationError(
                f"{file.path} has a line of more than {BLOCK:,} bytes, as no "
                "csv file of this dataset has; fetch it again."
            )
    if rest:
        yield rest


def _parse(
    file: File, line: int, data: bytes, names: Sequence[str]
) -> dict[str, pa.StringArray]:
    try:
        # Arrow can't tell anybody of a bad row whose text isn't UTF-8.
        data.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(file, line, data, error) from None
    bad = []

    def note(row: arrow_csv.InvalidRow) -> str:
        bad.append((row.number, row.actual_columns, row.text))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(data),
            # Not in parallel: else rows that are wrong have no number.
            read_options=arrow_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=2 * BLOCK
            ),
            parse_options=arrow_csv.ParseOptions(
                ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(file, line, data, error) from None
    if bad:
        number, columns, text = bad[0]
        raise file.error(
            line + number - 1,
            f"there must be {len(names)} columns, {','.join(names)}, and "
            f"there are {columns} in {show(text)}",
        )
    return {name: table[name].combine_chunks() for name in names}


def _unreadable(
    file: File, line: int, data: bytes, error: Exception
) -> PreparationError:
    """The error for a block that Arrow refuses, with the line if it's known."""
    for number, text in enumerate(data.split(b"\n")):
        try:
            text.decode()
        except UnicodeDecodeError:
            return file.error(line + number, "it isn't UTF-8 text")
    reason = " ".join(str(error).split())
    return PreparationError(
        f"{file.path}, at or after line {line}: {reason}; fetch it again."
    )


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
