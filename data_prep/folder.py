"""Writes prepared folders, the one format that training reads.

A prepared folder holds these files:

- `train.parquet`, `valid.parquet`, `test.parquet`: a column for each feature,
  `domain` (`int32`, an index into the schema's domain values) and `label`
  (`int8`, 0 or 1). A sparse feature's column holds `int32` ids (0 is the
  out-of-vocabulary bucket, `i + 1` is the vocabulary's i-th entry), a dense
  one's `float32` numbers, a sequence's lists of `int32` ids. Further columns
  hold floats, such as the `true_ctr` of synthetic data. Rows keep the order
  they came in. A long split is in shards instead, `train-00000.parquet`,
  `train-00001.parquet` and so on without a gap.
- `schema.json`: the features with their vocabularies, the domains, the label.
- `vectors.<table>.npy` for each table of pretrained vectors: `float32` of
  shape `(ids, dimension)`, the first row for the out-of-vocabulary bucket.
- `manifest.json`: where the data came from, the options that made it, rows
  and clicks by split and domain, and a fingerprint of the files above.
- `README.md`: a page that says all this to whoever finds the folder.

The same rows give the same bytes on every run. The folder appears under its
name only once it is whole. `write` takes rows that fit into memory; a longer
log goes through `data_prep.writer` chunk by chunk.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep.features import Column
from data_prep.layout import Description
from data_prep.writer import Writer


@dataclasses.dataclass(frozen=True)
class Prepared(Description):
    """A click log, encoded and split: all that a prepared folder holds.

    Args:
        dataset: Name of the dataset.
        options: The choices that shaped the rows, as JSON-ready values.
        seed: The seed of every random choice.
        sources: By file name, the `digest` of each file read.
        features: What `data_prep.features` makes, in order.
        domain_name: What a domain is, for people: `"gender"`.
        domains: The domains' names; `columns["domain"]` indexes them.
        columns: By name, one value a row: every feature's encoded ids,
            numbers or lists, `"domain"`, `"label"`, and any further column of
            floats.
        split: The split of each row, an index into `SPLITS`.
        vectors: By table, the pretrained vectors of its ids, those of the
            out-of-vocabulary bucket first.
    """

    columns: Mapping[str, Column]
    split: np.ndarray
    vectors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def write(
    output: str | pathlib.Path, prepared: Prepared, overwrite: bool = False
) -> dict[str, Any]:
    """Writes a prepared folder, one file a split, whole or not at all.

    Args:
        output: The folder to make.
        prepared: What it shall hold.
        overwrite: Whether a prepared folder of that name is replaced.

    Returns:
        The content of the folder's manifest.

    Raises:
        PreparationError: The folder exists and may not be replaced, or a
            split has no rows.
    """
    with Writer(
        output,
        prepared,
        overwrite=overwrite,
        shard_rows=None,
        vectors=prepared.vectors,
    ) as writer:
        writer.add(prepared.columns, prepared.split)
        return writer.finish()
