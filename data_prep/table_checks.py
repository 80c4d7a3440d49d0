"""Checks what a user says of the columns of a log."""

import keyword
import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import History
from data_prep.table_columns import Numeric

_INPUT_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def check_input_name(what: str, name: str) -> None:
    """Raises unless a model's input can have that name."""
    if not _INPUT_NAME.fullmatch(name):
        raise PreparationError(
            f"{what}{short(name)} can't name an input of a model: that must be "
            "an ASCII letter, then letters, digits and underscores. Rename the "
            "column in the log."
        )
    # As arguments of an export they would be a mistake in Python.
    if keyword.iskeyword(name) or name == "self":
        raise PreparationError(
            f"{what}{short(name)} can't name an input of a model: it is a word "
            "of Python's own. Rename the column in the log."
        )


def check_names(where: str, columns: Columns) -> None:
    """Raises unless the columns have names that a schema can have."""
    if not columns.domain.isidentifier():
        raise PreparationError(
            f"{where}the domain's column, {short(columns.domain)}, must be "
            "letters, digits and underscores; rename it in the log."
        )
    if columns.label == columns.domain:
        raise PreparationError(
            f"{where}label and domain are the same column, "
            f"{short(columns.label)}."
        )
    if not columns.features:
        raise PreparationError(
            f"{where}categorical, numeric or sequence: name a feature."
            if where
            else "--categorical, --numeric or --sequence: name a feature."
        )
    for name in columns.names:
        # Signatures of exported models don't tell capitals from small letters.
        if name.casefold() in (DOMAIN, LABEL):
            raise PreparationError(
                f"{where}a feature can't be named {short(name)}: the prepared "
                "folder has a column of that name. Rename it in the log."
            )
        if name == columns.label:
            raise PreparationError(
                f"{where}{short(name)} is the label, and would tell the answer "
                "as a feature; leave it out."
            )
        check_input_name(where, name)
    names = Counter(name.casefold() for name in columns.names)
    for name in columns.names:
        if names[name.casefold()] > 1:
            raise PreparationError(
                f"{where}{short(name)} is named twice among the features, or "
                "differs from another in capitals alone; name it once."
            )
    categories = {
        feature.name
        for feature in columns.features
        if not isinstance(feature, Numeric)
    }
    for name in sorted(columns.strings - categories - {columns.domain}):
        raise PreparationError(
            f"{where}strings: {short(name)} is neither a categorical column, "
            "nor a sequence nor the domain."
        )


def check_tables(where: str, columns: Columns) -> None:
    """Raises unless columns that share a table of ids agree on it."""
    numbers = {
        feature.name
        for feature in columns.features
        if isinstance(feature, Numeric)
    }
    tables = {
        feature.name: feature.table
        for feature in columns.features
        if isinstance(feature, Categorical)
    }
    stated: dict[str, str] = {}
    for feature in columns.features:
        if isinstance(feature, Numeric):
            continue
        at = f"{where}{short(feature.name)}: "
        check_input_name(f"{at}the table ", feature.table)
        if feature.table in numbers | {DOMAIN}:
            raise PreparationError(
                f"{at}a table can't be named {short(feature.table)}: that is "
                "another column's name."
            )
        if feature.vectors is not None:
            other = stated.setdefault(feature.table, feature.name)
            if other != feature.name:
                raise PreparationError(
                    f"{at}the vectors of the table {short(feature.table)} are "
                    f"stated by {short(other)} already; state them once."
                )
        if feature.min_count != columns.min_counts[feature.table]:
            raise PreparationError(
                f"{at}columns that share the table {short(feature.table)} must "
                "have one min_count; they state two."
            )
        target = isinstance(feature, History) and feature.target
        if target and tables.get(target) != feature.table:
            raise PreparationError(
                f"{at}the target must be a categorical column of the table "
                f"{short(feature.table)}; it is {short(target)}."
            )


def check_keys(
    where: str, content: Mapping[str, Any], known: Sequence[str]
) -> None:
    """Raises unless all keys are known ones."""
    for key in content:
        if key not in known:
            raise PreparationError(
                f"{where}{short(key)} is unknown; choose from "
                f"{', '.join(known)}."
            )


def number(
    at: str,
    key: str,
    given: Mapping[str, Any],
    default: int,
    low: int,
    high: int = 2**31 - 1,
) -> int:
    """Returns the integer of that key, from `low` to `high`, or the default."""
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise PreparationError(
            f"{at}{short(key)} must be an integer, {low} or more; it is "
            f"{short(value)}."
        )
    if value > high:
        raise PreparationError(
            f"{at}{short(key)} must be {high:,} or less; it is {short(value)}."
        )
    return value


def text(at: str, key: str, given: Mapping[str, Any], default: str) -> str:
    """Returns the text of that key, or the default; neither may be empty."""
    value = given.get(key, default)
    if not isinstance(value, str) or not value:
        raise PreparationError(
            f"{at}{short(key)} must be a text; it is {short(value)}."
        )
    return value


def name(at: str, key: str, given: Mapping[str, Any]) -> str | None:
    """Returns the name of that key, if there is one."""
    return text(at, key, given, "") if key in given else None


def choice(
    at: str,
    key: str,
    given: Mapping[str, Any],
    default: str,
    choices: Sequence[str],
) -> str:
    """Returns the value of that key, one of the choices, or the default."""
    value = given.get(key, default)
    if value not in choices:
        raise PreparationError(
            f"{at}{short(key)} must be one of {', '.join(choices)}; it is "
            f"{short(value)}."
        )
    return str(value)
