import functools
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from data_prep import table
from data_prep import table_csv
from data_prep import table_files
from data_prep import table_parquet
from data_prep.layout import PreparationError
from mlora_tf import data
from mlora_tf.raw_inputs import RawInputs
from tests import programs

# click, shop, user, item, price, history, part
ROWS = [
    (1, "toys", 7, "ball", 1.5, [], "train"),
    (0, "toys", 7, "doll", 2.5, ["ball"], "train"),
    (0, "books", -3, "ball", 4.0, ["doll", "ball"], "train"),
    (1, "books", 12, "kite", 8.0, ["ball", "doll", "kite"], "train"),
    (1, "books", 7, "lego", 3.0, ["lego"], "valid"),
    (0, "toys", 99, "ball", 5.0, ["kite"], "validation"),
    (0, "books", 12, "doll", 6.0, [], "test"),
    (1, "toys", -3, "kite", 7.0, ["doll", "lego"], "Test"),
]
NAMES = ["click", "shop", "user", "item", "price", "history", "part"]
FLAGS = {
    "label": "click",
    "domain": "shop",
    "categorical": ["user", "item"],
    "numeric": ["price"],
    "sequence": ["history:2"],
}
GIVEN = {**FLAGS, "split": "given", "split_column": "part"}


def csv_text(rows=ROWS, separator="|"):
    lines = [",".join(NAMES)]
    for *cells, history, part in rows:
        lines.append(
            ",".join(map(str, [*cells, separator.join(history), part]))
        )
    return "".join(f"{line}\n" for line in lines)


def csv_log(path, rows=ROWS, **options):
    path.write_text(csv_text(rows, **options))
    return path


def arrow(rows=ROWS):
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    history = pa.array(columns.pop("history"), pa.list_(pa.string()))
    return pa.table({**columns, "history": history})


def parquet_log(path, rows=ROWS, **options):
    pq.write_table(arrow(rows), path, **options)
    return path


def schema(path):
    return json.loads((path / "schema.json").read_text())


def features(path):
    return {one["name"]: one for one in schema(path)["features"]}


def split_rows(path, split):
    files = sorted(path.glob(f"{split}-*.parquet"))
    return pa.concat_tables(map(pq.read_table, files)).to_pydict()


def decoded(path):
    """Returns each split's rows with raw values; None is out of vocabulary."""
    known = {
        name: [None, *feature.get("vocabulary", [])]
        for name, feature in features(path).items()
    }
    domains = schema(path)["domain"]["values"]
    result = {}
    for split in ("train", "valid", "test"):
        rows = split_rows(path, split)
        columns = [
            rows["label"],
            [domains[one] for one in rows["domain"]],
            [known["user"][one] for one in rows["user"]],
            [known["item"][one] for one in rows["item"]],
            rows["price"],
            [[known["history"][i] for i in one] for one in rows["history"]],
        ]
        result[split] = list(zip(*columns, strict=True))
    return result


def contents(path):
    """The files that the fingerprint is about."""
    return {
        one.name: one.read_bytes()
        for one in path.iterdir()
        if one.name not in ("manifest.json", "README.md")
    }


# What is in the folder.

# The last two of each history; lego and 99 are in no training row.
EXPECTED = {
    "train": [
        (1, "toys", 7, "ball", 1.5, []),
        (0, "toys", 7, "doll", 2.5, ["ball"]),
        (0, "books", -3, "ball", 4.0, ["doll", "ball"]),
        (1, "books", 12, "kite", 8.0, ["doll", "kite"]),
    ],
    "valid": [
        (1, "books", 7, None, 3.0, [None]),
        (0, "toys", None, "ball", 5.0, ["kite"]),
    ],
    "test": [
        (0, "books", 12, "doll", 6.0, []),
        (1, "toys", -3, "kite", 7.0, ["doll", None]),
    ],
}


@pytest.mark.parametrize("log", [csv_log, parquet_log])
def test_every_row_and_its_order(log, tmp_path):
    suffix = ".csv" if log is csv_log else ".parquet"
    table.prepare(log(tmp_path / f"log{suffix}"), tmp_path / "out", **GIVEN)
    assert decoded(tmp_path / "out") == EXPECTED


def test_the_schema_is_of_training_rows(tmp_path):
    table.prepare(csv_log(tmp_path / "log.csv"), tmp_path / "out", **GIVEN)
    mean = (1.5 + 2.5 + 4 + 8) / 4
    squares = [(one - mean) ** 2 for one in (1.5, 2.5, 4, 8)]
    assert schema(tmp_path / "out") == {
        "format": "mlora_tf.schema/1",
        "features": [
            # The most frequent first, then by value.
            {"kind": "sparse", "name": "user", "vocabulary": [7, -3, 12]},
            {
                "kind": "sparse",
                "name": "item",
                "vocabulary": ["ball", "doll", "kite"],
            },
            {
                "kind": "dense",
                "name": "price",
                "mean": mean,
                "stddev": pytest.approx((sum(squares) / 4) ** 0.5, rel=1e-12),
            },
            # Of the kept items alone: ball 2, doll 2, kite 1.
            {
                "kind": "sequence",
                "name": "history",
                "vocabulary": ["ball", "doll", "kite"],
                "max_length": 2,
            },
        ],
        "domain": {"name": "shop", "values": ["books", "toys"]},
        "label": "label",
    }


def test_the_manifest(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    manifest = table.prepare(path, tmp_path / "out", **GIVEN)
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == written
    assert manifest["dataset"] == "table"
    assert manifest["sources"]["log.csv"]["bytes"] == path.stat().st_size
    assert manifest["counts"]["train"] == {
        "books": {"rows": 2, "clicks": 1},
        "toys": {"rows": 2, "clicks": 1},
    }
    category = {"min_count": 1, "missing": "error"}
    assert manifest["options"] == {
        "label": "click",
        "domain": "shop",
        "domain_values": [],
        "strings": [],
        "categorical": {
            "user": {"table": "user", **category},
            "item": {"table": "item", **category},
        },
        "numeric": {"price": {"buckets": 0, "missing": "error"}},
        "sequence": {
            "history": {
                "table": "history",
                **category,
                "max_length": 2,
                "separator": "|",
            }
        },
        "split": "given",
        "split_column": "part",
        "fractions": None,
        "drop_one_class_domains": False,
    }


def test_training_reads_the_folder(tmp_path):
    table.prepare(
        parquet_log(tmp_path / "log.parquet"), tmp_path / "out", **GIVEN
    )
    log = data.load(tmp_path / "out")
    assert log.schema.domains == ("books", "toys")
    assert log.schema.feature("user").vocabulary == (7, -3, 12)
    np.testing.assert_array_equal(log.train.inputs["user"], [1, 1, 2, 3])
    np.testing.assert_array_equal(log.valid.inputs["user"], [1, 0])
    np.testing.assert_array_equal(
        log.test.inputs["history"], [[-1, -1], [2, 0]]
    )
    np.testing.assert_array_equal(log.train.inputs["price"], [1.5, 2.5, 4, 8])
    np.testing.assert_array_equal(log.train.domain, [1, 1, 0, 0])
    np.testing.assert_array_equal(log.test.label, [0, 1])


def test_every_form_of_the_log_gives_the_same_bytes(tmp_path):
    csv_log(tmp_path / "a.csv")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(csv_text().encode()))
    (tmp_path / "c.tsv").write_text(csv_text().replace(",", "\t"))
    windows = csv_text().replace("\n", "\r\n\r\n").encode("utf-8-sig")
    (tmp_path / "d.csv").write_bytes(windows)
    parquet_log(tmp_path / "e.parquet")
    parquet_log(tmp_path / "f.parquet", row_group_size=3)
    text = (
        arrow()
        .drop_columns(["history"])
        .append_column("history", pa.array(["|".join(row[5]) for row in ROWS]))
    )
    pq.write_table(text, tmp_path / "g.parquet")
    pq.write_table(
        text.set_column(
            text.column_names.index("history"),
            "history",
            text["history"].cast(pa.large_string()),
        ),
        tmp_path / "i.parquet",
    )
    large = arrow().cast(
        pa.schema(
            [
                pa.field("click", pa.bool_()),
                pa.field("shop", pa.dictionary(pa.int8(), pa.string())),
                pa.field("user", pa.int16()),
                pa.field("item", pa.large_string()),
                pa.field("price", pa.float32()),
                pa.field("part", pa.large_string()),
                pa.field("history", pa.large_list(pa.large_string())),
            ]
        )
    )
    pq.write_table(large, tmp_path / "h.parquet")
    (tmp_path / "parts").mkdir()
    csv_log(tmp_path / "parts" / "part-0.csv", ROWS[:3])
    csv_log(tmp_path / "parts" / "part-1.csv", ROWS[3:])
    (tmp_path / "parts" / "_SUCCESS").write_text("")
    (tmp_path / "parts" / ".part-0.csv").write_text("")
    parquet_log(tmp_path / "part-0.parquet", ROWS[:5])
    pq.write_table(arrow()[:0], tmp_path / "part-1.parquet")
    parquet_log(tmp_path / "part-2.parquet", ROWS[5:])
    files = [
        *("a.csv", "b.csv.gz", "c.tsv", "d.csv", "e.parquet", "f.parquet"),
        *(
            "g.parquet",
            "h.parquet",
            "i.parquet",
            "parts",
            "part*.parquet",
            "parts/*.csv",
        ),
    ]
    outputs = []
    for name in files:
        outputs.append(tmp_path / f"out{len(outputs)}")
        table.prepare(str(tmp_path / name), outputs[-1], **GIVEN)
    first, *others = map(contents, outputs)
    for name, other in zip(files[1:], others, strict=True):
        assert other == first, name


def test_files_of_one_name_are_told_apart(tmp_path):
    for day, rows in (("mon", ROWS[:4]), ("tue", ROWS[4:])):
        (tmp_path / day).mkdir()
        csv_log(tmp_path / day / "log.csv", rows)
    manifest = table.prepare(
        f"{tmp_path}/**/log.csv", tmp_path / "out", **GIVEN
    )
    assert set(manifest["sources"]) == {"mon/log.csv", "tue/log.csv"}
    assert decoded(tmp_path / "out") == EXPECTED


def test_shards(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    table.prepare(path, tmp_path / "out", **GIVEN, shard_rows=3)
    names = [*contents(tmp_path / "out")]
    assert sorted(names) == [
        "schema.json",
        "test-00000.parquet",
        "train-00000.parquet",
        "train-00001.parquet",
        "valid-00000.parquet",
    ]
    assert decoded(tmp_path / "out") == EXPECTED


@pytest.mark.parametrize("log", [csv_log, parquet_log])
def test_long_rows_come_in_chunks_of_few_bytes(log, tmp_path, monkeypatch):
    suffix = ".csv" if log is csv_log else ".parquet"
    path = log(tmp_path / f"log{suffix}", ROWS * 20)
    table.prepare(path, tmp_path / "one", **GIVEN)
    monkeypatch.setattr(table_csv, "BLOCK", 128)
    monkeypatch.setattr(table_parquet, "ROW_GROUP", 3)
    monkeypatch.setattr(table_files, "CHUNK_BYTES", 1000)
    chunks = list(table_files.Log(path).chunks(NAMES, "Reading"))
    sizes = [pa.table(chunk.columns).nbytes for chunk in chunks]
    # Batches are put together, though.
    assert min(sizes[:-1]) > 500
    assert max(sizes) <= 1000
    assert sum(map(len, chunks)) == 160
    starts = np.cumsum([len(chunk) for chunk in chunks])
    assert [chunk.start for chunk in chunks] == [0, *starts[:-1]]
    table.prepare(path, tmp_path / "many", **GIVEN)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


# The columns' rules.


def test_rare_values_have_no_id(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    table.prepare(path, tmp_path / "out", **GIVEN, min_count=2)
    found = features(tmp_path / "out")
    assert found["user"]["vocabulary"] == [7]
    assert found["item"]["vocabulary"] == ["ball"]
    assert found["history"]["vocabulary"] == ["ball", "doll"]
    assert split_rows(tmp_path / "out", "train")["user"] == [1, 1, 0, 0]


def test_buckets_of_training_rows(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    table.prepare(path, tmp_path / "out", **GIVEN, buckets=2)
    assert features(tmp_path / "out")["price"] == {
        "kind": "dense",
        "name": "price",
        "boundaries": [2.5],
    }
    assert split_rows(tmp_path / "out", "test")["price"] == [6, 7]


def test_a_constant_number_is_scaled_by_one(tmp_path, warnings):
    rows = [(*row[:4], 3.0, *row[5:]) for row in ROWS]
    path = csv_log(tmp_path / "log.csv", rows)
    table.prepare(path, tmp_path / "out", **GIVEN)
    price = features(tmp_path / "out")["price"]
    assert (price["mean"], price["stddev"]) == (3.0, 1.0)
    assert warnings == [
        "column 'price' is the same number in all training rows."
    ]


def test_a_json_with_options_of_each_column(tmp_path):
    path = csv_log(tmp_path / "log.csv", separator="; ")
    (tmp_path / "columns.json").write_text(
        json.dumps(
            {
                "label": "click",
                "domain": "shop",
                "domain_values": ["toys", "books"],
                "strings": ["user"],
                "categorical": {"user": {"min_count": 2}, "item": {}},
                "numeric": {"price": {"buckets": 4}},
                "sequence": {
                    "history": {
                        "max_length": 3,
                        "separator": "; ",
                        "target": "item",
                    }
                },
            }
        )
    )
    table.prepare(
        path,
        tmp_path / "out",
        config=tmp_path / "columns.json",
        split="given",
        split_column="part",
    )
    assert schema(tmp_path / "out")["domain"]["values"] == ["toys", "books"]
    # Of both columns: ball 2 + 3, doll 1 + 2, kite 1 + 1.
    items = ["ball", "doll", "kite"]
    assert features(tmp_path / "out") == {
        "user": {"kind": "sparse", "name": "user", "vocabulary": ["7"]},
        "item": {"kind": "sparse", "name": "item", "vocabulary": items},
        "price": {
            "kind": "dense",
            "name": "price",
            "boundaries": [1.5, 2.5, 4.0],
        },
        "history": {
            "kind": "sequence",
            "name": "history",
            "vocabulary": items,
            "max_length": 3,
            "pooling": "din",
            "target": "item",
            "table": "item",
        },
    }
    train = split_rows(tmp_path / "out", "train")
    assert train["history"] == [[], [1], [2, 1], [1, 2, 3]]


def test_missing_cells_are_filled(tmp_path):
    text = csv_text().replace("7,ball,1.5,,", ",,,,")
    text = text.replace("5.0,kite", "nan,kite||ball")
    (tmp_path / "log.csv").write_text(text)
    table.prepare(
        tmp_path / "log.csv", tmp_path / "csv", **GIVEN, missing="fill"
    )
    rows = [list(row) for row in ROWS]
    rows[0][2:6] = [None] * 4
    rows[5][4], rows[5][5] = float("nan"), ["kite", None, "ball"]
    parquet_log(tmp_path / "log.parquet", rows)
    table.prepare(
        tmp_path / "log.parquet", tmp_path / "parquet", **GIVEN, missing="fill"
    )
    for output in (tmp_path / "csv", tmp_path / "parquet"):
        mean = features(output)["price"]["mean"]
        assert mean == pytest.approx((2.5 + 4 + 8) / 3, rel=1e-12)
        found = decoded(output)
        mean = float(np.float32(mean))
        assert found["train"][0] == (1, "toys", None, None, mean, [])
        assert found["valid"][1] == (
            *(0, "toys", None, "ball", mean),
            [None, "ball"],
        )


# Histories with gaps, and what is kept of each.
GAPS = [
    (["ball", None, "kite", None, None], [None, "kite"]),
    ([None, "doll"], [None, "doll"]),
    (["doll", None], ["doll"]),
    (["lego", "ball", "kite", None], ["ball", "kite"]),
    ([None, None], []),
    ([], []),
    (["kite", None, None, None], ["kite"]),
    (["ball", None, None, "doll"], [None, "doll"]),
]


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        (None, ""),
        (pa.string(), ""),
        (pa.dictionary(pa.int8(), pa.string()), ""),
        (pa.int16(), -1),
    ],
)
def test_missing_items_are_what_they_are_in_requests(kind, padding, tmp_path):
    numbers = {"ball": 5, "doll": -7, "kite": 0, "lego": 9}
    value = numbers.get if kind == pa.int16() else str
    gaps = [[one and value(one) for one in gap] for gap, _ in GAPS]
    kept = [[one and value(one) for one in rest] for _, rest in GAPS]
    if kind is None:
        texts = [[one or "" for one in gap] for gap in gaps]
        rows = [
            (*row[:5], text, row[6])
            for row, text in zip(ROWS, texts, strict=True)
        ]
        path = csv_log(tmp_path / "log.csv", rows)
    else:
        path = tmp_path / "log.parquet"
        history = pa.array(gaps, pa.list_(kind))
        log = arrow().drop_columns(["history"])
        pq.write_table(log.append_column("history", history), path)
    table.prepare(path, tmp_path / "out", **GIVEN, missing="fill")
    splits = decoded(tmp_path / "out").values()
    assert [row[-1] for split in splits for row in split] == kept
    # What a model is asked: lists of one length.
    log = data.load(tmp_path / "out")
    inputs = RawInputs(log.schema)
    _, shop, user, item, price, _, _ = zip(*ROWS, strict=True)
    raw = {"user": user, "item": item, "price": price, "domain": shop}
    raw["history"] = [
        [padding if one is None else one for one in gap]
        + [padding] * (5 - len(gap))
        for gap in gaps
    ]
    asked = inputs(
        {
            name: tf.constant(raw[name], spec.dtype)
            for name, spec in inputs.signature.items()
        }
    )
    splits = (log.train, log.valid, log.test)
    np.testing.assert_array_equal(
        asked["history"],
        np.concatenate([split.inputs["history"] for split in splits]),
    )


def test_missing_numbers_are_in_no_quantile(tmp_path):
    text = csv_text().replace("ball,1.5,", "ball,,")
    (tmp_path / "log.csv").write_text(text)
    options = {"missing": "fill", "buckets": 3}
    table.prepare(tmp_path / "log.csv", tmp_path / "out", **GIVEN, **options)
    price = features(tmp_path / "out")["price"]
    assert price["boundaries"] == [2.5, 4.0]


def test_a_column_may_be_filled_by_itself(tmp_path):
    text = csv_text().replace("7,ball,1.5,,", ",ball,1.5,,")
    (tmp_path / "log.csv").write_text(text)
    config = {
        "label": "click",
        "domain": "shop",
        "categorical": {"user": {"missing": "fill"}, "item": {}},
    }
    (tmp_path / "columns.json").write_text(json.dumps(config))
    table.prepare(
        tmp_path / "log.csv",
        tmp_path / "out",
        config=tmp_path / "columns.json",
        split="given",
        split_column="part",
    )
    assert split_rows(tmp_path / "out", "train")["user"] == [0, 2, 1, 3]


@pytest.mark.parametrize("form", ["0", "0.0", "False", "false"])
def test_labels_in_every_form(form, tmp_path):
    forms = {"0": "1", "0.0": "1.0", "False": "True", "false": "true"}
    rows = [((form, forms[form])[row[0]], *row[1:]) for row in ROWS]
    csv_log(tmp_path / "log.csv", rows)
    parquet_log(tmp_path / "log.parquet", rows)
    for suffix in ("csv", "parquet"):
        table.prepare(tmp_path / f"log.{suffix}", tmp_path / suffix, **GIVEN)
        assert decoded(tmp_path / suffix) == EXPECTED
    numbers = arrow().set_column(
        0, "click", pa.array([float(row[0]) for row in ROWS])
    )
    pq.write_table(numbers, tmp_path / "numbers.parquet")
    table.prepare(tmp_path / "numbers.parquet", tmp_path / "out", **GIVEN)
    assert decoded(tmp_path / "out") == EXPECTED


@pytest.mark.parametrize(
    "user", ["007", "+7", "7.0", " 7", "0x7", "-0", "1_000"]
)
def test_what_isnt_written_as_an_integer_is_text(user, tmp_path):
    rows = [(*row[:2], user, *row[3:]) for row in ROWS]
    path = csv_log(tmp_path / "log.csv", rows)
    table.prepare(path, tmp_path / "out", **GIVEN)
    assert features(tmp_path / "out")["user"]["vocabulary"] == [user]


def test_integers_as_text(tmp_path):
    """Hashes are text, though some have digits alone."""
    users = ["1fbe01fe", "68056013", "99999999999999999999"]
    rows = [
        (*row[:2], users[index % 3], *row[3:]) for index, row in enumerate(ROWS)
    ]
    path = csv_log(tmp_path / "log.csv", rows)
    table.prepare(path, tmp_path / "out", **GIVEN, strings=["user"])
    assert features(tmp_path / "out")["user"]["vocabulary"] == users
    # Parquet's integers may be text, too.
    parquet_log(tmp_path / "log.parquet")
    table.prepare(
        tmp_path / "log.parquet", tmp_path / "two", **GIVEN, strings=["user"]
    )
    assert features(tmp_path / "two")["user"]["vocabulary"] == ["7", "-3", "12"]


def test_sequences_of_integers(tmp_path):
    numbers = {"ball": 5, "doll": -7, "kite": 0, "lego": 9}
    rows = [
        (*row[:5], [numbers[one] for one in row[5]], row[6]) for row in ROWS
    ]
    texts = [(*row[:5], [*map(str, row[5])], row[6]) for row in rows]
    csv_log(tmp_path / "log.csv", texts)
    columns = arrow(texts).drop_columns(["history"])
    columns = columns.append_column(
        "history", pa.array([row[5] for row in rows], pa.list_(pa.int32()))
    )
    pq.write_table(columns, tmp_path / "log.parquet")
    for suffix in ("csv", "parquet"):
        table.prepare(tmp_path / f"log.{suffix}", tmp_path / suffix, **GIVEN)
        history = features(tmp_path / suffix)["history"]
        assert history["vocabulary"] == [-7, 5, 0]
    assert contents(tmp_path / "csv") == contents(tmp_path / "parquet")


def test_categories_of_booleans_are_integers(tmp_path):
    mobile = [row[2] == 7 for row in ROWS]
    log = arrow().append_column("mobile", pa.array(mobile))
    pq.write_table(log, tmp_path / "log.parquet")
    flags = {**GIVEN, "categorical": ["user", "item", "mobile"]}
    table.prepare(tmp_path / "log.parquet", tmp_path / "out", **flags)
    assert features(tmp_path / "out")["mobile"]["vocabulary"] == [0, 1]
    train = split_rows(tmp_path / "out", "train")
    assert train["mobile"] == [2, 2, 1, 1]


def test_quoted_cells_over_several_lines(tmp_path):
    quoted = {"ball": '"a, ""big""\nball"'}
    rows = [(*row[:3], quoted.get(row[3], row[3]), *row[4:]) for row in ROWS]
    path = csv_log(tmp_path / "log.csv", rows)
    table.prepare(path, tmp_path / "out", **GIVEN)
    found = features(tmp_path / "out")["item"]["vocabulary"]
    assert found == ['a, "big"\nball', "doll", "kite"]


# Domains.


def test_domains_are_sorted_as_what_they_are(tmp_path):
    names = ["10", "9"]
    rows = [(row[0], names[row[1] == "books"], *row[2:]) for row in ROWS]
    path = csv_log(tmp_path / "log.csv", rows)
    table.prepare(path, tmp_path / "out", **GIVEN)
    assert schema(tmp_path / "out")["domain"]["values"] == ["9", "10"]
    table.prepare(path, tmp_path / "two", **GIVEN, strings=["shop"])
    assert schema(tmp_path / "two")["domain"]["values"] == ["10", "9"]
    assert split_rows(tmp_path / "out", "train")["domain"] == [1, 1, 0, 0]
    assert split_rows(tmp_path / "two", "train")["domain"] == [0, 0, 1, 1]


THIRD = [
    (1, "music", 5, "song", 100.0, ["song"], part)
    for part in ("train", "valid", "test")
]


@pytest.mark.parametrize("log", [csv_log, parquet_log])
def test_a_dropped_domain_teaches_nothing(log, tmp_path, warnings):
    suffix = ".csv" if log is csv_log else ".parquet"
    rows = [*THIRD[:1], *ROWS[:2], *THIRD[1:], *ROWS[2:]]
    path = log(tmp_path / f"log{suffix}", rows)
    table.prepare(path, tmp_path / "one", **GIVEN, drop_one_class_domains=True)
    assert warnings == [
        "domain 'music' has no AUC: all of its 3 rows are clicks. It is "
        "dropped."
    ]
    table.prepare(
        path, tmp_path / "two", **GIVEN, domain_values=["books", "toys"]
    )
    assert decoded(tmp_path / "one") == EXPECTED
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    table.prepare(path, tmp_path / "all", **GIVEN)
    found = schema(tmp_path / "all")["domain"]["values"]
    assert found == ["books", "music", "toys"]


def test_a_domain_without_training_rows(tmp_path, warnings):
    path = csv_log(tmp_path / "log.csv", [*ROWS, *THIRD[1:]])
    table.prepare(path, tmp_path / "out", **GIVEN)
    assert warnings[-1] == "domain 'music' has no training rows."


def test_a_domain_without_rows(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    message = "the log has no row with the domain 'cars'; leave it out"
    with pytest.raises(PreparationError, match=message):
        table.prepare(
            path, tmp_path / "out", **GIVEN, domain_values=["toys", "cars"]
        )


# The binary.


run = functools.partial(programs.run, "data_prep.table")


def test_the_binary(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    arguments = [
        f"--input={path}",
        f"--output={tmp_path / 'out'}",
        "--label=click",
        "--domain=shop",
        "--categorical=user,item",
        "--numeric=price",
        "--sequence=history:2",
        "--split=given",
        "--split_column=part",
        "--shard_rows=3",
    ]
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "train: 4 rows" in result.stderr
    table.prepare(path, tmp_path / "same", **GIVEN, shard_rows=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "same")
    result = run(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'out'} exists; add")
    assert result.stderr.count("\n") == 1


def test_a_domain_that_is_a_feature_too_is_said(tmp_path, warnings):
    path = csv_log(tmp_path / "log.csv")
    table.prepare(
        path, tmp_path / "out", **{**GIVEN, "categorical": ["item", "shop"]}
    )
    (line,) = warnings
    assert line.startswith("column 'shop' is the domain, and a feature")
