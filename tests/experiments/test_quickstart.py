import json
import os
import pathlib
import re
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.errors import RunError
from experiments.quickstart import AT_ONCE
from experiments.quickstart import _make_data
from mlora_tf import data
from mlora_tf.evaluation import evaluate

ROOT = pathlib.Path(__file__).parents[2]


def quickstart(output, *flags):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.quickstart",
            f"--output={output}",
            "--rows=6000",
            "--max_epochs=1",
            *flags,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("quickstart") / "out"
    process = quickstart(output)
    assert process.returncode == 0, process.stderr
    return output, process


def metrics(output, schedule):
    return json.loads((output / schedule / "metrics.json").read_text())


def test_the_table_shows_the_runs_metrics(finished):
    output, process = finished
    base, two_phase = (
        phase["test"] for phase in metrics(output, "two_phase")["phases"]
    )
    joint = metrics(output, "joint")["test"]
    log = data.load(output / "data")
    best = evaluate(
        log.test.label,
        log.test.extra["true_ctr"],
        log.test.domain,
        log.schema.domains,
    ).to_dict()
    arms = (base, two_phase, joint, best)
    for index, name in enumerate(log.schema.domains):
        (line,) = re.findall(rf"^ +{name} .*%.*$", process.stdout, re.M)
        assert line.split()[-4:] == [
            f"{100 * arm['domains'][index]['auc']:.2f}" for arm in arms
        ]
    (line,) = re.findall(r"^ +WAUC .*$", process.stdout, re.M)
    assert line.split()[1] == "6,000"
    assert line.split()[-4:] == [f"{100 * arm['wauc']:.2f}" for arm in arms]


def test_it_says_first_what_it_does(finished):
    _, process = finished
    assert process.stderr.splitlines()[0] == AT_ONCE


def test_the_base_is_phase_one_and_all_train_on_two_replicas(finished):
    output, _ = finished
    phases = metrics(output, "two_phase")["phases"]
    assert [phase["phase"] for phase in phases] == ["pretrain", "adapters"]
    assert phases[0]["domain_parameters"] == 0
    assert phases[1]["domain_parameters"] > 0
    configs = [
        json.loads((output / name / "config.json").read_text())
        for name in ("two_phase", "joint")
    ]
    if not tf.config.list_physical_devices("GPU"):
        assert [config["replicas"] for config in configs] == [2, 2]
    recipes = [config["recipe"] for config in configs]
    assert {
        name for name in recipes[0] if recipes[0][name] != recipes[1][name]
    } == {"schedule"}


def test_the_picture(finished):
    picture = (finished[0] / "quickstart.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 1000
    assert height > 800
    # An empty figure of this size has a tenth of that.
    assert len(picture) > 40_000


def test_the_request_is_answered_as_by_keras(finished):
    output, process = finished
    (line,) = re.findall(r"^\{.*\}$", process.stdout, re.M)
    request = {
        name: np.array(ids, np.int32) for name, ids in json.loads(line).items()
    }
    assert len(set(request["domain"].tolist())) == 4
    model = keras.models.load_model(output / "joint" / "model.keras")
    expected = model(request)["ctr"].numpy()[:, 0]
    served = tf.saved_model.load(output / "joint" / "serving" / "1").signatures[
        "serving_default"
    ](**{name: tf.constant(ids) for name, ids in request.items()})["ctr"]
    np.testing.assert_allclose(served.numpy()[:, 0], expected, atol=1e-6)
    shown = re.findall(r"brand_\d+ +([\d.]+) +([\d.]+) ", process.stdout)
    assert shown == [(f"{value:.4f}",) * 2 for value in expected]
    assert "equal to the Keras model" in process.stdout


@pytest.mark.slow
def test_it_runs_again_quickly_and_refuses_another_run(finished):
    output, process = finished
    state = output / "joint" / "state" / "joint.npz"
    before = state.stat().st_mtime_ns
    again = quickstart(output)
    assert again.returncode == 0, again.stderr
    assert again.stdout == process.stdout
    assert "epoch" in process.stderr
    assert "epoch" not in again.stderr
    assert state.stat().st_mtime_ns == before
    refused = quickstart(output, "--seed=1")
    assert refused.returncode == 1
    _, line = refused.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "--seed (there 0, here 1)" in line


def test_refuses_other_data(finished):
    output, _ = finished
    with pytest.raises(RunError, match="has 6,000 rows, not 7,000"):
        _make_data(output / "data", 7000)
