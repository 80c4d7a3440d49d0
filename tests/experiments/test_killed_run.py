"""A run that is killed thirty times ends as one that nobody touched."""

import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.folder_lock import FolderInUseError
from experiments import run_folder
from experiments import runs
from experiments.errors import RunError
from mlora_tf import data
from mlora_tf import durable
from mlora_tf.recipes import Recipe
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals
from tests import clicks

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 30
RECIPE = Recipe(
    tower="mlora",
    schedule="two_phase",
    fresh_fraction=0.25,
    hidden_units=(8,),
    dropout=0.2,
    batch_size=8,
    max_epochs=2,
    learning_rate=1e-2,
)

# Starts once; its children do the work, and are killed after some seconds.
SERVER = """
import os, sys, threading, time
from absl import flags
from data_prep import synthetic
from experiments import binary, train
from mlora_tf import training_state
training_state.SAVE_SECONDS = 0.5
training_state.SAVING_SHARE = 0.5
train.define_flags()

def work(arguments):
    if arguments[0] == "prepare":
        synthetic.prepare(arguments[1], rows=6000)
    else:
        with binary.errors_in_one_line():
            flags.FLAGS(["train", *arguments[1:]])
            train.main()

for line in sys.stdin:
    after, *arguments = line.split()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if after != "never":
            kill = lambda: os.kill(os.getpid(), 9)
            threading.Timer(float(after), kill).start()
        status = 1
        try:
            work(arguments)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, flush=True)
"""


class Server:
    """Does a command's work in a process that may be killed."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments, after="never"):
        self._process.stdin.write(" ".join(map(str, (after, *arguments))))
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


class Reader(threading.Thread):
    """Reads all that is there, all the while, and notes what is half."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.faults = []
        self.whole = set()
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.002):
            for path in self.folder.rglob("*"):
                try:
                    self.read(path)
                except FileNotFoundError:
                    continue  # An aside, or a version of before.
                except Exception as error:
                    self.faults.append(f"{path}: {error!r}")

    def read(self, path):
        parts = path.relative_to(self.folder).parts
        if any(part.startswith(".") for part in parts) or "tmp" in path.name:
            return
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
            assert all(None not in row.values() for row in rows)
        elif path.suffix in (".keras", ".npz"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        elif path.name == "saved_model.pb":
            version = path.parent
            assert (version / "assets.extra" / "golden.json").is_file()
            assert list((version / "variables").glob("variables.index"))
        else:
            return
        self.whole.add(path.name)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def left(folder):
    """All that a run leaves, but for its clocks."""
    with open(folder / "history.csv") as file:
        history = [
            {k: v for k, v in row.items() if not k.endswith("seconds")}
            for row in csv.DictReader(file)
        ]
    model = keras.models.load_model(folder / "model.keras")
    weights = {weight.path: weight.numpy() for weight in model.weights}
    return json.loads((folder / "metrics.json").read_text()), history, weights


def assert_same(mine, expected):
    assert mine[:2] == expected[:2]
    assert mine[2].keys() == expected[2].keys()
    for path, value in expected[2].items():
        np.testing.assert_array_equal(mine[2][path], value, err_msg=path)


@pytest.mark.slow
def test_thirty_random_kills_change_nothing(tmp_path):
    rng = random.Random(0)
    serve = Server()

    def commands(folder):
        flags = [
            *("--preset=paper", "--hidden_units=8", "--fresh_fraction=.25"),
            *("--batch_size=16", "--max_epochs=3", "--deterministic"),
            "--threads=1",
        ]
        yield "prepare", folder / "data"
        yield (
            "train",
            f"--data={folder / 'data'}",
            f"--output={folder / 'run'}",
            *flags,
        )

    for command in commands(tmp_path / "whole"):
        assert serve(*command) == 0
    kills = 0
    with Reader(tmp_path / "killed") as reader:
        for command in commands(tmp_path / "killed"):
            target = 6 if command[0] == "prepare" else KILLS
            longest = 1.0 if command[0] == "prepare" else 12.0
            while kills < target:
                after = rng.uniform(0.0, longest)
                status = serve(*command, after=f"{after:.3f}")
                assert status in (0, -signal.SIGKILL)
                kills += status != 0
                if not status and command[0] == "prepare":
                    break
                if not status:
                    # It was finished: all that can still be killed is a start.
                    longest = 1.0
            if command[0] == "train" or not (command[1]).exists():
                assert serve(*command) == 0
    serve.close()
    assert kills >= KILLS
    assert reader.faults == []
    assert reader.whole >= {
        *("config.json", "history.csv", "manifest.json", "metrics.json"),
        *("model.keras", "pretrain.npz", "adapters.npz", "saved_model.pb"),
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert_same(left(killed / "run"), left(whole / "run"))
    for path in (whole / "data").iterdir():
        assert (killed / "data" / path.name).read_bytes() == path.read_bytes()
    # Nothing twice, and nothing left behind.
    assert [path.name for path in (killed / "run" / "serving").iterdir()] == [
        "1"
    ]
    assert sorted(path.name for path in killed.iterdir()) == ["data", "run"]


# --- Killed at chosen moments -------------------------------------------------


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "clicks"
    return data.load(clicks.prepare(folder, rows=600))


def run(log, output, **kwargs):
    return runs.run(
        log,
        RECIPE,
        output,
        strategy=tf.distribute.get_strategy(),
        export=False,
        **kwargs,
    )


class KilledError(BaseException):
    """Ends everything at once: no file is touched any more."""


@pytest.fixture(scope="module")
def whole(log, tmp_path_factory):
    """What an undisturbed run leaves, and the files that it moves."""
    output, moved = tmp_path_factory.mktemp("whole") / "run", []
    replace = durable.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            durable,
            "replace",
            lambda aside, path: moved.append(path.name) or replace(aside, path),
        )
        run(log, output)
    return left(output), moved


def test_every_file_is_moved_into_place(whole):
    _, moved = whole
    assert moved[0] == "config.json"
    assert moved.count("pretrain.npz") == moved.count("adapters.npz") == 3
    assert moved[-4:] == [
        *("history.csv", "model.keras", "schema.json", "metrics.json"),
    ]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("pretrain.npz", 2),
        pytest.param("pretrain.npz", 1, marks=pytest.mark.slow),
        pytest.param("pretrain.npz", 3, marks=pytest.mark.slow),
        pytest.param("adapters.npz", 1, marks=pytest.mark.slow),
        pytest.param("adapters.npz", 3, marks=pytest.mark.slow),
        pytest.param("config.json", 1, marks=pytest.mark.slow),
        pytest.param("model.keras", 1, marks=pytest.mark.slow),
        ("metrics.json", 1),
    ],
)
def test_a_run_killed_while_it_writes_a_file_goes_on(
    log, tmp_path, whole, monkeypatch, name, count
):
    replace, before = durable.replace, []

    def kill(aside, path):
        if path.name == name:
            before.append(path)
            if len(before) == count:
                raise KilledError
        replace(aside, path)

    monkeypatch.setattr(durable, "replace", kill)
    with pytest.raises(KilledError):
        run(log, tmp_path / "run")
    monkeypatch.undo()
    run(log, tmp_path / "run")
    assert_same(left(tmp_path / "run"), whole[0])


# --- One at a time ------------------------------------------------------------


def test_a_second_run_is_told_that_the_folder_is_in_use(log, tmp_path):
    output = tmp_path / "run"
    with run_folder.held(output):
        said = f"run is in use by process {os.getpid()} on .*: wait until"
        with pytest.raises(FolderInUseError, match=said):
            run(log, output)
    assert list(output.iterdir()) == []


def test_a_folder_of_something_else_gets_no_lock(log, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="isn't empty and holds no run"):
        run(log, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_a_killed_run_left_is_no_stranger(log, tmp_path):
    (tmp_path / ".lock").write_text("1 on elsewhere")
    (tmp_path / ".config.json.tmp").touch()
    with run_folder.held(tmp_path):
        pass


def test_a_signal_outside_training_ends_a_run_at_once(
    log, tmp_path, monkeypatch
):
    write = runs.write

    def signalled(path, text):
        if path.name == "history.csv":
            signal.raise_signal(signal.SIGTERM)
        write(path, text)

    monkeypatch.setattr(runs, "write", signalled)
    with pytest.raises(Stopped), StopSignals() as stop:
        run(log, tmp_path / "run", stop=stop)
    assert not (tmp_path / "run" / "history.csv").exists()
    assert not (tmp_path / "run" / ".lock").exists()
