"""Reads what the columns of a log are, from flags or a JSON file."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from data_prep import table_checks
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.table_columns import LARGEST
from data_prep.table_columns import MAX_LENGTH
from data_prep.table_columns import MISSING
from data_prep.table_columns import POOLINGS
from data_prep.table_columns import TARGET_POOLINGS
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import Feature
from data_prep.table_columns import History
from data_prep.table_columns import Numeric


@dataclasses.dataclass(frozen=True)
class Defaults:
    """The options of a column that states none of its own."""

    min_count: int = 1
    buckets: int = 0
    separator: str = "|"
    missing: str = "error"


KEYS = (
    "label",
    "domain",
    "domain_values",
    "categorical",
    "numeric",
    "sequence",
    "strings",
)
"""What a configuration may hold; the flags have the same names."""

_OPTIONS: dict[str, tuple[str, ...]] = {
    "categorical": ("min_count", "table", "missing", "vectors"),
    "numeric": ("buckets", "missing"),
    "sequence": (
        "max_length",
        "separator",
        "min_count",
        "table",
        "pooling",
        "target",
        "missing",
        "vectors",
    ),
}


def from_flags(values: Mapping[str, Any], defaults: Defaults) -> Columns:
    """Reads the columns from the values of the flags named in `KEYS`."""
    content = {key: values[key] for key in KEYS if values.get(key)}
    for kind in ("categorical", "numeric"):
        content[kind] = _once(
            f"--{kind}", ((name, {}) for name in content.get(kind, ()))
        )
    content["sequence"] = _once(
        "--sequence", map(_history_flag, content.get("sequence", ()))
    )
    return _columns("--", content, defaults)


def from_json(path: str | pathlib.Path, defaults: Defaults) -> Columns:
    """Reads the columns from a JSON file with the keys `KEYS`."""
    try:
        text = pathlib.Path(path).read_text("utf-8-sig")
        content = json.loads(
            text, object_pairs_hook=lambda pairs: _once(f"{path}: ", pairs)
        )
    except PreparationError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise PreparationError(
            f"{path} can't be read as JSON ({error}); mend it, or name the "
            "columns by flags."
        ) from None
    where = f"{path}: "
    if not isinstance(content, dict):
        raise PreparationError(f"{where}must hold an object, as in {{...}}.")
    table_checks.check_keys(where, content, KEYS)
    for kind in _OPTIONS:
        given = content.get(kind, {})
        if isinstance(given, list):
            given = _once(where, ((str(name), {}) for name in given))
        if not isinstance(given, dict):
            raise PreparationError(
                f"{where}{short(kind)} must be a list of columns, or an object "
                f"with the options of each; it is {short(given, 200)}."
            )
        content[kind] = given
    return _columns(where, content, defaults)


def from_options(where: str, content: Mapping[str, Any]) -> Columns:
    """Reads the columns from what `options` made of them."""
    return _columns(where, {key: content[key] for key in KEYS}, Defaults())


def _once(where: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict; a name that is there twice is an error."""
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise PreparationError(
                f"{where.removesuffix(': ')} names {short(name)} twice; name "
                "it once."
            )
        content[name] = value
    return content


def _history_flag(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `history:50`."""
    name, colon, length = text.partition(":")
    if colon and not length.isdecimal():
        raise PreparationError(
            f"--sequence={text}: a length must be a number, as in "
            f"{name}:{MAX_LENGTH}."
        )
    return name, {"max_length": int(length)} if colon else {}


def _columns(
    where: str, content: Mapping[str, Any], defaults: Defaults
) -> Columns:
    """Makes the columns of the keys in `KEYS`, all checked."""
    for key in ("label", "domain"):
        if not isinstance(content.get(key), str) or not content[key]:
            raise PreparationError(
                f"{where}{key} is missing; name the column of the {key}."
            )
    lists = {
        key: _names(where, key, content.get(key, []))
        for key in ("strings", "domain_values")
    }
    features: list[Feature] = []
    for kind, make in _MAKERS.items():
        for name, given in content[kind].items():
            at = f"{where}{kind}: {short(name)}: "
            if not isinstance(given, dict):
                raise PreparationError(
                    f"{at}its options must be an object, as in {{}}; they "
                    f"are {short(given, 200)}."
                )
            table_checks.check_keys(at, given, _OPTIONS[kind])
            features.append(make(at, name, given, defaults))
    if defaults.min_count < 1:
        raise PreparationError(
            f"--min_count must be 1 or more; it is {defaults.min_count}."
        )
    columns = Columns(
        content["label"],
        content["domain"],
        _with_tables(features, defaults.min_count),
        frozenset(lists["strings"]),
        lists["domain_values"] or None,
    )
    # What is said of columns isn't said of a flag.
    where = where.removeprefix("--")
    table_checks.check_names(where, columns)
    table_checks.check_tables(where, columns)
    return columns


def _names(where: str, key: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(
        isinstance(value, str) and value for value in values
    ):
        raise PreparationError(
            f"{where}{key} must be a list of names; it is {short(values, 200)}."
        )
    return tuple(_once(f"{where}{key}", ((value, 0) for value in values)))


def _categorical(
    at: str, name: str, given: dict[str, Any], defaults: Defaults
) -> Categorical:
    return Categorical(
        name,
        table_checks.name(at, "table", given) or "",
        _min_count(at, given),
        table_checks.choice(at, "missing", given, defaults.missing, MISSING),
        table_checks.name(at, "vectors", given),
    )


def _numeric(
    at: str, name: str, given: dict[str, Any], defaults: Defaults
) -> Numeric:
    buckets = table_checks.number(
        at, "buckets", given, defaults.buckets, 0, LARGEST
    )
    if buckets == 1:
        raise PreparationError(
            f"{at}one bucket would make all numbers alike; choose 0 for none, "
            "or 2 or more."
        )
    return Numeric(
        name,
        buckets,
        table_checks.choice(at, "missing", given, defaults.missing, MISSING),
    )


def _history(
    at: str, name: str, given: dict[str, Any], defaults: Defaults
) -> History:
    target = table_checks.name(at, "target", given)
    pooling = "din" if target else None
    if "pooling" in given:
        pooling = table_checks.choice(at, "pooling", given, "", POOLINGS)
    if (pooling in TARGET_POOLINGS) != (target is not None):
        raise PreparationError(
            f"{at}the poolings {' and '.join(TARGET_POOLINGS)} need a "
            "'target', a categorical column, and the others have none."
        )
    return History(
        name,
        table_checks.name(at, "table", given) or "",
        _min_count(at, given),
        table_checks.choice(at, "missing", given, defaults.missing, MISSING),
        table_checks.number(at, "max_length", given, MAX_LENGTH, 1, LARGEST),
        table_checks.text(at, "separator", given, defaults.separator),
        pooling,
        target,
        table_checks.name(at, "vectors", given),
    )


_MAKERS: dict[str, Any] = {
    "categorical": _categorical,
    "numeric": _numeric,
    "sequence": _history,
}


def _min_count(at: str, given: Mapping[str, Any]) -> int:
    """The stated one, or 0, until it is known who shares the table."""
    if "min_count" not in given:
        return 0
    return table_checks.number(at, "min_count", given, 0, 1)


def _with_tables(
    features: Sequence[Feature], default: int
) -> tuple[Feature, ...]:
    """Fills in the tables, and what the columns of a table share."""
    own = {
        feature.name: feature.table or feature.name
        for feature in features
        if isinstance(feature, Categorical)
    }
    named: list[Feature] = []
    stated: dict[str, int] = {}
    for feature in features:
        if not isinstance(feature, Numeric):
            table = feature.table or feature.name
            if isinstance(feature, History) and feature.target:
                table = feature.table or own.get(feature.target, table)
            feature = dataclasses.replace(feature, table=table)
            if feature.min_count:
                stated.setdefault(table, feature.min_count)
        named.append(feature)
    return tuple(
        feature
        if isinstance(feature, Numeric) or feature.min_count
        else dataclasses.replace(
            feature, min_count=stated.get(feature.table, default)
        )
        for feature in named
    )


def options(columns: Columns) -> dict[str, Any]:
    """The columns as a configuration that states every option."""
    kinds = {
        Categorical: "categorical",
        Numeric: "numeric",
        History: "sequence",
    }
    content: dict[str, Any] = {kind: {} for kind in kinds.values()}
    for feature in columns.features:
        given = {
            key: value
            for key, value in dataclasses.asdict(feature).items()
            if key != "name" and value is not None
        }
        content[kinds[type(feature)]][feature.name] = given
    return {
        "label": columns.label,
        "domain": columns.domain,
        "domain_values": [*(columns.domain_values or ())],
        "strings": sorted(columns.strings),
        **content,
    }
