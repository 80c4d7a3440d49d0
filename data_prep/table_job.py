"""The preparation of one log of your own: what to do, whoever does it."""

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from data_prep import table_files
from data_prep import table_vectors
from data_prep.layout import Description
from data_prep.layout import PreparationError
from data_prep.table_categories import Categories
from data_prep.table_columns import Columns
from data_prep.table_domains import Domains
from data_prep.table_files import Log
from data_prep.table_fitted import Fitted
from data_prep.table_like import Like
from data_prep.table_split import Splitter
from data_prep.writer import Writer

LARGEST_CHUNK = 1 << 22
"""The most rows that are waited for to be looked up at once.

Long rows are looked up sooner: see `table_files.CHUNK_BYTES`.
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """What to prepare.

    Args:
        output: The prepared folder to write.
        log: The log.
        columns: What its columns are.
        cells: Reads its columns of categories.
        splitter: Deals its rows out to the splits.
        options: The choices that shape the rows, for the manifest.
        drop_one_class_domains: Whether domains of one class are dropped.
        max_vocabulary: The most values of a column.
        shard_rows: The most rows of a file of the folder.
        seed: Seed of the random split and of samples.
        overwrite: Whether a prepared folder of that name is replaced.
        like: The folder whose schema it gets; None: one of its own.
        new_domain: A domain that it gets besides.
    """

    output: pathlib.Path
    log: Log
    columns: Columns
    cells: Categories
    splitter: Splitter
    options: Mapping[str, Any]
    drop_one_class_domains: bool
    max_vocabulary: int
    shard_rows: int
    seed: int
    overwrite: bool
    like: Like | None = None
    new_domain: str | None = None

    @property
    def survey_names(self) -> tuple[str, ...]:
        """The columns of labels, domains and splits."""
        columns = self.columns
        return (columns.label, columns.domain, *self.splitter.names)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (*self.survey_names, *self.columns.names)

    def writer(
        self, fitted: Fitted, domains: Domains, sources: Mapping[str, Any]
    ) -> Writer:
        """What writes the folder, once all is known of it but the rows."""
        vectors = (
            self.like.vectors
            if self.like
            else table_vectors.read(self.columns, fitted.vocabularies)
        )
        description = Description(
            dataset="table",
            options=self.options,
            seed=self.seed,
            sources={**sources, **table_vectors.sources(self.columns)},
            features=table_vectors.described(fitted.features, vectors),
            domain_name=self.columns.domain,
            domains=domains.names,
        )
        return Writer(
            self.output,
            description,
            overwrite=self.overwrite,
            shard_rows=self.shard_rows,
            vectors=vectors,
        )

    def check_rows(self, expected: int, written: int) -> None:
        """Raises unless all rows were written that were learned from."""
        if written != expected:
            raise PreparationError(
                f"{self.log.pattern} has changed while it was read: it had "
                f"{expected:,} rows, and now has {written:,}; wait until it "
                "is whole."
            )


def chunk_rows(vocabulary_sizes: Iterable[int]) -> int:
    """How many rows to look up at once."""
    # A look-up costs a walk through the vocabulary: not for a few rows.
    largest = max(vocabulary_sizes, default=0)
    return min(max(table_files.CHUNK_ROWS, largest), LARGEST_CHUNK)
