"""Writes prepared folders, the one format that training reads.

A prepared folder holds these files:

- `train.parquet`, `valid.parquet`, `test.parquet`: a column for each feature,
  `domain` (`int32`, an index into the schema's domain values) and `label`
  (`int8`, 0 or 1). A sparse feature's column holds `int32` ids (0 is the
  out-of-vocabulary bucket, `i + 1` is the vocabulary's i-th entry), a dense
  one's `float32` numbers, a sequence's lists of `int32` ids. Further columns
  hold floats, such as the `true_ctr` of synthetic data. Rows keep the order
  they came in.
- `schema.json`: the features with their vocabularies, the domains, the label.
- `vectors.<table>.npy` for each table of pretrained vectors: `float32` of
  shape `(ids, dimension)`, the first row for the out-of-vocabulary bucket.
- `manifest.json`: where the data came from, the options that made it, rows
  and clicks by split and domain, and a fingerprint of the other files.

The same rows give the same bytes on every run. The folder appears under its
name only once it is whole.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
import shutil
import uuid
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep import features
from data_prep.features import Column

FORMAT = "mlora_tf.prepared/1"
SCHEMA_FORMAT = "mlora_tf.schema/1"

SPLITS = ("train", "valid", "test")
DOMAIN = "domain"
LABEL = "label"
SCHEMA = "schema.json"
MANIFEST = "manifest.json"
FILES = (*(f"{split}.parquet" for split in SPLITS), SCHEMA, MANIFEST)

ROW_GROUP = 1 << 17
"""Rows that a reader takes from a Parquet file at once."""


class PreparationError(ValueError):
    """What the user can mend: one line that says what, where and how."""


@dataclasses.dataclass(frozen=True)
class Prepared:
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

    dataset: str
    options: Mapping[str, Any]
    seed: int
    sources: Mapping[str, Mapping[str, Any]]
    features: Sequence[Mapping[str, Any]]
    domain_name: str
    domains: Sequence[str]
    columns: Mapping[str, Column]
    split: np.ndarray
    vectors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def write(
    output: str | pathlib.Path, prepared: Prepared, overwrite: bool = False
) -> dict[str, Any]:
    """Writes a prepared folder, whole or not at all.

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
    check_output(output, overwrite)
    tables, vectors = _tables(prepared), _vectors(prepared)
    output = pathlib.Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = _sibling(output)
    try:
        staging.mkdir()
        manifest = _write_files(staging, prepared, tables, vectors)
        # Another run may have made the folder in the meantime.
        check_output(output, overwrite)
        _move_into_place(staging, output)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return manifest


def check_output(output: str | pathlib.Path, overwrite: bool) -> None:
    """Raises unless `output` is free or may be replaced.

    A preparation calls this first, before the minutes that reading may take.
    """
    output = pathlib.Path(output)
    if not output.exists():
        return
    if not output.is_dir():
        raise PreparationError(
            f"{output} is a file; name a folder as --output."
        )
    if not overwrite:
        raise PreparationError(
            f"{output} exists; add --overwrite to replace it, or name another "
            "folder as --output."
        )
    entries = {entry.name for entry in output.iterdir()}
    files = _prepared_files(output)
    if entries and not files:
        raise PreparationError(
            f"{output} is no prepared folder, so it is not overwritten; name "
            "another folder as --output."
        )
    if strangers := sorted(entries - files):
        raise PreparationError(
            f"{output} also holds {strangers[0]!r}, which overwriting would "
            "delete; move it away, or name another folder as --output."
        )


def digest(stream: io.BytesIO | io.BufferedReader) -> dict[str, Any]:
    """Returns the length and the SHA-256 of a stream, read from its start."""
    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": stream.seek(0, os.SEEK_END), "sha256": sha256}


def stratified_split(
    label: np.ndarray,
    domain: np.ndarray,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 123,
) -> np.ndarray:
    """Splits rows at random, with each domain's share of clicks kept.

    A domain's sizes are those of scikit-learn's `train_test_split`, called
    once for train and again to part valid from test. Its clicks are shared
    out in proportion to these sizes, to the nearest row.

    Args:
        label: 0 or 1 a row.
        domain: The domain of each row. Only which rows share a domain
            matters, not how domains are numbered.
        fractions: The shares of train, valid and test; they add up to 1.
        seed: Seed of the one shuffle that deals out the rows.

    Returns:
        The split of each row, an index into `SPLITS`.
    """
    if len(fractions) != len(SPLITS) or not math.isclose(sum(fractions), 1):
        raise ValueError(
            f"fractions must be {len(SPLITS)} numbers that add up to 1. "
            f"Received: {fractions}"
        )
    # RandomState's stream is frozen for good; a Generator's may change with
    # the NumPy version, and the prepared bytes with it.
    shuffled = np.random.RandomState(seed).permutation(len(label))
    # Sorting the shuffled rows stably by group shuffles within every group.
    groups = np.asarray(domain, np.int64)[shuffled] * 2
    groups += np.asarray(label, np.int64)[shuffled]
    shuffled = shuffled[np.argsort(groups, kind="stable")]

    split = np.empty(len(label), np.int8)
    start = 0
    for one in np.unique(domain):
        rest, clicks = (np.sum(groups == 2 * one + bit) for bit in (0, 1))
        sizes = _split_sizes(int(rest + clicks), fractions)
        click_sizes = _in_proportion(clicks, sizes)
        for part in (sizes - click_sizes, click_sizes):
            stop = start + part.sum()
            split[shuffled[start:stop]] = np.repeat(np.arange(3), part)
            start = stop
    return split


def check_split(split: np.ndarray) -> None:
    """Raises unless train, valid and test have rows.

    A preparation that fits anything to the rows of train calls this before.
    """
    for index, name in enumerate(SPLITS):
        if not (split == index).any():
            raise PreparationError(
                f"no row is left for the {name} split; prepare a larger log."
            )


def _split_sizes(rows: int, fractions: Sequence[float]) -> np.ndarray:
    """Returns the sizes of train, valid and test; they add up to `rows`."""
    _, valid, test = fractions
    held_out = _ceil(rows * (valid + test))
    last = _ceil(held_out * test / (valid + test)) if held_out else 0
    return np.array([rows - held_out, held_out - last, last])


def _ceil(value: float) -> int:
    # Rounded first: (0.1 + 0.2) * 10 is a hair above 3, and means 3.
    return math.ceil(round(value, 6))


def _in_proportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Shares `total` out by the method of largest remainders."""
    quotas, remainders = np.divmod(total * weights, weights.sum())
    largest = np.argsort(-remainders, kind="stable")
    quotas[largest[: total - quotas.sum()]] += 1
    return quotas


def _tables(prepared: Prepared) -> dict[str, pa.Table]:
    """Returns each split's rows, checked and in the types of the format."""
    check_split(prepared.split)
    table = pa.table(_typed_columns(prepared))
    return {
        split: table.take(np.flatnonzero(prepared.split == index))
        for index, split in enumerate(SPLITS)
    }


def _typed_columns(prepared: Prepared) -> dict[str, Column]:
    """Returns the columns in the format's types and order.

    A column that breaks the format is the preparation's mistake, not the
    user's: that raises a plain `ValueError`, with its traceback.
    """
    given = dict(prepared.columns)
    columns = {
        feature["name"]: features.typed(feature, given.pop(feature["name"]))
        for feature in prepared.features
    }
    columns[DOMAIN] = features.integers(
        DOMAIN, given.pop(DOMAIN), len(prepared.domains), np.int32
    )
    columns[LABEL] = features.integers(LABEL, given.pop(LABEL), 2, np.int8)
    for name, values in given.items():
        if not np.issubdtype(values.dtype, np.floating):
            raise ValueError(
                f"column {name!r} is no feature, so it must hold floats. "
                f"Received: {values.dtype}"
            )
        columns[name] = values
    for name, values in columns.items():
        shape = getattr(values, "shape", (len(values),))
        if shape != prepared.split.shape:
            raise ValueError(
                f"column {name!r} must have one value a row: "
                f"{prepared.split.shape}. Received: {shape}"
            )
    return columns


def _vectors(prepared: Prepared) -> dict[str, np.ndarray]:
    """Returns each file of pretrained vectors by its name, checked."""
    shapes = features.vector_shapes(prepared.features)
    if set(shapes) != set(prepared.vectors):
        raise ValueError(
            "there must be vectors for the tables of which features state a "
            f"dimension, {sorted(shapes)}. Received: {sorted(prepared.vectors)}"
        )
    files = {}
    for table, vectors in prepared.vectors.items():
        if vectors.dtype != np.float32 or vectors.shape != shapes[table]:
            raise ValueError(
                f"the vectors of {table!r} must be float32 and of shape "
                f"{shapes[table]}. Received: {vectors.dtype} and "
                f"{vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(f"the vectors of {table!r} must be finite.")
        files[f"vectors.{table}.npy"] = vectors
    return files


def _write_files(
    folder: pathlib.Path,
    prepared: Prepared,
    tables: Mapping[str, pa.Table],
    vectors: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Writes all files and returns the manifest."""
    files: dict[str, Any] = {}
    for split, table in tables.items():
        path = folder / f"{split}.parquet"
        with _durable(path) as stream:
            # Without the stored Arrow schema, the columns alone say what is
            # in the file.
            pq.write_table(
                table,
                stream,
                row_group_size=ROW_GROUP,
                compression="zstd",
                store_schema=False,
            )
        files[path.name] = {"rows": table.num_rows, "sha256": _sha256(path)}
    for name, array in vectors.items():
        with _durable(folder / name) as stream:
            # The order in memory would else be part of the bytes.
            rows = np.ascontiguousarray(array)
            np.lib.format.write_array(stream, rows, allow_pickle=False)
        files[name] = {"sha256": _sha256(folder / name)}
    _write_json(folder / SCHEMA, _schema(prepared))
    files[SCHEMA] = {"sha256": _sha256(folder / SCHEMA)}
    manifest = _manifest(prepared, tables, files)
    _write_json(folder / MANIFEST, manifest, indent=2)
    _sync_folder(folder)
    return manifest


def _schema(prepared: Prepared) -> dict[str, Any]:
    return {
        "format": SCHEMA_FORMAT,
        "features": [dict(feature) for feature in prepared.features],
        "domain": {
            "name": prepared.domain_name,
            "values": list(prepared.domains),
        },
        "label": LABEL,
    }


def _manifest(
    prepared: Prepared,
    tables: Mapping[str, pa.Table],
    files: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    digests = "".join(files[name]["sha256"] for name in sorted(files))
    packages = ("numpy", "pyarrow")
    return {
        "format": FORMAT,
        "dataset": prepared.dataset,
        "options": dict(prepared.options),
        "seed": prepared.seed,
        "sources": {
            name: dict(source) for name, source in prepared.sources.items()
        },
        "files": files,
        "counts": {
            split: _counts(table, prepared.domains)
            for split, table in tables.items()
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
    }


def _counts(
    table: pa.Table, domains: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Counts rows and clicks by domain, the domains without rows included."""
    domain, label = table[DOMAIN].to_numpy(), table[LABEL].to_numpy()
    rows = np.bincount(domain, minlength=len(domains)).tolist()
    clicks = np.bincount(domain[label == 1], minlength=len(domains)).tolist()
    return {
        name: {"rows": rows[index], "clicks": clicks[index]}
        for index, name in enumerate(domains)
    }


def _prepared_files(folder: pathlib.Path) -> set[str]:
    """The files that a prepared folder's manifest knows; none, if it is none.

    Only vectors' files have names that the format doesn't fix.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return set()
    files = content.get("files")
    return {*FILES, *(files if isinstance(files, dict) else ())}


def _move_into_place(staging: pathlib.Path, output: pathlib.Path) -> None:
    """Renames `staging` to `output`, and what was there out of the way."""
    if not output.exists():
        os.replace(staging, output)
    else:
        old = _sibling(output)
        os.replace(output, old)
        try:
            os.replace(staging, output)
        except BaseException:
            os.replace(old, output)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync_folder(output.parent)


def _sibling(folder: pathlib.Path) -> pathlib.Path:
    # A rename is atomic only within a file system, hence beside the folder.
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")


def _write_json(path: pathlib.Path, content: Any, **options: Any) -> None:
    with _durable(path) as stream:
        stream.write((json.dumps(content, **options) + "\n").encode())


@contextlib.contextmanager
def _durable(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file to write; its bytes are on the disk when it is closed."""
    with path.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as stream:
        return digest(stream)["sha256"]
