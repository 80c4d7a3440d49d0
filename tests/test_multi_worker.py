"""Several workers train, evaluate and stop as one process does."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import data
from mlora_tf import phases
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import evaluate_split
from tests import clicks
from tests import streams
from tests import worker_processes
from tests import worker_program


def prepare(folder):
    """Few rows, in many row groups, of which the splits have few."""
    return streams.regroup(clicks.prepare(folder, rows=900), 50)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("data") / "clicks")


@pytest.fixture(scope="module")
def one(prepared, tmp_path_factory):
    """What one process has with the same global batch."""
    log = data.load(prepared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(phases.OPTIMIZERS, "adam", None)
        worker_program.with_sgd()
        phase, weights = worker_program.trained(
            log, tf.distribute.get_strategy(), tmp_path_factory.mktemp("state")
        )
    test = evaluate_split(
        Predictor(phase.model), log.test, log.schema, user_feature="user"
    )
    return phase, weights, test.to_dict()


def run_workers(prepared, folder, count):
    """What each of the workers tells, and its weights."""
    arguments = ("-m", "tests.worker_program", prepared, folder)
    with worker_processes.Workers(folder, count, arguments) as started:
        started.check()
    told = [
        json.loads((folder / f"{i}.json").read_text()) for i in range(count)
    ]
    weights = [dict(np.load(folder / f"{i}.npz")) for i in range(count)]
    return told, weights


@pytest.fixture(
    scope="module",
    params=[pytest.param(count, marks=pytest.mark.slow) for count in (2, 3)],
)
def several(request, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"workers-{request.param}")
    return folder, *run_workers(prepared, folder, request.param)


def test_all_workers_have_the_weights_of_one_process(several, one):
    _, _, weights = several
    _, expected, _ = one
    for own in weights:
        assert set(own) == set(expected)
        for path, value in own.items():
            np.testing.assert_allclose(
                value, expected[path], atol=1e-5, rtol=0, err_msg=path
            )
            np.testing.assert_array_equal(value, weights[0][path])


def test_all_epochs_log_what_one_process_does(several, one):
    _, told, _ = several
    phase, *_ = one
    for own in told:
        assert len(own["history"]) == len(phase.history)
        for logs, expected in zip(own["history"], phase.history, strict=True):
            assert set(logs) == set(expected)
            for name in set(logs) - {"train_seconds", "val_seconds"}:
                assert logs[name] == pytest.approx(expected[name], abs=1e-5)


def test_all_workers_decide_by_the_same_logs(several, one):
    _, told, _ = several
    phase, *_ = one
    for own in told:
        assert own["history"] == told[0]["history"]
        assert own["best"] == told[0]["best"]
    assert told[0]["best"][1] == phase.best_epoch


def flat(result):
    """An evaluation's numbers; not a number for what is undefined."""
    rows = [list(row.values())[1:] for row in result["domains"]]
    names = ("wauc", "macro_auc", "auc", "logloss", "user_auc")
    numbers = [result[name] for name in names] + [
        x for row in rows for x in row
    ]
    return [math.nan if number is None else number for number in numbers]


@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_each_worker_scores_a_part_and_all_have_the_whole(
    several, one, reading
):
    _, told, _ = several
    for own in told:
        assert own[reading]["domains"] == told[0][reading]["domains"]
        np.testing.assert_allclose(flat(own[reading]), flat(one[2]), atol=1e-6)
        rows = [row["rows"] for row in own[reading]["domains"]]
        assert rows == [row["rows"] for row in one[2]["domains"]]


def test_the_chief_alone_has_the_state(several):
    folder, told, _ = several
    assert (folder / "state-0" / "joint.npz").is_file()
    for index in range(1, len(told)):
        assert not (folder / f"state-{index}").exists()
        assert not list((folder / f"tmp-{index}").iterdir())


def test_workers_tell_each_other(several):
    _, told, _ = several
    count = len(told)
    said = [own["exchanged"] for own in told]
    special = np.array([np.nan, -0.0, np.inf], np.float32)
    rows = [
        np.append(special, np.float32(i))[: 2 + i].view(np.int32)
        for i in range(count)
    ]
    assert [x for own in said for x in own["part"]] == list(range(7))
    for own in said:
        assert own["gathered"] == np.concatenate(rows).tolist()
        assert own["empty"] == [0, 3]
        assert own["some"] == [[i, i] for i in range(count) for _ in range(i)]
        assert own["chief"] == {"index": 0}
        assert own["each"] == [f"worker {i}é" for i in range(count)]
        assert own["none"] is None
        assert own["arrays"] == [[0, 1, 2, 3, 4], "text"]
        assert "worker 1 (127.0.0.1:" in own["unlike"]
        assert "same number" in own["unlike"]
    assert said[0]["failed"].startswith("ZeroDivisionError")
    for own in said[1:]:
        assert own["failed"].startswith("ClusterError: the chief has stopped")
        assert "division" in own["failed"]


def test_keras_still_needs_to_be_mended(several):
    """If this fails, Keras has mended its `fit` on several workers.

    Then take `mlora_tf/keras_multi_worker.py` away, or its mended half.
    """
    _, told, _ = several
    for own in told:
        build, reduce = own["faults"]
        assert "Attempt to convert a value (PerReplica" in build
        assert "Invalid reduction dimension 0" in reduce
