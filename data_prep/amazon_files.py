"""Finds the files of Amazon's reviews, and reads them block by block."""

import dataclasses
import gzip
import pathlib
import re
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_prep.layout import PreparationError
from data_prep.layout import wrong_line

LAYOUTS = (
    (r"(?:reviews_)?(.+?)(?:_5)?\.json(?:\.gz)?", ()),
    (r"ratings_(.+)\.csv(?:\.gz)?", ("user", "item", "rating", "timestamp")),
    (r"(.+)\.csv(?:\.gz)?", ("item", "user", "rating", "timestamp")),
)
"""What a file's name says: the first pattern that fits, its CSV's columns.

The official names alone tell the releases' CSVs apart. They have no header.
"""

BLOCK = 1 << 25
"""Bytes that are read at once."""

LONGEST_LINE = 1 << 22
"""A review is far shorter; what is longer is no file of lines."""

_FETCH = "fetch the file again from Amazon's review data"


@dataclasses.dataclass(frozen=True)
class ReviewFile:
    """A category's file.

    Attributes:
        category: Name of the category.
        path: Where the file is.
        columns: The columns of a CSV; none if it holds JSON lines.
    """

    category: str
    path: pathlib.Path
    columns: tuple[str, ...]

    def error(self, line: int, problem: str) -> PreparationError:
        """The error that names this file and that line of it."""
        return wrong_line(self.path, line, problem, _FETCH)


def find(
    raw: str | pathlib.Path, categories: Sequence[str] | None = None
) -> list[ReviewFile]:
    """Finds the one file of each category.

    Args:
        raw: The folder of the files.
        categories: Names of categories; None is all that have a file, sorted.
    """
    raw = pathlib.Path(raw)
    if not raw.is_dir():
        raise PreparationError(
            f"{raw} is no folder; name the folder of the categories' files as "
            "--raw."
        )
    found = _by_category(raw)
    if not found:
        raise PreparationError(
            f"{raw} holds no reviews: neither {{Category}}_5.json.gz nor "
            "{Category}.json.gz, ratings_{Category}.csv or {Category}.csv."
        )
    names = sorted(found) if categories is None else [*categories]
    if not names:
        raise PreparationError("--categories names none; leave it out for all.")
    for name in names:
        if name not in found:
            raise PreparationError(
                f"{raw} holds no category {name!r}; --categories may name "
                f"{', '.join(sorted(found))}."
            )
        if names.count(name) > 1:
            raise PreparationError(f"--categories names {name} twice.")
        if len(found[name]) > 1:
            files = " and ".join(file.path.name for file in found[name])
            raise PreparationError(
                f"{raw} holds several files of {name}, {files}; move all but "
                "one away."
            )
    return [found[name][0] for name in names]


def _by_category(raw: pathlib.Path) -> dict[str, list[ReviewFile]]:
    found: dict[str, list[ReviewFile]] = {}
    for path in sorted(raw.iterdir()):
        # meta_{Category}.json.gz is official, too, and holds no reviews.
        if path.name.startswith((".", "meta_")) or not path.is_file():
            continue
        for pattern, columns in LAYOUTS:
            if match := re.fullmatch(pattern, path.name):
                file = ReviewFile(match[1], path, columns)
                found.setdefault(file.category, []).append(file)
                break
    return found


def blocks(
    file: ReviewFile, advance: Callable[[int], Any]
) -> Iterator[tuple[int, bytes]]:
    """Reads a file in blocks of whole lines, so that any file fits in memory.

    Args:
        file: The file, compressed if its name ends in .gz.
        advance: Called with the bytes of the file that have been read since.

    Yields:
        The number of the block's first line, from 1, and the block. Each line
        ends in a line break, which the last line of a file may lack.
    """
    line, rest, position = 1, b"", 0
    with file.path.open("rb") as raw:
        packed = file.path.suffix == ".gz"
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        while data := _read(file, stream, line):
            lines, end, tail = data.rpartition(b"\n")
            if end:
                block = rest + lines + end
                yield line, block
                line += block.count(b"\n")
                rest = b""
            rest += tail
            if len(rest) > LONGEST_LINE:
                raise file.error(
                    line, f"it is longer than {LONGEST_LINE:,} bytes"
                )
            advance(raw.tell() - position)
            position = raw.tell()
    if rest:
        yield line, rest + b"\n"


def _read(file: ReviewFile, stream: Any, line: int) -> bytes:
    try:
        return stream.read(BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PreparationError(
            f"{file.path}, line {line} or later: the archive is damaged or cut "
            f"short ({error}); {_FETCH}."
        ) from error
