"""From a prepared folder to batches: whole columns, sliced by a permutation.

A prepared folder holds `schema.json`, `manifest.json`, one Parquet file per
split and any tables of pretrained vectors (see BUILD.md, "The prepared
folder"). Columns are read whole, checked once, and cut into batches by
permuting whole columns at the start of an epoch: an epoch costs a few
gathers, not one operation per row.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from mlora_tf.columns import DataError
from mlora_tf.columns import read_columns
from mlora_tf.columns import read_vectors
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema

SPLITS = ("train", "valid", "test")
FILES = (
    "schema.json",
    "manifest.json",
    *(f"{split}.parquet" for split in SPLITS),
)
BATCH_MODES = ("mixed", "per_domain")


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split, column by column.

    Attributes:
        inputs: Each model input by name, arrays of the features' types:
            `(rows,)`, `int32` for ids and `float32` for numbers, or
            `(rows, max_length)` for sequences, `int32` with `PADDING` at the
            end.
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
        vectors: By table, the pretrained vectors of its ids, `float32` arrays
            of shape `(num_ids, dim)`.
    """

    schema: Schema
    fingerprint: str
    train: Split
    valid: Split
    test: Split
    vectors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def load(folder: str | pathlib.Path) -> ClickLog:
    """Reads and checks a prepared folder.

    Raises:
        DataError: A file is missing or damaged, or holds values that the
            schema doesn't allow.
        SchemaError: `schema.json` is no schema.
    """
    folder = pathlib.Path(folder)
    _check_files(folder, FILES)
    schema = Schema.load(folder / "schema.json")
    vectors = {table: f"vectors.{table}.npy" for table in schema.vectors}
    _check_files(folder, vectors.values())
    splits = {
        split: Split(*read_columns(folder / f"{split}.parquet", schema))
        for split in SPLITS
    }
    # Before the vectors, whose file says little about itself.
    fingerprint = _fingerprint(folder, vectors.values())
    return ClickLog(
        schema,
        fingerprint,
        **splits,
        vectors={
            table: read_vectors(
                folder / file, schema.tables[table], schema.vectors[table]
            )
            for table, file in vectors.items()
        },
    )


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
            have the split's shapes with `batch` for its rows, labels have
            `(batch, 1)`.
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


def _check_files(folder: pathlib.Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is no prepared folder: it has no {', '.join(missing)}. "
            "Make one with `python -m data_prep.movielens` or "
            "`python -m data_prep.synthetic`."
        )


def _fingerprint(folder: pathlib.Path, vectors: Iterable[str]) -> str:
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
    for name in sorted({*FILES, *vectors} - {"manifest.json"}):
        with open(folder / name, "rb") as file:
            digests += hashlib.file_digest(file, "sha256").hexdigest()
    fingerprint = hashlib.sha256(digests.encode()).hexdigest()
    if fingerprint != stated:
        raise DataError(
            f"{folder} has changed since it was prepared: its files don't "
            "have the fingerprint in manifest.json; prepare the data again."
        )
    return fingerprint
