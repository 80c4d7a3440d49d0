import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlora_tf import build_model
from mlora_tf import callbacks
from mlora_tf import data
from mlora_tf import streaming
from mlora_tf.batches import Batches
from mlora_tf.columns import DataError
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import evaluate_split
from mlora_tf.predictor import score_split
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.split import Split
from tests import streams

KINDS = Schema(
    features=(
        SequenceFeature("history", (10, 20, 30), 3, "din", "item", "item"),
        DenseFeature("price"),
        SparseFeature("item", (10, 20, 30)),
        SparseFeature("user", tuple(range(9))),
    ),
    domain_name="country",
    domains=("fr", "it"),
)
ROWS = 60


def columns(**changes):
    """Sixty rows with every kind of feature; None leaves a column out."""
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 4, rng.integers(0, 4)).tolist() for _ in range(60)]
    made = {
        "history": pa.array(lists, pa.list_(pa.int32())),
        "price": pa.array(rng.normal(size=60), "float32"),
        "item": pa.array(rng.integers(0, 4, 60), "int32"),
        "user": pa.array(rng.integers(0, 10, 60), "int32"),
        "domain": pa.array(rng.integers(0, 2, 60), "int32"),
        "label": pa.array(rng.integers(0, 2, 60), "int8"),
        "true_ctr": pa.array(rng.random(60), "float32"),
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


@pytest.fixture
def folder(tmp_path):
    """A folder of all kinds: train in two shards, in groups of 13 rows."""
    (tmp_path / "schema.json").write_text(KINDS.to_json(), "utf-8")
    rows = pa.table(columns())
    for name, part in (
        ("train-00000", rows.slice(0, 40)),
        ("train-00001", rows.slice(40)),
        ("valid", rows),
        ("test", rows),
    ):
        pq.write_table(part, tmp_path / f"{name}.parquet", row_group_size=13)
    streams.seal(tmp_path)
    return tmp_path


def damage(folder, **changes):
    pq.write_table(
        pa.table(columns(**changes)),
        folder / "valid.parquet",
        row_group_size=13,
    )
    streams.seal(folder)


def with_value(name, row, value, kind="int64"):
    """A column with one other value."""
    values = columns()[name].to_pylist()
    values[row] = value
    return {name: pa.array(values, kind)}


def assert_equal(split, expected):
    for name, column in expected.inputs.items():
        np.testing.assert_array_equal(split.inputs[name], column)
        assert split.inputs[name].dtype == column.dtype
    np.testing.assert_array_equal(split.label, expected.label)
    assert split.label.dtype == np.float32


# --- Rows --------------------------------------------------------------------


@pytest.mark.parametrize("split", data.SPLITS)
def test_blocks_are_the_rows_in_memory(folder, split):
    streamed = getattr(data.load(folder, "stream"), split)
    whole = getattr(data.load(folder, "memory"), split)
    assert len(streamed) == len(whole) == ROWS
    blocks = list(streamed.blocks(["true_ctr"]))
    sizes = [13, 13, 13, 1, 13, 7] if split == "train" else [13] * 4 + [8]
    assert [len(block) for block in blocks] == sizes
    start = 0
    for block in blocks:
        rows = np.arange(start, start + len(block))
        assert_equal(block, whole.take(rows))
        np.testing.assert_array_equal(
            block.extra["true_ctr"], whole.extra["true_ctr"][rows]
        )
        start += len(block)
    assert [list(block.extra) for block in streamed.blocks()] == [[]] * len(
        sizes
    )


def test_single_columns_are_read_whole(folder):
    log, whole = data.load(folder, "stream"), data.load(folder, "memory")
    np.testing.assert_array_equal(log.train.label, whole.train.label)
    np.testing.assert_array_equal(log.train.domain, whole.train.domain)
    assert log.train.label.dtype == np.int8
    assert log.train.domain.dtype == np.int32
    counts = log.train.domain_counts()
    assert counts.shape == (6, 2)
    np.testing.assert_array_equal(
        counts.sum(axis=0), np.bincount(whole.train.domain)
    )


def test_both_readings_tell_the_same_log(folder):
    log, whole = data.load(folder, "stream"), data.load(folder, "memory")
    assert log.fingerprint == whole.fingerprint
    assert log.schema == whole.schema
    assert (log.reading, whole.reading) == ("stream", "memory")


def test_pretrained_vectors_are_read_whole(folder):
    schema = json.loads((folder / "schema.json").read_text())
    for feature in schema["features"]:
        if feature.get("table", feature["name"]) == "item":
            feature["vectors"] = 2
    (folder / "schema.json").write_text(json.dumps(schema))
    np.save(folder / "vectors.item.npy", np.ones((4, 2), "float32"))
    streams.seal(folder)
    log = data.load(folder, "stream")
    assert log.vectors["item"].shape == (4, 2)
    np.save(folder / "vectors.item.npy", np.zeros((4, 2), "float32"))
    said = r"has changed since it was prepared: vectors\.item\.npy"
    with pytest.raises(DataError, match=said):
        data.load(folder, "stream")


def test_an_empty_split_has_no_blocks(folder):
    empty = pa.table(columns()).slice(0, 0)
    pq.write_table(empty, folder / "test.parquet")
    streams.seal(folder)
    test = data.load(folder, "stream").test
    assert len(test) == 0
    assert list(test.blocks()) == []
    assert test.label.shape == test.domain.shape == (0,)


def test_row_groups_are_held_out_whole(folder):
    train = data.load(folder, "stream").train
    rest, held = train.hold_out(0.4, seed=3)
    assert (len(rest.groups), len(held.groups)) == (4, 2)
    assert len(rest) + len(held) == ROWS
    assert not set(rest.groups) & set(held.groups)
    places = [train.groups.index(group) for group in rest.groups]
    assert places == sorted(places)
    again, _ = train.hold_out(0.4, seed=3)
    assert again.groups == rest.groups
    parts = {train.hold_out(0.4, seed=seed)[1].groups for seed in range(9)}
    assert len(parts) > 3
    # Each part has a group at least.
    assert len(train.hold_out(0.01, seed=0)[1].groups) == 1
    assert len(train.hold_out(0.99, seed=0)[0].groups) == 1


def test_one_row_group_cannot_be_parted(folder):
    train = data.load(folder, "stream").train.subset([0])
    said = r"two: read them with reading='memory'\. Received: 1 row group"
    with pytest.raises(DataError, match=said):
        train.hold_out(0.5, seed=0)


def test_rows_in_memory_are_held_out_in_their_order():
    rows = Split({"domain": np.arange(50)}, np.zeros(50))
    rest, held = rows.hold_out(0.2, seed=0, in_order=True)
    assert (np.diff(rest.domain) > 0).all()
    assert (np.diff(held.domain) > 0).all()
    mixed, _ = rows.hold_out(0.2, seed=0)
    assert set(mixed.domain) == set(rest.domain)
    assert (mixed.domain != rest.domain).any()


# --- What is refused before a row is read ------------------------------------


def test_a_manifest_agrees_with_itself(folder):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"]["valid.parquet"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="its fingerprint isn't that of"):
        data.load(folder, "stream")


def test_a_schema_that_changed_is_refused(folder):
    text = (folder / "schema.json").read_text()
    (folder / "schema.json").write_text(text.replace('"fr"', '"de"'))
    said = r"has changed since it was prepared: schema\.json isn't"
    with pytest.raises(DataError, match=said):
        data.load(folder, "stream")


def test_footers_have_the_manifests_rows(folder):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"]["train-00001.parquet"]["rows"] = 21
    path.write_text(json.dumps(content))
    said = r"train-00001\.parquet: manifest\.json says 21 rows.* has 20"
    with pytest.raises(DataError, match=said):
        data.load(folder, "stream")


@pytest.mark.parametrize("damaged", ["text", "cut", "empty"])
def test_a_damaged_footer_is_named(folder, damaged):
    path = folder / "valid.parquet"
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"a,b\n1,2\n", "cut": whole[:-20], "empty": b""}[damaged]
    )
    with pytest.raises(DataError, match=r"valid\.parquet: can't be read"):
        data.load(folder, "stream")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item": None}, r"file lacks: \['item'\]"),
        ({"label": None}, r"file lacks: \['label'\]"),
        (
            {"item": pa.array([0.0] * 60)},
            "column 'item' must hold integers. Received: double",
        ),
        (
            {"price": pa.array([0] * 60)},
            "column 'price' must hold numbers, float32 or float64. Received",
        ),
        (
            {"history": pa.array([0] * 60)},
            "column 'history' must hold lists of integers. Received: int64",
        ),
        (
            {"more": pa.array(["text"] * 60)},
            "column 'more' is none of the schema's, so it must hold numbers. "
            "Received: string",
        ),
    ],
)
def test_footers_are_checked_before_training(folder, changes, said):
    damage(folder, **changes)
    with pytest.raises(DataError, match=rf"valid\.parquet.*{said}"):
        data.load(folder, "stream")


@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_file_has_the_manifests_rows(folder, reading):
    """A few bytes may stand for billions of equal rows."""
    damage(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["valid.parquet"]["rows"] = 59
    streams.write_manifest(folder, manifest["files"])
    with pytest.raises(DataError, match="says 59 rows and the file has 60"):
        data.load(folder, reading)


def test_a_row_group_that_would_take_all_memory_is_refused(folder, monkeypatch):
    log = data.load(folder, "stream")
    size = 13 * streaming.row_bytes(log.schema)
    monkeypatch.setattr(streaming, "GROUP_LIMIT", size)
    data.load(folder, "stream")
    monkeypatch.setattr(streaming, "GROUP_LIMIT", size - 1)
    with pytest.raises(DataError, match="row group 0 has 13 rows, of 416 b"):
        data.load(folder, "stream")


def test_a_footer_names_no_column_twice(folder):
    rows = pa.table(columns())
    twice = rows.append_column("item", rows["item"])
    pq.write_table(twice, folder / "valid.parquet")
    streams.seal(folder)
    with pytest.raises(DataError, match=r"valid\.parquet: a column is there t"):
        data.load(folder, "stream")


# --- What is refused when a row is read --------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (with_value("item", 30, 4), r"'item', row 30: ids must be in \[0, 4"),
        (with_value("domain", 50, -1), r"'domain', row 50: ids must be in"),
        (
            with_value("price", 33, np.inf, "float32"),
            "'price', row 33: numbers must be finite",
        ),
        (
            with_value("history", 40, [0, 9], pa.list_(pa.int64())),
            "'history', row 40: ids must be in",
        ),
        (
            with_value("history", 40, [0] * 4, pa.list_(pa.int64())),
            "'history', row 40: a list must have at most 3 ids",
        ),
        (with_value("label", 59, 2), r"'label', row 59: ids must be in \[0, 2"),
        (with_value("item", 30, None), "'item' has 1 empty cells"),
        (with_value("price", 30, None, "float64"), "'price' has 1 empty cells"),
    ],
)
def test_values_are_checked_when_they_are_read(folder, changes, said):
    damage(folder, **changes)
    valid = data.load(folder, "stream").valid
    valid.read(0)
    with pytest.raises(DataError, match=rf"valid\.parquet.*{said}"):
        list(valid.blocks())


@pytest.mark.parametrize("value", [-1, 2, None])
def test_single_columns_are_checked(folder, value):
    for name in ("domain", "label"):
        damage(folder, **with_value(name, 17, value))
        valid = data.load(folder, "stream").valid
        said = "empty cells" if value is None else f"'{name}', row 17: ids must"
        with pytest.raises(DataError, match=said):
            getattr(valid, name)


def test_a_column_that_is_not_there_is_named(folder):
    train = data.load(folder, "stream").train
    with pytest.raises(DataError, match=r"file lacks columns: \['weight'\]"):
        next(train.blocks(["weight"]))


def test_a_file_that_is_gone_is_named(folder):
    train = data.load(folder, "stream").train
    (folder / "train-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"train-00001\.parquet: can't be read"):
        list(train.blocks())


def test_a_row_group_that_was_corrupted_is_named(folder):
    train = data.load(folder, "stream").train
    path = folder / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    content[4:1500] = b"\xff" * 1496
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00000\.parquet"):
        list(train.blocks())


# --- Evaluation --------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    made = build_model(KINDS, "mlp", "mlora", hidden_units=(8,))
    rng = np.random.default_rng(1)
    for weight in made.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    return made


def test_streamed_rows_are_evaluated_as_those_in_memory(folder, model):
    predictor = Predictor(model, batch_size=16)
    results = [
        evaluate_split(
            predictor,
            data.load(folder, reading).test,
            KINDS,
            user_feature="user",
        )
        for reading in ("memory", "stream")
    ]
    assert results[0].user_auc is not None
    mine, streamed = (result.to_dict() for result in results)
    for domain, expected in zip(
        streamed["domains"], mine["domains"], strict=True
    ):
        assert domain.pop("name") == expected.pop("name")
        assert domain == pytest.approx(expected, rel=1e-6)
    for name in ("wauc", "auc", "logloss", "user_auc"):
        assert streamed[name] == pytest.approx(mine[name], rel=1e-6)


def test_what_is_kept_of_scored_rows_is_small(folder, model):
    scored = score_split(Predictor(model), data.load(folder, "stream").test)
    kinds = [scored.label.dtype, scored.score.dtype, scored.domain.dtype]
    assert kinds == ["int8", "float32", "int32"]
    assert scored.users is None
    assert len(scored.score) == ROWS


def test_no_rows_are_scored_as_none(folder, model):
    nothing = data.load(folder, "stream").test.subset([])
    scored = score_split(Predictor(model), nothing, user_feature="user")
    assert len(scored.score) == len(scored.users) == 0


def test_exact_evaluation_streams(folder, model):
    found = []
    for reading in ("memory", "stream"):
        valid = data.load(folder, reading).valid
        callback = callbacks.ExactEvaluation(valid, KINDS)
        callback.set_model(model)
        callback.on_epoch_begin(0)
        logs = {}
        callback.on_epoch_end(0, logs)
        found.append({k: v for k, v in logs.items() if "seconds" not in k})
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_every_kind_is_streamed_into_batches(folder):
    log = data.load(folder, "stream")
    made = Batches(log.train, 8, seed=0, buffer_rows=20)
    inputs, targets = made.dataset.element_spec
    for feature in KINDS.features:
        assert inputs[feature.name].shape == (8, *feature.shape)
        assert inputs[feature.name].dtype == feature.dtype
    assert targets["ctr"].shape == (8, 1)
    assert made.dataset.options().autotune.enabled is False
    found = [inputs for inputs, _ in made.dataset]
    assert len(found) == made.steps == 8
    # Sixty rows are once there, four of them twice.
    whole = data.load(folder, "memory").train
    prices = np.concatenate([inputs["price"] for inputs in found])
    assert set(prices) == set(whole.inputs["price"])
    place = {price: row for row, price in enumerate(whole.inputs["price"])}
    rows = [place[price] for price in prices]
    for name, column in whole.inputs.items():
        mine = np.concatenate([inputs[name] for inputs in found])
        np.testing.assert_array_equal(mine, column[rows])
