"""Reads a Parquet file chunk by chunk."""

import pathlib
from collections.abc import Collection
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.layout import ROW_GROUP
from data_prep.layout import PreparationError


class ParquetFile:
    """A Parquet file.

    Args:
        path: Its name ends in `.parquet`.

    Attributes:
        schema: Its columns' types.
        names: Names of its columns.
        size: Its bytes.
        group_rows: The rows of each of its row groups.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        try:
            with pq.ParquetFile(path) as file:
                self.schema: pa.Schema = file.schema_arrow
                self.names: list[str] = self.schema.names
                metadata = file.metadata
                self.group_rows = tuple(
                    metadata.row_group(index).num_rows
                    for index in range(metadata.num_row_groups)
                )
                self._rows = metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None
        for name in self.names:
            if self.names.count(name) > 1:
                raise PreparationError(
                    f"{path}: the column {name!r} is there twice; rename one."
                )

    def batches(
        self, names: list[str], groups: range | None = None
    ) -> Iterator[tuple[pa.RecordBatch, float]]:
        """Yields rows of those columns, and about how many bytes they took.

        Args:
            names: The columns.
            groups: The row groups; None is all of them.
        """
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(
                    ROW_GROUP,
                    row_groups=None if groups is None else [*groups],
                    columns=names,
                ):
                    yield batch, self.size * batch.num_rows / max(self._rows, 1)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def places(self, rows: Collection[int]) -> list[str]:
        """Where those rows, 0 for the first, are: `["row 1"]`."""
        return [f"row {row + 1}" for row in rows]

    def _damaged(self, error: BaseException) -> PreparationError:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        return PreparationError(
            f"{self.path} can't be read as Parquet ({reason}); is it cut "
            "short? Copy it again."
        )
