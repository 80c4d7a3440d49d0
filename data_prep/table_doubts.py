"""What a log may well hold and is often a mistake: warned of, no more.

A number so far away that all others look alike beside it, text that is written
as numbers or as lists are, and domains that differ by case or spaces alone.
"""

from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from data_prep.layout import short
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_numbers import Moments

FAR = 20
"""Standard deviations from the mean; a number beyond is warned of."""

SHOWN = 3
"""The most groups of domains that are named."""

LIST = "|"
"""What parts the items of a list in text, as a rule."""

_FLOAT = r"^-?[0-9]+\.[0-9]+$"
_FLOAT_ADVICE = {
    Categorical: "if it is a number, name it in --numeric",
    History: "if they are numbers, leave the column out",
}

_WHOLE = r"^-?[0-9]+\.0$"
_WHOLE_ADVICE = {
    Categorical: "pandas writes integers so when a cell is empty; write them "
    'as integers, by astype("Int64")',
    History: "pandas writes integers so when one is missing; write the items "
    "as integers",
}


def say_far(name: str, moments: Moments) -> None:
    """Warns if scaling a column makes most of its numbers about the same."""
    number, distance = moments.farthest()
    if distance <= FAR:
        return
    mean, _ = moments.finish()
    logging.warning(
        "column %r: %s is %.3g standard deviations away from the mean, %.4g, "
        "and beside it most numbers are scaled to about the same. If it is no "
        "true value, mend it; else try --buckets=20, or 'buckets' in --config.",
        # As a person writes it: 99999.99, and not 99999.9921875.
        *(name, str(np.float32(number)), distance, mean),
    )


def say_floats(columns: Columns, vocabularies: Mapping[str, pa.Array]) -> None:
    """Warns of columns whose values are all text like `"7.0"`.

    Args:
        columns: The columns; those that are said to be text are left out.
        vocabularies: By table, the values, the most frequent first.
    """
    for column in columns.features:
        if isinstance(column, Numeric) or column.name in columns.strings:
            continue
        values = vocabularies[column.table]
        if not _all_like(_FLOAT, values):
            continue
        whole = _all_like(_WHOLE, values)
        advice = _WHOLE_ADVICE if whole else _FLOAT_ADVICE
        logging.warning(
            "column %r holds text such as %r alone: %s. If it is text, say so "
            "by --strings=%s.",
            *(column.name, values[0].as_py(), advice[type(column)]),
            column.name,
        )


def say_lists(columns: Columns, vocabularies: Mapping[str, pa.Array]) -> None:
    """Warns of columns of which most values are text like `"pen|ink"`.

    Args:
        columns: The columns; those that are said to be text are left out.
        vocabularies: By table, the values, the most frequent first.
    """
    for column in columns.features:
        if (
            not isinstance(column, Categorical)
            or column.name in columns.strings
        ):
            continue
        values = vocabularies[column.table]
        if not pa.types.is_string(values.type):
            continue
        lists = pc.match_substring(values, LIST)
        if 2 * pc.sum(lists).as_py() <= len(values):
            continue
        logging.warning(
            "column %r: most of its values are written as lists are, such as "
            "%s, and each different list is a value. For an id for each item "
            "name it in --sequence. If they aren't lists, say so by "
            "--strings=%s.",
            *(column.name, short(values.filter(lists)[0].as_py()), column.name),
        )


def say_alike(name: str, domains: Iterable[str]) -> None:
    """Warns of domains that differ by case or spaces at the ends alone.

    Args:
        name: The domains' column.
        domains: Their names.
    """
    by_letters: dict[str, list[str]] = {}
    for domain in domains:
        by_letters.setdefault(domain.strip().casefold(), []).append(domain)
    found = [alike for alike in by_letters.values() if len(alike) > 1]
    for alike in found[:SHOWN]:
        logging.warning(
            "column %r: %s are %d domains. If they are one, mend the log.",
            *(name, " and ".join(map(short, alike)), len(alike)),
        )
    if len(found) > SHOWN:
        logging.warning("column %r: so are %d more.", name, len(found) - SHOWN)


def _all_like(pattern: str, values: pa.Array) -> bool:
    if not pa.types.is_string(values.type):
        return False
    # The first one tells of most columns, and a vocabulary may be long.
    return all(
        pc.all(pc.match_substring_regex(part, pattern)).as_py()
        for part in (values[:1], values)
    )
