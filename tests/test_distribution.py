import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import distribution
from mlora_tf.batches import Batches
from mlora_tf.cluster import ClusterError
from mlora_tf.distribution import distributed
from mlora_tf.distribution import mirrored_strategy
from mlora_tf.distribution import multi_worker_strategy
from mlora_tf.distribution import training_strategy
from mlora_tf.keras_multi_worker import mended_fit
from mlora_tf.split import Split


def test_two_replicas_are_two_logical_cpu_devices(two_replicas):
    assert isinstance(two_replicas, tf.distribute.MirroredStrategy)
    assert two_replicas.num_replicas_in_sync == 2


def test_one_device_has_nothing_to_mirror():
    assert mirrored_strategy(1) is tf.distribute.get_strategy()


def test_replicas_must_be_positive():
    with pytest.raises(ValueError, match=r"positive integer\. Received: 0"):
        mirrored_strategy(0)


def test_asking_too_late_says_so():
    with pytest.raises(RuntimeError, match=r"2 logical CPU .* 3 are needed"):
        mirrored_strategy(3)


# --- Workers -----------------------------------------------------------------


def workers(monkeypatch, *addresses):
    content = {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(content))


def test_without_workers_this_machine_trains(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert training_strategy(2).num_replicas_in_sync == 2
    workers(monkeypatch, "localhost:1")
    assert training_strategy(1) is tf.distribute.get_strategy()
    workers(monkeypatch)
    with pytest.raises(ClusterError, match="TF_CONFIG must state"):
        training_strategy()


def test_workers_take_all_their_gpus(monkeypatch):
    workers(monkeypatch, "localhost:1", "localhost:2")
    with pytest.raises(ClusterError, match=r"leave replicas out.*replicas=2"):
        training_strategy(2)


def test_workers_are_waited_for_before_tensorflow_is(monkeypatch):
    met = []
    workers(monkeypatch, "localhost:1", "localhost:2")
    monkeypatch.setattr(
        distribution,
        "meet",
        lambda *given, timeout: met.append((given, timeout)),
    )
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", lambda: "made"
    )
    assert training_strategy(meeting_seconds=7.0) == "made"
    ((cluster, facts), timeout), *_ = met
    assert (cluster.addresses, timeout) == (("localhost:1", "localhost:2"), 7.0)
    assert facts["tensorflow"] == tf.__version__
    assert facts["keras"] == keras.__version__
    assert facts["GPUs"] == str(len(tf.config.list_physical_devices("GPU")))
    assert {"numpy", "python", "mlora_tf"} < set(facts)


def test_without_a_cluster_there_are_no_workers(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ClusterError, match="there is no TF_CONFIG"):
        multi_worker_strategy()


# --- Each replica's part of each batch ---------------------------------------


def rows():
    rng = np.random.default_rng(0)
    domain = rng.integers(0, 3, 50).astype("int32")
    label = rng.integers(0, 2, 50).astype("float32")
    number = np.arange(50, dtype="float32")
    return Split({"domain": domain, "x": number}, label)


def test_without_workers_batches_are_whole(two_replicas):
    batches = Batches(rows(), 12, seed=0)
    assert distributed(batches, two_replicas) is batches.dataset
    rest = distributed(batches, two_replicas, done=3)
    expected = [row["x"].numpy() for row, _ in batches.dataset][3:]
    for (row, _), numbers in zip(rest, expected, strict=True):
        np.testing.assert_array_equal(row["x"], numbers)


def test_the_replicas_of_a_worker_get_parts_in_their_order(two_replicas):
    batches = Batches(rows(), 12, seed=0)
    parts = distribution.parted(batches.dataset, two_replicas, 6, batches.steps)
    assert parts.cardinality == batches.steps
    seen = [
        np.concatenate(two_replicas.experimental_local_results(row["x"]))
        for row, _ in parts
    ]
    expected = [row["x"].numpy() for row, _ in batches.dataset]
    np.testing.assert_array_equal(seen, expected)


def trained(strategy, part):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        inputs = {"x": keras.Input((), name="x")}
        x = keras.ops.expand_dims(inputs["x"], 1) / 50
        model = keras.Model(inputs, {"ctr": keras.layers.Dense(1)(x)})
        model.compile(keras.optimizers.SGD(0.1), {"ctr": "mse"})
    batches = Batches(rows(), 12, seed=0)
    dataset = batches.dataset.map(lambda x, y: ({"x": x["x"]}, y))
    if part:
        dataset = distribution.parted(dataset, strategy, 6, batches.steps)
    # A step too many would be a warning, which is an error here.
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history
    return history["loss"], model.get_weights()


def test_parts_train_as_whole_batches(two_replicas):
    loss, weights = trained(two_replicas, part=True)
    expected, ones = trained(tf.distribute.get_strategy(), part=False)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for weight, one in zip(weights, ones, strict=True):
        np.testing.assert_allclose(weight, one, atol=1e-6)


def test_another_strategys_fit_is_left_alone(two_replicas):
    from mlora_tf.keras_multi_worker import trainer

    before = trainer.reduce_per_replica
    with mended_fit(two_replicas):
        assert trainer.reduce_per_replica is before
