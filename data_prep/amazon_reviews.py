"""Reads who reviewed what on Amazon.

Memory holds a block of a file at a time, and the ids: never the texts.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from data_prep import progress
from data_prep.amazon_files import ReviewFile
from data_prep.amazon_files import blocks
from data_prep.amazon_lines import TYPES
from data_prep.amazon_lines import parse
from data_prep.layout import PreparationError


@dataclasses.dataclass(frozen=True)
class Clicks:
    """Who reviewed what in each category, no pair of them twice.

    Attributes:
        users: All users, in the order of their first review.
        items: All items, in the order of their first review.
        domain: The category of each click, an index.
        user: The user of each click, an index into `users`.
        item: The item of each click, an index into `items`.
    """

    users: list[str]
    items: list[str]
    domain: np.ndarray
    user: np.ndarray
    item: np.ndarray


def read(files: Sequence[ReviewFile], min_rating: float | None) -> Clicks:
    """Reads the clicks of all categories.

    Args:
        files: The file of each category.
        min_rating: The lowest rating that counts as a click; None is any.
    """
    size = sum(file.path.stat().st_size for file in files)
    with progress.bar("Reading (MB)", size / 1e6) as advance:
        tables = [
            _read(file, min_rating, lambda amount: advance(amount / 1e6))
            for file in files
        ]
    domain = np.repeat(np.arange(len(files)), [*map(len, tables)])
    reviews = pa.concat_tables(tables)
    users, user = _index(reviews["user"])
    items, item = _index(reviews["item"])
    pair = (domain * len(users) + user) * len(items) + item
    _, first = np.unique(pair, return_index=True)
    first.sort()
    numbers = (pair.size, len(items), len(users), pair.size - first.size)
    logging.info(
        "Read %s clicks on %s items by %s users; %s that repeat another are "
        "left out",
        *(f"{number:,}" for number in numbers),
    )
    return Clicks(users, items, domain[first], user[first], item[first])


def _read(
    file: ReviewFile,
    min_rating: float | None,
    advance: Callable[[int], Any],
) -> pa.Table:
    """Reads `user` and `item` of a category's reviews, in the file's order.

    Each chunk has a dictionary of its own, in the order of first appearance.
    """
    names = [*TYPES]
    if not file.columns and min_rating is None:
        names.remove("rating")
    tables, reviews = [], 0
    for line, block in blocks(file, advance):
        table = parse(file, line, block, names)
        reviews += table.num_rows
        if min_rating is not None:
            table = table.filter(pc.field("rating") >= min_rating)
        # Each of several chunks would carry the whole block's dictionary.
        table = table.combine_chunks()
        tables.append(
            pa.table(
                {
                    name: table[name].dictionary_encode()
                    for name in ("user", "item")
                }
            )
        )
    if not reviews:
        raise PreparationError(
            f"{file.path} holds no reviews; leave {file.category} out of "
            "--categories."
        )
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise PreparationError(
            f"{file.path} holds no review with a rating of at least "
            f"{min_rating}; lower --min_rating, or leave {file.category} out "
            "of --categories."
        )
    return table


def _index(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Returns the values in the order of first appearance, and their indices.

    Args:
        column: Strings, each chunk with a dictionary of its own.
    """
    chunks = column.unify_dictionaries().chunks
    index = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
    return chunks[0].dictionary.to_pylist(), index.astype(np.int64)
