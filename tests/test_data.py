import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlora_tf import data
from mlora_tf.data import ClickLog
from mlora_tf.data import DataError
from mlora_tf.data import Split
from mlora_tf.data import load
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from tests import clicks
from tests import streams
from tests.streams import seal

SCHEMA = Schema(
    features=(
        SparseFeature("item", (10, 20, 30)),
        SparseFeature("shop", ("a", "b")),
    ),
    domain_name="country",
    domains=("fr", "it"),
    label="click",
)


def columns(**changes):
    """Four rows; a change to None leaves a column out."""
    made = {
        "click": pa.array([1, 0, 0, 1], "int8"),
        "item": pa.array([0, 1, 2, 3], "int32"),
        "shop": pa.array([2, 1, 0, 1], "int32"),
        "domain": pa.array([0, 1, 1, 0], "int32"),
        "true_ctr": pa.array([0.5, 0.25, 0.0, 1.0], "float32"),
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


@pytest.fixture
def folder(tmp_path):
    """A prepared folder; each split's rows are in an order of their own."""
    (tmp_path / "schema.json").write_text(SCHEMA.to_json(), "utf-8")
    for shift, split in enumerate(data.SPLITS):
        table = pa.table(columns())
        rows = (np.arange(4) + shift) % 4
        pq.write_table(table.take(rows), tmp_path / f"{split}.parquet")
    seal(tmp_path)
    return tmp_path


def damage(folder, **changes):
    pq.write_table(pa.table(columns(**changes)), folder / "valid.parquet")
    seal(folder)


# --- Prepared folders --------------------------------------------------------


def test_a_folder_is_read_whole(folder):
    log = data.load(folder)
    assert log.schema == SCHEMA
    assert log.fingerprint == seal(folder)
    assert list(log.train.inputs) == ["item", "shop", "domain"]
    for split, order in (
        (log.train, [0, 1, 2, 3]),
        (log.valid, [1, 2, 3, 0]),
        (log.test, [2, 3, 0, 1]),
    ):
        assert len(split) == 4
        np.testing.assert_array_equal(split.inputs["item"], order)
        np.testing.assert_array_equal(
            split.label, np.array([1, 0, 0, 1])[order]
        )
        np.testing.assert_array_equal(
            split.domain, np.array([0, 1, 1, 0])[order]
        )
        np.testing.assert_array_equal(
            split.extra["true_ctr"], np.array([0.5, 0.25, 0, 1])[order]
        )
        assert list(split.extra) == ["true_ctr"]
        assert split.label.dtype == np.float32
        for column in split.inputs.values():
            assert column.dtype == np.int32


def test_a_path_may_be_text(folder):
    assert len(data.load(str(folder)).train) == 4


def test_files_that_changed_since_they_were_prepared_are_refused(folder):
    table = pq.read_table(folder / "test.parquet")
    pq.write_table(table.take([0, 1, 2, 0]), folder / "test.parquet")
    with pytest.raises(DataError, match="changed since it was prepared"):
        data.load(folder)


def test_what_a_preparation_writes_is_read_with_its_fingerprint(tmp_path):
    prepared = clicks.prepare(tmp_path / "clicks", rows=300)
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert data.load(prepared).fingerprint == manifest["fingerprint"]


def test_a_folder_may_be_named_like_a_partition(folder):
    # Parquet readers take "item=3" in a path for a column.
    folder = folder.rename(folder.with_name("item=3"))
    np.testing.assert_array_equal(
        data.load(folder).train.inputs["item"], [0, 1, 2, 3]
    )


@pytest.mark.parametrize("kind", ["bool", "uint8", "int64"])
def test_any_integers_will_do(folder, kind):
    damage(folder, click=pa.array([1, 0, 0, 1], "int8").cast(kind))
    split = data.load(folder).valid
    np.testing.assert_array_equal(split.label, [1, 0, 0, 1])
    assert split.label.dtype == np.float32


def test_a_split_may_be_empty(folder):
    empty = pa.table(columns()).slice(0, 0)
    pq.write_table(empty, folder / "test.parquet")
    seal(folder)
    assert len(data.load(folder).test) == 0


@pytest.mark.parametrize(
    "name",
    ["schema.json", "manifest.json", "train.parquet", "valid.parquet",
     "test.parquet"],
)  # fmt: skip
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    said = f"is no prepared folder: it has no {name}. Make one with"
    with pytest.raises(DataError, match=said):
        data.load(folder)


def test_a_folder_that_is_none_lacks_the_first_files(tmp_path):
    with pytest.raises(
        DataError, match=r"no schema\.json, manifest\.json\. Make"
    ):
        data.load(tmp_path / "nowhere")


def test_a_damaged_schema_is_named(folder):
    (folder / "schema.json").write_text("{")
    with pytest.raises(SchemaError, match=r"schema\.json: not JSON"):
        data.load(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '{"other": 1}', "[" * 100_000]
)
def test_a_damaged_manifest_is_named(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json: no manifest"):
        data.load(folder)


@pytest.mark.parametrize("damaged", ["text", "cut", "empty"])
def test_a_damaged_parquet_file_is_named(folder, damaged):
    path = folder / "valid.parquet"
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"item,shop\n1,2\n", "cut": whole[:-20], "empty": b""}[damaged]
    )
    with pytest.raises(DataError, match=r"valid\.parquet: can't be read"):
        data.load(folder)


@pytest.mark.parametrize("name", ["item", "shop", "domain", "click"])
def test_a_missing_column_is_named(folder, name):
    damage(folder, **{name: None})
    said = rf"valid\.parquet: .*file lacks: \['{name}'\]"
    with pytest.raises(DataError, match=said):
        data.load(folder)


@pytest.mark.parametrize("name", ["item", "domain", "click", "true_ctr"])
def test_empty_cells_are_counted(folder, name):
    damage(folder, **{name: pa.array([1, None, 1, None], "int32")})
    said = rf"valid\.parquet: column '{name}' has 2 empty cells"
    with pytest.raises(DataError, match=said):
        data.load(folder)


@pytest.mark.parametrize("name", ["item", "domain", "click"])
@pytest.mark.parametrize(
    "values", [[0.0, 1.0, 0.0, 1.0], ["0", "1", "0", "1"], [[0], [1], [0], [1]]]
)
def test_columns_of_ids_hold_integers(folder, name, values):
    damage(folder, **{name: pa.array(values)})
    said = rf"valid\.parquet: column '{name}' must hold integers. Received"
    with pytest.raises(DataError, match=said):
        data.load(folder)


@pytest.mark.parametrize(
    ("name", "size"), [("item", 4), ("shop", 3), ("domain", 2), ("click", 2)]
)
@pytest.mark.parametrize("wrong", ["negative", "too large", "beyond 32 bits"])
def test_an_id_out_of_range_is_named(folder, name, size, wrong):
    value = {"negative": -1, "too large": size, "beyond 32 bits": 2**32}[wrong]
    damage(folder, **{name: pa.array([0, 1, value, value], "int64")})
    said = (
        rf"valid\.parquet: column '{name}', row 2: ids must be in "
        rf"\[0, {size}\). Received: {value}"
    )
    with pytest.raises(DataError, match=said):
        data.load(folder)


def test_a_column_that_is_there_twice_is_a_data_error(folder):
    made = columns()
    table = pa.Table.from_arrays(
        [*made.values(), made["item"]], names=[*made, "item"]
    )
    pq.write_table(table, folder / "valid.parquet")
    with pytest.raises(DataError, match=r"valid\.parquet"):
        data.load(folder)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("item", np.array([1, 2**32 + 1])),
        ("domain", np.array([0, -(2**40)])),
        ("item", np.array([0.5, 1.0])),
        ("item", np.array([np.nan, 1.0])),
        ("item", np.array(["a", "b"])),
        ("price", np.array(["1.5", "much"])),
        ("item", np.array([None, 1], object)),
    ],
)
def test_a_column_by_hand_that_is_of_another_type_is_named(name, column):
    """Cut to 32 bits, 2**32 + 1 would be the id 1."""
    schema = Schema(
        (SparseFeature("item", ("a",)), DenseFeature("price")), "d", ("x", "y")
    )
    inputs = {"item": np.array([0, 1]), "price": np.array([0.5, 1.5])}
    inputs = {**inputs, "domain": np.array([0, 1]), name: column}
    rows = Split(inputs, np.zeros(2, np.float32))
    kind = "float32" if name == "price" else "int32"
    with pytest.raises(DataError, match=f"column '{name}' must be of {kind}"):
        ClickLog(schema, "by hand", rows, rows, rows)


def test_rows_of_the_right_types_are_not_copied(folder):
    log = load(folder)
    again = ClickLog(log.schema, "same", log.train, log.valid, log.test)
    assert again.train is log.train


def test_taken_rows_come_in_their_order(folder):
    train = data.load(folder).train
    taken = train.take(np.array([3, 0, 3]))
    assert len(taken) == 3
    np.testing.assert_array_equal(taken.inputs["item"], [3, 0, 3])
    np.testing.assert_array_equal(taken.domain, [0, 0, 0])
    np.testing.assert_array_equal(taken.label, [1, 1, 1])
    np.testing.assert_array_equal(taken.extra["true_ctr"], [1, 0.5, 1])


# --- All kinds of features ---------------------------------------------------

KINDS = Schema(
    features=(
        SequenceFeature("history", (10, 20, 30), 3, "din", "item", "item", 2),
        DenseFeature("price", boundaries=(0.5,)),
        SparseFeature("item", (10, 20, 30), vectors=2),
        SequenceFeature("tags", ("a", "b"), 2),
    ),
    domain_name="country",
    domains=("fr", "it"),
    label="click",
)
LISTS = pa.list_(pa.int32())
HISTORY = [[1, 2], [], [3, 0, 3], [2]]
PADDED = [[1, 2, -1], [-1, -1, -1], [3, 0, 3], [2, -1, -1]]
VECTORS = np.arange(8, dtype="float32").reshape(4, 2)


def with_value(row, column, value):
    """The vectors, with one other value."""
    vectors = VECTORS.copy()
    vectors[row, column] = value
    return vectors


def kinds_columns(**changes):
    return columns(
        shop=None,
        **{
            "history": pa.array(HISTORY, LISTS),
            "price": pa.array([0.5, -1.0, 0.0, 1e30], "float32"),
            "tags": pa.array([[1], [2, 1], [], [0]], LISTS),
            **changes,
        },
    )


@pytest.fixture
def kinds(tmp_path):
    """A prepared folder with every kind of feature."""
    (tmp_path / "schema.json").write_text(KINDS.to_json(), "utf-8")
    table = pa.table(kinds_columns())
    for split in data.SPLITS:
        pq.write_table(table, tmp_path / f"{split}.parquet")
    np.save(tmp_path / "vectors.item.npy", VECTORS)
    seal(tmp_path)
    return tmp_path


def damage_kinds(folder, **changes):
    table = pa.table(kinds_columns(**changes))
    pq.write_table(table, folder / "valid.parquet")
    seal(folder)


def test_every_kind_is_read(kinds):
    log = data.load(kinds)
    assert log.schema == KINDS
    assert log.fingerprint == seal(kinds)
    for split in (log.train, log.valid, log.test):
        assert tuple(split.inputs) == KINDS.input_names
        for feature in KINDS.features:
            column = split.inputs[feature.name]
            assert column.shape == (4, *feature.shape)
            assert column.dtype == feature.dtype
        np.testing.assert_array_equal(split.inputs["history"], PADDED)
        np.testing.assert_array_equal(
            split.inputs["tags"], [[1, -1], [2, 1], [-1, -1], [0, -1]]
        )
        np.testing.assert_array_equal(
            split.inputs["price"], np.float32([0.5, -1.0, 0.0, 1e30])
        )
        np.testing.assert_array_equal(split.inputs["item"], [0, 1, 2, 3])
        np.testing.assert_array_equal(split.domain, [0, 1, 1, 0])
        assert list(split.extra) == ["true_ctr"]
    assert list(log.vectors) == ["item"]
    np.testing.assert_array_equal(log.vectors["item"], VECTORS)
    assert log.vectors["item"].dtype == np.float32


def test_a_log_without_vectors_has_none(folder):
    assert data.load(folder).vectors == {}


def test_double_numbers_are_read_as_float32(kinds):
    damage_kinds(kinds, price=pa.array([0.1, 1e-60, -2.0, 3.0], "float64"))
    price = data.load(kinds).valid.inputs["price"]
    np.testing.assert_array_equal(price, np.float32([0.1, 0, -2, 3]))
    assert price.dtype == np.float32


@pytest.mark.parametrize("kind", ["uint8", "int64"])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_lists_of_any_integers_will_do(kinds, kind, lists):
    kind = lists(pa.type_for_alias(kind))
    damage_kinds(kinds, history=pa.array(HISTORY, kind))
    np.testing.assert_array_equal(
        data.load(kinds).valid.inputs["history"], PADDED
    )


def test_lists_in_many_chunks_are_read_in_their_order(kinds):
    rng = np.random.default_rng(0)
    rows = [
        rng.integers(0, 4, rng.integers(0, 4)).tolist() for _ in range(1000)
    ]
    more = {
        name: pa.concat_arrays([column] * 250)
        for name, column in kinds_columns().items()
    }
    more["history"] = pa.array(rows, LISTS)
    pq.write_table(pa.table(more), kinds / "train.parquet", row_group_size=37)
    seal(kinds)
    padded = data.load(kinds).train.inputs["history"]
    assert padded.shape == (1000, 3)
    for row, ids in zip(padded, rows, strict=True):
        assert row.tolist() == ids + [-1] * (3 - len(ids))


def test_a_split_of_lists_may_be_empty(kinds):
    empty = pa.table(kinds_columns()).slice(0, 0)
    pq.write_table(empty, kinds / "test.parquet")
    seal(kinds)
    inputs = data.load(kinds).test.inputs
    assert inputs["history"].shape == (0, 3)
    assert inputs["price"].shape == (0,)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3, 0], "int32"),
        pa.array([[1.0], [2.0], [], []], pa.list_(pa.float32())),
        pa.array([["1"], [], [], []]),
        pa.array([[[1]], [], [], []]),
        pa.array(["1", "2", "3", "0"]),
    ],
    ids=lambda values: str(values.type),
)
def test_a_sequence_is_a_column_of_lists_of_integers(kinds, values):
    damage_kinds(kinds, history=values)
    said = r"valid\.parquet: column 'history' must hold lists of integers. Rec"
    with pytest.raises(DataError, match=said):
        data.load(kinds)


def test_an_empty_list_is_fine_and_an_empty_cell_is_not(kinds):
    damage_kinds(kinds, history=pa.array([[1], None, [], None], LISTS))
    said = r"valid\.parquet: column 'history' has 2 empty cells"
    with pytest.raises(DataError, match=said):
        data.load(kinds)


def test_an_empty_cell_in_a_list_is_named(kinds):
    damage_kinds(kinds, history=pa.array([[1], [], [2, None], []], LISTS))
    said = r"valid\.parquet: column 'history', row 2: a list has an empty cell"
    with pytest.raises(DataError, match=said):
        data.load(kinds)


def test_a_list_that_is_too_long_is_named(kinds):
    damage_kinds(kinds, tags=pa.array([[1], [1, 2], [1, 2, 1], [1] * 9], LISTS))
    said = (
        r"valid\.parquet: column 'tags', row 2: a list must have at most 2 "
        "ids. Received: 3"
    )
    with pytest.raises(DataError, match=said):
        data.load(kinds)


@pytest.mark.parametrize("value", [-1, 4, 2**32])
def test_an_id_out_of_range_in_a_list_is_named(kinds, value):
    values = pa.array([[], [1, 2], [], [3, value]], pa.list_(pa.int64()))
    damage_kinds(kinds, history=values)
    said = (
        r"valid\.parquet: column 'history', row 3: ids must be in \[0, 4\). "
        f"Received: {value}"
    )
    with pytest.raises(DataError, match=said):
        data.load(kinds)


@pytest.mark.parametrize("wrong", ["length", "id", "null"])
def test_rows_are_counted_over_all_chunks(kinds, wrong):
    rows = [[1, 2]] * 100
    rows[73] = {"length": [1] * 4, "id": [0, 9], "null": [None]}[wrong]
    more = {
        name: pa.concat_arrays([column] * 25)
        for name, column in kinds_columns().items()
    }
    more["history"] = pa.array(rows, LISTS)
    pq.write_table(pa.table(more), kinds / "valid.parquet", row_group_size=10)
    seal(kinds)
    with pytest.raises(DataError, match="column 'history', row 73: "):
        data.load(kinds)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.0, 1.0, float("nan"), 2.0], "row 2: .*Received: nan"),
        ([0.0, float("-inf"), 1.0, 2.0], "row 1: .*Received: -inf"),
        ([0.0, 1.0, 2.0, 1e39], r"row 3: .*in float32\. Received: 1e\+39"),
    ],
)
def test_a_number_that_is_not_finite_is_named(kinds, values, said):
    damage_kinds(kinds, price=pa.array(values, "float64"))
    with pytest.raises(DataError, match=rf"valid\.parquet.*'price', {said}"):
        data.load(kinds)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3, 4], "int32"),
        pa.array(["1", "2", "3", "4"]),
        pa.array([[1.0], [2.0], [3.0], [4.0]]),
        pa.array([True, False, True, True]),
    ],
    ids=lambda values: str(values.type),
)
def test_a_dense_column_holds_floats(kinds, values):
    damage_kinds(kinds, price=values)
    said = "column 'price' must hold numbers, float32 or float64. Received: "
    with pytest.raises(DataError, match=said):
        data.load(kinds)


def test_an_empty_cell_among_numbers_is_counted(kinds):
    damage_kinds(kinds, price=pa.array([1.0, None, 2.0, 3.0]))
    with pytest.raises(DataError, match="'price' has 1 empty cells"):
        data.load(kinds)


@pytest.mark.parametrize("name", ["history", "price", "tags"])
def test_a_missing_column_of_any_kind_is_named(kinds, name):
    damage_kinds(kinds, **{name: None})
    with pytest.raises(DataError, match=rf"file lacks: \['{name}'\]"):
        data.load(kinds)


def test_missing_vectors_are_named(kinds):
    (kinds / "vectors.item.npy").unlink()
    said = r"is no prepared folder: it has no vectors\.item\.npy"
    with pytest.raises(DataError, match=said):
        data.load(kinds)


def test_vectors_are_part_of_the_fingerprint(kinds):
    before = data.load(kinds).fingerprint
    np.save(kinds / "vectors.item.npy", VECTORS + 1)
    with pytest.raises(DataError, match="changed since it was prepared"):
        data.load(kinds)
    seal(kinds)
    assert data.load(kinds).fingerprint != before


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (VECTORS[:3], r"float32 .*\(4, 2\)\. Received: float32 and \(3, 2\)"),
        (VECTORS[:, :1], r"shape \(4, 2\)\. Received: float32 and \(4, 1\)"),
        (VECTORS.ravel(), r"Received: float32 and \(8,\)"),
        (VECTORS.astype("float64"), "Received: float64 and"),
        (VECTORS.astype(">f4"), "Received: >f4 and"),
        (VECTORS.astype(object), "can't be read as a NumPy array"),
        (with_value(2, 1, np.nan), "row 2, column 1: .*Received: nan"),
        (with_value(1, 0, -np.inf), "row 1, column 0: .*Received: -inf"),
    ],
)
def test_vectors_are_checked(kinds, vectors, said):
    np.save(kinds / "vectors.item.npy", vectors)
    seal(kinds)
    with pytest.raises(DataError, match=rf"vectors\.item\.npy: .*{said}"):
        data.load(kinds)


@pytest.mark.parametrize("damaged", ["text", "cut", "empty", "npz"])
def test_damaged_vectors_are_named(kinds, damaged):
    path = kinds / "vectors.item.npy"
    whole = path.read_bytes()
    if damaged == "npz":
        with path.open("wb") as stream:
            np.savez(stream, VECTORS)
    else:
        path.write_bytes(
            {"text": b"1,2\n", "cut": whole[:-3], "empty": b""}[damaged]
        )
    seal(kinds)
    with pytest.raises(DataError, match=r"vectors\.item\.npy: can't be read"):
        data.load(kinds)


def test_vectors_may_be_stored_by_columns(kinds):
    np.save(kinds / "vectors.item.npy", np.asfortranarray(VECTORS))
    seal(kinds)
    np.testing.assert_array_equal(data.load(kinds).vectors["item"], VECTORS)


def test_taken_rows_of_every_kind_come_in_their_order(kinds):
    taken = data.load(kinds).train.take(np.array([2, 0, 2]))
    np.testing.assert_array_equal(
        taken.inputs["history"], [PADDED[2], PADDED[0], PADDED[2]]
    )
    np.testing.assert_array_equal(taken.inputs["price"], [0.0, 0.5, 0.0])
    assert len(taken) == 3


# --- Manifests ---------------------------------------------------------------

DIGEST = {"sha256": "0" * 64}
PARQUET = {**DIGEST, "rows": 4}
FILES = {
    "schema.json": DIGEST,
    "train.parquet": PARQUET,
    "valid.parquet": PARQUET,
    "test.parquet": PARQUET,
}


def listed(folder, without=(), **changes):
    """Writes a manifest of these files; nothing of them is opened."""
    files = {k: v for k, v in FILES.items() if k not in without}
    more = changes.pop("more", {})
    streams.write_manifest(folder, {**files, **more}, **changes)


@pytest.mark.parametrize("reading", ["memory", "stream"])
@pytest.mark.parametrize(
    ("without", "more"),
    [
        (["train.parquet"], []),
        ([], ["train-00000.parquet"]),
        (["train.parquet"], ["train-00001.parquet"]),
        (["train.parquet"], ["train-00000.parquet", "train-00002.parquet"]),
    ],
)
def test_a_split_is_one_file_or_shards_without_a_gap(
    folder, without, more, reading
):
    listed(folder, without, more=dict.fromkeys(more, PARQUET))
    said = r"manifest\.json: the split 'train' must be the file train\.parquet"
    with pytest.raises(DataError, match=said):
        data.load(folder, reading)


@pytest.mark.parametrize("reading", ["memory", "stream"])
@pytest.mark.parametrize(
    "name",
    [
        "../train.parquet",
        "/etc/passwd",
        "train-0.parquet",
        "train-000000.parquet",
        "train-\u0660\u0660\u0660\u0660\u0660.parquet",
        "train.parquet\n",
        "a/train.parquet",
        "more.parquet",
        "manifest.json",
        "vectors.item.npy",
        "",
    ],
)
def test_a_manifest_names_nothing_but_the_formats_files(folder, name, reading):
    listed(folder, more={name: PARQUET})
    said = "has no file of that name. Received: "
    with pytest.raises(DataError, match=said):
        data.load(folder, reading)


def test_a_manifest_names_the_schemas_files(folder, kinds):
    listed(folder, ["schema.json"])
    with pytest.raises(DataError, match=r"it doesn't name schema\.json"):
        data.load(folder)
    (kinds / "schema.json").write_text(KINDS.to_json(), "utf-8")
    listed(kinds)
    said = r"it doesn't name vectors\.item\.npy"
    with pytest.raises(DataError, match=said):
        data.load(kinds)


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {},
        {"rows": 4},
        {"sha256": 3, "rows": 4},
        {"sha256": "f" * 63, "rows": 4},
        {"sha256": "../" * 20 + "abcd", "rows": 4},
        DIGEST,
        {**DIGEST, "rows": -1},
        {**DIGEST, "rows": True},
        {**DIGEST, "rows": "4"},
        {**DIGEST, "rows": 1e9},
    ],
)
def test_what_a_manifest_says_of_a_file_is_checked(folder, entry):
    listed(folder, fingerprint="", more={"train.parquet": entry})
    with pytest.raises(DataError, match=r"manifest\.json: no manifest of"):
        data.load(folder)


def test_a_manifest_of_another_format_is_refused(folder):
    listed(folder, format="mlora_tf.prepared/2")
    said = r"reads the format 'mlora_tf\.prepared/1'\. Received: .*/2'"
    with pytest.raises(DataError, match=said):
        data.load(folder)


# --- Readings ----------------------------------------------------------------


def test_shards_are_read_one_after_the_other(tmp_path):
    rows = streams.numbered(40)
    folder = streams.write(tmp_path / "out", rows, [10, 0, 20, 10], [1, 2, 1])
    train = data.load(folder, "memory").train
    for name, column in rows.inputs.items():
        np.testing.assert_array_equal(train.inputs[name], column)
    np.testing.assert_array_equal(train.label, rows.label)


def test_shards_have_the_same_columns(folder):
    more = pa.table(columns()).drop_columns(["true_ctr"])
    (folder / "train.parquet").rename(folder / "train-00000.parquet")
    pq.write_table(more, folder / "train-00001.parquet")
    seal(folder)
    said = r"train-00001\.parquet: its columns aren't those of train-00000"
    for reading in ("memory", "stream"):
        with pytest.raises(DataError, match=said):
            data.load(folder, reading)


def test_large_rows_are_streamed(folder, monkeypatch):
    # Two ids, a domain and a label, in three splits of four rows.
    size = 3 * 4 * 4 * 4
    monkeypatch.setattr(data, "MEMORY_LIMIT", size)
    assert data.load(folder).reading == "memory"
    monkeypatch.setattr(data, "MEMORY_LIMIT", size - 1)
    assert data.load(folder).reading == "stream"
    assert data.load(folder, "memory").reading == "memory"
    assert data.load(folder, "stream").reading == "stream"


def test_a_reading_that_is_none_raises(folder):
    with pytest.raises(ValueError, match=r"reading must be one of.*'mmap'"):
        data.load(folder, "mmap")
