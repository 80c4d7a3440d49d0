"""From a chunk's raw columns to checked numbers, labels, texts and lists.

A csv column comes as bytes, whatever it holds; a Parquet column has a type.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_files import Chunk

ENCODING = "isn't UTF-8; save the file in UTF-8."

_NOTHING = {"null", "none", "na", "n/a", "nil", "-", "?", "\\n"}
"""What a log may write where it has no number."""

_GROUPED = re.compile(r"-?[0-9]{1,3}([,' _\u00a0\u202f][0-9]{3})+([.][0-9]+)?")
"""A number whose thousands are parted."""

_COMMA = re.compile(r"-?([0-9]+|[0-9]{1,3}([.][0-9]{3})+),[0-9]+")
"""A number with a decimal comma, its thousands maybe parted by points."""

_BITS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


def numbers(chunk: Chunk, column: Numeric) -> np.ndarray:
    """Reads a column of one number a row, as `float32`; NaN is missing."""
    name, cells = column.name, chunk.columns[column.name]
    if pa.types.is_binary(cells.type):
        texts = text(chunk, name)
        texts = pc.if_else(pc.equal(texts, ""), None, texts)

        def hint(text: str) -> str:
            may_be_empty = column.missing == "fill"
            return number_hint(text, None if may_be_empty else chunk.fill)

        wide = cast(chunk, name, texts, pa.float64(), "a number", hint)
    elif _is_number(cells.type) or pa.types.is_null(cells.type):
        wide = cells.cast(pa.float64(), safe=False)
    else:
        raise wrong_type(chunk, name, "numbers")
    values = wide.fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    infinite = np.isinf(narrow)
    if infinite.any():
        row = int(infinite.argmax())
        raise chunk.error(
            row,
            name,
            f"must be finite in float32; it is {values[row]}.",
            np.flatnonzero(infinite),
        )
    if column.missing == "error":
        check_filled(chunk, name, np.isnan(narrow))
    return narrow


def labels(chunk: Chunk, name: str) -> np.ndarray:
    """Reads the clicks: 0 or 1, as numbers, booleans or text."""
    indices, values = coded(chunk, name, text(chunk, name))
    bits = [_bit(value) for value in values.to_pylist()]
    label = np.array([*bits, -1], np.int8)[indices]
    if (label < 0).any():
        row = int((label < 0).argmax())
        value = values[int(indices[row])].as_py() if indices[row] >= 0 else ""
        shown = "is empty" if value == "" else f"is {short(value)}"
        raise chunk.error(
            row,
            name,
            f"is the label, and must be 0 or 1; it {shown}.",
            np.flatnonzero(label < 0),
        )
    return label


def lists(
    chunk: Chunk, column: History
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Reads a column of lists; text is parted at the separators.

    Returns:
        The cells of all lists in a row (bytes, if the file is csv), the
        length of each list, and which lists are missing.
    """
    cells, name = chunk.columns[column.name], column.name
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    kind = cells.type
    if pa.types.is_null(kind):
        cells = cells.cast(pa.list_(pa.string()))
    elif kind in (pa.string(), pa.large_string(), pa.binary()):
        return _parted(text(chunk, name), column, pa.types.is_binary(kind))
    elif not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
        raise wrong_type(chunk, name, "lists, or text that separators part,")
    missing = cells.is_null().to_numpy(zero_copy_only=False)
    return cells.flatten(), _lengths(cells), missing


def _parted(
    texts: pa.Array, column: History, csv: bool
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    missing = texts.is_null().to_numpy(zero_copy_only=False)
    if texts.type != pa.string():
        texts = texts.cast(pa.string())
    parts = pc.split_pattern(texts, pattern=column.separator)
    cells, lengths = parts.flatten(), _lengths(parts)
    # A text without anything is a list of nothing, not of an empty text.
    nothing = pc.equal(texts, "").fill_null(False)
    nothing = nothing.to_numpy(zero_copy_only=False)
    if nothing.any():
        cells = cells.filter(pa.array(~np.repeat(nothing, lengths)))
        lengths = np.where(nothing, 0, lengths)
    return cells.cast(pa.binary()) if csv else cells, lengths, missing


def _lengths(lists: pa.Array) -> np.ndarray:
    lengths = pc.list_value_length(lists).fill_null(0)
    return lengths.to_numpy(zero_copy_only=False).astype(np.int64)


def text(chunk: Chunk, name: str) -> pa.Array:
    """Reads a csv column as text; a column with a type stays as it is."""
    cells = chunk.columns[name]
    if not pa.types.is_binary(cells.type):
        if (row := _not_utf8(cells)) is not None:
            raise chunk.error(row, name, ENCODING)
        return cells
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        row = first_failing(cells, lambda part: part.cast(pa.string()))
        raise chunk.error(row, name, ENCODING) from None


def _not_utf8(cells: pa.Array) -> int | None:
    """The first text of a column that is none; Parquet promises too much."""
    if not pa.types.is_string(cells.type):
        return None
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        return first_failing(cells, lambda part: part.validate(full=True))
    return None


def cast(
    chunk: Chunk,
    name: str,
    texts: pa.Array,
    kind: pa.DataType,
    what: str,
    hint: Callable[[str], str] = lambda text: "",
) -> pa.Array:
    """Converts text, or names the cells that can't be converted.

    Args:
        chunk: The rows.
        name: The column.
        texts: Its cells.
        kind: What they shall be.
        what: That in words.
        hint: Says of the first wrong cell what to do, if it knows.
    """
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        rows = all_failing(texts, lambda part: part.cast(kind))
        wrong = texts[rows[0]].as_py()
        raise chunk.error(
            rows[0],
            name,
            f"must be {what}; it is {short(wrong)}.",
            rows,
            hint(wrong),
        ) from None


def number_hint(text: str, fill: str | None) -> str:
    """What to do about a cell that a person would take for a number.

    Args:
        text: The cell.
        fill: What has to be done besides, so that it may be empty.
    """
    if text.strip().casefold() in _NOTHING:
        return f" Leave the cell empty{f', and {fill}' if fill else ''}."
    text = text.strip()
    advice = []
    if _GROUPED.fullmatch(text):
        advice.append(re.sub("[^0-9.-]", "", text))
    if _COMMA.fullmatch(text):
        advice.append(text.replace(".", "").replace(",", "."))
    if advice:
        return f" Write {', or '.join(advice)}, if that is what it means."
    return ""


def coded(
    chunk: Chunk,
    name: str,
    cells: pa.Array,
    row_of: Callable[[int], int] = lambda cell: cell,
) -> tuple[np.ndarray, pa.Array]:
    """Returns an index for each cell, -1 for an empty one, and the values.

    Args:
        chunk: The rows.
        name: The column.
        cells: Its cells, or those of all its lists.
        row_of: Says in which row a cell is.
    """
    if pa.types.is_null(cells.type):
        return np.full(len(cells), -1), pa.array([], pa.string())
    if not pa.types.is_dictionary(cells.type):
        try:
            cells = cells.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise wrong_type(chunk, name, "single values") from None
    indices = cells.indices.cast(pa.int32()).fill_null(-1)
    indices, values = indices.to_numpy(zero_copy_only=False), cells.dictionary
    if pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    if (wrong := _not_utf8(values)) is not None:
        row = row_of(int((indices == wrong).argmax()))
        raise chunk.error(row, name, ENCODING)
    return without(indices, values.is_null()), values


def are_empty(cells: pa.Array) -> np.ndarray:
    """Which cells are missing, or texts without anything: a mask."""
    if pa.types.is_dictionary(cells.type):
        indices = cells.indices.cast(pa.int32()).fill_null(-1)
        # The last one is for the index -1.
        return np.append(are_empty(cells.dictionary), True)[indices.to_numpy()]
    mask = cells.is_null()
    if cells.type in (pa.string(), pa.large_string(), pa.binary()):
        mask = pc.or_kleene(mask, pc.equal(pc.binary_length(cells), 0))
    return mask.to_numpy(zero_copy_only=False)


def without(indices: np.ndarray, empty: pa.Array) -> np.ndarray:
    """The indices, with -1 for those of values that are empty."""
    mask = empty.to_numpy(zero_copy_only=False)
    if not mask.any():
        return indices
    # The last one is for the index -1.
    return np.where(np.append(mask, True)[indices], -1, indices)


def check_filled(
    chunk: Chunk, name: str, empty: np.ndarray, advice: str | None = None
) -> None:
    """Raises at the first cell that is empty."""
    if empty.any():
        rows = np.flatnonzero(empty)
        advice = advice or empty_advice(chunk)
        raise chunk.error(int(rows[0]), name, f"is empty; {advice}.", rows)


def empty_advice(chunk: Chunk) -> str:
    """What to do about an empty cell."""
    return f"mend it, or {chunk.fill}"


def wrong_type(chunk: Chunk, name: str, what: str) -> PreparationError:
    """The error for a Parquet column that is of a wrong type."""
    kind = chunk.columns[name].type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return PreparationError(
        f"{chunk.file.path}: column {name!r} must hold {what} and holds "
        f"{kind}; convert it."
    )


def first_failing(cells: pa.Array, convert: Callable[[pa.Array], Any]) -> int:
    """The first cell that `convert` refuses, found by bisection."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(cells[low:middle])
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def all_failing(
    cells: pa.Array, convert: Callable[[pa.Array], Any]
) -> list[int]:
    """All cells that `convert` refuses, in order."""
    found, parts = [], [(0, len(cells))]
    while parts:
        low, high = parts.pop()
        try:
            convert(cells[low:high])
        except pa.ArrowInvalid:
            middle = (low + high) // 2
            if low == middle:
                found.append(low)
            else:
                parts += [(middle, high), (low, middle)]
    return found


def _bit(value: object) -> int:
    # True == 1 and 1.0 == 1, and NaN equals neither.
    if isinstance(value, str):
        return _BITS.get(value.lower(), -1)
    return 1 if value == 1 else 0 if value == 0 else -1


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )
