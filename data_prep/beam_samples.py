"""Samples of a log that many workers read: each row by its own number."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from data_prep.beam_pieces import Piece
from data_prep.beam_steps import Step
from data_prep.beam_steps import sampled
from data_prep.table_columns import Numeric
from data_prep.table_domains import Domains
from data_prep.table_fit import Fitting
from data_prep.table_job import Job
from data_prep.table_numbers import Sample


class Draw(Step):
    """Samples the training rows of the columns that get buckets.

    Args:
        job: What to prepare.
        domains: The domains that are kept.
        before: By piece, how many training rows there are before it.
    """

    def __init__(
        self, job: Job, domains: Domains, before: dict[int, int]
    ) -> None:
        bucketed = tuple(
            column
            for column in job.columns.features
            if isinstance(column, Numeric) and column.buckets
        )
        self._job = dataclasses.replace(
            job, columns=dataclasses.replace(job.columns, features=bucketed)
        )
        self._domains = domains
        self._before = before

    def run(self, element: Piece) -> Iterator[Any]:
        """Yields the sample."""
        fitting = Fitting(self._job, self._domains)
        before = self._before[element.index]
        fitting.sample = Sample(self._job.seed, start=before)
        for chunk in element.chunks(fitting.names):
            fitting.add(chunk)
        yield from sampled(fitting.sample)


class MergeSamples(beam.CombineFn):
    """Puts samples together: those rows stay that have drawn least.

    Args:
        seed: Seed of the draws.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def create_accumulator(self) -> Sample:
        """Returns a sample of no rows."""
        return Sample(self._seed)

    def add_input(self, sample: Sample, element: Any) -> Sample:
        """Returns the sample with other rows."""
        sample.merge(*element)
        return sample

    def merge_accumulators(self, samples: Iterable[Sample]) -> Sample:
        """Returns the sample of all rows."""
        merged = self.create_accumulator()
        for sample in samples:
            stayed = sample.stayed()
            if stayed is not None:
                merged.merge(*stayed)
        return merged

    def extract_output(self, sample: Sample) -> Any:
        """Returns the numbers drawn and the rows, as lists."""
        keys, rows = sample.stayed() or (np.empty(0), np.empty(0))
        return keys.tolist(), rows.tolist()
