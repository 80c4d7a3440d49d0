"""A log that Apache Beam prepares: the same bytes as one machine's."""

import gzip
import importlib.util
import json
import pathlib
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_prep
from data_prep import split_file
from data_prep import staging
from data_prep import table
from data_prep import table_files
from data_prep import table_job
from data_prep import table_parquet
from data_prep import table_survey
from data_prep import table_transform
from data_prep.folder_lock import FolderInUseError
from data_prep.folder_lock import locked
from data_prep.layout import PreparationError

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam isn't installed: pip install -e '.[beam]'",
)
# Beam's own imports and runners warn.
pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS = {
    "label": "click",
    "domain": "shop",
    "categorical": ["user", "item"],
    "numeric": ["price"],
    "sequence": ["history:3"],
}


def rows(count, seed=0, start=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 5, count)
    return {
        "click": rng.integers(0, 2, count),
        "shop": rng.choice(["toys", "books", 'it\'s "é"'], count),
        "user": rng.integers(-5, 30, count),
        "item": [f"item, {i}" for i in rng.zipf(1.5, count) % 20],
        "price": rng.normal(1e4, 1e3, count).astype(np.float32),
        "time": start + np.arange(count),
        "history": [
            [int(one) for one in rng.integers(0, 9, length)]
            for length in lengths
        ],
        "part": rng.choice(["train", "train", "valid", "test"], count),
    }


def parquet(path, columns, row_group=7):
    pq.write_table(pa.table(columns), path, row_group_size=row_group)


def csv(path, columns):
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        cells = [
            "|".join(map(str, cell)) if isinstance(cell, list) else str(cell)
            for cell in row
        ]
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
        lines.append(",".join(quoted))
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def log(tmp_path):
    """A folder of three Parquet files, one of which has no rows."""
    folder = tmp_path / "log"
    folder.mkdir()
    parquet(folder / "a.parquet", rows(50))
    empty = pa.table(rows(50)).slice(0, 0)
    pq.write_table(empty, folder / "b.parquet")
    parquet(folder / "c.parquet", rows(33, seed=1, start=50), row_group=5)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare_twice(log, tmp_path, monkeypatch, **options):
    """Prepares with and without Beam; returns the folder's bytes."""
    from data_prep import beam_pieces

    monkeypatch.setattr(beam_pieces, "PIECE_ROWS", 10)
    monkeypatch.setattr(table_files, "CHUNK_ROWS", 4)
    monkeypatch.setattr(split_file, "ROW_GROUP", 6)
    options = {**COLUMNS, "shard_rows": 9, **options}
    one = table.prepare(log, tmp_path / "one", **options)
    many = table.prepare(
        log, tmp_path / "many", **options, runner="FnApiRunner"
    )
    assert many == one
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    # Nothing is left of what the workers told each other.
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if name.endswith((".beam", ".tmp"))} == set()
    return one


@needs_beam
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": "given", "split_column": "part", "min_count": 2},
        {"split": "time", "split_column": "time", "buckets": 4},
        {"split": "time", "split_column": "price", "seed": 7},
        {"strings": ["user"], "domain_values": ["toys", "books"]},
    ],
)
def test_the_folder_has_the_same_bytes(options, log, tmp_path, monkeypatch):
    manifest = prepare_twice(log, tmp_path, monkeypatch, **options)
    shards = [name for name in manifest["files"] if name.startswith("train")]
    assert len(shards) > 3


@needs_beam
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_has_the_same_bytes(ending, tmp_path, monkeypatch):
    folder = tmp_path / "log"
    folder.mkdir()
    csv(folder / f"a.{ending}", rows(40))
    csv(folder / f"b.{ending}", rows(40, seed=2))
    prepare_twice(
        folder, tmp_path, monkeypatch, buckets=3, missing="fill", seed=5
    )


@needs_beam
@pytest.mark.slow
def test_a_piece_is_read_up_to_the_files_last_row(tmp_path, monkeypatch):
    from data_prep import beam_shard

    log = tmp_path / "log.parquet"
    parts = {"part": ["train"] * 30 + ["valid"] * 30 + ["test"] * 30}
    parquet(log, {**rows(90), **parts})
    read = []

    def transform(chunk, *arguments):
        read.append(len(chunk))
        return table_transform.transform(chunk, *arguments)

    monkeypatch.setattr(beam_shard, "transform", transform)
    monkeypatch.setattr(table_parquet, "ROW_GROUP", 5)
    monkeypatch.setattr(table_job, "LARGEST_CHUNK", 5)
    table.prepare(
        log,
        tmp_path / "out",
        **COLUMNS,
        split="given",
        split_column="part",
        shard_rows=10,
        runner="FnApiRunner",
    )
    # The first file's rows are the first ten, the ninth's are the last ten.
    assert set(read) == {5}
    assert sum(read) == sum(range(10, 100, 10))


@needs_beam
@pytest.mark.slow
def test_quantiles_are_of_the_same_sample(log, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.table_numbers.SAMPLE", 20)
    prepare_twice(
        log,
        tmp_path,
        monkeypatch,
        split="time",
        split_column="time",
        buckets=4,
    )


@needs_beam
@pytest.mark.slow
def test_the_same_is_warned_of(tmp_path, monkeypatch, warnings):
    folder = tmp_path / "log"
    folder.mkdir()
    more = rows(900)
    more["user"] = [f"{one}.0" for one in more["user"]]
    more["price"] = np.where(np.arange(900) == 700, 9e9, more["price"])
    more["part"] = ["train"] * 880 + ["valid", "test"] * 10
    for name, part in (("a", slice(500)), ("b", slice(500, None))):
        of_file = {key: cells[part] for key, cells in more.items()}
        csv(folder / f"{name}.csv", of_file)
    prepare_twice(
        folder,
        tmp_path,
        monkeypatch,
        shard_rows=1000,
        split="given",
        split_column="part",
    )
    half = len(warnings) // 2
    assert warnings[:half] == warnings[half:]
    said = "\n".join(warnings[:half])
    assert "column 'price': 9e+09 is 29.6 standard deviations" in said
    assert "column 'user' holds text such as " in said


@needs_beam
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("click", 2, r"c\.parquet, row 5: column 'click' is the label"),
        ("user", None, r"c\.parquet, row 5: column 'user' is empty; mend it"),
        ("price", np.inf, r"row 5: column 'price' must be finite"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_left(
    name, value, said, log, tmp_path
):
    columns = rows(33, seed=1)
    columns[name] = [*columns[name]]
    columns[name][4] = value
    parquet(log / "c.parquet", columns)
    with pytest.raises(PreparationError, match=said):
        table.prepare(log, tmp_path / "out", **COLUMNS, runner="FnApiRunner")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@needs_beam
@pytest.mark.slow
def test_a_column_is_of_one_kind_in_all_pieces(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    empty = rows(20)
    empty["item"] = [""] * 20
    csv(folder / "a.csv", empty)
    csv(folder / "b.csv", {**rows(20), "item": range(20)})
    csv(folder / "c.csv", rows(20))
    # Which piece is read first is the runner's choice.
    said = r"([bc])\.csv, line 2.* holds the .*([bc])\.csv, line 2 holds the "
    with pytest.raises(PreparationError, match=said):
        table.prepare(
            folder,
            tmp_path / "out",
            **COLUMNS,
            missing="fill",
            runner="FnApiRunner",
        )


@needs_beam
@pytest.mark.slow
def test_domains_are_counted_in_all_pieces_together(log, tmp_path, monkeypatch):
    monkeypatch.setattr(table_survey, "MAX_DOMAINS", 2)
    prepare_twice(log, tmp_path, monkeypatch, domain_values=["toys", "books"])
    with pytest.raises(PreparationError, match="'shop' has more than 2 values"):
        table.prepare(log, tmp_path / "out", **COLUMNS, runner="FnApiRunner")
    assert not (tmp_path / "out").exists()


@needs_beam
@pytest.mark.slow
def test_a_finished_folder_is_read_by_training(log, tmp_path):
    from mlora_tf import data

    output = tmp_path / "deep" / "out"
    manifest = table.prepare(log, output, **COLUMNS, runner="DirectRunner")
    read = data.load(output)
    assert read.fingerprint == manifest["fingerprint"]
    total = sum(map(len, (read.train, read.valid, read.test)))
    assert total == 83
    assert json.loads((output / "manifest.json").read_text()) == manifest


@needs_beam
@pytest.mark.slow
def test_a_killed_worker_leaves_nothing_in_the_folder(
    log, tmp_path, monkeypatch
):
    killed = []

    class Killed(tempfile.TemporaryDirectory):
        def __enter__(self):
            killed.append(tempfile.mkdtemp(dir=pathlib.Path(self.name).parent))
            return super().__enter__()

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Killed)
    output = tmp_path / "out"
    table.prepare(log, output, **COLUMNS, runner="FnApiRunner")
    assert len(killed) == 3
    assert staging.check_output(output, overwrite=True) is None
    assert {path.name for path in tmp_path.iterdir()} == {"log", "out"}


@needs_beam
@pytest.mark.slow
def test_what_a_killed_preparation_left_is_deleted(log, tmp_path):
    left = tmp_path / f".out.{'0' * 32}.beam"
    theirs = tmp_path / f".out.more.{'0' * 32}.beam"
    for path in (left, theirs):
        path.mkdir()
        (path / "survey.main-00000-of-00001").touch()
    (tmp_path / ".out.beam.lock").touch()
    output = tmp_path / "out"
    with locked(tmp_path / ".out.beam.lock", output):
        with pytest.raises(FolderInUseError, match="out is in use by"):
            table.prepare(log, output, **COLUMNS, runner="FnApiRunner")
        # It may be the other one's.
        assert left.exists()
    table.prepare(log, output, **COLUMNS, runner="FnApiRunner")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"log", "out", theirs.name}


def test_without_beam_the_install_is_named(log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    for name in ("beam_table", "beam_steps", "beam_samples", "beam_shard"):
        monkeypatch.delitem(sys.modules, f"data_prep.{name}", raising=False)
        monkeypatch.delattr(data_prep, name, raising=False)
    with pytest.raises(PreparationError, match=r"pip install -e '\.\[beam\]'"):
        table.prepare(log, tmp_path / "out", **COLUMNS, runner="DirectRunner")
    assert not (tmp_path / "out").exists()
    assert staging.check_output(tmp_path / "out", False) is None
