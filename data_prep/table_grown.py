"""A folder to prepare a log like, with a domain more and its new values."""

import dataclasses

import pyarrow as pa
from absl import logging

from data_prep import table_doubts
from data_prep.layout import PreparationError
from data_prep.table_columns import Numeric
from data_prep.table_domains import Counts
from data_prep.table_domains import Domains
from data_prep.table_fit import Fitting
from data_prep.table_job import Job
from data_prep.table_like import SHOWN
from data_prep.table_like import Like
from data_prep.table_vocabulary import Vocabulary


def grown(job: Job, like: Like, name: str, counts: Counts) -> Like:
    """The folder as if it had one domain more, the last.

    All that it has stays where it is, so that a model's ids mean what they
    did. Values of the new domain's training rows that it doesn't know follow,
    the most frequent first; a table with pretrained vectors gets none, as
    there are none for them.

    Args:
        job: What to prepare.
        like: The folder.
        name: The new domain.
        counts: Rows and clicks of each domain of the log, by its name.

    Raises:
        PreparationError: The folder has the domain, or the log doesn't.
    """
    if name in like.domains:
        raise PreparationError(
            f"--new_domain={name}: {like.folder} has that domain already; "
            "leave the flag out."
        )
    if name not in counts:
        others = [repr(one) for one in counts if one not in like.domains]
        raise PreparationError(
            f"--new_domain={name}: the log has no row with it; new in it are "
            f"{', '.join(others[:SHOWN]) or 'no domains'}."
        )
    table_doubts.say_alike(like.columns.domain, [*like.domains, name])
    only = Domains(like.columns.domain, pa.array([name], pa.string()))
    values = {
        # A domain that opened yesterday may have no history yet.
        table: vocabulary.finish(
            job.max_vocabulary, may_be_empty=True
        ).to_pylist()
        for table, vocabulary in _counted(job, only).items()
        if table not in like.vectors
    }
    features = []
    for feature, column in zip(
        like.features, like.columns.features, strict=True
    ):
        if isinstance(column, Numeric) or column.table in like.vectors:
            features.append(feature)
            continue
        old = feature["vocabulary"]
        known = set(old)
        new = [value for value in values[column.table] if value not in known]
        logging.info("column %r: %s new values.", column.name, f"{len(new):,}")
        features.append({**feature, "vocabulary": [*old, *new]})
    return dataclasses.replace(
        like, domains=[*like.domains, name], features=features
    )


def _counted(job: Job, domain: Domains) -> dict[str, Vocabulary]:
    """By table, the values of a domain's training rows."""
    categories = tuple(
        column
        for column in job.columns.features
        if not isinstance(column, Numeric)
    )
    columns = dataclasses.replace(job.columns, features=categories)
    fitting = Fitting(dataclasses.replace(job, columns=columns), domain)
    title = "Learning the new domain's values"
    for chunk in job.log.chunks(fitting.names, title):
        fitting.add(chunk)
    return fitting.vocabularies
