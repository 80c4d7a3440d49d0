"""From a prepared folder to batches: whole columns, sliced by a permutation.

A prepared folder holds `schema.json`, `manifest.json` and one Parquet file
per split (see BUILD.md, "The prepared folder"). Columns are read whole,
checked once, and cut into batches by permuting whole columns at the start of
an epoch: an epoch costs a few gathers, not one operation per row.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import tensorflow as tf

from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema

SPLITS = ("train", "valid", "test")
BATCH_MODES = ("mixed", "per_domain")


class DataError(ValueError):
    """Data that can't be used: says which file, what is wrong, what to do."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split, column by column.

    Attributes:
        inputs: Each model input by name, `int32` arrays of shape `(rows,)`.
        label: The clicks, a `float32` array of shape `(rows,)`.
        extra: Other numeric columns of the file, by name.
    """

    inputs: dict[str, np.ndarray]
    label: np.ndarray
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def domain(self) -> np.ndarray:
        """Each row's domain."""
        return self.inputs[DOMAIN]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "Split":
        """The split with those rows, in that order."""
        return Split(
            {name: column[rows] for name, column in self.inputs.items()},
            self.label[rows],
            {name: column[rows] for name, column in self.extra.items()},
        )


@dataclasses.dataclass(frozen=True)
class ClickLog:
    """A prepared click log.

    Attributes:
        schema: Its features and domains.
        fingerprint: A hash of all its files, from the manifest.
        train: Rows to train on.
        valid: Rows to choose by.
        test: Rows to report on.
    """

    schema: Schema
    fingerprint: str
    train: Split
    valid: Split
    test: Split


def load(folder: str | pathlib.Path) -> ClickLog:
    """Reads and checks a prepared folder.

    Raises:
        DataError: A file is missing or damaged, or holds values that the
            schema doesn't allow.
        SchemaError: `schema.json` is no schema.
    """
    folder = pathlib.Path(folder)
    needed = ["schema.json", "manifest.json"]
    needed += [f"{split}.parquet" for split in SPLITS]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is no prepared folder: it has no {', '.join(missing)}. "
            "Make one with `python -m data_prep.movielens` or "
            "`python -m data_prep.synthetic`."
        )
    schema = Schema.load(folder / "schema.json")
    splits = {
        split: _read_split(folder / f"{split}.parquet", schema)
        for split in SPLITS
    }
    return ClickLog(schema, _fingerprint(folder), **splits)


class Batches:
    """The shuffled training batches of one epoch after another.

    Epoch `e` of seed `s` is the same on every run, so that a resumed run goes
    on with the batches it would have had. All batches are full: the last one
    is topped up with rows from the start of the same permutation, so that no
    row is lost and every batch divides by the replicas.

    Args:
        split: The rows.
        batch_size: Rows per step, over all replicas.
        mode: "mixed" shuffles all rows; "per_domain" makes single-domain
            batches, one domain after the other in random order, as MLoRA's
            published code does.
        seed: Seed of the order.

    Attributes:
        epoch: The epoch that the next iterator over `dataset` yields.
        steps: Batches in an epoch.
        dataset: A `tf.data.Dataset` of `(inputs, {"ctr": label})`; inputs
            have shape `(batch,)`, labels `(batch, 1)`.
    """

    def __init__(
        self, split: Split, batch_size: int, *, mode: str, seed: int
    ) -> None:
        if mode not in BATCH_MODES:
            raise ValueError(
                f"mode must be one of {BATCH_MODES}. Received: {mode!r}"
            )
        if batch_size < 1:
            raise ValueError(
                f"batch_size must be positive. Received: {batch_size!r}"
            )
        if not len(split):
            raise DataError("there is no row to train on.")
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self._groups = [np.arange(len(split), dtype=np.int64)]
        if mode == "per_domain":
            by_domain = np.argsort(split.domain, kind="stable")
            ends = np.cumsum(np.bincount(split.domain))[:-1]
            groups = np.split(by_domain, ends)
            self._groups = [group for group in groups if len(group)]
        self.steps = sum(-(-len(group) // batch_size) for group in self._groups)
        self.dataset = self._dataset(split)

    def order(self, epoch: int) -> np.ndarray:
        """The row numbers of an epoch's batches: `(steps, batch_size)`."""
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        for group in rng.permutation(len(self._groups)):
            rows = rng.permutation(self._groups[group])
            steps = -(-len(rows) // self.batch_size)
            full = np.resize(rows, (steps, self.batch_size))
            batches.append(full)
        return np.concatenate(batches)

    def _dataset(self, split: Split) -> tf.data.Dataset:
        # The device placement keeps whole columns out of a GPU's memory.
        with tf.device("CPU:0"):
            columns = tf.nest.map_structure(
                tf.constant, (split.inputs, {"ctr": split.label[:, None]})
            )

        def epoch_batches(_: tf.Tensor) -> tf.data.Dataset:
            order = tf.numpy_function(
                lambda: self.order(self.epoch), [], tf.int64
            )
            order.set_shape((self.steps, self.batch_size))
            return tf.data.Dataset.from_tensor_slices(
                tf.nest.map_structure(
                    lambda column: tf.gather(column, order), columns
                )
            )

        return (
            tf.data.Dataset.from_tensors(0)
            .flat_map(epoch_batches)
            .apply(tf.data.experimental.assert_cardinality(self.steps))
            .prefetch(tf.data.AUTOTUNE)
        )


def _fingerprint(folder: pathlib.Path) -> str:
    """The hash of the folder's files, which must be the manifest's."""
    path = folder / "manifest.json"
    try:
        stated = json.loads(path.read_text("utf-8"))["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: no manifest of a prepared folder ({error!r}); prepare "
            "the data again."
        ) from None
    digests = ""
    for name in sorted(("schema.json", *map("{}.parquet".format, SPLITS))):
        with open(folder / name, "rb") as file:
            digests += hashlib.file_digest(file, "sha256").hexdigest()
    fingerprint = hashlib.sha256(digests.encode()).hexdigest()
    if fingerprint != stated:
        raise DataError(
            f"{folder} has changed since it was prepared: its files don't "
            "have the fingerprint in manifest.json; prepare the data again."
        )
    return fingerprint


def _read_split(path: pathlib.Path, schema: Schema) -> Split:
    try:
        table = pa.parquet.read_table(path, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: can't be read as Parquet ({error}); prepare the data "
            "again."
        ) from None
    columns = {
        name: _column(path, name, table.column(name))
        for name in table.column_names
    }
    wanted = {**schema.num_ids, schema.label: 2}
    missing = sorted(set(wanted) - set(columns))
    if missing:
        raise DataError(
            f"{path}: schema.json names columns that the file lacks: "
            f"{missing}. It has {sorted(columns)}."
        )
    for name, size in wanted.items():
        _check_ids(path, name, columns[name], size)
    label = columns.pop(schema.label).astype(np.float32)
    inputs = {
        name: columns.pop(name).astype(np.int32) for name in schema.num_ids
    }
    return Split(inputs, label, extra=columns)


def _column(path: pathlib.Path, name: str, column: Any) -> np.ndarray:
    if column.null_count:
        raise DataError(
            f"{path}: column {name!r} has {column.null_count} empty cells; "
            "prepare the data again."
        )
    return column.to_numpy()


def _check_ids(
    path: pathlib.Path, name: str, ids: np.ndarray, size: int
) -> None:
    """Checks that a column holds integers in `[0, size)`."""
    if ids.dtype.kind not in "iub":
        raise DataError(
            f"{path}: column {name!r} must hold integers. Received: {ids.dtype}"
        )
    wrong = np.flatnonzero((ids < 0) | (ids >= size))
    if len(wrong):
        raise DataError(
            f"{path}: column {name!r}, row {wrong[0]}: ids must be in "
            f"[0, {size}). Received: {ids[wrong[0]]}"
        )
