"""A first walk through a log, for its domains and times alone."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_prep import domains
from data_prep import features
from data_prep import table_cells
from data_prep import table_doubts
from data_prep.layout import SPLITS
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.splits import check_sizes
from data_prep.table_columns import Columns
from data_prep.table_domains import OTHERS
from data_prep.table_domains import Counts
from data_prep.table_domains import Domains
from data_prep.table_files import Chunk
from data_prep.table_files import Log
from data_prep.table_job import Job

MAX_DOMAINS = 100_000
"""The most domains, so that memory is bounded if the column is of views."""


def survey(job: Job) -> Domains:
    """Finds the domains.

    They are in the order of `domain_values`, or else sorted: integers as
    integers, text by its characters.
    """
    return choose(counted(job), job)


def counted(job: Job) -> Counts:
    """Reads labels, domains and times of all rows, and nothing else."""
    counts: Counts = {}
    for chunk in job.log.chunks(job.survey_names, "Looking for domains"):
        observe(chunk, job, counts)
    check_rows(counts, job.log)
    return counts


def check_rows(counts: Counts, log: Log) -> None:
    """Raises if the whole log has no row."""
    if not counts:
        raise PreparationError(
            f"{log.files[0].path} and all other files of the log hold no rows."
            if len(log.files) > 1
            else f"{log.files[0].path} holds no rows."
        )


def observe(chunk: Chunk, job: Job, counts: Counts) -> None:
    """Adds up a chunk's rows and clicks by domain, and sees its times."""
    label = table_cells.labels(chunk, job.columns.label)
    job.splitter.observe(chunk)
    coded = job.cells.domain(chunk, job.columns.domain)
    size = len(coded.values)
    rows = np.bincount(coded.indices, minlength=size)
    clicks = np.bincount(coded.indices[label == 1], minlength=size)
    there = np.flatnonzero(rows)
    values = coded.values.take(pa.array(there)).to_pylist()
    add(counts, job.columns, values, np.stack([rows, clicks], axis=1)[there])


def add(
    counts: Counts,
    columns: Columns,
    values: Sequence[int | str],
    both: np.ndarray,
) -> None:
    """Adds rows and clicks by domain.

    Once there are `MAX_DOMAINS`, further ones are counted together, under
    `OTHERS`, but for those of `domain_values`.

    Args:
        counts: What they are added to.
        columns: The log's columns.
        values: Domains.
        both: Rows and clicks of each, of shape `(values, 2)`.

    Raises:
        PreparationError: There are more, and no `domain_values`.
    """
    kept = frozenset(columns.domain_values or ())
    for value, one in zip(values, both, strict=True):
        if value not in counts and len(counts) >= MAX_DOMAINS:
            if not kept:
                raise PreparationError(
                    f"column {columns.domain!r} has more than {MAX_DOMAINS:,} "
                    "values, and a model has weights for each domain; name "
                    "another column as --domain, or those to keep as "
                    "--domain_values."
                )
            if str(value) not in kept:
                value = OTHERS
        counts[value] = counts.get(value, 0) + one


def choose(counts: Counts, job: Job) -> Domains:
    """Says which domains are kept, by the counts of the whole log."""
    columns = job.columns
    check_rows(counts, job.log)
    if columns.domain_values is None:
        values = sorted(counts)
    else:
        by_name = {str(value): value for value in counts}
        for name in columns.domain_values:
            if name not in by_name:
                raise PreparationError(
                    f"--domain_values: the log has no row with the domain "
                    f"{short(name)}; leave it out."
                )
        values = [by_name[name] for name in columns.domain_values]
    rows, clicks = np.array([counts[value] for value in values]).T
    stay = domains.kept(
        [*map(str, values)],
        rows,
        clicks,
        drop_one_class=job.drop_one_class_domains,
    )
    kept = [value for value, one in zip(values, stay, strict=True) if one]
    if columns.domain_values is None:
        table_doubts.say_alike(columns.domain, map(str, kept))
    return Domains(columns.domain, features.array(kept))


def check_splits(job: Job, domains: Domains) -> None:
    """Raises unless each split has a row of these domains.

    Reads domains and splits alone, and no further than it has to.
    """
    sizes = np.zeros(len(SPLITS), np.int64)
    names = (domains.name, *job.splitter.names)
    for chunk in job.log.chunks(names, "Looking for splits"):
        kept = domains.of(chunk, job.cells) >= 0
        split = job.splitter.split(chunk)
        sizes += np.bincount(split[kept], minlength=sizes.size)
        if sizes.all():
            return
    check_sizes(sizes, job.splitter.hint)
