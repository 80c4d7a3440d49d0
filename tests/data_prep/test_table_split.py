import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from test_table import split_rows

from data_prep import table
from data_prep import table_files
from data_prep.splits import hashed_split


def many(count=400, times=None):
    """A log whose user is the row's number."""
    times = range(count) if times is None else times
    return pa.table(
        {
            "click": [row % 2 for row in range(count)],
            "shop": ["toys", "toys", "books", "books"] * (count // 4),
            "user": [*range(count)],
            "time": times,
        }
    )


MANY = {"label": "click", "domain": "shop", "numeric": ["user"]}


def users(path):
    return [
        split_rows(path, split)["user"] for split in ("train", "valid", "test")
    ]


def test_the_random_split_is_that_of_the_rows_numbers(tmp_path):
    pq.write_table(many(), tmp_path / "log.parquet")
    table.prepare(
        tmp_path / "log.parquet",
        tmp_path / "out",
        **MANY,
        fractions=(0.5, 0.25, 0.25),
        seed=7,
    )
    split = hashed_split(0, 400, (0.5, 0.25, 0.25), 7)
    expected = [np.flatnonzero(split == index).tolist() for index in range(3)]
    assert users(tmp_path / "out") == expected
    assert min(map(len, expected)) > 60


TIMES = {
    "integers": lambda order: pa.array(order),
    "numbers": lambda order: pa.array([one + 0.5 for one in order]),
    "times": lambda order: pa.array(order, pa.int32()).cast(pa.date32()),
    "stamps": lambda order: pa.array(order).cast(pa.timestamp("ns")),
    "zones": lambda order: pa.array(order).cast(pa.timestamp("s", "UTC")),
}


@pytest.mark.parametrize("form", TIMES)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_split_by_time(form, suffix, tmp_path, warnings):
    order = np.random.RandomState(0).permutation(400)
    if form == "stamps":
        order = order * 1000 + 7  # what microseconds can't tell apart is cut
    log = many(times=TIMES[form](order))
    path = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        if form == "stamps":
            pytest.skip("csv times have microseconds at most")
        pa.csv.write_csv(log, path)
    else:
        pq.write_table(log, path)
    table.prepare(
        path,
        tmp_path / "out",
        **MANY,
        split="time",
        split_column="time",
        fractions=(0.5, 0.3, 0.2),
    )
    rank = np.argsort(np.argsort(order))
    assert users(tmp_path / "out") == [
        np.flatnonzero(rank < 200).tolist(),
        np.flatnonzero((rank >= 200) & (rank < 320)).tolist(),
        np.flatnonzero(rank >= 320).tolist(),
    ]
    assert len(warnings) == 1
    assert "column 'time' isn't sorted" in warnings[0]


def test_rows_of_one_time_stay_together(tmp_path, warnings):
    pq.write_table(
        many(times=[row // 150 for row in range(400)]),
        tmp_path / "log.parquet",
    )
    table.prepare(
        tmp_path / "log.parquet",
        tmp_path / "out",
        **MANY,
        split="time",
        split_column="time",
        # The 200th row is in the middle of the time 1.
        fractions=(0.5, 0.3, 0.2),
    )
    assert users(tmp_path / "out") == [
        [*range(150)],
        [*range(150, 300)],
        [*range(300, 400)],
    ]
    assert warnings == []


@pytest.mark.parametrize("rows", [37, 100])
def test_the_order_of_times_is_watched_over_chunks(
    rows, tmp_path, monkeypatch, warnings
):
    monkeypatch.setattr(table_files, "CHUNK_ROWS", rows)
    times = [*range(100), *range(99, 399)]
    options = {"split": "time", "split_column": "time"}
    pq.write_table(many(times=times), tmp_path / "good.parquet")
    table.prepare(tmp_path / "good.parquet", tmp_path / "a", **MANY, **options)
    assert warnings == []
    times[100] = 98
    pq.write_table(
        many(times=times), tmp_path / "bad.parquet", row_group_size=rows
    )
    table.prepare(tmp_path / "bad.parquet", tmp_path / "b", **MANY, **options)
    assert len(warnings) == 1
