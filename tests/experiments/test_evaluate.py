import json
import shutil

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import binary
from experiments import evaluate
from experiments import finished_run
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
    log = data.load(folder / "data")
    (run / "config.json").write_text(json.dumps({"data": log.fingerprint}))
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
    for name in ("wauc", "macro_auc", "auc", "logloss"):
        assert content[name] == expected[name]
    assert content["user_auc"] is not None
    # Here there are users, of whom `expected` knows nothing.
    users = [one.pop("user_auc") for one in content["domains"]]
    assert None not in users
    for one in expected["domains"]:
        assert one.pop("user_auc") is None
    assert content["domains"] == expected["domains"]
    assert content["splits"] == ["test", "train"]
    assert content["fingerprint"] == log.fingerprint
    low, high = content["intervals"]["wauc"]
    assert low < content["wauc"] < high
    table = pq.read_table(scores).to_pydict()
    of_splits = len(log.test) * ["test"] + len(log.train) * ["train"]
    assert table["split"] == of_splits
    np.testing.assert_array_equal(table["score"], score)
    np.testing.assert_array_equal(table["label"], label)
    assert table["domain"] == [log.schema.domains[one] for one in domain]
    shown = capsys.readouterr().out
    assert shown.startswith("test,train ")
    assert f"WAUC {100 * expected['wauc']:.3f}" in shown
    assert f"95% interval of WAUC: {100 * low:.3f} to {100 * high:.3f}" in shown


@pytest.mark.parametrize(
    ("name", "splits"),
    [("data", ["test"]), ("other", ["train", "valid", "test"])],
)
def test_the_default_is_all_rows_but_of_its_own_data(
    folder, tmp_path, name, splits
):
    result = tmp_path / "result.json"
    command(folder, f"--output={result}", data=name)
    content = json.loads(result.read_text())
    log = data.load(folder / name)
    assert content["splits"] == splits
    assert sum(one["rows"] for one in content["domains"]) == sum(
        len(getattr(log, split)) for split in splits
    )


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


def test_what_is_no_finished_run_is_refused(folder, tmp_path):
    (tmp_path / "other").symlink_to(folder / "other")
    with pytest.raises(SystemExit, match="run is no folder"):
        command(tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit, match="is no finished run"):
        command(tmp_path)
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with pytest.raises(SystemExit, match="is prepared data"):
        command(tmp_path)


def with_sources(path, **files):
    """Says what a prepared folder was prepared from."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sources"] = {
        name: {"bytes": 3, "sha256": digest * 64}
        for name, digest in files.items()
    }
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_rows_that_the_model_has_learned_are_not_evaluated_unasked(
    folder, tmp_path, caplog
):
    """The same log, parted otherwise: most of its rows are training rows."""
    for name in ("data", "other"):
        shutil.copytree(folder / name, tmp_path / name)
    changed(folder, tmp_path, lambda schema: None)
    with_sources(tmp_path / "data", june="a", may="b")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["origin"] = finished_run.origin(str(tmp_path / "data"))
    assert config["origin"]["sources"] == ["a" * 64, "b" * 64]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    # Its own folder knows which rows are test's.
    command(tmp_path, data="data")
    with_sources(tmp_path / "other", july="c")
    command(tmp_path)
    with_sources(tmp_path / "other", july="c", renamed="b")
    with pytest.raises(SystemExit, match="has rows of 'renamed', as have"):
        command(tmp_path)
    caplog.clear()
    command(tmp_path, "--splits=test")
    assert "their numbers are too good" in caplog.text
    # A part without rows, or vectors, may be in two logs.
    files = {"july": "c", "part-1": "a"}
    vectors = {"vectors.item": "b", "vectors.item:0.csv": "b"}
    with_sources(tmp_path / "other", **files, **vectors)
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    manifest["sources"]["july"]["bytes"] = 1000
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    command(tmp_path)


@pytest.mark.parametrize(
    "name", ["vectors.csv", "vectors.parquet", "vectors.2024.csv.gz"]
)
def test_a_log_may_be_called_vectors(folder, tmp_path, name):
    shutil.copytree(folder / "data", tmp_path / "data")
    with_sources(tmp_path / "data", **{name: "a", "vectors.item:v.csv": "b"})
    origin = finished_run.origin(str(tmp_path / "data"))
    assert origin["sources"] == ["a" * 64]


def test_a_run_that_does_not_tell_its_files_is_warned_of(folder, caplog):
    command(folder)
    assert "run doesn't say which files its data are from" in caplog.text
    caplog.clear()
    command(folder, data="data")
    assert "which files" not in caplog.text


def test_a_run_knows_what_the_run_before_it_has_learned(folder, tmp_path):
    shutil.copytree(folder / "data", tmp_path / "data")
    with_sources(tmp_path / "data", june="a")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(
        json.dumps({"origin": {"data": "data/may", "sources": ["b" * 64]}})
    )
    found = finished_run.origin(str(tmp_path / "data"), run)
    assert found["sources"] == ["a" * 64, "b" * 64]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"origin": 3}'),
        ("config.json", '{"origin": {"sources": 3}}'),
        ("config.json", '{"origin": {"sources": [3]}}'),
        ("manifest.json", '{"sources": {"june": 3}}'),
        ("manifest.json", '{"sources": []}'),
        ("manifest.json", "["),
    ],
)
def test_files_that_say_nothing_of_sources_are_no_error(
    tmp_path, name, content
):
    (tmp_path / name).write_text(content)
    assert not finished_run.learned(tmp_path)
    assert finished_run.sources(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("flag", "match"),
    [
        ("--output=.", "is a folder"),
        ("--scores=scores.csv", r"must end in \.parquet"),
        ("--output=result", r"must end in \.json"),
    ],
)
def test_files_that_cannot_be_written_are_refused_at_once(folder, flag, match):
    with pytest.raises(SystemExit, match=match):
        command(folder, flag)


@pytest.mark.parametrize(
    ("flag", "place"),
    [
        ("output", "run/metrics.json"),
        ("output", "run/config.json"),
        ("output", "data/manifest.json"),
        ("scores", "data/train.parquet"),
    ],
)
def test_files_of_runs_and_data_are_never_replaced(folder, flag, place):
    before = (folder / place).read_bytes()
    with pytest.raises(SystemExit, match="is a file of a run or of prepared"):
        command(folder, f"--{flag}={folder / place}", "--overwrite")
    assert (folder / place).read_bytes() == before


def test_files_that_are_there_are_replaced_only_if_asked(folder, tmp_path):
    result, scores = tmp_path / "result.json", tmp_path / "s.parquet"
    for path in (result, scores):
        path.write_text("of before")
        flag = f"--{'output' if path is result else 'scores'}={path}"
        with pytest.raises(SystemExit, match="exists: add --overwrite"):
            command(folder, flag)
        assert path.read_text() == "of before"
        command(folder, flag, "--overwrite")
    assert "wauc" in json.loads(result.read_text())
    assert pq.read_table(scores).num_rows == 400


@pytest.mark.parametrize("splits", ["dev", "", "test,test"])
def test_splits_that_there_are_not(folder, splits):
    with pytest.raises(SystemExit, match="train,valid,test, each once"):
        command(folder, f"--splits={splits}")
