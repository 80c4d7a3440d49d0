"""Counts the values of a column that is too long to be held."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.layout import PreparationError

_MERGED = 1 << 20
"""The fewest counts that are put together."""


class Vocabulary:
    """The values of a table of ids, and how often each is there.

    Memory is bounded by the number of distinct values.

    Args:
        table: Name of the table.
        min_count: How often a value must be there to have an id.
    """

    def __init__(self, table: str, min_count: int) -> None:
        self._table = table
        self._min_count = min_count
        self._first: tuple[str, pa.DataType] | None = None
        self._parts: list[pa.Table] = []
        self._held = 0
        self._distinct = 0

    def add(self, column: str, values: pa.Array, counts: np.ndarray) -> None:
        """Adds the counts of some of a column's values."""
        if not len(values):
            return
        self._first = self._first or (column, values.type)
        if values.type != self._first[1]:
            raise PreparationError(
                f"columns {self._first[0]!r} and {column!r} share the table "
                f"{self._table!r}, but one holds integers and the other text; "
                f"add --strings={self._first[0]},{column}."
            )
        self._parts.append(
            pa.table({"value": values, "count": counts.astype(np.int64)})
        )
        self._held += len(values)
        # To merge at each doubling costs no more than to count them once.
        if self._held > max(_MERGED, 2 * self._distinct):
            self._merge()

    def counts(self) -> dict[int | str, int]:
        """The values that were added, and how often each was there."""
        if not self._parts:
            return {}
        self._merge()
        columns = self._parts[0].to_pydict()
        return dict(zip(columns["value"], columns["count"], strict=True))

    def finish(self, max_size: int, *, may_be_empty: bool = False) -> pa.Array:
        """Returns the values in the order of their ids.

        The most frequent comes first; those as frequent are sorted: integers
        as integers, text by its characters.

        Args:
            max_size: The most values.
            may_be_empty: Whether there may be none.
        """
        if self._parts:
            self._merge()
        else:
            self._parts = [pa.table({"value": pa.array([], pa.string())})]
            self._parts[0] = self._parts[0].append_column(
                "count", pa.array([], pa.int64())
            )
        table = self._parts[0]
        table = table.filter(pc.field("count") >= self._min_count)
        size = table.num_rows
        if not size and not may_be_empty:
            times = (
                "once" if self._min_count == 1 else f"{self._min_count} times"
            )
            raise PreparationError(
                f"no value of the column {self._table!r} is {times} in the "
                "training rows; choose a lower --min_count, or leave it out."
            )
        if size > max_size:
            raise PreparationError(
                f"the column {self._table!r} has {size:,} values, and "
                f"--max_vocabulary is {max_size:,}; choose a higher "
                "--min_count, or leave it out."
            )
        order = [("count", "descending"), ("value", "ascending")]
        return table.sort_by(order)["value"].combine_chunks()

    def _merge(self) -> None:
        table = pa.concat_tables(self._parts)
        table = table.group_by("value").aggregate([("count", "sum")])
        self._parts = [table.rename_columns(["value", "count"])]
        self._held = self._distinct = table.num_rows
