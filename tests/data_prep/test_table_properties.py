"""What holds for every log: hypothesis draws the rows and the chunks."""

import contextlib
import csv
import pathlib
import tempfile
from collections import Counter
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from test_table import contents
from test_table import features
from test_table import schema
from test_table import split_rows

from data_prep import layout
from data_prep import table
from data_prep import table_csv
from data_prep import table_files
from data_prep import table_job
from data_prep import table_numbers
from data_prep import table_vocabulary

TEXT = st.text("ab é\"',|\n0", min_size=1, max_size=3)
ROW = st.fixed_dictionaries(
    {
        "click": st.integers(0, 1),
        "shop": st.sampled_from(["x", "y", "z"]),
        "user": st.integers(-5, 5),
        # Not an integer, and not empty, whatever else it is.
        "item": TEXT.map(lambda text: f"{text}."),
        "price": st.floats(-1e6, 1e6, width=32),
        "history": st.lists(st.integers(0, 9), max_size=5),
        "part": st.sampled_from(["train", "train", "valid", "test"]),
    }
)
ROWS = st.lists(ROW, min_size=20, max_size=60).map(
    # Every split has rows, and in every domain there are clicks.
    lambda rows: [
        {**row, "part": part} if part else row
        for row, part in zip(
            rows, ["train", "valid", "test"] + [None] * 60, strict=False
        )
    ]
)
FLAGS = {
    "label": "click",
    "domain": "shop",
    "categorical": ["user", "item"],
    "numeric": ["price"],
    "sequence": ["history:3"],
    "split_column": "part",
    "split": "given",
}
EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def write_parquet(path, rows, row_group):
    history = pa.array([row["history"] for row in rows], pa.list_(pa.int64()))
    columns = {
        name: [row[name] for row in rows]
        for name in rows[0]
        if name != "history"
    }
    pq.write_table(
        pa.table({**columns, "history": history}),
        path,
        row_group_size=row_group,
    )


def write_csv(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        for row in rows:
            history = "|".join(map(str, row["history"]))
            writer.writerow({**row, "history": history})


@contextlib.contextmanager
def chunks_of(size):
    """Everything that is done by the chunk is done in chunks of that size."""
    with (
        mock.patch.object(table_files, "CHUNK_ROWS", size),
        mock.patch.object(table_job, "LARGEST_CHUNK", size),
        mock.patch.object(table_csv, "BLOCK", 64 * size),
        mock.patch.object(table_vocabulary, "_MERGED", size),
    ):
        yield


def prepare(pattern, output, **options):
    # To wait for the disk takes most of the time.
    with mock.patch.object(logging, "warning"), mock.patch("os.fsync"):
        table.prepare(pattern, output, **{**FLAGS, **options})
    return output


@EXAMPLES
@given(
    rows=ROWS,
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    size=st.integers(1, 40),
    options=st.sampled_from(
        [
            {},
            {"buckets": 3, "min_count": 2},
            {"split": "random", "split_column": None, "min_count": 1},
            {"split": "time", "split_column": "price", "buckets": 2},
        ]
    ),
)
def test_the_bytes_are_the_same_in_any_chunks(rows, sizes, size, options):
    with tempfile.TemporaryDirectory() as folder, chunks_of(size):
        root = pathlib.Path(folder)
        start = 0
        for number, count in enumerate([*sizes, len(rows)]):
            if rows[start : start + count]:
                part = rows[start : start + count]
                write_parquet(root / f"{number}.parquet", part, size)
                write_csv(root / f"{number}.csv", part)
            start += count
        write_csv(root / "all-rows.csv", rows)
        # Few enough to be drawn from: the sample must not depend on chunks.
        with mock.patch.object(table_numbers, "SAMPLE", 11):
            outcomes = []
            for index, pattern in enumerate(
                ["all-rows.csv", "?.csv", "?.parquet"]
            ):
                output = root / f"out{index}"
                try:
                    prepare(f"{root}/{pattern}", output, **options)
                    outcomes.append(contents(output))
                except layout.PreparationError as error:
                    outcomes.append(str(error).replace(str(root), ""))
        assert outcomes == [outcomes[0]] * 3


@EXAMPLES
@given(rows=ROWS, min_count=st.integers(1, 3))
def test_ids_decode_to_the_raw_values_of_training(rows, min_count):
    train = [row for row in rows if row["part"] == "train"]
    counts = {
        name: Counter(row[name] for row in train) for name in ("user", "item")
    }
    counts["history"] = Counter(
        one for row in train for one in row["history"][-3:]
    )
    known = {
        # By falling count, then by value; Python sorts text as UTF-8 does.
        name: sorted(
            (value for value in count if count[value] >= min_count),
            key=lambda value, count=count: (-count[value], value),
        )
        for name, count in counts.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_csv(root / "log.csv", rows)
        try:
            output = prepare(
                root / "log.csv", root / "out", min_count=min_count
            )
        except layout.PreparationError as error:
            if all(known.values()):
                raise AssertionError("all have values") from error
            return
        found = features(output)
        for name, values in known.items():
            assert found[name]["vocabulary"] == values
        domains = schema(output)["domain"]["values"]
        for split in ("train", "valid", "test"):
            expected = [row for row in rows if row["part"] == split]
            columns = split_rows(output, split)
            ids = {
                name: {value: index + 1 for index, value in enumerate(values)}
                for name, values in known.items()
            }
            assert columns == {
                **{
                    name: [ids[name].get(row[name], 0) for row in expected]
                    for name in ("user", "item")
                },
                "price": [row["price"] for row in expected],
                "history": [
                    [ids["history"].get(one, 0) for one in row["history"][-3:]]
                    for row in expected
                ],
                "domain": [domains.index(row["shop"]) for row in expected],
                "label": [row["click"] for row in expected],
            }


@EXAMPLES
@given(rows=ROWS, others=ROWS)
def test_only_training_rows_teach(rows, others):
    """The schema is the same, whatever the rows of valid and test hold."""
    strangers = iter(others * 10)
    changed = [
        row
        if row["part"] == "train"
        else {
            **next(strangers),
            **{name: row[name] for name in ("click", "shop", "part")},
        }
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        schemas = []
        for name, log in (("one", rows), ("two", changed)):
            write_csv(root / f"{name}.csv", log)
            try:
                prepare(root / f"{name}.csv", root / name, buckets=4)
                schemas.append(schema(root / name))
            except layout.PreparationError as error:
                schemas.append(str(error))
        assert schemas[0] == schemas[1]
