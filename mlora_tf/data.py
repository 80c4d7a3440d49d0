"""From a prepared folder to the rows of its splits.

A prepared folder holds `schema.json`, `manifest.json`, one Parquet file or
several shards per split and any tables of pretrained vectors (see BUILD.md,
"The prepared folder"). Its rows are read whole and checked once, or stay on
disk and are read one row group after the other, as often as they are needed.
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np

from mlora_tf.columns import DataError
from mlora_tf.columns import read_columns
from mlora_tf.columns import read_vectors
from mlora_tf.manifest import MANIFEST
from mlora_tf.manifest import SCHEMA
from mlora_tf.manifest import SPLITS
from mlora_tf.manifest import Manifest
from mlora_tf.manifest import digest
from mlora_tf.manifest import fingerprint
from mlora_tf.schema import Schema
from mlora_tf.split import Split
from mlora_tf.split import concatenate
from mlora_tf.split import typed
from mlora_tf.streaming import StreamedSplit
from mlora_tf.streaming import row_bytes

__all__ = [
    "MEMORY_LIMIT",
    "READINGS",
    "SPLITS",
    "ClickLog",
    "DataError",
    "Split",
    "StreamedSplit",
    "load",
]

READINGS = ("auto", "memory", "stream")

MEMORY_LIMIT = 2 << 30
"""Bytes of rows from which on `reading="auto"` streams."""


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

    Rows in memory get the types of the features: NumPy's integers have 64 bits.

    Raises:
        DataError: A column's values don't fit into its feature's type.

    Example:
        Without a folder, from rows in memory:

    >>> rows = Split(
    ...     {"item": np.array([1, 2, 0]), "domain": np.array([0, 1, 1])},
    ...     label=np.array([1, 0, 1], "float32"),
    ... )
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> log = ClickLog(schema, "by hand", train=rows, valid=rows, test=rows)
    >>> len(log.train), log.reading
    (3, 'memory')
    >>> log.counts("train").tolist()
    [[0, 1], [1, 1]]
    """

    schema: Schema
    fingerprint: str
    train: Split | StreamedSplit
    valid: Split | StreamedSplit
    test: Split | StreamedSplit
    vectors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in SPLITS:
            rows = getattr(self, name)
            if isinstance(rows, Split):
                object.__setattr__(self, name, typed(rows, self.schema))

    def counts(self, split: str) -> np.ndarray:
        """A split's rows by domain and label, `int64 (domains, 2)`.

        Args:
            split: "train", "valid" or "test".
        """
        rows = getattr(self, split)
        size = self.schema.num_domains
        cells = 2 * rows.domain + rows.label.astype(np.int32)
        return np.bincount(cells, minlength=2 * size).reshape(size, 2)

    @property
    def reading(self) -> str:
        """How the training rows are read, "memory" or "stream".

        Their order in training depends on it.
        """
        return "stream" if isinstance(self.train, StreamedSplit) else "memory"


def load(folder: str | pathlib.Path, reading: str = "auto") -> ClickLog:
    """Reads and checks a prepared folder.

    Args:
        folder: The folder.
        reading: "memory" reads all rows, and checks them and every file's
            bytes. "stream" leaves the rows on disk: it checks that the
            manifest agrees with itself, with the schema and with the Parquet
            files' footers; values are checked when they are read. "auto"
            streams if the rows take more than `MEMORY_LIMIT` bytes in memory.

    Returns:
        The log; in its splits ids and numbers are of shape `(rows,)`, and
        sequences of shape `(rows, max_length)`.

    Raises:
        ValueError: There is no such `reading`.
        DataError: A file is missing or damaged, or holds values that the
            schema doesn't allow.
        SchemaError: `schema.json` is no schema.

    Example:
        A folder of clicks that are drawn, as `python -m data_prep.synthetic`
        makes it in a checkout:

    >>> import tempfile
    >>> from data_prep import synthetic
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     synthetic.prepare(f"{folder}/mine", rows=200, domains=2)
    ...     log = load(f"{folder}/mine")
    >>> log.schema.domains, len(log.train), len(log.valid), len(log.test)
    (('books', 'toys'), 119, 40, 41)
    """
    if reading not in READINGS:
        raise ValueError(
            f"reading must be one of {READINGS}. Received: {reading!r}"
        )
    folder = pathlib.Path(folder)
    _check_files(folder, (SCHEMA, MANIFEST))
    manifest = Manifest.load(folder / MANIFEST)
    schema = Schema.load(folder / SCHEMA)
    vectors = {table: f"vectors.{table}.npy" for table in schema.vectors}
    manifest.check_names(vectors.values())
    _check_files(folder, manifest.digests)
    if reading == "auto":
        size = sum(manifest.rows.values()) * row_bytes(schema)
        reading = "stream" if size > MEMORY_LIMIT else "memory"
    splits: dict[str, Split | StreamedSplit] = {}
    if reading == "stream":
        manifest.check_fingerprint()
        for name in (SCHEMA, *vectors.values()):
            manifest.check_file(name)
        for split, files in manifest.splits.items():
            splits[split] = StreamedSplit.open(
                [folder / file for file in files],
                [manifest.rows[file] for file in files],
                schema,
            )
    else:
        for split, files in manifest.splits.items():
            splits[split] = _read(folder, files, manifest.rows, schema)
        # Before the vectors, whose file says little about itself.
        _check_bytes(folder, manifest)
    return ClickLog(
        schema,
        manifest.fingerprint,
        **splits,
        vectors={
            table: read_vectors(
                folder / file, schema.tables[table], schema.vectors[table]
            )
            for table, file in vectors.items()
        },
    )


def _read(
    folder: pathlib.Path,
    files: list[str],
    rows: Mapping[str, int],
    schema: Schema,
) -> Split:
    """Reads a split whole."""
    parts = [
        Split(*read_columns(folder / file, rows[file], schema))
        for file in files
    ]
    for file, part in zip(files, parts, strict=True):
        if set(part.extra) != set(parts[0].extra):
            raise DataError(
                f"{folder / file}: its columns aren't those of {files[0]}: "
                f"besides the schema's {sorted(parts[0].extra)}. Received: "
                f"{sorted(part.extra)}"
            )
    return concatenate(parts)


def _check_files(folder: pathlib.Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is no prepared folder: it has no {', '.join(missing)}. "
            "Make one with a binary of data_prep, such as "
            "`python -m data_prep.table`."
        )


def _check_bytes(folder: pathlib.Path, manifest: Manifest) -> None:
    """Raises unless the files have the manifest's fingerprint."""
    digests = {name: digest(folder / name) for name in manifest.digests}
    if fingerprint(digests) != manifest.fingerprint:
        raise DataError(
            f"{folder} has changed since it was prepared: its files don't "
            "have the fingerprint in manifest.json; prepare the data again."
        )
