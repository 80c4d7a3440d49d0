"""Prepared folders whose rows tell their number, in any row groups."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.split import Split

FORMAT = "mlora_tf.prepared/1"


def schema(rows, domains):
    """A feature whose ids are the rows' numbers."""
    return Schema(
        (SparseFeature("row", tuple(range(max(rows, 1)))),),
        "shop",
        tuple(f"shop {i}" for i in range(domains)),
    )


def numbered(rows, domains=3, seed=0):
    """Rows that tell their number; domains are of unequal sizes."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, domains + 1)
    return Split(
        {
            "row": np.arange(rows, dtype=np.int32),
            "domain": rng.choice(domains, rows, p=share / share.sum()).astype(
                np.int32
            ),
        },
        rng.integers(0, 2, rows).astype(np.float32),
    )


def table(split):
    """The rows as a Parquet table; the label is beside the inputs."""
    return pa.table({**split.inputs, "label": split.label.astype(np.int8)})


def write(folder, split, groups, shards=None, domains=3):
    """Writes a folder whose training rows are in groups of those sizes.

    Args:
        folder: The folder to make.
        split: The training rows; the other splits have its first ten.
        groups: The sizes of the row groups.
        shards: How many groups each shard has; None makes one file.
        domains: How many domains the schema names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text(
        schema(len(split), domains).to_json(), "utf-8"
    )
    rows, parts = table(split), np.cumsum([0, *groups])
    starts = dict(zip(range(len(groups)), parts, strict=False))
    in_files = np.cumsum([0, *(shards or [len(groups)])])
    for number in range(len(in_files) - 1):
        name = f"train-{number:05}.parquet" if shards else "train.parquet"
        with pq.ParquetWriter(folder / name, rows.schema) as writer:
            for group in range(in_files[number], in_files[number + 1]):
                part = rows.slice(starts[group], groups[group])
                writer.write_table(part, row_group_size=max(len(part), 1))
    for name in ("valid", "test"):
        pq.write_table(rows.slice(0, 10), folder / f"{name}.parquet")
    seal(folder)
    return folder


def seal(folder):
    """Writes the manifest of what the folder holds."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name in ("manifest.json", "README.md"):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files[path.name] = {"sha256": digest}
        if path.suffix == ".parquet":
            try:
                rows = pq.read_metadata(path).num_rows
            except pa.ArrowException:
                rows = 0
            files[path.name]["rows"] = rows
    write_manifest(folder, files)
    return fingerprint(files)


def fingerprint(files):
    """The hash over the files' digests."""
    digests = "".join(files[name]["sha256"] for name in sorted(files))
    return hashlib.sha256(digests.encode()).hexdigest()


def write_manifest(folder, files, **changes):
    """Writes a manifest; changes replace what it says."""
    content = {"format": FORMAT, "files": files, **changes}
    if "fingerprint" not in changes:
        content["fingerprint"] = fingerprint(files)
    (folder / "manifest.json").write_text(json.dumps(content), "utf-8")


def regroup(folder, rows):
    """Writes a prepared folder's splits again, in row groups of that size."""
    for path in sorted(folder.glob("*.parquet")):
        pq.write_table(pq.read_table(path), path, row_group_size=rows)
    seal(folder)
    return folder
