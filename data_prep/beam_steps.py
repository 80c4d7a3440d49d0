"""What Apache Beam's workers do with one piece of a log.

Each step takes a piece and yields values that JSON holds. A mistake of the
user's is a value too, under `ERRORS`: a runner would bury it in a traceback.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from data_prep import staging
from data_prep.beam_pieces import Piece
from data_prep.layout import PreparationError
from data_prep.table_domains import Counts
from data_prep.table_domains import Domains
from data_prep.table_fit import Fitting
from data_prep.table_job import Job
from data_prep.table_numbers import Sample
from data_prep.table_parquet import ParquetFile
from data_prep.table_split import ByTime
from data_prep.table_survey import observe

ERRORS = "errors"
"""Of `(index, message)`."""

SAMPLES = "samples"
"""Of the numbers that rows have drawn, and those rows."""

VALUES = "values"
"""Of `((table, value), count)`."""


class Step(beam.DoFn):
    """A step, whose `run` may raise what the user can mend."""

    def process(self, element: Any) -> Iterator[Any]:
        """Yields what `run` does, or the error that it raises."""
        try:
            yield from self.run(element)
        except (PreparationError, OSError) as error:
            place = getattr(element, "index", element)
            where = place if isinstance(place, int) else 0
            yield beam.pvalue.TaggedOutput(ERRORS, (where, str(error)))

    def run(self, element: Any) -> Iterator[Any]:
        """Yields the step's values for an element."""
        raise NotImplementedError


class Measure(Step):
    """Counts a file's rows and digests its bytes.

    Args:
        job: What to prepare.
    """

    def __init__(self, job: Job) -> None:
        self._files = job.log.files
        self._label = job.columns.label

    def run(self, element: int) -> Iterator[Any]:
        """Yields the file's index, its rows and its digest."""
        file = self._files[element]
        if isinstance(file, ParquetFile):
            rows = sum(file.group_rows)
        else:
            batches = file.batches([self._label])
            rows = sum(batch.num_rows for batch, _ in batches)
        with file.path.open("rb") as stream:
            yield element, rows, staging.digest(stream)


class Survey(Step):
    """Counts rows and clicks by domain, and samples the times.

    Args:
        job: What to prepare.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, element: Piece) -> Iterator[Any]:
        """Yields the piece's index, and rows and clicks of each domain."""
        job, splitter = self._job, self._job.splitter
        if isinstance(splitter, ByTime):
            splitter.sample = Sample(job.seed)
        counts: Counts = {}
        for chunk in element.chunks(job.survey_names):
            observe(chunk, job, counts)
        yield (
            element.index,
            [(value, *map(int, both)) for value, both in counts.items()],
        )
        if isinstance(splitter, ByTime):
            yield from sampled(splitter.sample)


def sampled(sample: Sample) -> Iterator[Any]:
    """Yields a sample, if it has rows, under `SAMPLES`."""
    stayed = sample.stayed()
    if stayed is not None:
        yield beam.pvalue.TaggedOutput(SAMPLES, stayed)


class Learn(Step):
    """Counts values, and sums up numbers, of the training rows.

    Args:
        job: What to prepare.
        domains: The domains that are kept.
    """

    def __init__(self, job: Job, domains: Domains) -> None:
        self._job = job
        self._domains = domains
        self._known = job.cells.kinds()

    def run(self, element: Piece) -> Iterator[Any]:
        """Yields values with their counts, and the piece's summary."""
        cells = self._job.cells
        fitting = Fitting(self._job, self._domains)
        for chunk in element.chunks(fitting.names):
            fitting.add(chunk)
        for table, vocabulary in fitting.vocabularies.items():
            for value, count in vocabulary.counts().items():
                yield beam.pvalue.TaggedOutput(VALUES, ((table, value), count))
        yield {
            "index": element.index,
            "sizes": fitting.sizes.tolist(),
            "trained": fitting.trained.tolist(),
            "moments": {
                name: (moments.sums, moments.ends)
                for name, moments in fitting.moments.items()
            },
            # Of the others the log's first rows have told already.
            "kinds": {
                name: (kind, cells.said(name))
                for name, kind in cells.kinds().items()
                if name not in self._known
            },
        }
