"""What is learned of a log's training rows: vocabularies, buckets, means.

The rows of domains that aren't kept are none.
"""

from typing import Any

import numpy as np
from absl import logging

from data_prep import features
from data_prep import table_cells
from data_prep import table_doubts
from data_prep.layout import SPLITS
from data_prep.layout import PreparationError
from data_prep.splits import check_sizes
from data_prep.table_categories import Coded
from data_prep.table_columns import Categorical
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_domains import Domains
from data_prep.table_files import Chunk
from data_prep.table_fitted import Fitted
from data_prep.table_job import Job
from data_prep.table_numbers import Moments
from data_prep.table_numbers import Sample
from data_prep.table_vocabulary import Vocabulary

# What float32 can't tell from 0 is no standard deviation.
_SMALLEST = float(np.finfo(np.float32).tiny)


def fit(job: Job, domains: Domains) -> Fitted:
    """Reads all rows, and learns from those for training."""
    fitting = Fitting(job, domains)
    for chunk in job.log.chunks(fitting.names, "Learning vocabularies"):
        fitting.add(chunk)
    return fitting.finish()


class Fitting:
    """What is known of the training rows so far.

    Args:
        job: What to prepare.
        domains: The domains that are kept.

    Attributes:
        names: The columns that it reads.
        sizes: The rows of kept domains, by split.
        trained: The training rows, by domain.
        vocabularies: By table, the counts of its values.
        moments: By numeric column, its sums.
        bucketed: The numeric columns of which quantiles are needed.
        sample: Some rows of those columns.
    """

    def __init__(self, job: Job, domains: Domains) -> None:
        columns = job.columns
        self.names = (columns.domain, *job.splitter.names, *columns.names)
        self.sizes = np.zeros(len(SPLITS), np.int64)
        self.trained = np.zeros(len(domains.values), np.int64)
        self._job = job
        self._domains = domains
        self.vocabularies = {
            table: Vocabulary(table, count)
            for table, count in columns.min_counts.items()
        }
        self._numeric = [
            column for column in columns.features if isinstance(column, Numeric)
        ]
        self.moments = {column.name: Moments() for column in self._numeric}
        self.bucketed = [
            column.name for column in self._numeric if column.buckets
        ]
        self.sample = Sample(job.seed)

    def add(self, chunk: Chunk) -> None:
        """Learns from a chunk's training rows; checks all."""
        domain = self._domains.of(chunk, self._job.cells)
        split = self._job.splitter.split(chunk)
        self.sizes += np.bincount(split[domain >= 0], minlength=self.sizes.size)
        train = (domain >= 0) & (split == 0)
        self.trained += np.bincount(domain[train], minlength=self.trained.size)
        self._learn(chunk, train)

    def _learn(self, chunk: Chunk, train: np.ndarray) -> None:
        cells = self._job.cells
        for column in self._job.columns.features:
            if isinstance(column, Categorical):
                coded = cells.one(chunk, column)
                self._count(column, coded, train)
            elif isinstance(column, History):
                coded, lengths = cells.several(chunk, column)
                self._count(column, coded, np.repeat(train, lengths))
        values = {
            column.name: table_cells.numbers(chunk, column)[train]
            for column in self._numeric
        }
        for name, column_values in values.items():
            there = ~np.isnan(column_values)
            self.moments[name].add(column_values[there])
        if self.bucketed:
            sampled = [values[name] for name in self.bucketed]
            self.sample.add(np.stack(sampled, axis=1))

    def _count(
        self, column: Categorical | History, coded: Coded, kept: np.ndarray
    ) -> None:
        self.vocabularies[column.table].add(column.name, *coded.counts(kept))

    def finish(self) -> Fitted:
        """Makes vocabularies, buckets and means of what was added."""
        columns = self._job.columns
        check_sizes(self.sizes, self._job.splitter.hint)
        for index in np.flatnonzero(self.trained == 0):
            logging.warning(
                "domain %r has no training rows.", self._domains.names[index]
            )
        vocabularies = {
            table: vocabulary.finish(self._job.max_vocabulary)
            for table, vocabulary in self.vocabularies.items()
        }
        table_doubts.say_floats(columns, vocabularies)
        table_doubts.say_lists(columns, vocabularies)
        lists = {
            table: values.to_pylist() for table, values in vocabularies.items()
        }
        sample = self.sample.finish() if self.bucketed else None
        described, means = [], {}
        for column in columns.features:
            if isinstance(column, Numeric):
                means[column.name], stddev = self._finish_moments(column.name)
                self._say_filled(column.name, means[column.name])
                edges = None
                if sample is not None and column.buckets:
                    numbers = sample[:, self.bucketed.index(column.name)]
                    numbers = numbers[~np.isnan(numbers)]
                    edges = _edges(column, numbers)
                elif stddev >= _SMALLEST:
                    table_doubts.say_far(column.name, self.moments[column.name])
                described.append(
                    _numeric(column, edges, means[column.name], stddev)
                )
            else:
                described.append(_described(column, lists[column.table]))
        rows = int(self.sizes.sum())
        return Fitted(described, vocabularies, means, rows)

    def _say_filled(self, name: str, mean: float) -> None:
        rows = int(self.trained.sum())
        if missing := rows - self.moments[name].total:
            logging.info(
                "column %r: %s of %s training rows have no number; it is "
                "filled with their mean, %.6g.",
                *(name, f"{missing:,}", f"{rows:,}", mean),
            )

    def _finish_moments(self, name: str) -> tuple[float, float]:
        moments = self.moments[name]
        if not moments.total:
            raise PreparationError(
                f"column {name!r} is empty in all training rows; leave it out."
            )
        return moments.finish()


def _edges(column: Numeric, numbers: np.ndarray) -> list[float]:
    if not numbers.size:
        raise PreparationError(
            f"column {column.name!r} is empty in almost all training rows; "
            "leave it out."
        )
    return features.quantiles(numbers, column.buckets)


def _numeric(
    column: Numeric, edges: list[float] | None, mean: float, stddev: float
) -> dict[str, Any]:
    missing = mean if column.missing == "fill" else None
    if edges is not None:
        return features.dense(column.name, boundaries=edges, missing=missing)
    if stddev < _SMALLEST:
        logging.warning(
            "column %r is the same number in all training rows.", column.name
        )
        stddev = 1.0
    return features.dense(
        column.name, mean=mean, stddev=stddev, missing=missing
    )


def _described(
    column: Categorical | History, vocabulary: list[Any]
) -> dict[str, Any]:
    table = None if column.table == column.name else column.table
    if isinstance(column, Categorical):
        return features.sparse(column.name, vocabulary, table=table)
    return features.sequence(
        column.name,
        vocabulary,
        column.max_length,
        pooling=column.pooling,
        target=column.target,
        table=table,
    )
