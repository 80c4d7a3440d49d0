"""The rows of a split, on disk: read one row group of Parquet at a time."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlora_tf.columns import DataError
from mlora_tf.columns import Place
from mlora_tf.columns import read_footer
from mlora_tf.columns import reading
from mlora_tf.columns import to_columns
from mlora_tf.columns import to_ids
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema
from mlora_tf.split import Split

GROUP_LIMIT = 4 << 30
"""The most bytes of a row group in memory, whatever it takes on disk."""


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file.

    Attributes:
        path: The file.
        metadata: The file's footer.
        index: The group's number in the file.
        first_row: The number in the file of the group's first row.
        rows: How many rows it has.
    """

    path: pathlib.Path
    metadata: Any = dataclasses.field(repr=False)
    index: int
    first_row: int
    rows: int


@dataclasses.dataclass(frozen=True)
class StreamedSplit:
    """The rows of one split, on disk.

    It has what training and evaluation use of a `Split`: its length, its
    `blocks`, `label`, `domain` and `hold_out`. Every row group's values are
    checked whenever it is read.

    Args:
        schema: What the files must hold.
        groups: The row groups, in the order of the rows.
    """

    schema: Schema
    groups: tuple[RowGroup, ...]

    @classmethod
    def open(
        cls,
        paths: Sequence[pathlib.Path],
        rows: Sequence[int],
        schema: Schema,
    ) -> "StreamedSplit":
        """Checks what files' footers say, and reads no row.

        Args:
            paths: The Parquet files, in the order of the rows.
            rows: How many rows each must have.
            schema: What they must hold.

        Raises:
            DataError: A footer is damaged, or states other rows, columns or
                types, or row groups that are too large to be read.
        """
        groups: list[RowGroup] = []
        columns: set[str] = set()
        for path, expected in zip(paths, rows, strict=True):
            metadata, names = read_footer(path, expected, schema)
            columns = columns or set(names)
            if columns != set(names):
                raise DataError(
                    f"{path}: its columns aren't those of {paths[0].name}: "
                    f"{sorted(columns)}. Received: {sorted(names)}"
                )
            first_row = 0
            for index in range(metadata.num_row_groups):
                size = metadata.row_group(index).num_rows
                _check_size(path, index, size, schema)
                if size:
                    groups.append(
                        RowGroup(path, metadata, index, first_row, size)
                    )
                first_row += size
        return cls(schema, tuple(groups))

    def __len__(self) -> int:
        return sum(group.rows for group in self.groups)

    @property
    def label(self) -> np.ndarray:
        """The clicks, `int8`: one column of all rows."""
        parts = (
            self._ids(group, self.schema.label, 2) for group in self.groups
        )
        return _joined([part.astype(np.int8) for part in parts], np.int8)

    @property
    def domain(self) -> np.ndarray:
        """Each row's domain, `int32`: one column of all rows."""
        indices = range(len(self.groups))
        return _joined([self.domains_of(i) for i in indices], np.int32)

    def domains_of(self, index: int) -> np.ndarray:
        """The domains of a row group's rows: nothing else of it is read."""
        group = self.groups[index]
        return self._ids(group, DOMAIN, self.schema.num_domains)

    def domain_counts(self) -> np.ndarray:
        """Rows of each group by domain: `int64 (groups, domains)`."""
        num_domains = self.schema.num_domains
        counts = np.zeros((len(self.groups), num_domains), np.int64)
        for index in range(len(self.groups)):
            counts[index] = np.bincount(
                self.domains_of(index), minlength=num_domains
            )
        return counts

    def read(self, index: int, extra: Sequence[str] = ()) -> Split:
        """Reads a row group and checks its values.

        Args:
            index: The group's place in `groups`.
            extra: Names of columns to read besides inputs and label.

        Raises:
            DataError: It can't be read, or a value isn't allowed: says which
                file, column and row.
        """
        group = self.groups[index]
        names = (*self.schema.input_names, self.schema.label, *extra)
        table = _table(group, names)
        return Split(
            *to_columns(group.path, table, self.schema, group.first_row)
        )

    def blocks(self, extra: Sequence[str] = ()) -> Iterator[Split]:
        """The rows in their order, a row group at a time.

        Args:
            extra: Names of columns to read besides inputs and label.
        """
        for index in range(len(self.groups)):
            yield self.read(index, extra)

    def subset(self, indices: Sequence[int]) -> "StreamedSplit":
        """The split with those row groups, in that order."""
        groups = tuple(self.groups[index] for index in indices)
        return StreamedSplit(self.schema, groups)

    def hold_out(
        self, fraction: float, seed: int, *, in_order: bool = False
    ) -> tuple["StreamedSplit", "StreamedSplit"]:
        """Parts the row groups at random; both parts keep their order.

        Args:
            fraction: The share of the row groups that are held out, to the
                nearest one; each part has one at least.
            seed: Seed of the choice.
            in_order: As both parts always are, in the order of the rows.

        Returns:
            The rest, and the rows held out.

        Raises:
            DataError: There are fewer than two row groups.
        """
        count = len(self.groups)
        if count < 2:
            raise DataError(
                "rows that are streamed are parted by whole row groups, of "
                f"which there must be two: read them with reading='memory'. "
                f"Received: {count} row group(s)"
            )
        order = np.random.default_rng(seed).permutation(count)
        held = min(max(round(count * fraction), 1), count - 1)
        return (
            self.subset(np.sort(order[held:]).tolist()),
            self.subset(np.sort(order[:held]).tolist()),
        )

    def _ids(self, group: RowGroup, name: str, size: int) -> np.ndarray:
        column = _table(group, (name,)).column(name)
        if column.null_count:
            raise DataError(
                f"{group.path}: column {name!r} has {column.null_count} empty "
                "cells; prepare the data again."
            )
        place = Place(group.path, group.first_row)
        return to_ids(place, name, column, size)


def row_bytes(schema: Schema) -> int:
    """The bytes of a row in memory: inputs, domain and label.

    Example:
        >>> from mlora_tf.schema import SequenceFeature
        >>> from mlora_tf.schema import SparseFeature
        >>> item = SparseFeature("item", (10, 20))
        >>> seen = SequenceFeature("seen", (10, 20), 5)
        >>> row_bytes(Schema((item, seen), "shop", ("a", "b")))
        32
    """
    # Ids, numbers and labels all have 32 bits.
    cells = sum(math.prod(feature.shape) for feature in schema.features)
    return 4 * (cells + 2)


def _table(group: RowGroup, names: Sequence[str]) -> pa.Table:
    with (
        reading(group.path),
        pq.ParquetFile(group.path, metadata=group.metadata) as file,
    ):
        table = file.read_row_group(
            group.index, columns=list(names), use_threads=False
        )
    missing = sorted(set(names) - set(table.column_names))
    if missing:
        raise DataError(f"{group.path}: the file lacks columns: {missing}.")
    if table.num_rows != group.rows:
        raise DataError(
            f"{group.path}: row group {group.index} has {table.num_rows} rows "
            f"and its footer says {group.rows}; prepare the data again."
        )
    return table


def _check_size(
    path: pathlib.Path, index: int, rows: int, schema: Schema
) -> None:
    """Raises if a row group would take up more memory than one may."""
    size = rows * row_bytes(schema)
    if rows < 0 or size > GROUP_LIMIT:
        raise DataError(
            f"{path}: row group {index} has {rows:,} rows, of {size:,} bytes "
            f"in memory, where {GROUP_LIMIT:,} are the most: write the file "
            "with smaller row groups."
        )


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
