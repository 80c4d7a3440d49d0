import dataclasses
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import binary
from data_prep import features
from data_prep import folder
from data_prep import staging
from data_prep.layout import FILES
from data_prep.layout import PreparationError
from mlora_tf import data
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature

ROOT = pathlib.Path(__file__).parents[2]


def prepared(**changes):
    """Eight rows: four in train, three in valid, one in test."""
    content = {
        "dataset": "tiny",
        "options": {"domain": "shop"},
        "seed": 7,
        "sources": {"log.csv": {"bytes": 3, "sha256": "abc"}},
        "features": [
            features.sparse("user", [10, 20]),
            features.sparse("item", ["x", "y", "z"]),
        ],
        "domain_name": "shop",
        "domains": ["north", "south", "west"],
        "columns": {
            "label": np.array([1, 0, 1, 1, 0, 0, 1, 0]),
            "user": np.array([1, 2, 1, 2, 0, 1, 2, 1]),
            "item": np.array([3, 2, 1, 0, 3, 2, 1, 0]),
            "domain": np.array([0, 0, 0, 1, 1, 1, 1, 0]),
            "true_ctr": np.linspace(0.0, 0.7, 8, dtype=np.float32),
        },
        "split": np.array([0, 0, 1, 0, 1, 1, 0, 2]),
    }
    return folder.Prepared(**{**content, **changes})


def with_column(name, values):
    columns = {**prepared().columns, name: np.asarray(values)}
    return prepared(columns=columns)


HISTORIES = [[1], [], [3, 2, 1], [2, 2], [], [1, 0], [3], [1, 2]]
LENGTHS = np.array([len(ids) for ids in HISTORIES])
VECTORS = np.arange(8, dtype=np.float32).reshape(4, 2)
PRICES = np.array([0.5, -1.0, 3.25, 0.1, 7.0, 0.0, 1e-3, 2.0])


def every_kind(**changes):
    """The same rows with features of every kind."""
    items = ["x", "y", "z"]
    content = {
        "features": [
            features.sparse("item", items, vectors=2),
            features.sparse("user", [10, 20], table="people"),
            features.dense("price", boundaries=np.array([0.5, 1.0])),
            features.dense("age", mean=np.float32(3.5), stddev=2),
            features.sequence(
                "history",
                items,
                3,
                pooling="din",
                target="item",
                table="item",
                vectors=2,
            ),
            features.sequence("friends", [10, 20], 1, table="people"),
        ],
        "vectors": {"item": VECTORS},
        "columns": {
            **prepared().columns,
            "history": features.lists(
                np.array([one for ids in HISTORIES for one in ids]), LENGTHS
            ),
            "friends": features.lists(np.array([2]), np.eye(8, dtype=int)[2]),
            "price": PRICES,
            "age": np.arange(8),
        },
    }
    return prepared(**{**content, **changes})


def with_one_of_every_kind(name, values):
    return every_kind(columns={**every_kind().columns, name: values})


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_columns_types_and_rows(tmp_path):
    folder.write(tmp_path / "out", prepared())
    path = tmp_path / "out" / "train.parquet"
    assert pq.read_metadata(path).metadata is None
    table = pq.read_table(path)
    assert {field.name: str(field.type) for field in table.schema} == {
        "user": "int32",
        "item": "int32",
        "domain": "int32",
        "label": "int8",
        "true_ctr": "float",
    }
    assert table.select(["user", "item", "domain", "label"]).to_pydict() == {
        "user": [1, 2, 2, 2],
        "item": [3, 2, 0, 1],
        "domain": [0, 0, 1, 1],
        "label": [1, 0, 1, 1],
    }
    np.testing.assert_allclose(table["true_ctr"], [0, 0.1, 0.3, 0.6])
    valid = pq.read_table(tmp_path / "out" / "valid.parquet")
    assert valid["item"].to_pylist() == [1, 3, 2]
    test = pq.read_table(tmp_path / "out" / "test.parquet")
    assert test["item"].to_pylist() == [0]


def test_schema(tmp_path):
    folder.write(tmp_path / "out", prepared())
    assert json.loads((tmp_path / "out" / "schema.json").read_text()) == {
        "format": "mlora_tf.schema/1",
        "features": [
            {"kind": "sparse", "name": "user", "vocabulary": [10, 20]},
            {"kind": "sparse", "name": "item", "vocabulary": ["x", "y", "z"]},
        ],
        "domain": {"name": "shop", "values": ["north", "south", "west"]},
        "label": "label",
    }


def test_manifest(tmp_path):
    returned = folder.write(tmp_path / "out", prepared())
    files = contents(tmp_path / "out")
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest == returned
    files.pop("README.md")
    assert set(files) == set(manifest["files"])
    digests = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert manifest["files"] == {
        "train.parquet": {"rows": 4, "sha256": digests["train.parquet"]},
        "valid.parquet": {"rows": 3, "sha256": digests["valid.parquet"]},
        "test.parquet": {"rows": 1, "sha256": digests["test.parquet"]},
        "schema.json": {"sha256": digests["schema.json"]},
    }
    in_order = "".join(digests[name] for name in sorted(digests))
    fingerprint = hashlib.sha256(in_order.encode()).hexdigest()
    assert manifest["fingerprint"] == fingerprint
    assert manifest["counts"] == {
        "train": {
            "north": {"rows": 2, "clicks": 1},
            "south": {"rows": 2, "clicks": 2},
            "west": {"rows": 0, "clicks": 0},
        },
        "valid": {
            "north": {"rows": 1, "clicks": 1},
            "south": {"rows": 2, "clicks": 0},
            "west": {"rows": 0, "clicks": 0},
        },
        "test": {
            "north": {"rows": 1, "clicks": 0},
            "south": {"rows": 0, "clicks": 0},
            "west": {"rows": 0, "clicks": 0},
        },
    }
    assert manifest["format"] == "mlora_tf.prepared/1"
    assert manifest["dataset"] == "tiny"
    assert manifest["options"] == {"domain": "shop"}
    assert manifest["seed"] == 7
    assert manifest["sources"] == {"log.csv": {"bytes": 3, "sha256": "abc"}}
    assert set(manifest["versions"]) == {
        "python",
        "numpy",
        "pyarrow",
    }


def test_two_runs_give_the_same_bytes(tmp_path):
    folder.write(tmp_path / "one", prepared())
    folder.write(tmp_path / "two", prepared())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert names(tmp_path / "one") == sorted(FILES)


@pytest.mark.parametrize("kind", [io.BytesIO, "file"])
def test_digest_of_a_stream(kind, tmp_path):
    data = b"user::movie" * 100_000
    (tmp_path / "raw").write_bytes(data)
    path = tmp_path / "raw"
    with path.open("rb") if kind == "file" else kind(data) as stream:
        assert staging.digest(stream) == {
            "bytes": 1_100_000,
            "sha256": hashlib.sha256(data).hexdigest(),
        }


# All kinds of features, and what training reads.


def test_training_reads_every_kind_that_is_written(tmp_path):
    folder.write(tmp_path / "out", every_kind())
    log = data.load(tmp_path / "out")
    items = ("x", "y", "z")
    assert log.schema.features == (
        SparseFeature("item", items, vectors=2),
        SparseFeature("user", (10, 20), table="people"),
        DenseFeature("price", (0.5, 1.0)),
        DenseFeature("age", mean=3.5, stddev=2.0),
        SequenceFeature("history", items, 3, "din", "item", "item", 2),
        SequenceFeature("friends", (10, 20), 1, table="people"),
    )
    for index, split in enumerate((log.train, log.valid, log.test)):
        rows = np.flatnonzero(prepared().split == index)
        wanted = [HISTORIES[row] for row in rows]
        assert split.inputs["history"].tolist() == [
            ids + [-1] * (3 - len(ids)) for ids in wanted
        ]
        assert split.inputs["friends"].tolist() == [
            [2 if row == 2 else -1] for row in rows
        ]
        for name in ("item", "user", "domain"):
            np.testing.assert_array_equal(
                split.inputs[name], prepared().columns[name][rows]
            )
        np.testing.assert_array_equal(
            split.inputs["price"], PRICES[rows].astype(np.float32)
        )
        np.testing.assert_array_equal(split.inputs["age"], rows)
    np.testing.assert_array_equal(log.vectors["item"], VECTORS)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert log.fingerprint == manifest["fingerprint"]


@pytest.mark.parametrize("make", [prepared, every_kind])
def test_training_would_write_the_same_schema(make, tmp_path):
    folder.write(tmp_path / "out", make())
    text = (tmp_path / "out" / "schema.json").read_text()
    assert data.load(tmp_path / "out").schema.to_json() + "\n" == text


def test_the_types_of_every_kind(tmp_path):
    folder.write(tmp_path / "out", every_kind())
    table = pq.read_table(tmp_path / "out" / "train.parquet")
    types = {field.name: field.type for field in table.schema}
    assert list(types) == [
        *("item", "user", "price", "age", "history", "friends"),
        *("domain", "label", "true_ctr"),
    ]
    assert str(types["price"]) == str(types["age"]) == "float"
    assert str(types["history"].value_type) == "int32"
    assert table["history"].to_pylist() == [[1], [], [2, 2], [3]]


def test_vectors_are_in_the_manifest(tmp_path):
    manifest = folder.write(tmp_path / "out", every_kind())
    files = contents(tmp_path / "out")
    assert set(files) == {*FILES, "vectors.item.npy"}
    sha256 = hashlib.sha256(files["vectors.item.npy"]).hexdigest()
    assert manifest["files"]["vectors.item.npy"] == {"sha256": sha256}
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / "vectors.item.npy"), VECTORS
    )


def test_the_same_rows_of_every_kind_give_the_same_bytes(tmp_path):
    folder.write(tmp_path / "one", every_kind())
    # Neither how an array lies in memory nor what is beside it matters.
    sliced = features.lists(
        np.array([9, 9, *(one for ids in HISTORIES for one in ids)]),
        np.array([2, *LENGTHS]),
    )[1:]
    twin = with_one_of_every_kind("history", sliced)
    twin = dataclasses.replace(
        twin, vectors={"item": np.asfortranarray(VECTORS)}
    )
    folder.write(tmp_path / "two", twin)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_overwrite_replaces_vectors_that_the_manifest_knows(tmp_path):
    folder.write(tmp_path / "out", every_kind())
    folder.write(tmp_path / "out", prepared(), overwrite=True)
    assert names(tmp_path / "out") == sorted(FILES)


def test_the_page_says_what_the_folder_is(tmp_path):
    manifest = folder.write(tmp_path / "out", every_kind())
    page = (tmp_path / "out" / "README.md").read_text()
    assert page.startswith("# Prepared click log: ")
    for feature in every_kind().features:
        assert f"'{feature['name']}'" in page
    for name in every_kind().domains:
        assert f"'{name}'" in page
    for split, cells in manifest["counts"].items():
        rows, clicks = (
            sum(cell[name] for cell in cells.values())
            for name in ("rows", "clicks")
        )
        assert f"| {split} | {rows} | {clicks} |" in page
    assert "`vectors.*.npy`" in page
    folder.write(tmp_path / "two", prepared())
    assert "vectors" not in (tmp_path / "two" / "README.md").read_text()


def test_the_page_of_a_thousand_domains_is_short(tmp_path):
    names = tuple(f"d\n`{one}" for one in range(1000))
    many = dataclasses.replace(prepared(), domains=names)
    folder.write(tmp_path / "out", many)
    page = (tmp_path / "out" / "README.md").read_text()
    assert "and 990 more." in page
    assert max(map(len, page.splitlines())) < 300


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_page_of_the_owners_is_never_replaced(tmp_path, overwrite):
    folder.write(tmp_path / "out", prepared())
    page = tmp_path / "out" / "README.md"
    page.write_text("# What I know of this log\n")
    match = "also holds 'README.md'" if overwrite else "exists; add"
    with pytest.raises(PreparationError, match=match):
        folder.write(tmp_path / "out", prepared(), overwrite=overwrite)
    assert page.read_text() == "# What I know of this log\n"


def test_overwrite_spares_vectors_that_the_manifest_does_not_know(tmp_path):
    folder.write(tmp_path / "out", prepared())
    np.save(tmp_path / "out" / "vectors.item.npy", VECTORS)
    with pytest.raises(PreparationError, match=r"also holds 'vectors\.item"):
        folder.write(tmp_path / "out", every_kind(), overwrite=True)
    assert (tmp_path / "out" / "vectors.item.npy").exists()


@pytest.mark.parametrize("files", [None, 3, "schema.json", ["notes.txt"]])
def test_a_damaged_manifest_gives_no_file_away(files, tmp_path):
    folder.write(tmp_path / "out", prepared())
    path = tmp_path / "out" / "manifest.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "files": files})
    )
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PreparationError, match=r"also holds 'notes\.txt'"):
        folder.write(tmp_path / "out", prepared(), overwrite=True)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("history", [[4]], "0 to 3. Received: 0 to 4"),
        ("history", [[-1]], "0 to 3. Received: -1 to 3"),
        ("history", [[1] * 4], "lists of at most 3 ids. Received: 4"),
        ("history", [None], "a list for every row. Received: list<"),
        ("history", [[None]], "must hold integers. Received: float64"),
        ("history", [[1], [1]], r"one value a row: \(8,\). Received: \(9,\)"),
        ("history", [[0.5]], "must hold integers. Received: "),
        (
            "price",
            np.array([0.0, np.nan] * 4),
            "finite in float32. Received: n",
        ),
        ("price", np.array([0.0, 1e39] * 4), r"float32. Received: 1e\+39"),
        ("price", np.zeros(7), r"one value a row: \(8,\). Received: \(7,\)"),
        ("price", np.zeros((8, 2)), r"Received: \(8, 2\)"),
        ("history", np.zeros(8, int), "a list for every row"),
    ],
)
def test_a_wrong_column_of_any_kind_raises(name, values, message, tmp_path):
    if isinstance(values, list):
        values = pa.array([*HISTORIES[:7], *values])
    with pytest.raises(ValueError, match=f"column '{name}' .*{message}"):
        folder.write(tmp_path / "out", with_one_of_every_kind(name, values))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({}, r"dimension, \['item'\]. Received: \[\]"),
        ({"item": VECTORS, "user": VECTORS}, r"Received: \['item', 'user'\]"),
        ({"item": VECTORS[:3]}, r"float32 and of shape \(4, 2\). Received: "),
        ({"item": VECTORS.T}, r"Received: float32 and \(2, 4\)"),
        ({"item": VECTORS.astype(float)}, "Received: float64 and"),
        ({"item": np.full_like(VECTORS, np.inf)}, "of 'item' must be finite"),
    ],
)
def test_wrong_vectors_raise(vectors, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        folder.write(tmp_path / "out", every_kind(vectors=vectors))
    assert names(tmp_path) == []


# Overwriting.


def test_an_existing_folder_stays_without_overwrite(tmp_path):
    folder.write(tmp_path / "out", prepared())
    before = contents(tmp_path / "out")
    with pytest.raises(PreparationError, match=r"out exists.*--overwrite"):
        folder.write(tmp_path / "out", prepared(seed=8))
    assert contents(tmp_path / "out") == before
    assert names(tmp_path) == ["out"]


def test_overwrite_replaces_a_prepared_folder(tmp_path):
    folder.write(tmp_path / "out", prepared())
    folder.write(tmp_path / "out", prepared(seed=8), overwrite=True)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["seed"] == 8
    assert names(tmp_path) == ["out"]


def test_overwrite_takes_an_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    folder.write(tmp_path / "out", prepared(), overwrite=True)
    assert names(tmp_path / "out") == sorted(FILES)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "manifest",
    [None, "{", "[]", '{"format": "mlora_tf.prepared/9"}', "[" * 100_000],
)
def test_overwrite_refuses_another_folder(manifest, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    before = contents(tmp_path)
    with pytest.raises(PreparationError, match="is no prepared folder"):
        folder.write(tmp_path, prepared(), overwrite=True)
    assert contents(tmp_path) == before


def test_overwrite_refuses_to_delete_a_stranger(tmp_path):
    folder.write(tmp_path / "out", prepared())
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PreparationError, match=r"also holds 'notes\.txt'"):
        folder.write(tmp_path / "out", prepared(seed=8), overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(PreparationError, match="out is a file"):
        folder.write(tmp_path / "out", prepared(), overwrite=True)
    assert (tmp_path / "out").read_text() == "mine"


# Failures.


def failing(function, at):
    """`function`, which raises at its `at`-th call."""
    calls = iter(range(1, 100))

    def wrapped(*args, **kwargs):
        if next(calls) == at:
            raise OSError("the disk is full")
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("module", "name", "at"),
    [
        (pq.ParquetWriter, "write_table", 1),
        (pq.ParquetWriter, "write_table", 3),
        (os, "fsync", 2),
        (json, "dumps", 2),
        (os, "replace", 1),
    ],
)
def test_a_failure_leaves_nothing(module, name, at, tmp_path, monkeypatch):
    monkeypatch.setattr(module, name, failing(getattr(module, name), at))
    with pytest.raises(OSError, match="the disk is full"):
        folder.write(tmp_path / "out", prepared())
    assert names(tmp_path) == []


@pytest.mark.parametrize("at", [1, 2])
def test_a_failed_overwrite_leaves_the_old_folder(at, tmp_path, monkeypatch):
    folder.write(tmp_path / "out", prepared())
    before = contents(tmp_path / "out")
    # As on a file system that can't swap two folders.
    monkeypatch.setattr(staging, "exchange", lambda *_: False)
    monkeypatch.setattr(os, "replace", failing(os.replace, at))
    with pytest.raises(OSError, match="the disk is full"):
        folder.write(tmp_path / "out", prepared(seed=8), overwrite=True)
    assert contents(tmp_path / "out") == before
    assert names(tmp_path) == ["out"]


def test_a_folder_that_came_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    write_table = pq.ParquetWriter.write_table
    folder.write(tmp_path / "theirs", prepared(seed=8))

    def write_after_the_other(*args, **kwargs):
        monkeypatch.setattr(pq.ParquetWriter, "write_table", write_table)
        (tmp_path / "theirs").rename(tmp_path / "out")
        write_table(*args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write_after_the_other)
    with pytest.raises(PreparationError, match="out exists"):
        folder.write(tmp_path / "out", prepared(seed=7))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["seed"] == 8
    assert names(tmp_path) == ["out"]


def test_a_polite_kill_leaves_nothing(tmp_path):
    script = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(pathlib.Path(__file__).parent)!r}]
from data_prep import binary, folder
from test_folder import prepared

def prepare(output, seed, overwrite):
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    folder.write(output, prepared())

binary.define_flags()
binary.run(prepare)
"""
    command = [sys.executable, "-c", script, f"--output={tmp_path / 'out'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert "stopped by SIGTERM; nothing half-done" in result.stderr
    assert names(tmp_path) == []


# What breaks the format.


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("user", [1, 2, 1, 2, 0, 1, 2, 3], "0 to 2. Received: 0 to 3"),
        ("user", [1, 2, 1, 2, 0, 1, 2, -1], "0 to 2. Received: -1 to 2"),
        ("user", np.ones(8), "must hold integers. Received: float64"),
        ("domain", [3, 0, 0, 0, 0, 0, 0, 0], "0 to 2. Received: 0 to 3"),
        ("label", [2, 0, 0, 0, 0, 0, 0, 0], "0 to 1. Received: 0 to 2"),
        ("item", [1, 2], "one value a row"),
        ("extra", range(8), "must hold floats. Received: int64"),
    ],
)
def test_a_wrong_column_raises(name, values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        folder.write(tmp_path / "out", with_column(name, values))
    assert names(tmp_path) == []


def test_an_empty_split_raises(tmp_path):
    with pytest.raises(PreparationError, match="left for the test split"):
        folder.write(tmp_path / "out", prepared(split=np.arange(8) % 2))
    assert names(tmp_path) == []


# The command line.


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            PreparationError("log.csv is empty."),
            1,
            "error: log.csv is empty.\n",
        ),
        (PermissionError("no entry"), 1, "error: no entry\n"),
        (
            KeyboardInterrupt(),
            130,
            "stopped by SIGINT; nothing half-done is left: the same "
            "command starts again.\n",
        ),
    ],
)
def test_errors_in_one_line(error, status, message, capsys):
    with pytest.raises(SystemExit) as ending, binary.errors_in_one_line():
        raise error
    assert ending.value.code == status
    assert capsys.readouterr().err == message


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ValueError, match="a bug"), binary.errors_in_one_line():
        raise ValueError("a bug")
