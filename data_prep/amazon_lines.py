"""Parses the lines of Amazon's reviews, every one of them checked."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from data_prep.amazon_files import LONGEST_LINE
from data_prep.amazon_files import ReviewFile
from data_prep.layout import short

KEYS = {"user": "reviewerID", "item": "asin", "rating": "overall"}
"""The keys of a review's JSON that count; all others are ignored."""

TYPES = {"user": pa.string(), "item": pa.string(), "rating": pa.float64()}

HIGHEST_RATING = 5
"""Ratings are numbers from 0 to this."""


def parse(
    file: ReviewFile, line: int, block: bytes, names: Sequence[str]
) -> pa.Table:
    """Parses a block of whole lines.

    Args:
        file: The file that it is from.
        line: The number of its first line.
        block: The lines, each with a line break.
        names: What to read of each: names in `TYPES`.

    Returns:
        A row a line, a column a name.
    """
    parse_fast = _parse_csv if file.columns else _parse_json
    try:
        table = parse_fast(file, block, names)
        if table.num_rows == block.count(b"\n") and _is_valid(table):
            return table
    except pa.ArrowInvalid:
        pass
    # Arrow can't say where it choked. It also refuses what JSON allows, such
    # as half an emoji in a text that counts for nothing.
    reviews = [
        _review(file, number, text, names)
        for number, text in enumerate(block.split(b"\n")[:-1], line)
    ]
    schema = pa.schema([(name, TYPES[name]) for name in names])
    return pa.Table.from_pylist(reviews, schema)


def _parse_json(
    file: ReviewFile, block: bytes, names: Sequence[str]
) -> pa.Table:
    schema = pa.schema([(KEYS[name], TYPES[name]) for name in names])
    table = pyarrow.json.read_json(
        pa.BufferReader(block),
        read_options=pyarrow.json.ReadOptions(block_size=LONGEST_LINE),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    )
    return table.select(schema.names).rename_columns(names)


def _parse_csv(
    file: ReviewFile, block: bytes, names: Sequence[str]
) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(
            column_names=file.columns, block_size=LONGEST_LINE
        ),
        parse_options=pyarrow.csv.ParseOptions(
            quote_char=False, ignore_empty_lines=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=TYPES, include_columns=names, null_values=[]
        ),
    )


def _is_valid(table: pa.Table) -> bool:
    table.validate(full=True)  # that strings are UTF-8
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name == "rating":
            valid = pc.and_(
                pc.greater_equal(column, 0),
                pc.less_equal(column, HIGHEST_RATING),
            )
        else:
            valid = pc.greater(pc.binary_length(column), 0)
        if not pc.all(valid, skip_nulls=False).as_py():
            return False
    return True


def _review(
    file: ReviewFile, number: int, line: bytes, names: Sequence[str]
) -> dict[str, Any]:
    """Parses one line, or says what is wrong with it."""
    # What isn't UTF-8 matters in an id only, which is checked below.
    text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
    keys = {name: name for name in names} if file.columns else KEYS
    values = (_cells if file.columns else _object)(file, number, text)
    for name in names:
        key = keys[name]
        if key not in values:
            needed = ", which --min_rating needs" if name == "rating" else ""
            raise file.error(number, f"{key} is missing{needed}")
        rule, is_right = (
            (f"a number from 0 to {HIGHEST_RATING}", _is_rating)
            if name == "rating"
            else ("a string in UTF-8 that isn't empty", _is_id)
        )
        if not is_right(values[key]):
            raise file.error(
                number, f"{key} must be {rule}, and is {short(values[key])}"
            )
    return {name: values[keys[name]] for name in names}


def _object(file: ReviewFile, number: int, text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise file.error(number, f"{short(text)} is no JSON object")
    return values


def _cells(file: ReviewFile, number: int, text: str) -> dict[str, Any]:
    cells: list[Any] = text.split(",")
    if len(cells) != len(file.columns):
        raise file.error(
            number,
            f"there must be {len(file.columns)} cells, "
            f"{','.join(file.columns)}, and there are {len(cells)} in "
            f"{short(text)}",
        )
    values = dict(zip(file.columns, cells, strict=True))
    with contextlib.suppress(ValueError):
        values["rating"] = float(values["rating"])
    return values


def _is_id(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value.encode()) > 0
    except UnicodeEncodeError:
        return False


def _is_rating(value: Any) -> bool:
    # True is a number to Python, and NaN is in no range.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= HIGHEST_RATING
