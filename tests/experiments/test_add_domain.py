"""A finished run gets a domain: the others stay, and the new one learns."""

import json

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import table
from experiments import add_domain
from experiments import binary
from experiments import score
from experiments import train
from mlora_tf import data
from mlora_tf.predictor import Predictor
from mlora_tf.schema import Schema
from tests import own_flags

OPTIONS = {
    "label": "click",
    "domain": "shop",
    "categorical": {"item": {}, "user": {}},
    "numeric": {"price": {"missing": "fill"}},
    "sequence": {"seen": {"max_length": 2, "target": "item"}},
}
SMALL = (
    *("--hidden_units=8", "--embedding_dim=4", "--batch_size=64"),
    *("--max_epochs=2", "--learning_rate=0.01"),
)


def log_of(shops, items, count=600, seed=0):
    """A log whose clicks depend on the item."""
    rng = np.random.default_rng(seed)
    item = rng.choice(len(items), count)
    return pa.table(
        {
            "click": (rng.random(count) < 0.1 + 0.8 * (item % 2)).astype(int),
            "shop": rng.choice(shops, count),
            "item": np.array(items)[item],
            "user": rng.integers(0, 9, count),
            "price": rng.normal(5, 1, count),
            "seen": rng.choice(["", items[0], "|".join(items[:2])], count),
        }
    )


def command(module, *arguments):
    with (
        own_flags.given(module.define_flags, *arguments),
        binary.errors_in_one_line(),
    ):
        module.main()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared data, a finished run, and a later log with a new shop."""
    folder = tmp_path_factory.mktemp("add_domain")
    old = log_of(["corner", "mall"], ["pen", "ink", "nib"])
    pq.write_table(old, folder / "log.parquet")
    (folder / "columns.json").write_text(json.dumps(OPTIONS))
    table.prepare(
        folder / "log.parquet",
        folder / "data",
        config=folder / "columns.json",
    )
    command(
        train,
        f"--data={folder / 'data'}",
        f"--output={folder / 'run'}",
        "--noexport",
        *SMALL,
    )
    new = pa.concat_tables(
        [
            log_of(["kiosk"], ["cap", "lid", "pen", "wax"], seed=1),
            log_of(["corner", "mall"], ["pen", "ink", "nib"], 200, seed=2),
        ]
    )
    pq.write_table(new, folder / "later.parquet")
    table.prepare(
        folder / "later.parquet",
        folder / "later",
        like=folder / "data",
        new_domain="kiosk",
    )
    return folder


def add(folder, output, *options, run="run", data="later"):
    command(
        add_domain,
        f"--run={folder / run}",
        f"--data={folder / data}",
        f"--output={output}",
        *options,
    )


@pytest.fixture(scope="module")
def added(folder):
    add(folder, folder / "added", "--max_epochs=6", "--learning_rate=0.02")
    return folder / "added"


def scores(run, split):
    model = keras.models.load_model(run / "model.keras")
    return Predictor(model)(split.inputs)


def test_the_new_domain_learns(added):
    metrics = json.loads((added / "metrics.json").read_text())
    names = [phase["phase"] for phase in metrics["phases"]]
    assert names == ["untrained", "new_domain"]
    before, after = (
        {one["name"]: one["auc"] for one in phase["test"]["domains"]}
        for phase in metrics["phases"]
    )
    assert list(after) == ["corner", "mall", "kiosk"]
    assert after["kiosk"] > before["kiosk"] + 0.1
    assert after["corner"] == pytest.approx(before["corner"], abs=1e-6)
    assert metrics["phases"][1]["best_epoch"] > 0


def test_the_others_predictions_stay(folder, added):
    # Rows of the run's own data: all their ids were known.
    log = data.load(folder / "data")
    for split in (log.train, log.test):
        np.testing.assert_allclose(
            scores(added, split), scores(folder / "run", split), atol=1e-6
        )
    assert not (folder / "run" / "serving").exists()


def test_it_is_a_run_like_any_other(folder, added, tmp_path):
    config = json.loads((added / "config.json").read_text())
    assert config["new_domain"] == "kiosk"
    assert config["recipe"]["learning_rate"] == 0.02
    assert config["recipe"]["hidden_units"] == [8]
    assert (added / "serving" / "1" / "saved_model.pb").is_file()
    assert Schema.load(added / "schema.json").domains[-1] == "kiosk"
    command(
        score,
        f"--run={added}",
        f"--like={folder / 'later'}",
        f"--input={folder / 'later.parquet'}",
        f"--output={tmp_path / 'scores.parquet'}",
    )
    found = pq.read_table(tmp_path / "scores.parquet")
    assert found["score"].null_count == 0


def test_a_second_time_nothing_is_trained(folder, added, capsys):
    before = (added / "metrics.json").read_bytes()
    add(folder, added, "--max_epochs=6", "--learning_rate=0.02")
    assert (added / "metrics.json").read_bytes() == before
    said = " ".join(capsys.readouterr().out.split())
    assert "kiosk: test AUC" in said
    assert " before training." in said
    with pytest.raises(SystemExit, match="holds another run"):
        add(folder, added, "--max_epochs=7", "--learning_rate=0.02")


def test_another_domain_can_follow(folder, added, tmp_path):
    log = log_of(["stall"], ["cap", "hat"], seed=3)
    pq.write_table(log, tmp_path / "stall.parquet")
    table.prepare(
        tmp_path / "stall.parquet",
        tmp_path / "stall",
        like=folder / "later",
        new_domain="stall",
    )
    add(tmp_path, tmp_path / "second", run=added, data=tmp_path / "stall")
    later = data.load(folder / "later")
    np.testing.assert_allclose(
        scores(tmp_path / "second", later.test),
        scores(added, later.test),
        atol=1e-6,
    )


def test_what_is_no_better_than_untrained_is_not_kept(folder, tmp_path):
    options = "--learning_rate=10", "--max_epochs=1", "--noexport"
    add(folder, tmp_path / "bad", *options)
    metrics = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    untrained, trained = metrics["phases"]
    assert trained["valid"]["auc"] >= untrained["valid"]["auc"] - 1e-7
    if trained["best_epoch"] == 0:
        assert trained["test"]["auc"] == untrained["test"]["auc"]


def test_data_without_one_new_domain_is_refused(folder, tmp_path):
    said = r"must have the domains .* and one more, its last. New in it: none"
    with pytest.raises(SystemExit, match=said):
        add(folder, tmp_path / "out", data="data")
    assert not (tmp_path / "out").exists()


def test_data_of_another_preparation_are_refused(folder, tmp_path):
    shops = ["corner", "mall", "market"]
    log = log_of(shops, ["pen", "ink", "nib"], seed=5)
    pq.write_table(log, tmp_path / "log.parquet")
    table.prepare(
        tmp_path / "log.parquet",
        tmp_path / "own",
        config=folder / "columns.json",
    )
    with pytest.raises(SystemExit, match=r"wasn't prepared for .*'user'"):
        add(folder, tmp_path / "out", data=tmp_path / "own")


def test_the_runs_own_folder_is_no_output(folder):
    before = (folder / "run" / "model.keras").read_bytes()
    with pytest.raises(SystemExit, match="which stays as it is"):
        add(folder, folder / "run")
    assert (folder / "run" / "model.keras").read_bytes() == before


def test_a_tower_that_gets_no_domain_says_so(folder, tmp_path):
    command(
        train,
        f"--data={folder / 'data'}",
        f"--output={tmp_path / 'other'}",
        "--tower=mulann",
        "--noexport",
        *SMALL,
        "--max_epochs=1",
    )
    with pytest.raises(SystemExit, match=r"model\.keras: .*domain"):
        add(folder, tmp_path / "out", run=tmp_path / "other")
    # Nothing says that there is a run to go on with.
    assert not list((tmp_path / "out").iterdir())


def test_a_validation_split_without_clicks_says_so(folder, tmp_path):
    log = log_of(["kiosk"], ["cap", "lid"], seed=1).to_pydict()
    log["part"] = [("train", "valid", "test")[row % 3] for row in range(600)]
    log["click"] = [
        0 if part == "valid" else click
        for part, click in zip(log["part"], log["click"], strict=True)
    ]
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    table.prepare(
        tmp_path / "log.parquet",
        tmp_path / "later",
        like=folder / "data",
        new_domain="kiosk",
        split="given",
        split_column="part",
    )
    with pytest.raises(SystemExit, match="validation rows of 'kiosk' have no"):
        add(folder, tmp_path / "out", data=tmp_path / "later")
    assert not list((tmp_path / "out").iterdir())


def test_a_run_without_a_recipe_says_so(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("{}")
    (tmp_path / "run" / "config.json").write_text('{"data": "0"}')
    with pytest.raises(SystemExit, match="no recipe that can be read"):
        add(folder, tmp_path / "out", run=tmp_path / "run")
