import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep import planted
from data_prep import splits
from data_prep import synthetic
from data_prep import synthetic_stream
from data_prep import synthetic_world
from data_prep.layout import SPLITS
from data_prep.layout import PreparationError
from data_prep.synthetic_stream import CHUNK

ROOT = pathlib.Path(__file__).parents[2]
ROWS = 150_000
SIZES = {"domains": 5, "users": 700, "items": 300}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "out"
    synthetic.prepare(path, rows=ROWS, **SIZES)
    return path


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    path = tmp_path_factory.mktemp("drifting") / "out"
    synthetic.prepare(path, rows=ROWS, drift=0.5, **SIZES)
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def columns(path, *wanted):
    """Columns by name, of those splits or all, in the order of the rows."""
    tables = [
        pq.read_table(path / name)
        for name in sorted(manifest(path)["files"])
        if name.endswith("parquet")
        and name.partition("-")[0] in (wanted or SPLITS)
    ]
    return {
        name: np.concatenate([table[name].to_numpy() for table in tables])
        for name in tables[0].column_names
    }


def auc(label, score):
    """The share of pairs that are in order; scores have hardly any ties."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    clicks = label.sum()
    won = ranks[label == 1].sum() - clicks * (clicks + 1) / 2
    return won / (clicks * (len(label) - clicks))


# The folder.


def test_what_it_writes(made):
    stated = manifest(made)
    assert stated["dataset"] == "synthetic"
    assert stated["options"] == {
        "rows": ROWS,
        **SIZES,
        "rank": 2,
        "drift": 0.0,
    }
    assert {name for name in stated["files"] if "parquet" in name} == {
        f"{split}-00000.parquet" for split in SPLITS
    }
    schema = json.loads((made / "schema.json").read_text())
    assert schema["domain"]["values"] == [f"domain_000{i}" for i in range(5)]
    user, item, device = schema["features"]
    assert user["vocabulary"] == list(range(700))
    assert item["vocabulary"] == list(range(300))
    assert device["vocabulary"] == list(synthetic_world.DEVICES)
    read = columns(made)
    assert read["true_ctr"].dtype == np.float32
    assert read["label"].size == ROWS
    assert set(read["user"]) == set(range(1, 701))
    assert set(read["item"]) == set(range(1, 301))
    assert set(read["device"]) == {1, 2, 3, 4}


def test_the_same_bytes_in_another_process(drifting, tmp_path):
    flags = [f"--{name}={value}" for name, value in SIZES.items()]
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "data_prep.synthetic", *flags),
            *(f"--rows={ROWS}", "--drift=0.5", f"--output={tmp_path / 'out'}"),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "out") == contents(drifting)


def test_a_failure_between_chunks_leaves_nothing(tmp_path, monkeypatch):
    draw = synthetic_world.draw

    def fail(*args):
        if args[2] == 1:
            raise OSError("the disk is full")
        return draw(*args)

    monkeypatch.setattr(synthetic_world, "draw", fail)
    with pytest.raises(OSError, match="the disk is full"):
        synthetic.prepare(tmp_path / "out", rows=ROWS, **SIZES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 0}, "--users must be 1 to 10000000, and is 0."),
        ({"items": 0}, "--items must be 1 to 10000000, and is 0."),
        ({"domains": 10_001}, "--domains must be 1 to 10000, and is 10001."),
        ({"rank": 7}, "--rank must be 1 to 6, and is 7."),
        ({"rows": 99}, "--rows must be 500 to 1000000000000, and is 99."),
        ({"drift": -0.1}, "--drift must be 0 to 10, and is -0.1."),
        ({"drift": math.nan}, "--drift must be 0 to 10, and is nan."),
    ],
)
def test_bad_sizes(options, message, tmp_path):
    with pytest.raises(PreparationError) as caught:
        synthetic.prepare(tmp_path / "out", **{**SIZES, **options})
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


def test_the_smallest_world(tmp_path, caplog):
    with caplog.at_level("INFO", "absl"):
        synthetic.prepare(
            tmp_path / "out", rows=100, domains=1, users=1, items=1
        )
    stated = manifest(tmp_path / "out")
    assert stated["extras"]["best_auc_error"] < 0.01
    rows = stated["counts"]["train"]["domain_0000"]["rows"]
    assert f"train: {rows} rows (domain_0000 {rows})" in caplog.messages


# The rows.


@pytest.mark.parametrize("rank", [1, 3])
def test_clicks_follow_the_planted_model(rank, tmp_path):
    synthetic.prepare(
        tmp_path / "out", rows=2000, rank=rank, drift=0.7, seed=9, **SIZES
    )
    read = columns(tmp_path / "out", "train")
    world = synthetic_world.plant(9, 700, 300, 5, rank, 0.7)
    # Train is the oldest part, in order: the n-th row is the log's n-th.
    for row in range(0, 1200, 41):
        user = world.users[read["user"][row] - 1].astype(float)
        item = world.items[read["item"][row] - 1].astype(float)
        domain = read["domain"][row]
        angle = 2 * math.pi * 0.7 * (row // 20 + 0.5) / 100
        turned = np.empty(6)
        for plane in (0, 2, 4):
            x, y = user[plane], user[plane + 1]
            turned[plane] = math.cos(angle) * x + math.sin(angle) * y
            turned[plane + 1] = math.cos(angle) * y - math.sin(angle) * x
        total = world.biases[domain] + 0.4 * math.tanh(user[6] + item[6])
        total += (0.2, 0.0, -0.2, -0.4)[read["device"][row] - 1]
        for k in range(6):
            for m in range(6):
                total += user[k] * world.shared[k, m] * item[m]
                effect = world.effects[domain, k, m]
                total += turned[k] * effect * item[m]
        assert read["true_ctr"][row] == pytest.approx(
            1 / (1 + math.exp(-total)), rel=1e-4
        )


def test_labels_are_drawn_from_true_ctr(made):
    read = columns(made)
    for part in np.array_split(np.argsort(read["true_ctr"]), 10):
        p = read["true_ctr"][part].astype(float)
        spread = np.sqrt((p * (1 - p)).sum())
        assert abs(read["label"][part].sum() - p.sum()) < 4.5 * spread


def test_sizes_and_ctrs_are_those_planted(made):
    read = columns(made)
    rows = np.bincount(read["domain"])
    wanted = np.geomspace(10, 1, 5)
    np.testing.assert_allclose(rows / ROWS, wanted / wanted.sum(), rtol=0.05)
    ctr = np.bincount(read["domain"], read["label"]) / rows
    np.testing.assert_allclose(ctr, np.geomspace(0.04, 0.3, 5), rtol=0.2)


def test_items_follow_zipf_and_users_come_up_alike(made):
    read = columns(made)
    shares = np.bincount(read["item"] - 1) / ROWS
    ranks = np.arange(300)
    wanted = np.log((ranks + 2) / (ranks + 1)) / np.log(301)
    assert (abs(shares - wanted) < 5 * np.sqrt(wanted / ROWS)).all()
    users = np.bincount(read["user"] - 1)
    assert abs(users - ROWS / 700).max() < 5 * np.sqrt(ROWS / 700)
    devices = np.bincount(read["device"] - 1) / ROWS
    np.testing.assert_allclose(devices, [0.6, 0.1, 0.25, 0.05], atol=0.005)


def test_nothing_but_seed_and_number_decides_a_chunk():
    world = synthetic_world.plant(4, 50, 40, 3, 2, 0.0)
    one = synthetic_world.draw(world, 4, 1, CHUNK, 500, 2 * CHUNK)
    two = synthetic_world.draw(world, 4, 1, CHUNK, 500, 9 * CHUNK)
    other = synthetic_world.draw(world, 4, 2, CHUNK, 500, 9 * CHUNK)
    for name, values in vars(one).items():
        np.testing.assert_array_equal(values, getattr(two, name))
    assert (one.user != other.user).any()
    columns = np.stack([one.user, one.item, one.domain, one.true_ctr])
    assert abs(np.corrcoef(columns[:3])[np.triu_indices(3, 1)]).max() < 0.2


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.integers(0, 20), min_size=1, max_size=40).filter(any),
    chances=st.lists(st.floats(0, 1, exclude_max=True), max_size=30),
)
@example(shares=[990, 1, 1, 1, 1000], chances=[0.4755, 0.497, 0.499])
def test_a_pick_is_that_of_a_search(shares, chances):
    shares, chances = np.array(shares) / sum(shares), np.array(chances)
    edges = np.append(np.cumsum(shares)[:-1], 1.0)
    np.testing.assert_array_equal(
        synthetic_world._pick(shares, chances),
        np.searchsorted(edges, chances, side="right"),
    )


# The best AUC.


@pytest.mark.parametrize("name", ["made", "drifting"])
def test_the_best_auc_is_exact_within_the_stated_error(name, request):
    path = request.getfixturevalue(name)
    extras = manifest(path)["extras"]
    read = columns(path, "test")
    error = extras["best_auc_error"]
    assert error < 1e-4

    def exact(p):
        p = np.sort(p.astype(np.float64))
        others = np.cumsum(1 - p) - (1 - p)
        selves = (p * (1 - p)).sum()
        return (p * others).sum() / (p.sum() * (1 - p).sum() - selves)

    def holds(stated, rows):
        # The tie of two rows is not told from the order of float32.
        assert stated == pytest.approx(
            exact(read["true_ctr"][rows]), abs=error + 1e-6
        )
        found = auc(read["label"][rows], read["true_ctr"][rows])
        assert abs(stated - found) < 4 / np.sqrt(read["label"][rows].sum())
        assert 0.7 < stated < 0.95

    holds(extras["best_overall_auc"]["test"], slice(None))
    assert list(extras["best_auc"]) == ["test"]
    for domain, stated in enumerate(extras["best_auc"]["test"].values()):
        holds(stated, read["domain"] == domain)
    assert list(extras["best_auc"]["test"]) == [
        f"domain_000{i}" for i in range(5)
    ]


# The splits, and the drift.


def test_without_drift_the_split_is_that_of_the_rows_numbers(made):
    counts = [
        sum(stated["rows"] for stated in counts.values())
        for counts in manifest(made)["counts"].values()
    ]
    split = splits.hashed_split(0, ROWS, seed=123)
    assert counts == np.bincount(split).tolist()


def test_with_drift_the_split_is_by_time(drifting, tmp_path):
    counts = [
        sum(stated["rows"] for stated in counts.values())
        for counts in manifest(drifting)["counts"].values()
    ]
    assert counts == [90_000, 30_000, 30_000]
    read = columns(drifting, "train")
    world = synthetic_world.plant(123, 700, 300, 5, 2, 0.5)
    first = synthetic_world.draw(world, 123, 0, 0, CHUNK, ROWS)
    np.testing.assert_array_equal(read["user"][:CHUNK] - 1, first.user)
    assert synthetic_stream._split(7, 5, 13, 1.0, 0).tolist() == [0, 1, 1, 2, 2]


def test_traffic_turns_with_the_drift(drifting):
    world = synthetic_world.plant(123, 700, 300, 5, 2, 0.5)
    early, late = (columns(drifting, one) for one in ("train", "test"))
    for read, steps in (
        (early["domain"][:15_000], range(10)),
        (late["domain"], range(80, 100)),
    ):
        traffic = [world.traffic((step + 0.5) / 100) for step in steps]
        np.testing.assert_allclose(
            np.bincount(read) / len(read), np.mean(traffic, axis=0), atol=0.012
        )
    one, other = (np.bincount(x["domain"], minlength=5) for x in (early, late))
    assert abs(one / one.sum() - other / other.sum()).max() > 0.1


@pytest.mark.parametrize("time", [0.0, 0.3])
def test_a_domains_traffic_swells_from_its_own_time_on(time):
    world = synthetic_world.plant(1, 5, 5, 4, 2, 2.0)
    # The first domain's is at its highest when the log begins.
    turns = 2 * time + np.arange(4) * 0.6180339887
    wanted = planted.traffic(4) * np.exp(np.cos(2 * np.pi * turns))
    np.testing.assert_allclose(
        world.traffic(time), wanted / wanted.sum(), rtol=1e-6
    )


def test_traffic_is_the_plain_one_without_drift():
    world = synthetic_world.plant(1, 5, 5, 4, 2, 0.0)
    wanted = planted.traffic(4) / planted.traffic(4).sum()
    for time in (0.0, 0.7):
        np.testing.assert_allclose(world.traffic(time), wanted)
        np.testing.assert_array_equal(world.matrices(time), world.matrices(0.0))


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_effects_turn_and_keep_their_rank(rank):
    world = synthetic_world.plant(1, 5, 5, 3, rank, 0.25)
    start, end = (
        world.matrices(time).astype(float) - world.shared for time in (0.0, 1.0)
    )
    np.testing.assert_allclose(start, world.effects, atol=1e-6)
    for before, after in zip(start, end, strict=True):
        for effect in (before, after):
            assert np.linalg.matrix_rank(effect, tol=1e-5) == rank
            assert np.linalg.norm(effect) == pytest.approx(1.4, rel=1e-5)
        # A quarter of a turn leaves nothing of the effect at the start.
        assert (before * after).sum() == pytest.approx(0, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stretches_are_the_steps_of_the_rows(data):
    rows = data.draw(st.integers(1, 5000))
    start = data.draw(st.integers(0, rows - 1))
    count = data.draw(st.integers(1, rows - start))
    times = np.full(count, np.nan)
    for time, part in synthetic_world._stretches(start, count, rows, 1.0):
        assert np.isnan(times[part]).all()
        times[part] = time
    numbers = np.arange(start, start + count)
    np.testing.assert_array_equal(times, (numbers * 100 // rows + 0.5) / 100)
