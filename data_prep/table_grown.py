"""A folder to prepare a log like, with a domain more and its new values."""

import dataclasses

import numpy as np
import pyarrow as pa
from absl import logging

from data_prep import table_doubts
from data_prep.layout import PreparationError
from data_prep.table_categories import Categories
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_files import Log
from data_prep.table_like import SHOWN
from data_prep.table_like import Like
from data_prep.table_split import Splitter
from data_prep.table_survey import Counts
from data_prep.table_survey import Domains
from data_prep.table_vocabulary import Vocabulary


def grown(
    like: Like,
    name: str,
    counts: Counts,
    log: Log,
    cells: Categories,
    splitter: Splitter,
    max_vocabulary: int,
) -> Like:
    """The folder as if it had one domain more, the last.

    All that it has stays where it is, so that a model's ids mean what they
    did. Values of the new domain's training rows that it doesn't know follow,
    the most frequent first; a table with pretrained vectors gets none, as
    there are none for them.

    Args:
        like: The folder.
        name: The new domain.
        counts: Rows and clicks of each domain of the log, by its name.
        log: The log.
        cells: Reads its columns of categories.
        splitter: Deals its rows out to the splits.
        max_vocabulary: The most values of a column.

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
    counted = _counted(
        like.columns,
        Domains(like.columns.domain, pa.array([name], pa.string())),
        *(log, cells, splitter),
    )
    values = {
        # A domain that opened yesterday may have no history yet.
        table: vocabulary.finish(max_vocabulary, may_be_empty=True).to_pylist()
        for table, vocabulary in counted.items()
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


def _counted(
    columns: Columns,
    domain: Domains,
    log: Log,
    cells: Categories,
    splitter: Splitter,
) -> dict[str, Vocabulary]:
    """By table, the values of a domain's training rows."""
    found = {
        table: Vocabulary(table, count)
        for table, count in columns.min_counts.items()
    }
    lists: list[Categorical | History] = [
        column for column in columns.features if not isinstance(column, Numeric)
    ]
    names = (
        columns.domain,
        *splitter.names,
        *(column.name for column in lists),
    )
    for chunk in log.chunks(names, "Learning the new domain's values"):
        train = domain.of(chunk, cells) >= 0
        train &= splitter.split(chunk) == 0
        for column in lists:
            if isinstance(column, Categorical):
                coded, kept = cells.one(chunk, column), train
            else:
                coded, lengths = cells.several(chunk, column)
                kept = np.repeat(train, lengths)
            found[column.table].add(column.name, *coded.counts(kept))
    return found
