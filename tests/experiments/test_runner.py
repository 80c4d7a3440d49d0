import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments import runner as runner_module
from experiments.run_folder import RunError
from experiments.runner import Runner
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals
from tests import clicks

# Stands for a run: it writes what it is told, and takes a while to save.
CHILD = """
import pathlib, signal, sys, time
path, how = pathlib.Path(sys.argv[1]), sys.argv[2]

def save(*_):
    path.with_suffix(".saved").touch()
    sys.exit(143)

if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, save)
path.touch()
if how == "failing":
    sys.exit("error: no such thing")
time.sleep(60)
"""


class Job:
    def __init__(self, name):
        self.name, self.flags = name, []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks", rows=300)


@pytest.fixture
def runner(tmp_path, prepared, monkeypatch):
    runner = Runner(str(prepared), tmp_path, jobs=2)
    monkeypatch.setattr(
        runner,
        "_command",
        lambda run: [
            *(sys.executable, "-c", CHILD),
            *(str(tmp_path / f"{run.name}.started"), run.name.split("-")[0]),
        ],
    )
    return runner


def names(folder, suffix):
    return sorted(path.stem for path in folder.glob(f"*{suffix}"))


def signal_when_started(folder, count, number):
    def wait():
        while len(names(folder, ".started")) < count:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_runs_under_way_save(runner, tmp_path, number):
    signal_when_started(tmp_path, 2, number)
    began = time.monotonic()
    with pytest.raises(Stopped) as stopped, StopSignals():
        runner.train([Job(f"long-{i}") for i in range(5)])
    assert stopped.value.received == number
    assert time.monotonic() - began < 30
    # Those that were under way; the others never started.
    assert names(tmp_path, ".started") == ["long-0", "long-1"]
    assert names(tmp_path, ".saved") == ["long-0", "long-1"]


def test_a_failure_lets_the_others_save(runner, tmp_path):
    with pytest.raises(RunError, match=r"failed:\nerror: no such thing"):
        runner.train([Job("failing"), Job("long-1"), Job("long-2")])
    assert names(tmp_path, ".saved") == names(tmp_path, ".started")[1:]


def test_a_run_that_does_not_end_is_killed(runner, tmp_path, monkeypatch):
    monkeypatch.setattr(runner_module, "END_SECONDS", 0.2)
    signal_when_started(tmp_path, 1, signal.SIGTERM)
    began = time.monotonic()
    with pytest.raises(Stopped), StopSignals():
        runner.train([Job("deaf")])
    assert time.monotonic() - began < 30


def test_flags_are_never_half_written(runner, tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(
        runner_module, "write", lambda path, text: moved.append((path, text))
    )
    monkeypatch.setattr(
        runner, "_command", lambda run: [sys.executable, "-c", ""]
    )
    runner.train([Job("short")])
    assert moved == [(tmp_path / "short.flags.json", json.dumps([]))]


@pytest.mark.slow
def test_a_stopped_binary_says_how_to_go_on():
    script = """
import signal, time
from experiments import binary
def main():
    signal.raise_signal(signal.SIGTERM)
    time.sleep(60)
binary.run(main)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 143
    said = "stopped by SIGTERM: the same command goes on.\n"
    assert ended.stderr.endswith(said)
    assert "Traceback" not in ended.stderr
