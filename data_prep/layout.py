"""What a prepared folder's files are called, and what describes one."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

FORMAT = "mlora_tf.prepared/1"
SCHEMA_FORMAT = "mlora_tf.schema/1"

SPLITS = ("train", "valid", "test")
DOMAIN = "domain"
LABEL = "label"
SCHEMA = "schema.json"
MANIFEST = "manifest.json"
README = "README.md"
TITLE = "# Prepared click log: "
"""How the README begins."""

FILES = (
    *(f"{split}.parquet" for split in SPLITS),
    SCHEMA,
    MANIFEST,
    README,
)

ROW_GROUP = 1 << 17
"""Rows that a reader takes from a Parquet file at once."""


class PreparationError(ValueError):
    """What the user can mend: one line that says what, where and how."""


@dataclasses.dataclass(frozen=True)
class Description:
    """All of a prepared folder but its rows.

    Args:
        dataset: Name of the dataset.
        options: The choices that shaped the rows, as JSON-ready values.
        seed: The seed of every random choice.
        sources: By file name, the `digest` of each file read.
        features: What `data_prep.features` makes, in order.
        domain_name: What a domain is, for people: `"gender"`.
        domains: The domains' names; the column `domain` indexes them.
    """

    dataset: str
    options: Mapping[str, Any]
    seed: int
    sources: Mapping[str, Mapping[str, Any]]
    features: Sequence[Mapping[str, Any]]
    domain_name: str
    domains: Sequence[str]


def wrong_line(
    path: object, line: int, problem: str, again: str
) -> PreparationError:
    """The error about a line of a file.

    Args:
        path: The file.
        line: The line's number, from 1.
        problem: What is wrong with it.
        again: How to get the whole file again: `"fetch it again"`.
    """
    return PreparationError(
        f"{path}, line {line}: {problem}; mend that line, or {again}."
    )


def short(value: object, length: int = 60) -> str:
    """The value's repr, cut: a message shall not repeat a whole cell."""
    return cut(repr(value), length)


def cut(shown: str, length: int = 60) -> str:
    """The text's first characters, with dots where that isn't all of it."""
    return shown if len(shown) <= length else f"{shown[:length]}..."
