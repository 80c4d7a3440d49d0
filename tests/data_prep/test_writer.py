import errno
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep import features
from data_prep import folder
from data_prep import split_file
from data_prep import staging
from data_prep import writer
from data_prep.layout import FILES
from data_prep.layout import ROW_GROUP
from data_prep.layout import SPLITS
from data_prep.layout import Description
from data_prep.layout import PreparationError
from data_prep.writer import Writer

ROWS = 60


def described(**changes):
    content = {
        "dataset": "tiny",
        "options": {"domain": "shop"},
        "seed": 7,
        "sources": {},
        "features": [
            features.sparse("user", range(100)),
            features.dense("price"),
            features.sequence("seen", ["x", "y", "z"], 3),
        ],
        "domain_name": "shop",
        "domains": ["north", "south", "west"],
    }
    return Description(**{**content, **changes})


def log(rows=ROWS, seed=0):
    """Columns of every kind, and the split."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(0, 4, rows)
    columns = {
        "user": rng.randint(0, 101, rows),
        "price": rng.normal(size=rows),
        "seen": features.lists(rng.randint(0, 4, lengths.sum()), lengths),
        "domain": rng.randint(0, 2, rows),
        "label": rng.randint(0, 2, rows),
        "true_ctr": rng.random_sample(rows).astype(np.float32),
    }
    return columns, rng.randint(0, 3, rows)


def cut(columns, split, sizes):
    """The log in chunks of these sizes, the rest in a last one."""
    stops = np.minimum(np.cumsum([*sizes, len(split)]), len(split))
    for start, stop in zip([0, *stops], stops, strict=False):
        part = {name: values[start:stop] for name, values in columns.items()}
        yield part, split[start:stop]


def write(output, chunks=None, extras=None, **options):
    with Writer(output, described(), **options) as out:
        for columns, split in chunks or [log()]:
            out.add(columns, split)
        return out.finish(extras)


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def names(path):
    return sorted(entry.name for entry in path.iterdir())


# The same bytes.


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 25), max_size=8),
    shard_rows=st.sampled_from([None, 3, 8, 1000]),
    row_group=st.sampled_from([1, 4, 1 << 17]),
)
def test_any_chunks_give_the_same_bytes(
    sizes, shard_rows, row_group, tmp_path_factory
):
    tmp_path = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split_file, "ROW_GROUP", row_group)
        write(tmp_path / "whole", shard_rows=shard_rows)
        chunks = cut(*log(), sizes)
        write(tmp_path / "parts", chunks, shard_rows=shard_rows)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_chunks_give_the_bytes_of_write(tmp_path):
    columns, split = log()
    prepared = folder.Prepared(
        **vars(described()), columns=columns, split=split
    )
    returned = folder.write(tmp_path / "whole", prepared)
    manifest = write(
        tmp_path / "parts", cut(columns, split, [7, 0, 11]), shard_rows=None
    )
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert manifest == returned
    assert "extras" not in manifest


def test_pages_end_where_they_do_in_one_piece(tmp_path):
    # Only a long column of a row group has several pages.
    rng = np.random.RandomState(0)
    rows, length = 60_000, 20
    content = described(
        features=[features.sequence("seen", range(60_000), length)]
    )
    columns = {
        "seen": features.lists(
            rng.randint(0, 60_000, rows * length), np.full(rows, length)
        ),
        "domain": np.zeros(rows, int),
        "label": np.zeros(rows, int),
    }
    split = np.repeat([0, 1, 2], [rows - 2, 1, 1])
    for name, sizes in (("whole", []), ("parts", [7_001, 10_000, 20_002])):
        with Writer(tmp_path / name, content) as out:
            for chunk in cut(columns, split, sizes):
                out.add(*chunk)
            out.finish()
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    with pq.ParquetFile(tmp_path / "whole" / "train-00000.parquet") as file:
        assert file.metadata.num_row_groups == 1
        assert (
            file.metadata.row_group(0).column(0).total_uncompressed_size
            > 2 << 20
        )


# Shards.


def test_shards_have_names_rows_and_a_fingerprint(tmp_path):
    columns, split = log()
    split = np.repeat([0, 1, 2, 0], [10, 8, 1, 41])
    manifest = write(tmp_path / "out", cut(columns, split, [30]), shard_rows=20)
    assert {
        name: stated["rows"]
        for name, stated in manifest["files"].items()
        if name != "schema.json"
    } == {
        "train-00000.parquet": 20,
        "train-00001.parquet": 20,
        "train-00002.parquet": 11,
        "valid-00000.parquet": 8,
        "test-00000.parquet": 1,
    }
    files = contents(tmp_path / "out")
    assert json.loads(files.pop("manifest.json")) == manifest
    files.pop("README.md")
    assert set(files) == set(manifest["files"])
    digests = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    for name, digest in digests.items():
        assert manifest["files"][name]["sha256"] == digest
    in_order = "".join(digests[name] for name in sorted(digests))
    assert (
        manifest["fingerprint"] == hashlib.sha256(in_order.encode()).hexdigest()
    )
    tables = [
        pq.read_table(tmp_path / "out" / f"train-0000{shard}.parquet")
        for shard in range(3)
    ]
    np.testing.assert_array_equal(
        pa.concat_tables(tables)["user"], columns["user"][split == 0]
    )


def test_a_full_shard_is_followed_by_none_that_is_empty(tmp_path):
    columns, _ = log()
    split = np.repeat([0, 1, 2], 20)
    manifest = write(tmp_path / "out", [(columns, split)], shard_rows=10)
    shards = [name for name in manifest["files"] if name.startswith("train")]
    assert shards == ["train-00000.parquet", "train-00001.parquet"]


def test_shards_are_whole_row_groups():
    assert writer.SHARD_ROWS % ROW_GROUP == 0


def test_counts_add_up_over_chunks(tmp_path):
    columns, split = log()
    manifest = write(tmp_path / "out", cut(columns, split, [9, 20]))
    for index, name in enumerate(SPLITS):
        for domain, stated in enumerate(described().domains):
            rows = (split == index) & (columns["domain"] == domain)
            assert manifest["counts"][name][stated] == {
                "rows": rows.sum(),
                "clicks": columns["label"][rows].sum(),
            }


def test_extras_are_in_the_manifest_if_given(tmp_path):
    extras = {"best_auc": {"test": {"north": 0.75}}}
    manifest = write(tmp_path / "out", extras=extras)
    assert manifest["extras"] == extras
    stored = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert stored == manifest


def test_no_more_than_a_row_group_of_each_split_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(split_file, "ROW_GROUP", 4)
    held = []
    write_row_group = split_file.SplitFiles._write_row_group

    def counted(self):
        pieces = sum(piece.num_rows for piece in self._pieces)
        assert pieces == self.held
        # A slice of a chunk would keep all of the chunk in memory.
        size = sum(one.get_total_buffer_size() for one in self._pieces)
        assert size < 3000
        held.append(pieces)
        write_row_group(self)

    monkeypatch.setattr(split_file.SplitFiles, "_write_row_group", counted)
    columns, split = log()
    write(tmp_path / "out", cut(columns, split, [1, 2, 30]))
    assert max(held) == 4
    assert sum(held) == ROWS
    pure = cut(log(600)[0], np.repeat([0, 1, 2], 200), [200, 200])
    write(tmp_path / "pure", pure)
    assert max(held) == 4


# Overwriting.


def test_a_sharded_folder_is_overwritten(tmp_path):
    write(tmp_path / "out", shard_rows=5)
    with pytest.raises(PreparationError, match="out exists"):
        write(tmp_path / "out")
    write(tmp_path / "out", shard_rows=None, overwrite=True)
    assert names(tmp_path / "out") == sorted(FILES)
    write(tmp_path / "out", shard_rows=5, overwrite=True)
    assert "train.parquet" not in names(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_a_shard_that_the_manifest_does_not_know_is_spared(tmp_path):
    write(tmp_path / "out", shard_rows=1000)
    (tmp_path / "out" / "train-00001.parquet").write_text("mine")
    with pytest.raises(PreparationError, match=r"holds 'train-00001\.parquet'"):
        write(tmp_path / "out", overwrite=True)


# Failures.


def test_a_writer_that_does_not_finish_leaves_nothing(tmp_path):
    with Writer(tmp_path / "out", described(), shard_rows=3) as out:
        out.add(*log())
        assert names(tmp_path) != []
    assert names(tmp_path) == []


def test_a_crash_between_chunks_leaves_nothing(tmp_path):
    def chunks():
        yield log()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", chunks(), shard_rows=3)
    assert names(tmp_path) == []


class FullDisk:
    """A file on a disk that takes no more than some bytes."""

    def __init__(self, stream, room):
        self._stream = stream
        self._room = room

    def write(self, data):
        self._room[0] -= memoryview(data).nbytes
        if self._room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._stream.write(data)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()


@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("shard_rows", [None, 7])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_what_was_there(
    share, shard_rows, overwrite, tmp_path, monkeypatch
):
    write(tmp_path / "out", shard_rows=shard_rows)
    before = contents(tmp_path / "out")
    total = sum(map(len, before.values()))
    room = [int(share * total)]
    opened = type(tmp_path).open

    def open_on_full_disk(path, mode="r", *arguments, **options):
        stream = opened(path, mode, *arguments, **options)
        return FullDisk(stream, room) if mode == "wb" else stream

    monkeypatch.setattr(type(tmp_path), "open", open_on_full_disk)
    output = tmp_path / ("out" if overwrite else "other")
    with pytest.raises(OSError, match="No space left on device"):
        write(output, shard_rows=shard_rows, overwrite=overwrite)
    assert names(tmp_path) == ["out"]
    assert contents(tmp_path / "out") == before


def test_the_folder_appears_when_it_is_finished(tmp_path):
    with Writer(tmp_path / "out", described()) as out:
        out.add(*log())
        assert not (tmp_path / "out").exists()
        out.finish()
        assert names(tmp_path) == ["out"]
        with pytest.raises(RuntimeError, match="before finish"):
            out.add(*log())
        with pytest.raises(RuntimeError, match="before finish"):
            out.finish()
    assert names(tmp_path) == ["out"]


def test_rows_before_the_with_are_refused(tmp_path):
    out = Writer(tmp_path / "out", described())
    with pytest.raises(RuntimeError, match="inside its `with`"):
        out.add(*log())
    assert names(tmp_path) == []


def test_an_empty_split_is_named_and_leaves_nothing(tmp_path):
    columns, split = log()
    with pytest.raises(PreparationError, match="left for the test split"):
        write(tmp_path / "out", [(columns, split % 2)])
    with pytest.raises(PreparationError, match="left for the train split"):
        write(tmp_path / "out", cut(columns, split % 2 + 1, [1]))
    assert names(tmp_path) == []


# What breaks the format, in any chunk.


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("user", np.full(ROWS, 101), "0 to 100. Received: 101 to 101"),
        ("label", np.full(ROWS, 2), "0 to 1. Received: 2"),
        ("domain", np.full(ROWS, 3), "0 to 2. Received: 3"),
        ("price", np.full(ROWS, np.nan), "finite in float32"),
        ("price", np.zeros(3), "one value a row"),
        ("true_ctr", np.zeros(ROWS, int), "must hold floats"),
        ("true_ctr", np.zeros(ROWS), r"first one's columns, .*\(float\)"),
        ("more", np.zeros(ROWS), r"Received: .*more \(double\)"),
    ],
)
def test_a_wrong_later_chunk_raises(name, values, message, tmp_path):
    columns, split = log()
    chunks = [(columns, split), ({**columns, name: values}, split)]
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", chunks)
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [-1, 3])
def test_a_wrong_split_raises(value, tmp_path):
    columns, split = log()
    split[5] = value
    with pytest.raises(ValueError, match="column 'split' must hold integers"):
        write(tmp_path / "out", [(columns, split)])


@pytest.mark.parametrize("shard_rows", [0, -1])
def test_shards_must_hold_rows(shard_rows, tmp_path):
    with pytest.raises(ValueError, match=f"Received: {shard_rows}"):
        write(tmp_path / "out", shard_rows=shard_rows)


def test_hashes_are_those_of_the_files(tmp_path):
    (tmp_path / "file").write_bytes(b"rows" * 10)
    assert (
        staging.sha256(tmp_path / "file")
        == hashlib.sha256(b"rows" * 10).hexdigest()
    )


def test_files_name_things_as_people_write_them(tmp_path):
    path = tmp_path / "schema.json"
    staging.write_json(path, {"文具店": "caf\udce9"})
    assert "文具店" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8")) == {"文具店": "caf\udce9"}
