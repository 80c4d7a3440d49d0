import json

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import binary
from experiments import evaluate
from mlora_tf import build_model
from mlora_tf import data
from mlora_tf.evaluation import evaluate as exact
from mlora_tf.predictor import Predictor
from tests import clicks
from tests import own_flags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared folder, and a run's folder as far as it is needed."""
    folder = tmp_path_factory.mktemp("evaluate")
    clicks.prepare(folder / "data", rows=600)
    clicks.prepare(folder / "other", rows=400, seed=1)
    schema = data.load(folder / "data").schema
    run = folder / "run"
    run.mkdir()
    build_model(schema, "mlp", "mlora", hidden_units=(4,)).save(
        run / "model.keras"
    )
    (run / "schema.json").write_text(schema.to_json())
    (run / "metrics.json").write_text("{}")
    return folder


def command(folder, *options, data="other"):
    arguments = [f"--run={folder / 'run'}", f"--data={folder / data}", *options]
    with (
        own_flags.given(evaluate.define_flags, *arguments),
        binary.errors_in_one_line(),
    ):
        evaluate.main()


def test_it_evaluates_the_rows_of_the_splits_exactly(folder, capsys):
    result, scores = (
        folder / "new" / "result.json",
        folder / "new" / "s.parquet",
    )
    command(
        folder,
        "--splits=test,train",
        f"--output={result}",
        f"--scores={scores}",
    )
    log = data.load(folder / "other")
    predictor = Predictor(
        keras.models.load_model(folder / "run" / "model.keras")
    )
    parts = log.test, log.train
    label, domain = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("label", "domain")
    )
    score = np.concatenate([predictor(part.inputs) for part in parts])
    expected = exact(label, score, domain, log.schema.domains).to_dict()
    content = json.loads(result.read_text())
    for name in ("wauc", "macro_auc", "auc", "logloss", "domains"):
        assert content[name] == expected[name]
    assert content["user_auc"] is not None
    assert content["splits"] == ["test", "train"]
    assert content["fingerprint"] == log.fingerprint
    low, high = content["intervals"]["wauc"]
    assert low < content["wauc"] < high
    table = pq.read_table(scores).to_pydict()
    np.testing.assert_array_equal(table["score"], score)
    np.testing.assert_array_equal(table["label"], label)
    assert table["domain"] == [log.schema.domains[one] for one in domain]
    shown = capsys.readouterr().out
    assert f"WAUC {100 * expected['wauc']:.3f}" in shown
    assert f"95% interval of WAUC: {100 * low:.3f} to {100 * high:.3f}" in shown


def test_its_own_test_is_the_default(folder, tmp_path):
    result = tmp_path / "result.json"
    command(folder, f"--output={result}", data="data")
    rows = [one["rows"] for one in json.loads(result.read_text())["domains"]]
    test = data.load(folder / "data").test
    assert rows == np.bincount(test.domain, minlength=3).tolist()


def changed(folder, tmp_path, change):
    """A run whose schema is another."""
    run = tmp_path / "run"
    run.mkdir()
    for path in (folder / "run").iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    content = json.loads((run / "schema.json").read_text())
    change(content)
    (run / "schema.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda schema: schema["features"][1]["vocabulary"].reverse(),
            "'item' is another",
        ),
        (
            lambda schema: schema["features"].reverse(),
            "its features aren't item, user",
        ),
        (
            lambda schema: schema["domain"]["values"].reverse(),
            "its domains are others",
        ),
    ],
)
def test_data_with_other_ids_is_refused(folder, tmp_path, change, match):
    changed(folder, tmp_path, change)
    (tmp_path / "other").symlink_to(folder / "other")
    with pytest.raises(SystemExit, match=f"{match}.*data_prep.table --like"):
        command(tmp_path)


def test_a_run_that_is_not_finished_is_refused(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "other").symlink_to(folder / "other")
    with pytest.raises(SystemExit, match="is no finished run"):
        command(tmp_path)


@pytest.mark.parametrize("splits", ["dev", "", "test,test"])
def test_splits_that_there_are_not(folder, splits):
    with pytest.raises(SystemExit, match="train,valid,test, each once"):
        command(folder, f"--splits={splits}")
