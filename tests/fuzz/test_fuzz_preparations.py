"""Raw files, changed at random: prepared, or refused by a clear error."""

import gzip
import itertools
import json
import shutil
from unittest import mock

import pytest
import raw_files
from absl import logging
from hypothesis import given
from hypothesis import strategies as st
from limits import examples
from limits import few_and_many
from limits import read_or_refused
from mutations import changed_bytes
from mutations import changed_json
from mutations import changed_tail

from data_prep import amazon
from data_prep import mamdr
from data_prep import movielens
from data_prep import table
from data_prep import taobao
from data_prep.layout import PreparationError
from mlora_tf import data

FULL = {"movielens": {"features": "all", "history": 3}, "taobao": {"themes": 2}}
SOURCES = {
    "movielens": movielens.prepare,
    "amazon": amazon.prepare,
    "taobao": taobao.prepare,
    "mamdr": mamdr.prepare,
}
GIVEN = {**raw_files.LOG, "split": "given", "split_column": "part"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder so deep that names which climb out of it stay in `tmp_path`."""
    path = tmp_path / "a" / "b" / "c"
    path.mkdir(parents=True)
    monkeypatch.chdir(path)
    # To wait for the disk takes most of the time.
    monkeypatch.setattr("os.fsync", lambda _: None)
    with mock.patch.object(logging, "warning"):
        yield path


def put(root, name, content):
    """Writes a file of a text or bytes into the folder `raw`."""
    path = root / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    return path


def prepare_or_refuse(root, raw, prepare, **options):
    """A folder is whole and can be read, or isn't there; nothing else is."""
    top = root.parents[2]
    before = {*top.rglob("*")}
    with read_or_refused(raw, PreparationError):
        prepare(raw, root / "out", **options)
    if (root / "out").exists():
        data.load(root / "out", "memory")
        shutil.rmtree(root / "out")
    assert {*top.rglob("*")} == before


def changed_file(files):
    """Draws one of the files by name, and other bytes for it."""

    def change(name):
        content = files[name]
        content = content if isinstance(content, bytes) else content.encode()
        drawn = changed_bytes(content)
        if name.endswith(".json") and b"\n" not in content:
            drawn = st.one_of(drawn, changed_json(json.loads(content)))
        return st.tuples(st.just(name), drawn)

    return st.sampled_from(sorted(files)).flatmap(change)


@few_and_many(10, 400)
@pytest.mark.parametrize("source", SOURCES)
def test_the_files_of_a_source(count, source, root):
    files = getattr(raw_files, source)()
    for name, content in files.items():
        put(root, name, content)

    @examples(count)
    @given(changed_file(files))
    def check(drawn):
        put(root, *drawn)
        prepare_or_refuse(
            root, root / "raw", SOURCES[source], **FULL.get(source, {})
        )
        put(root, drawn[0], files[drawn[0]])

    check()


@few_and_many(5, 250)
@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("movielens", "zip"),
        *itertools.product(["taobao", "mamdr"], ["zip", "tar", "tar.gz"]),
    ],
)
def test_the_archive_of_a_source(count, source, kind, root):
    files = getattr(raw_files, source)()
    content = (
        raw_files.zipped(files)
        if kind == "zip"
        else raw_files.tarred(files, kind == "tar.gz")
    )

    @examples(count)
    @given(
        # A zip's list of members is at its end.
        st.one_of(changed_bytes(content), changed_tail(content, 400))
    )
    def check(drawn):
        prepare_or_refuse(
            root,
            put(root, f"raw.{kind}", drawn),
            SOURCES[source],
            **FULL.get(source, {}),
        )

    check()


@few_and_many(5, 150)
@pytest.mark.parametrize("name", ["Books_5.json", "Toys.csv"])
def test_a_compressed_file_of_reviews(count, name, root):
    files = raw_files.amazon()
    content = gzip.compress(files.pop(name).encode(), 1, mtime=0)
    put(root, *files.popitem())

    @examples(count)
    @given(changed_bytes(content))
    def check(drawn):
        put(root, f"{name}.gz", drawn)
        prepare_or_refuse(root, root / "raw", amazon.prepare)

    check()


@few_and_many(10, 400)
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_log_of_your_own(count, ending, root):
    content = raw_files.csv_log()
    if ending == "csv.gz":
        content = gzip.compress(content, 1, mtime=0)
    if ending == "parquet":
        content = raw_files.parquet_log()

    @examples(count)
    @given(
        changed_bytes(content),
        st.sampled_from(
            [
                {},
                {"missing": "fill", "buckets": 3},
                {"split": "time", "split_column": "price"},
                {"strings": ["user"], "min_count": 2},
            ]
        ),
    )
    def check(drawn, options):
        prepare_or_refuse(
            root,
            put(root, f"log.{ending}", drawn),
            table.prepare,
            **{**GIVEN, **options},
        )

    check()


@few_and_many(10, 400)
def test_a_configuration_of_a_log(count, root):
    log = put(root, "log.csv", raw_files.csv_log())
    config = root / "raw" / "config.json"
    content = {
        "label": "click",
        "domain": "shop",
        "domain_values": ["toys", "books"],
        "strings": ["user"],
        "categorical": {
            "user": {"min_count": 2},
            "item": {"table": "goods", "missing": "fill"},
        },
        "numeric": {"price": {"buckets": 3}},
        "sequence": {
            "history": {
                "max_length": 3,
                "separator": "|",
                "pooling": "din",
                "target": "item",
                "table": "goods",
            }
        },
    }

    def prepare(_, output):
        table.prepare(
            log, output, config=config, split="given", split_column="part"
        )

    @examples(count)
    @given(st.one_of(changed_json(content), changed_bytes(b'{"label": 1}')))
    def check(text):
        config.write_bytes(text)
        prepare_or_refuse(root, root / "raw", prepare)

    check()


@few_and_many(10, 400)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_vectors_of_a_log(count, ending, root):
    log = put(root, "log.csv", raw_files.csv_log())
    config = root / "raw" / "config.json"
    path = root / "raw" / f"vectors.{ending}"
    content = {
        "label": "click",
        "domain": "shop",
        "categorical": {"item": {"vectors": str(path)}},
    }
    config.write_text(json.dumps(content))

    def prepare(_, output):
        table.prepare(
            log, output, config=config, split="given", split_column="part"
        )

    good = getattr(raw_files, f"{ending}_vectors")()
    put(root, path.name, good)
    prepare(None, root / "out")
    shutil.rmtree(root / "out")

    @examples(count)
    @given(changed_bytes(good))
    def check(drawn):
        put(root, path.name, drawn)
        prepare_or_refuse(root, root / "raw", prepare)

    check()


@few_and_many(5, 150)
def test_the_folder_that_is_to_be_replaced(count, root):
    log = put(root, "log.csv", raw_files.csv_log())
    output = root / "raw" / "data"
    table.prepare(log, output, **GIVEN)
    content = json.loads((output / "manifest.json").read_text())
    stranger = output / "notes.txt"
    stranger.write_text("mine")

    @examples(count)
    @given(changed_json(content))
    def check(text):
        (output / "manifest.json").write_bytes(text)
        # Only files of a folder that is certainly a prepared one may go.
        with read_or_refused(output, PreparationError):
            table.prepare(log, output, **GIVEN, overwrite=True)
        assert stranger.read_text() == "mine"

    check()
