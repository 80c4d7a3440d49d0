import hashlib
import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlora_tf import data
from mlora_tf.data import Batches
from mlora_tf.data import DataError
from mlora_tf.data import Split
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from tests import clicks

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


def seal(folder, vectors=()):
    """Writes the manifest of what the folder holds."""
    digests = [
        hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (
            "schema.json",
            "test.parquet",
            "train.parquet",
            "valid.parquet",
            *vectors,
        )
    ]
    fingerprint = hashlib.sha256("".join(digests).encode()).hexdigest()
    manifest = json.dumps({"fingerprint": fingerprint, "more": 1})
    (folder / "manifest.json").write_text(manifest, "utf-8")
    return fingerprint


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


def test_a_folder_that_is_none_lacks_all_files(tmp_path):
    with pytest.raises(DataError, match=r"no schema\.json, .*test\.parquet"):
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
NAMES = ("vectors.item.npy",)


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
    seal(tmp_path, NAMES)
    return tmp_path


def damage_kinds(folder, **changes):
    table = pa.table(kinds_columns(**changes))
    pq.write_table(table, folder / "valid.parquet")
    seal(folder, NAMES)


def test_every_kind_is_read(kinds):
    log = data.load(kinds)
    assert log.schema == KINDS
    assert log.fingerprint == seal(kinds, NAMES)
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
    seal(kinds, NAMES)
    padded = data.load(kinds).train.inputs["history"]
    assert padded.shape == (1000, 3)
    for row, ids in zip(padded, rows, strict=True):
        assert row.tolist() == ids + [-1] * (3 - len(ids))


def test_a_split_of_lists_may_be_empty(kinds):
    empty = pa.table(kinds_columns()).slice(0, 0)
    pq.write_table(empty, kinds / "test.parquet")
    seal(kinds, NAMES)
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
    seal(kinds, NAMES)
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
    seal(kinds, NAMES)
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
    seal(kinds, NAMES)
    with pytest.raises(DataError, match=r"vectors\.item\.npy: can't be read"):
        data.load(kinds)


def test_vectors_may_be_stored_by_columns(kinds):
    np.save(kinds / "vectors.item.npy", np.asfortranarray(VECTORS))
    seal(kinds, NAMES)
    np.testing.assert_array_equal(data.load(kinds).vectors["item"], VECTORS)


def test_taken_rows_of_every_kind_come_in_their_order(kinds):
    taken = data.load(kinds).train.take(np.array([2, 0, 2]))
    np.testing.assert_array_equal(
        taken.inputs["history"], [PADDED[2], PADDED[0], PADDED[2]]
    )
    np.testing.assert_array_equal(taken.inputs["price"], [0.0, 0.5, 0.0])
    assert len(taken) == 3


@pytest.mark.parametrize("mode", data.BATCH_MODES)
def test_batches_hold_every_kind(kinds, mode):
    train = data.load(kinds).train
    made = Batches(train, 2, mode=mode, seed=0)
    inputs, _ = made.dataset.element_spec
    assert {name: tuple(spec.shape) for name, spec in inputs.items()} == {
        "history": (2, 3),
        "price": (2,),
        "item": (2,),
        "tags": (2, 2),
        "domain": (2,),
    }
    assert inputs["history"].dtype == "int32"
    assert inputs["price"].dtype == "float32"
    for rows, (inputs, _) in zip(made.order(0), made.dataset, strict=True):
        for name, column in train.inputs.items():
            np.testing.assert_array_equal(inputs[name], column[rows])


# --- Batches -----------------------------------------------------------------

MODES = pytest.mark.parametrize("mode", data.BATCH_MODES)
DOMAIN = np.repeat([2, 0, 3], [9, 2, 12])[
    np.random.default_rng(0).permutation(23)
]


def numbered():
    """23 rows that tell their number; domain 1 has none, domain 0 only two."""
    row = np.arange(23, dtype="int32")
    return Split({"row": row, "domain": DOMAIN.astype("int32")}, row / 100)


def batches(mode, batch_size=4, seed=5):
    return Batches(numbered(), batch_size, mode=mode, seed=seed)


@MODES
@pytest.mark.parametrize("batch_size", [1, 4, 23, 40])
def test_every_row_is_in_every_epoch_and_batches_are_full(mode, batch_size):
    made = batches(mode, batch_size)
    for epoch in range(3):
        order = made.order(epoch)
        assert order.shape == (made.steps, batch_size)
        assert set(order.ravel()) == set(range(23))


@MODES
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_there_are_no_more_batches_than_needed(mode, batch_size):
    groups = [23] if mode == "mixed" else [9, 2, 12]
    needed = sum(-(-rows // batch_size) for rows in groups)
    assert batches(mode, batch_size).steps == needed


def test_rows_come_once_but_for_the_last_batchs_top_up():
    counts = np.bincount(batches("mixed").order(0).ravel())
    assert sorted(counts) == [1] * 22 + [2]
    order = batches("mixed").order(0).ravel()
    assert order[23] == order[0]


@MODES
def test_the_order_follows_from_seed_and_epoch_alone(mode):
    made = batches(mode)
    first = made.order(3)
    made.order(4)
    made.epoch = 7
    np.testing.assert_array_equal(made.order(3), first)
    np.testing.assert_array_equal(batches(mode).order(3), first)


@MODES
def test_epochs_and_seeds_differ(mode):
    orders = [batches(mode).order(epoch) for epoch in range(3)]
    orders += [batches(mode, seed=6).order(epoch) for epoch in range(3)]
    assert len({order.tobytes() for order in orders}) == 6


def test_rows_are_shuffled():
    order = batches("mixed").order(0).ravel()
    assert np.mean(order[:23] == np.arange(23)) < 0.3


def test_mixed_batches_are_mixed():
    order = batches("mixed").order(0)
    assert any(len(set(DOMAIN[rows])) > 1 for rows in order)


def test_batches_per_domain_are_pure_and_cover_all_rows():
    made = batches("per_domain")
    sequences = set()
    for epoch in range(10):
        order = made.order(epoch)
        assert set(order.ravel()) == set(range(23))
        domains = [set(DOMAIN[rows]) for rows in order]
        assert all(len(one) == 1 for one in domains)
        # One domain after the other: 3, 1 and 3 batches in a row.
        sequence = [one.pop() for one in domains]
        changes = sum(a != b for a, b in itertools.pairwise(sequence))
        assert changes == 2
        sequences.add(tuple(sequence))
    assert len(sequences) > 1


def test_a_domain_smaller_than_a_batch_fills_one_by_itself():
    order = batches("per_domain").order(0)
    (small,) = [rows for rows in order if set(DOMAIN[rows]) == {0}]
    assert set(small) == set(np.flatnonzero(DOMAIN == 0))
    assert len(small) == 4


@MODES
def test_the_dataset_yields_the_order_of_its_epoch(mode):
    made = batches(mode)
    for epoch in (0, 2, 2, 1):
        made.epoch = epoch
        yielded = list(made.dataset)
        assert len(yielded) == made.steps
        for rows, (inputs, targets) in zip(
            made.order(epoch), yielded, strict=True
        ):
            np.testing.assert_array_equal(inputs["row"], rows)
            np.testing.assert_array_equal(inputs["domain"], DOMAIN[rows])
            np.testing.assert_array_equal(targets["ctr"], (rows[:, None] / 100))


@MODES
def test_the_dataset_knows_its_shapes(mode):
    made = batches(mode)
    inputs, targets = made.dataset.element_spec
    assert inputs["row"].shape == (4,)
    assert inputs["row"].dtype == "int32"
    assert targets["ctr"].shape == (4, 1)
    assert made.dataset.cardinality() == made.steps


def test_a_mode_that_is_none_raises():
    with pytest.raises(
        ValueError, match=r"mixed.*per_domain.*Received: 'pure'"
    ):
        batches("pure")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_rows(batch_size):
    with pytest.raises(ValueError, match="batch_size must be positive"):
        batches("mixed", batch_size)


@MODES
def test_no_rows_no_batches(mode):
    nothing = numbered().take(np.arange(0))
    with pytest.raises(DataError, match="no row to train on"):
        Batches(nothing, 4, mode=mode, seed=0)
