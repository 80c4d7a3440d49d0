"""From a chunk's raw columns to those of the prepared folder."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_prep import features
from data_prep import table_cells
from data_prep.features import Column
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.table_categories import Categories
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import Feature
from data_prep.table_columns import Numeric
from data_prep.table_domains import Domains
from data_prep.table_files import Chunk
from data_prep.table_fitted import Fitted
from data_prep.table_job import Job


def transform(
    chunk: Chunk, job: Job, domains: Domains, fitted: Fitted
) -> tuple[dict[str, Column], np.ndarray]:
    """Encodes the rows of the kept domains.

    A value that isn't in the vocabulary has the id 0, and so has an empty
    cell; an empty number becomes the mean of the training rows.

    Returns:
        The columns by name, and the split of each row.
    """
    encoded = encode(chunk, job.columns, job.cells, fitted)
    encoded[DOMAIN] = domains.of(chunk, job.cells)
    encoded[LABEL] = table_cells.labels(chunk, job.columns.label)
    split = job.splitter.split(chunk)
    kept = encoded[DOMAIN] >= 0
    return rows_of(encoded, kept), split if kept.all() else split[kept]


def encode(
    chunk: Chunk, columns: Columns, cells: Categories, fitted: Fitted
) -> dict[str, Column]:
    """The features of all rows, by name."""
    return {
        feature.name: _encoded(chunk, feature, cells, fitted)
        for feature in columns.features
    }


def rows_of(
    columns: Mapping[str, Column], kept: np.ndarray
) -> dict[str, Column]:
    """Those rows of encoded columns that a mask has."""
    if kept.all():
        return dict(columns)
    return {
        name: column.filter(pa.array(kept))
        if isinstance(column, pa.ListArray)
        else column[kept]
        for name, column in columns.items()
    }


def _encoded(
    chunk: Chunk, feature: Feature, cells: Categories, fitted: Fitted
) -> Column:
    if isinstance(feature, Numeric):
        numbers = table_cells.numbers(chunk, feature)
        mean = np.float32(fitted.means[feature.name])
        return np.where(np.isnan(numbers), mean, numbers)
    vocabulary = fitted.vocabularies[feature.table]
    if isinstance(feature, Categorical):
        coded = cells.one(chunk, feature)
        return coded.find(vocabulary) + 1
    coded, lengths = cells.several(chunk, feature)
    return features.lists(coded.find(vocabulary) + 1, lengths)
