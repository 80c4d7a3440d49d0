"""Writes one file of a prepared folder from the pieces that hold its rows.

Which of a piece's rows are in the file is known once all before them are dealt
out: it is read from its first row to the file's last one, and so is read once
for each file that has rows of it.
"""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep import contents
from data_prep import features
from data_prep.beam_pieces import Piece
from data_prep.beam_steps import Step
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import SCHEMA
from data_prep.layout import SPLITS
from data_prep.layout import Description
from data_prep.layout import PreparationError
from data_prep.split_file import SplitFiles
from data_prep.table_columns import Columns
from data_prep.table_domains import Domains
from data_prep.table_fitted import Fitted
from data_prep.table_job import Job
from data_prep.table_job import chunk_rows
from data_prep.table_transform import transform


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of the folder.

    Args:
        index: Its place among all of them.
        split: Its split, an index into `SPLITS`.
        name: Its name.
        low: The number of its first row in the split.
        high: The number after that of its last row.
        pieces: The pieces that hold its rows, each with the number in the
            split of its own first row there.
    """

    index: int
    split: int
    name: str
    low: int
    high: int
    pieces: tuple[tuple[Piece, int], ...]


def plan(
    pieces: Sequence[Piece], sizes: np.ndarray, shard_rows: int
) -> list[Shard]:
    """All files of a folder, in order.

    Args:
        pieces: The pieces of the log.
        sizes: The rows of each by split, of shape `(pieces, splits)`.
        shard_rows: The most rows of a file.
    """
    shards: list[Shard] = []
    ends = np.cumsum(sizes, axis=0)
    starts = ends - sizes
    for split, name in enumerate(SPLITS):
        total = int(ends[-1, split])
        for number, low in enumerate(range(0, total, shard_rows)):
            high = min(low + shard_rows, total)
            among = (starts[:, split] < high) & (ends[:, split] > low)
            held = tuple(
                (pieces[index], int(starts[index, split]))
                for index in np.flatnonzero(among).tolist()
            )
            file = f"{name}-{number:05}.parquet"
            shards.append(Shard(len(shards), split, file, low, high, held))
    return shards


class WriteShard(Step):
    """Writes one file of the folder.

    Args:
        job: What to prepare.
        domains: The domains that are kept.
        folder: The folder, which holds the schema already.
        aside: Where the file is made, on the same file system: what a killed
            worker leaves mustn't be in the folder.
        means: By numeric column, what stands for a missing number.
    """

    def __init__(
        self,
        job: Job,
        domains: Domains,
        folder: pathlib.Path,
        aside: pathlib.Path,
        means: dict[str, float],
    ) -> None:
        self._job = job
        self._domains = domains
        self._folder = folder
        self._aside = aside
        self._means = means

    def setup(self) -> None:
        """Reads the vocabularies: once for each worker."""
        schema = json.loads((self._folder / SCHEMA).read_text("utf-8"))
        self._features = schema["features"]
        vocabularies = {
            features.table_of(feature): features.array(feature["vocabulary"])
            for feature in self._features
            if "vocabulary" in feature
        }
        self._fitted = Fitted(self._features, vocabularies, self._means, 0)

    def run(self, element: Shard) -> Iterator[Any]:
        """Writes the file; yields its index, rows and hash, and counts."""
        counts = np.zeros((len(self._domains.values), 2), np.int64)
        with tempfile.TemporaryDirectory(dir=self._aside) as aside:
            files = SplitFiles(pathlib.Path(aside), SPLITS[element.split], None)
            try:
                for table, domain, label in self._rows(element):
                    files.add(table)
                    np.add.at(counts[:, 0], domain, 1)
                    np.add.at(counts[:, 1], domain[label == 1], 1)
                if counts[:, 0].sum() != element.high - element.low:
                    raise PreparationError(
                        f"{self._job.log.pattern} has changed while it was "
                        "read; wait until it is whole."
                    )
                ((written, file),) = files.finish().items()
            finally:
                files.abandon()
            # A worker that does the same once more writes the same bytes.
            (pathlib.Path(aside) / written).replace(self._folder / element.name)
        yield element.index, file, counts.tolist()

    def _rows(
        self, shard: Shard
    ) -> Iterator[tuple[pa.Table, np.ndarray, np.ndarray]]:
        """Yields the file's rows, their domains and labels."""
        job = self._job
        rows = chunk_rows(map(len, self._fitted.vocabularies.values()))
        for piece, place in shard.pieces:
            for chunk in piece.chunks(job.names, rows):
                encoded, splits = transform(
                    chunk, job, self._domains, self._fitted
                )
                own = np.flatnonzero(splits == shard.split)
                chosen = own[
                    max(shard.low - place, 0) : max(shard.high - place, 0)
                ]
                place += own.size
                if chosen.size:
                    typed = contents.typed_columns(
                        self._description(job.columns), encoded, splits.shape
                    )
                    yield (
                        pa.table(typed).take(chosen),
                        typed[DOMAIN][chosen],
                        typed[LABEL][chosen],
                    )
                if place >= shard.high:
                    return

    def _description(self, columns: Columns) -> Description:
        return Description(
            dataset="",
            options={},
            seed=0,
            sources={},
            features=self._features,
            domain_name=columns.domain,
            domains=self._domains.names,
        )
