"""A preempted run saves, says how to go on, and is gone within 10 seconds."""

import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import clicks

ROOT = pathlib.Path(__file__).parents[2]
DEADLINE = 10.0
"""Seconds that a machine which is taken away leaves."""
SAID = re.compile(
    r"stopped by SIGTERM in phase joint, epoch (?P<epoch>\d+), after step "
    r"(?P<step>\d+) of 3750\. Nothing is lost: the same command goes on from "
    r"there\."
)


def logs(folder):
    """TensorBoard's files: one more each time that training begins."""
    return len(list(folder.rglob("tensorboard/*/train/events*")))


def stopped_in_training(folder, command, after, runs=1):
    """What a command says when it gets SIGTERM some seconds into training."""
    before = logs(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while logs(folder) < before + runs:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    # It waits for all processes that have the pipe, children too.
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + signal.SIGTERM, said
    return said.splitlines()[-1]


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_is_gone_in_time(tmp_path):
    # Epochs are so long that each stop is in the midst of one.
    clicks.prepare(tmp_path / "data", rows=400_000)
    folder, rng = tmp_path / "run", random.Random(0)
    command = (
        *("experiments.train", f"--data={tmp_path / 'data'}"),
        *(f"--output={folder}", "--batch_size=64", "--hidden_units=512,256"),
    )
    steps = []
    for _ in range(3):
        said = stopped_in_training(folder, command, rng.uniform(5.0, 10.0))
        stopped = SAID.fullmatch(said)
        assert stopped, said
        steps.append((int(stopped["epoch"]), int(stopped["step"])))
    # Each went on where the last one stopped.
    assert (1, 0) < steps[0] < steps[1] < steps[2]


@pytest.mark.slow
def test_a_study_that_is_told_to_stop_takes_its_runs_along(tmp_path):
    clicks.prepare(tmp_path / "data", rows=400_000)
    folder = tmp_path / "runs"
    command = (
        *("experiments.lazy_adam", f"--data={tmp_path / 'data'}", "--seeds=1"),
        *("--jobs=2", f"--runs={folder}", f"--output={tmp_path / 'results'}"),
    )
    said = stopped_in_training(folder, command, after=2.0, runs=2)
    assert said == "stopped by SIGTERM: the same command goes on."
    states = list(folder.glob("*/state/joint.npz"))
    assert len(states) == 2
    for path in states:
        with np.load(path) as state:
            content = json.loads(str(state["state"]))
        # In the midst of an epoch.
        assert content["done"] > 0
