"""A log's rows as a prepared folder has them, whether they were clicked or not.

What a model is asked tomorrow has no clicks yet. Its rows keep their order,
and none is left out.
"""

import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_prep import table_cells
from data_prep.features import Column
from data_prep.layout import DOMAIN
from data_prep.layout import PreparationError
from data_prep.table_csv import CsvFile
from data_prep.table_files import Log
from data_prep.table_files import LogFile
from data_prep.table_job import chunk_rows
from data_prep.table_like import Like
from data_prep.table_transform import encode
from data_prep.table_transform import rows_of


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a log.

    Attributes:
        log: The columns of the log that were asked for, of all rows.
        known: Which rows are of a domain that the folder has: a mask.
        columns: Of these rows each feature by name, and `"domain"`.
        unknown: The domains of the other rows, and how many are of each.
    """

    log: dict[str, pa.Array]
    known: np.ndarray
    columns: dict[str, Column]
    unknown: tuple[pa.Array, np.ndarray]


def encoded(log: Log, like: Like, kept: Sequence[str]) -> Iterator[Rows]:
    """Encodes all rows of a log, in their order.

    Args:
        log: The log.
        like: The folder whose columns, ids and domains they get.
        kept: Columns of the log to give back as they are, in the types that
            hold what each of its files has.

    Raises:
        PreparationError: The log hasn't these columns, or their types don't go
            together: before any row is read. Later, that it can't be read.
    """
    return _encoded(log, like, _types(log, like, kept))


def _encoded(
    log: Log, like: Like, types: Mapping[str, pa.DataType]
) -> Iterator[Rows]:
    columns = like.columns
    names = [columns.domain, *columns.names, *types]
    # How many rows there are matters to writers alone.
    fitted = like.fitted(rows=0)
    cells = like.cells()
    rows = chunk_rows(map(len, fitted.vocabularies.values()))
    found = False
    for chunk in log.chunks(names, "Scoring", rows):
        found = True
        domains = cells.domain(chunk, columns.domain)
        domain = domains.find(pa.array(like.domains, pa.string()))
        features = encode(chunk, columns, cells, fitted)
        known = domain >= 0
        yield Rows(
            {
                name: table_cells.text(chunk, name).cast(kind)
                for name, kind in types.items()
            },
            known,
            rows_of({**features, DOMAIN: domain}, known),
            domains.counts(~known),
        )
    if not found:
        raise PreparationError(f"{log.pattern} holds no rows.")


def _types(log: Log, like: Like, kept: Sequence[str]) -> dict[str, pa.DataType]:
    """The types of the kept columns, once all columns are known to be there."""
    columns = like.columns
    log.check_columns([columns.domain, *columns.names, *kept])
    types = {}
    for name in kept:
        fields = [_field(file, name) for file in log.files]
        try:
            both = pa.unify_schemas(fields, promote_options="permissive")
        except pa.ArrowException:
            found = sorted({str(one.field(name).type) for one in fields})
            raise PreparationError(
                f"{log.pattern}: the files' column {name!r} is "
                f"{' here and '.join(found)} there; leave it out of --keep."
            ) from None
        types[name] = both.field(name).type
    return types


def _field(file: LogFile, name: str) -> pa.Schema:
    """A column's type, as a schema of its own: csv has text alone."""
    if isinstance(file, CsvFile):
        return pa.schema([(name, pa.string())])
    return pa.schema([(name, file.schema.field(name).type)])
