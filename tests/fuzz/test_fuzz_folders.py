"""Prepared folders, changed at random: read, or refused by a clear error."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import examples
from limits import few_and_many
from limits import read_or_refused
from mutations import changed_bytes
from mutations import changed_json
from mutations import changed_tail
from streams import fingerprint

from data_prep import features
from data_prep import folder as prepared
from mlora_tf import data
from mlora_tf.columns import DataError
from mlora_tf.columns import read_vectors
from mlora_tf.manifest import Manifest
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError

ROWS = 24
BOUNDARIES = [-0.5, 0.5]
FEATURES = [
    features.sparse("user", [7, 9, 12], vectors=3),
    features.sparse("item", ["pen", "ink", "nib"], table="goods"),
    features.dense("age", mean=2.0, stddev=0.5),
    features.dense("price", boundaries=BOUNDARIES),
    features.sequence(
        "seen",
        ["pen", "ink", "nib"],
        3,
        pooling="din",
        target="item",
        table="goods",
    ),
]
PARQUET = ("train.parquet", "valid.parquet", "test.parquet")
VECTORS = "vectors.user.npy"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A prepared folder with every kind of feature and with vectors."""
    rng = np.random.default_rng(0)
    lengths = np.arange(ROWS) % 4
    path = tmp_path_factory.mktemp("good") / "folder"
    columns = {
        "user": rng.integers(0, 4, ROWS),
        "item": rng.integers(0, 4, ROWS),
        "age": rng.normal(size=ROWS),
        "price": rng.normal(size=ROWS),
        "seen": features.lists(rng.integers(0, 4, lengths.sum()), lengths),
        "domain": np.arange(ROWS) % 2,
        "label": np.arange(ROWS) % 2,
        "true_ctr": rng.random(ROWS),
    }
    prepared.write(
        path,
        prepared.Prepared(
            dataset="test",
            options={},
            seed=0,
            sources={},
            features=FEATURES,
            domain_name="shop",
            domains=["books", "toys"],
            columns=columns,
            split=np.arange(ROWS) % 3,
            vectors={"user": rng.normal(size=(4, 3)).astype(np.float32)},
        ),
    )
    return path


@pytest.fixture
def copy(good, tmp_path):
    """A copy of it, deep enough for climbing names to stay in `tmp_path`."""
    path = tmp_path / "a" / "b" / "folder"
    shutil.copytree(good, path)
    return path


def seal(path):
    """Makes the digests true, as those of a stranger's folder are."""
    manifest = path / "manifest.json"
    content = json.loads(manifest.read_text())
    for name, file in content["files"].items():
        file["sha256"] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    content["fingerprint"] = fingerprint(content["files"])
    manifest.write_text(json.dumps(content))


def read(path, reading):
    """Reads all that there is in a folder, and its rows with every column."""
    log = data.load(path, reading)
    for split in (log.train, log.valid, log.test):
        for block in split.blocks():
            assert len(block) <= ROWS
        assert split.domain.size == split.label.size == len(split)
    return log


@few_and_many(25, 2500)
def test_a_schema(count, good, tmp_path):
    content = json.loads((good / "schema.json").read_text())
    path = tmp_path / "schema.json"

    @examples(count)
    @given(changed_json(content))
    def check(text):
        path.write_bytes(text)
        with read_or_refused(path, SchemaError):
            schema = Schema.load(path)
            # What is taken can be written again, and sized.
            assert Schema.from_json(schema.to_json()) == schema
            assert schema.to_json().encode("utf-8")
            assert data.row_bytes(schema) < 1 << 30

    check()


@few_and_many(10, 500)
def test_the_bytes_of_a_schema(count, good, tmp_path):
    content = (good / "schema.json").read_bytes()
    path = tmp_path / "schema.json"

    @examples(count)
    @given(changed_bytes(content))
    def check(text):
        path.write_bytes(text)
        with read_or_refused(path, SchemaError):
            Schema.load(path)

    check()


@few_and_many(25, 2000)
def test_a_manifest(count, good, tmp_path):
    content = json.loads((good / "manifest.json").read_text())
    path = tmp_path / "manifest.json"
    names = {*PARQUET, VECTORS, "schema.json"}

    @examples(count)
    @given(st.one_of(changed_json(content), changed_json(content["files"])))
    def check(text):
        path.write_bytes(text)
        with read_or_refused(path, DataError):
            manifest = Manifest.load(path)
            manifest.check_names([VECTORS])
            # Nothing else is ever opened.
            assert {*manifest.digests} == names

    check()


@few_and_many(15, 1000)
@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_split(count, reading, copy):
    contents = {name: (copy / name).read_bytes() for name in PARQUET}

    @examples(count)
    @given(
        st.sampled_from(PARQUET).flatmap(
            lambda name: st.tuples(
                st.just(name),
                st.one_of(
                    changed_bytes(contents[name]),
                    # The footer, where the sizes are.
                    changed_tail(contents[name], len(contents[name]) // 2),
                ),
            )
        )
    )
    def check(drawn):
        name, content = drawn
        (copy / name).write_bytes(content)
        seal(copy)
        with read_or_refused(copy, DataError):
            read(copy, reading)
        (copy / name).write_bytes(contents[name])

    check()


@few_and_many(10, 500)
@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_folder_with_another_schema(count, reading, copy):
    content = json.loads((copy / "schema.json").read_text())

    @examples(count)
    @given(changed_json(content))
    def check(text):
        (copy / "schema.json").write_bytes(text)
        seal(copy)
        with read_or_refused(copy, DataError, SchemaError):
            read(copy, reading)

    check()


@few_and_many(10, 500)
@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_folder_with_another_manifest(count, reading, copy):
    content = json.loads((copy / "manifest.json").read_text())
    before = {*copy.parents[2].rglob("*")}

    @examples(count)
    @given(changed_json(content))
    def check(text):
        (copy / "manifest.json").write_bytes(text)
        with read_or_refused(copy, DataError):
            read(copy, reading)
        assert {*copy.parents[2].rglob("*")} == before

    check()


@few_and_many(15, 1000)
def test_pretrained_vectors(count, good, tmp_path):
    content = (good / VECTORS).read_bytes()
    path = tmp_path / "vectors.npy"

    @examples(count)
    @given(changed_bytes(content))
    def check(data):
        path.write_bytes(data)
        with read_or_refused(path, DataError):
            assert read_vectors(path, 4, 3).shape == (4, 3)

    check()
