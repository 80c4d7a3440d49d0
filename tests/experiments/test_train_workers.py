"""`python -m experiments.train` on several workers; each run takes a while."""

import csv
import json
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from mlora_tf import data
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import evaluate_split
from tests import clicks
from tests import worker_processes

pytestmark = pytest.mark.slow

EPOCHS = 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks")


def command(prepared, output):
    return [
        *("-m", "experiments.train", f"--data={prepared}"),
        *(f"--output={output}", "--hidden_units=8", "--batch_size=120"),
        *("--threads=1", f"--max_epochs={EPOCHS}", "--patience=9"),
    ]


@pytest.fixture(scope="module")
def alone(prepared, tmp_path_factory):
    """The run of one process."""
    output = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(
        [sys.executable, *command(prepared, output)],
        cwd=worker_processes.ROOT,
        check=True,
    )
    return output


@pytest.fixture(scope="module")
def together(prepared, tmp_path_factory):
    """The run of two workers, and their folder."""
    folder = tmp_path_factory.mktemp("together")
    output = folder / "run"
    with worker_processes.Workers(
        folder, 2, command(prepared, output)
    ) as workers:
        workers.check()
        logs = [workers.log(index) for index in range(2)]
    return folder, output, logs


def history(output):
    """The numbers of each epoch, times left out."""
    with open(output / "history.csv") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            name: float(value)
            for name, value in row.items()
            if name != "phase" and not name.endswith("seconds")
        }
        for row in rows
    ]


def same_history(output, other, tolerance):
    pairs = zip(history(output), history(other), strict=True)
    for mine, theirs in pairs:
        assert mine == pytest.approx(theirs, abs=tolerance)


def names(output):
    """The files of a run's folder, those of TensorBoard by their folder."""
    return {
        str(path.relative_to(output))
        for path in output.rglob("*")
        if path.is_file() and "tensorboard" not in path.parts
    }


def test_two_workers_train_as_one_process(together, alone):
    _, output, _ = together
    # Adam magnifies rounding where gradients are next to nothing.
    same_history(output, alone, 2e-3)
    assert len(history(output)) == EPOCHS


def test_the_chief_alone_writes(together, alone):
    folder, output, logs = together
    assert names(output) == names(alone)
    assert (
        len(list((output / "tensorboard" / "joint" / "train").iterdir())) == 1
    )
    assert not list((folder / "tmp-1").iterdir())
    assert "WAUC" in logs[0]
    assert "WAUC" not in logs[1]
    config = json.loads((output / "config.json").read_text())
    assert (config["workers"], config["replicas"]) == (2, 2)


def test_the_metrics_are_those_of_all_rows(together, prepared):
    _, output, _ = together
    log = data.load(prepared)
    model = keras.models.load_model(output / "model.keras")
    for split in ("valid", "test"):
        expected = evaluate_split(
            Predictor(model), getattr(log, split), log.schema
        ).to_dict()
        metrics = json.loads((output / "metrics.json").read_text())[split]
        for name in ("wauc", "macro_auc", "auc", "logloss"):
            assert metrics[name] == pytest.approx(expected[name], abs=1e-6)
        rows = [row["rows"] for row in metrics["domains"]]
        assert rows == [row["rows"] for row in expected["domains"]]


def await_line(workers, text, seconds=900):
    """Waits until the chief has written a line."""
    ends = time.monotonic() + seconds
    while text not in workers.log(0):
        assert time.monotonic() < ends, workers.log(0)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("victim", "number"),
    [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)],
    ids=["worker", "chief", "frozen worker"],
)
def test_all_stop_with_a_lost_worker_and_go_on_together(
    together, prepared, tmp_path, victim, number
):
    _, whole, _ = together
    output = tmp_path / "run"
    arguments = command(prepared, output)
    with worker_processes.Workers(tmp_path, 2, arguments) as workers:
        await_line(workers, "joint epoch 2:")
        workers.processes[victim].send_signal(number)
        began = time.monotonic()
        other = workers.processes[1 - victim]
        assert other.wait(120) == 1
        assert time.monotonic() - began < 60
        said = workers.log(1 - victim).splitlines()[-1]
        assert said.startswith("error: another worker has stopped or can't be")
        assert "Start the same command on all workers" in said
        if number == signal.SIGSTOP:
            workers.processes[victim].kill()
    assert not (output / "metrics.json").exists()
    with worker_processes.Workers(tmp_path, 2, arguments) as workers:
        workers.check()
        assert "joint epoch 1:" not in workers.log(0)
    same_history(output, whole, 1e-6)
    first, second = (
        keras.models.load_model(folder / "model.keras").get_weights()
        for folder in (output, whole)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_signal_to_all_workers_saves_the_epoch_under_way(
    together, prepared, tmp_path
):
    _, whole, _ = together
    output = tmp_path / "run"
    arguments = command(prepared, output)
    with worker_processes.Workers(tmp_path, 2, arguments) as workers:
        await_line(workers, "joint epoch 1:")
        began = time.monotonic()
        for process in workers.processes:
            process.send_signal(signal.SIGTERM)
        status, other = workers.wait(120)
        assert time.monotonic() - began < 60
        assert status == 128 + signal.SIGTERM
        # It is told, or loses the chief before it looks.
        assert other in (1, 128 + signal.SIGTERM)
        said = workers.log(0).splitlines()[-1]
        assert "stopped by SIGTERM" in said
        assert "the same command goes on" in said
    with worker_processes.Workers(tmp_path, 2, arguments) as workers:
        workers.check()
    for mine, theirs in zip(history(output), history(whole), strict=True):
        # The loss before the signal is known of the chief's rows alone.
        loss, expected = mine.pop("loss"), theirs.pop("loss")
        assert loss == pytest.approx(expected, abs=0.02)
        assert mine == pytest.approx(theirs, abs=1e-6)


def test_workers_with_other_flags_stop_before_they_train(prepared, tmp_path):
    arguments = command(prepared, tmp_path / "run")
    others = {1: ["--dropout=0.5"]}
    with worker_processes.Workers(tmp_path, 2, arguments, others) as workers:
        assert workers.wait() == [1, 1]
        for index in range(2):
            said = workers.log(index).splitlines()[-1]
            assert "must have the same flags and data" in said
            assert "worker 1 (127.0.0.1:" in said
    assert names(tmp_path / "run") <= {".lock"}
