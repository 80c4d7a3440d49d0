import csv
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from rich.cells import cell_len

from experiments import binary
from experiments import run_folder
from experiments import train as train_binary
from experiments.summary import summary
from mlora_tf import data
from mlora_tf import training
from mlora_tf.predictor import Predictor
from mlora_tf.recipes import Recipe
from tests import clicks
from tests import streams

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks")


def command(prepared, output, *options):
    return [
        sys.executable,
        "-m",
        "experiments.train",
        f"--data={prepared}",
        f"--output={output}",
        "--hidden_units=16,8",
        "--batch_size=64",
        *options,
    ]


def train(prepared, output, *options, check=True):
    return subprocess.run(
        command(prepared, output, *options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=check,
    )


def metrics(output):
    return json.loads((output / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """A run in two phases on two replicas, and what it printed."""
    output = tmp_path_factory.mktemp("run") / "run"
    options = ("--preset=paper", "--max_epochs=1", "--replicas=2")
    return output, options, train(prepared, output, *options)


def test_a_run_leaves_a_folder_that_explains_itself(finished, prepared):
    output, _, printed = finished
    config = json.loads((output / "config.json").read_text())
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert config["data"] == manifest["fingerprint"]
    assert config["replicas"] == 2
    assert config["reading"] == "memory"
    assert config["recipe"]["schedule"] == "two_phase"
    assert config["recipe"]["hidden_units"] == [16, 8]
    assert config["recipe"]["dropout"] == 0.5
    assert config["provenance"]["keras"] == keras.__version__
    with open(output / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["pretrain", "adapters"]
    assert [row["epoch"] for row in rows] == ["1", "1"]
    assert float(rows[0]["val_wauc"]) > 0
    events = list((output / "tensorboard").rglob("events.out.*"))
    assert {path.parents[1].name for path in events} == {"pretrain", "adapters"}
    assert "WAUC" in printed.stdout
    assert printed.stdout.endswith(
        f"--run={output} --output=served/{output.name}\n"
    )


def test_the_history_counts_from_one_whoever_has_saved_it():
    # States of runs that go on have the numbers of Keras.
    logs = [{"epoch": 0, "loss": 0.5}, {"epoch": 1, "loss": 0.25}]
    phase = training.Phase("joint", None, 0.5, 0, logs)
    assert run_folder.history([phase, phase]).splitlines() == [
        "phase,epoch,loss",
        *("joint,1,0.5", "joint,2,0.25") * 2,
    ]


def test_the_table_is_aligned_whatever_domains_are_called():
    domain = {"rows": 1200, "ctr": 0.25, "auc": 0.75, "pcoc": None}
    names = ("books", "東京の書店", "한국어로된아주긴상점이름", "toys" * 5)
    domains = [{"name": name, **domain} for name in names]
    means = {"wauc": 0.7, "macro_auc": 0.7, "auc": 0.7, "logloss": 0.5}
    *lines, _, _ = summary({"domains": domains, **means}).splitlines()
    assert {cell_len(line) for line in lines} == {25 + 32}
    assert [line.split()[0] for line in lines[1:]] == list(names)


def test_the_summary_explains_its_words():
    means = {"wauc": 0.7, "macro_auc": 0.7, "auc": 0.7, "logloss": 0.5}
    text = summary({"domains": [], **means})
    for word in ("WAUC weighs", "macro AUC doesn't", "PCOC is predicted over"):
        assert word in text


@pytest.mark.parametrize(
    ("epochs", "best", "cut"),
    [(9, 4, False), (10, 5, False), (10, 6, True), (10, 10, True)],
)
def test_the_end_says_which_epoch_is_kept(epochs, best, cut):
    recipe = Recipe(max_epochs=10, patience=5)
    phase = {"phase": "joint", "epochs": epochs, "best_epoch": best}
    (line,) = train_binary.kept([phase], recipe)
    said = f"Phase joint kept epoch {best} of {epochs}, the best in validation."
    more = " --max_epochs ended it: with more it may be better."
    assert line == said + more * cut


def test_the_end_says_what_else_is_kept():
    phase = {"phase": "adapters", "epochs": 4, "best_epoch": 0}
    (line,) = train_binary.kept([phase], Recipe(max_epochs=9))
    assert line == (
        "Phase adapters kept its start: none of 4 epochs was better in "
        "validation."
    )
    each = Recipe(schedule="two_phase", stop_by_domain=True)
    (line,) = train_binary.kept([phase], each)
    assert line == "Phase adapters kept each domain's best of 4 in validation."


def test_the_end_says_where_the_run_is_and_how_to_export_it():
    folder = train_binary.pathlib.Path("runs/mine")
    exported = train_binary.what_next(folder, exported=True)
    assert "runs/mine/serving has its SavedModel. To export it el" in exported
    text = train_binary.what_next(folder, ["my_shop.towers"], exported=False)
    first, last = text.strip().splitlines()
    assert first.startswith("runs/mine has the run")
    assert "metrics.json" in first
    assert last == (
        "To export it: python -m experiments.export --run=runs/mine "
        "--output=served/mine --import=my_shop.towers"
    )


def test_the_saved_model_has_the_reported_metrics(finished, prepared):
    from mlora_tf.predictor import evaluate_split

    output, _, _ = finished
    log = data.load(prepared)
    model = keras.models.load_model(output / "model.keras")
    result = evaluate_split(Predictor(model), log.test, log.schema)
    assert result.wauc == pytest.approx(metrics(output)["test"]["wauc"])


def test_the_export_serves_what_the_model_predicts(finished, prepared):
    output, _, _ = finished
    log = data.load(prepared)
    model = keras.models.load_model(output / "model.keras")
    served = tf.saved_model.load(output / "serving" / "1")
    answer = served.signatures["serving_default"](
        **{name: tf.constant(ids) for name, ids in log.test.inputs.items()}
    )
    np.testing.assert_allclose(
        answer["ctr"][:, 0], Predictor(model)(log.test.inputs), atol=1e-6
    )
    schema = output / "serving" / "1" / "assets.extra" / "schema.json"
    assert schema.read_text() == log.schema.to_json()


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(finished, prepared):
    output, options, _ = finished
    before = (output / "metrics.json").stat().st_mtime_ns
    again = train(prepared, output, *options)
    assert "WAUC" in again.stdout
    assert f"--run={output} --output=served/" in again.stdout
    assert (output / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_finished_run_can_still_be_exported(prepared, tmp_path):
    output = tmp_path / "run"
    train(prepared, output, "--max_epochs=1", "--noexport")
    assert not (output / "serving").exists()
    again = train(prepared, output, "--max_epochs=1")
    assert "is finished already" in again.stderr
    train(prepared, output, "--max_epochs=1")
    assert [path.name for path in (output / "serving").iterdir()] == ["1"]


@pytest.mark.slow
def test_what_a_kill_left_aside_does_not_block_a_folder(prepared, tmp_path):
    output = tmp_path / "run"
    (output / "serving" / ".export-killed").mkdir(parents=True)
    (output / "serving" / ".export-killed" / "half").touch()
    (output / "config.json").write_text("{")
    (output / ".config.json.tmp").write_text("{")
    train(prepared, output, "--max_epochs=1")
    assert [path.name for path in (output / "serving").iterdir()] == ["1"]


def test_another_run_does_not_overwrite_it(finished, prepared):
    output, options, _ = finished
    before = metrics(output)
    other = train(prepared, output, *options, "--dropout=.1", check=False)
    assert other.returncode == 1
    assert other.stderr.startswith("error: ")
    assert "--dropout (there" in other.stderr
    assert "--output" in other.stderr
    assert "Traceback" not in other.stderr
    assert metrics(output) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data=nowhere",), "nowhere is no prepared folder"),
        (("--tower=shared", "--control=bias_only"), "tower='mlora'"),
        (("--hidden_units=16,x",), "hidden_units must be integers"),
        (("--batch_size=0",), "batch_size must be at least 1"),
    ],
)
def test_a_mistake_takes_one_line(prepared, tmp_path, options, message):
    if "data" not in flags.FLAGS:
        train_binary.define_flags()
    arguments = command(prepared, tmp_path / "run", *options)[2:]
    with (
        flagsaver.flagsaver(),
        pytest.raises(SystemExit) as exit_status,
        binary.errors_in_one_line(),
    ):
        flags.FLAGS(arguments)
        train_binary.main()
    assert str(exit_status.value).startswith("error: ")
    assert message in str(exit_status.value)
    assert "\n" not in str(exit_status.value)


@pytest.mark.slow
def test_a_failed_start_leaves_the_folder_free(prepared, tmp_path):
    output = tmp_path / "run"
    wrong = train(
        prepared, output, "--batch_size=65", "--replicas=2", check=False
    )
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: batch_size is the global batch")
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert not list(output.glob("[!.]*"))
    # Refused once the model is built, and once it is trained.
    no_layers = '--backbone_options={"num_layers": 0}'
    wrong = train(prepared, output, "--backbone=dcn", no_layers, check=False)
    assert wrong.returncode == 1
    assert "num_layers" in wrong.stderr
    assert not list(output.glob("[!.]*"))
    wrong = train(prepared, output, "--learning_rate=1e30", check=False)
    assert wrong.returncode == 1
    assert "isn't finite" in wrong.stderr
    train(prepared, output, "--max_epochs=1", "--noexport")
    assert metrics(output)["test"]["wauc"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "options"),
    [
        ("joint", ()),
        ("adapters", ("--schedule=two_phase", "--dropout=.3")),
        (
            "joint",
            (
                "--reading=stream",
                "--epoch_steps=130",
                "--batches=per_domain",
                "--domain_sampling=proportional",
            ),
        ),
    ],
)
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, phase, options):
    prepared = clicks.prepare(tmp_path / "data", rows=8000)
    streams.regroup(prepared, 500)
    options = (
        "--deterministic",
        "--batch_size=16",
        "--max_epochs=6",
        "--patience=6",
        "--noexport",
        *options,
    )
    train(prepared, tmp_path / "whole", *options)

    output = tmp_path / "killed"
    process = subprocess.Popen(
        command(prepared, output, *options),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = output / "state" / f"{phase}.npz"
    # The first save is at the end of an epoch: the kill hits a later one.
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.wait()
    assert not (output / "metrics.json").exists()

    train(prepared, output, *options)
    assert metrics(output) == metrics(tmp_path / "whole")
    assert _numbers(output) == _numbers(tmp_path / "whole")


def _numbers(output):
    """A run's history, but for its clock."""
    with open(output / "history.csv") as file:
        return [
            {k: v for k, v in row.items() if not k.endswith("seconds")}
            for row in csv.DictReader(file)
        ]
