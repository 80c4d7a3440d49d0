"""What is often a mistake is warned of, and changes nothing."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import table
from data_prep import table_files
from data_prep import table_numbers
from data_prep.table_columns import Columns
from data_prep.table_columns import Numeric
from data_prep.table_doubts import say_far
from data_prep.table_doubts import say_floats
from data_prep.table_fitted import Fitted
from data_prep.table_numbers import Moments


@pytest.fixture(autouse=True)
def no_domain_is_said_to_lack_a_class(monkeypatch):
    monkeypatch.setattr("data_prep.binary.log_counts", lambda manifest: None)


def far(numbers, chunk=None):
    moments = Moments()
    array = np.float32(numbers)
    for start in range(0, array.size, chunk or array.size):
        moments.add(array[start : start + (chunk or array.size)])
    say_far("price", moments)


def prices(far_ones, others=1000, number=99999.99):
    rng = np.random.default_rng(0)
    numbers = [number] * far_ones + [*rng.uniform(1, 80, others)]
    return rng.permutation(numbers)


@pytest.mark.parametrize("chunk", [None, 1, 7, 300])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_flattens_the_others_is_named(warnings, chunk, sign):
    far(sign * prices(1), chunk)
    mean = sign * prices(1).astype("float32").mean(dtype=float)
    assert warnings == [
        f"column 'price': {sign * 99999.99} is 31.6 standard deviations away "
        f"from the mean, {mean:.4g}, and beside it most numbers are scaled to "
        "about the same. If it is no true value, mend it; else try "
        "--buckets=20, or 'buckets' in --config."
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (prices(2), 1),  # 22.4 standard deviations
        (prices(3), 0),  # 18.3
        (prices(1, number=80.0), 0),
        (prices(1, number=3e38), 1),
        (np.random.default_rng(0).lognormal(0, 1, 10_000), 0),
        ([5.0] * 1000, 0),
        ([5.0], 0),
        # A flag that is seldom set: there is nothing to be flattened.
        ([0.0] * 5000 + [1.0], 0),
        ([0.0] * 5000 + [1e-45, 1.0], 1),
    ],
)
def test_what_is_far(warnings, numbers, said):
    far(numbers)
    assert len(warnings) == said


def log_of(path, columns, count=1500):
    """Writes a log of these columns, as the path's ending says."""
    made = {
        "click": np.arange(count) % 2,
        "shop": ["a", "b", "b"] * (count // 3),
        **columns,
    }
    if path.suffix == ".parquet":
        pq.write_table(pa.table(made), path)
        return path
    rows = zip(*made.values(), strict=True)
    lines = [",".join(made), *(",".join(map(str, row)) for row in rows), ""]
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def prepare(path, **options):
    given = {"label": "click", "domain": "shop", **options}
    output = path.with_name("out")
    table.prepare(path, output, **given, overwrite=True)
    return output


def given_parts(count=1500):
    return ["train"] * (count - 20) + ["valid", "test"] * 10


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
@pytest.mark.parametrize("chunk", [13, None])
def test_a_log_with_such_a_number(tmp_path, warnings, monkeypatch, name, chunk):
    if chunk:
        monkeypatch.setattr(table_files, "CHUNK_ROWS", chunk)
        monkeypatch.setattr(table_numbers, "_BLOCK", 5)
    columns = {"price": prices(1, 1499), "part": given_parts()}
    path = log_of(tmp_path / name, columns)
    options = {"split": "given", "split_column": "part", "numeric": ["price"]}
    output = prepare(path, **options)
    (line,) = warnings
    assert line.startswith("column 'price': 99999.99 is 38.5 standard dev")
    feature = json.loads((output / "schema.json").read_text())["features"][0]
    assert {*feature} == {"name", "kind", "mean", "stddev"}
    warnings.clear()
    prepare(path, **options, buckets=20)
    assert warnings == []


def test_numbers_of_other_splits_are_not_learned_from(tmp_path, warnings):
    price = [*np.linspace(1, 80, 1480), *[99999.99] * 20]
    columns = {"price": price, "part": given_parts()}
    path = log_of(tmp_path / "log.csv", columns)
    prepare(path, split="given", split_column="part", numeric=["price"])
    assert warnings == []


def test_a_missing_number_is_not_far(tmp_path, warnings):
    price = [*np.linspace(1e6, 1e6 + 3, 1400), *[""] * 100]
    path = log_of(tmp_path / "log.csv", {"price": price})
    prepare(path, numeric=["price"], missing="fill")
    assert warnings == []


def test_what_is_not_scaled_is_not_far(tmp_path, warnings):
    columns = {"tiny": [0, *[1e-44] * 1478, 7e-42, *[0] * 20]}
    columns["part"] = given_parts()
    path = log_of(tmp_path / "log.csv", columns)
    prepare(path, split="given", split_column="part", numeric=["tiny"])
    assert warnings == [
        "column 'tiny' is the same number in all training rows."
    ]


# Text that is written as numbers are.

PANDAS = (
    "pandas writes integers so when a cell is empty; write them as integers, "
    'by astype("Int64"). If it is text, say so by --strings=product.'
)


def test_integers_as_pandas_writes_them_beside_a_gap(tmp_path, warnings):
    pandas = pytest.importorskip("pandas")
    product = [10_470 + row % 7 for row in range(1499)]
    frame = pandas.DataFrame(
        {
            "click": np.arange(1500) % 2,
            "shop": "a",
            "product": [*product, None],
        }
    )
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False)
    prepare(path, categorical=["product"], missing="fill")
    (line,) = warnings
    start, advice = line.split(" alone: ")
    assert start.startswith("column 'product' holds text such as '1047")
    assert start.endswith(".0'")
    assert advice == PANDAS
    # As it says.
    warnings.clear()
    frame["product"] = frame["product"].astype("Int64")
    frame.to_csv(path, index=False)
    output = prepare(path, categorical=["product"], missing="fill")
    assert warnings == []
    (feature,) = json.loads((output / "schema.json").read_text())["features"]
    assert sorted(feature["vocabulary"]) == [*range(10_470, 10_477)]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["7.0", "-3.0", ""], "pandas writes integers so when a cell is empty"),
        (["7.0", "2.50"], "if it is a number, name it in --numeric"),
        (["19.99", "0.5"], "if it is a number, name it in --numeric"),
        (["7.0", "n/a"], None),
        (["7.0", "1.2.3"], None),
        (["7.", ".5"], None),
        (["7.0", "7.0\n7.0"], None),
        (["7.0x", "x7.0"], None),
        (["7.0", "\N{ARABIC-INDIC DIGIT THREE}.0"], None),
        (["7", "3"], None),
        (["1e5", "7.0"], None),
    ],
)
@pytest.mark.parametrize("chunk", [13, None])
def test_values_that_are_all_floats(
    tmp_path, warnings, monkeypatch, cells, said, chunk
):
    if chunk:
        monkeypatch.setattr(table_files, "CHUNK_ROWS", chunk)
    quoted = [f'"{cell}"' for cell in cells]
    # The last one comes once, at the end of the training rows.
    product = [*([quoted[0], *quoted[:-1] * 1500][:1479]), quoted[-1]]
    columns = {"product": product + [quoted[0]] * 20, "part": given_parts()}
    path = log_of(tmp_path / "log.csv", columns)
    options = {"split": "given", "split_column": "part", "missing": "fill"}
    prepare(path, categorical=["product"], **options)
    if said is None:
        assert warnings == []
        return
    (line,) = warnings
    assert line.startswith(f"column 'product' holds text such as '{cells[0]}'")
    assert f" alone: {said}" in line
    # Who says that it is text knows.
    warnings.clear()
    prepare(path, categorical=["product"], **options, strings=["product"])
    assert warnings == []


def test_each_column_of_a_table_is_warned_of_once(tmp_path, warnings):
    columns = {"item": ["3.0", "4.0"] * 750, "seen": ["3.0|4.0"] * 1500}
    path = log_of(tmp_path / "log.csv", columns)
    content = {
        "label": "click",
        "domain": "shop",
        "categorical": ["item"],
        "sequence": {"seen": {"target": "item"}},
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    table.prepare(path, tmp_path / "out", config=tmp_path / "c.json")
    assert [line.split(" alone: ")[1] for line in warnings] == [
        PANDAS.replace("product", "item"),
        "pandas writes integers so when one is missing; write the items as "
        "integers. If it is text, say so by --strings=seen.",
    ]


def test_a_list_of_numbers_is_no_number(tmp_path, warnings):
    path = log_of(tmp_path / "log.csv", {"seen": ["3.5|4.25"] * 1500})
    prepare(path, sequence=["seen"])
    (line,) = warnings
    assert (
        "'seen' holds text such as '3.5' alone: if they are numbers, " in line
    )


def test_numeric_columns_have_no_vocabulary(warnings):
    columns = Columns("click", "shop", (Numeric("price", 0, "error"),))
    say_floats(columns, Fitted([], {}, {}, 0).vocabularies)
    assert warnings == []


# Lists that are taken for one value each, and domains that are one.


@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (["pen|ink", "ink|nib|pen", "pen"], 1),
        (["pen|ink", "pen", "nib"], 0),
        (["pen|ink", "pen"], 0),  # half of them
        (["pen", "ink", "nib"], 0),
        ([1, 2, 3], 0),
    ],
)
def test_lists_as_categories_are_warned_of(
    tmp_path, warnings, name, seen, said
):
    column = [seen[row % len(seen)] for row in range(1500)]
    path = log_of(tmp_path / name, {"seen": column})
    prepare(path, categorical=["seen"])
    assert len(warnings) == said
    if said:
        assert warnings == [
            "column 'seen': most of its values are written as lists are, such "
            "as 'pen|ink', and each different list is a value. For an id "
            "for each item name it in --sequence. If they aren't lists, say "
            "so by --strings=seen."
        ]
        warnings.clear()
        prepare(path, categorical=["seen"], strings=["seen"])
        assert warnings == []
        prepare(path, sequence=["seen:5"])
        assert warnings == []


@pytest.mark.parametrize(
    ("shops", "said"),
    [
        (["Paris", "paris ", "PARIS"], "'PARIS' and 'Paris' and 'paris '"),
        (["Straße", "STRASSE", "x"], "'STRASSE' and 'Straße'"),
        (["a", "b", "a b"], None),
        ([1, 2, 12], None),
    ],
)
def test_domains_that_look_like_one_are_warned_of(
    tmp_path, warnings, shops, said
):
    path = tmp_path / "log.parquet"
    made = {
        "click": np.arange(1500) // 3 % 2,
        "shop": [shops[row % 3] for row in range(1500)],
        "item": ["pen"] * 1500,
    }
    pq.write_table(pa.table(made), path)
    prepare(path, categorical=["item"])
    if said is None:
        assert warnings == []
        return
    number = said.count(" and ") + 1
    assert warnings == [
        f"column 'shop': {said} are {number} domains. If they are one, mend "
        "the log."
    ]
    warnings.clear()
    # Whoever names them means them.
    prepare(path, categorical=["item"], domain_values=shops)
    assert warnings == []
