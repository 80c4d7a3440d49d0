import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import evaluation
from mlora_tf import metrics
from mlora_tf.streaming_wauc import StreamingWAUC


def clicks(n, num_domains, seed=0):
    """Labels, probabilities and domains; the domains differ in their AUC."""
    rng = np.random.default_rng(seed)
    domains = rng.integers(0, num_domains, n)
    logits = rng.normal(-3.0, 0.3 + domains / num_domains, n)
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    labels = (rng.random(n) < scores).astype("float32")
    return labels, scores, domains


def beside(scores, domains):
    return np.stack([scores, domains], axis=1).astype("float32")


def carrying_model(num_domains):
    """A stock functional model that carries the domain to its metric."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,), name="x")
    domain = keras.Input((), name="domain", dtype="int32")
    ctr = keras.layers.Dense(1, activation="sigmoid")(x)
    column = keras.layers.Reshape((1,), dtype="float32")(domain)
    both = keras.layers.Concatenate(dtype="float32")([ctr, column])
    model = keras.Model(
        {"x": x, "domain": domain}, {"ctr": ctr, "by_domain": both}
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss={"ctr": "binary_crossentropy", "by_domain": None},
        metrics={"by_domain": StreamingWAUC(num_domains)},
    )
    return model


# --- Values -----------------------------------------------------------------


def test_by_hand():
    metric = StreamingWAUC(4)
    # Domain 0: AUC 1 of 2 rows; 1: 1/4 of 3 (a tie and a loss); 2: one class.
    labels = [1, 0, 1, 0, 0, 1]
    scores = [0.75, 0.25, 0.5, 0.5, 0.75, 0.5]
    metric.update_state(labels, beside(scores, [0, 0, 1, 1, 1, 2]))
    np.testing.assert_allclose(
        metric.per_domain(), [1.0, 0.25, np.nan, np.nan], rtol=1e-7
    )
    assert float(metric.result()) == pytest.approx((2 * 1 + 3 * 0.25) / 5)


@pytest.mark.parametrize("column", [False, True])
def test_is_exact_when_every_prediction_has_its_bin(column):
    rng = np.random.default_rng(0)
    bins, n = 64, 3000
    scores = rng.integers(0, bins, n) / bins
    labels = rng.integers(0, 2, n)
    domains = rng.integers(0, 3, n)
    metric = StreamingWAUC(3, bins=bins)
    for rows in np.array_split(np.arange(n), 7):
        y = labels[rows, None] if column else labels[rows]
        metric.update_state(y, beside(scores[rows], domains[rows]))
    expected = evaluation.evaluate(labels, scores, domains, ["a", "b", "c"])
    np.testing.assert_allclose(
        metric.per_domain(), [d.auc for d in expected.domains], atol=1e-7
    )
    assert float(metric.result()) == pytest.approx(expected.wauc, abs=1e-7)


@pytest.mark.parametrize("bins", [50, 2048])
def test_error_is_within_its_bound(bins):
    num_domains = 5
    labels, scores, domains = clicks(50_000, num_domains)
    metric = StreamingWAUC(num_domains, bins=bins)
    metric.update_state(labels, beside(scores, domains))
    exact = metrics.grouped_auc(labels, scores, domains, num_domains)
    other, clicked = np.moveaxis(metric.histograms.numpy(), 1, 0)
    bound = (other * clicked).sum(1) / (2 * other.sum(1) * clicked.sum(1))
    error = np.abs(metric.per_domain().numpy() - exact)
    assert (error <= bound + 1e-7).all()
    # And the bound is worth its name: small with many bins, not with few.
    assert (bound.max() < 0.015) == (bins == 2048)
    if bins == 2048:
        wauc = metrics.wauc(exact, np.bincount(domains))
        assert float(metric.result()) == pytest.approx(wauc, abs=1e-4)


def test_the_ends_of_the_unit_interval():
    metric = StreamingWAUC(1, bins=4)
    metric.update_state([1, 0, 0], beside([1.0, 0.0, 0.75], [0, 0, 0]))
    np.testing.assert_array_equal(
        metric.histograms[0], [[1, 0, 0, 1], [0, 0, 0, 1]]
    )
    assert float(metric.result()) == 0.75


def test_nothing_defined_is_zero():
    metric = StreamingWAUC(2)
    assert float(metric.result()) == 0.0
    metric.update_state([1, 0], beside([0.5, 0.25], [0, 1]))
    assert float(metric.result()) == 0.0
    assert np.isnan(metric.per_domain()).all()


@pytest.mark.parametrize("column", [False, True])
def test_a_weight_is_a_number_of_rows(column):
    labels, scores, domains = clicks(500, 3)
    weights = np.random.default_rng(1).integers(0, 4, 500)
    weighted, repeated = StreamingWAUC(3), StreamingWAUC(3)
    weighted.update_state(
        labels,
        beside(scores, domains),
        sample_weight=weights[:, None] if column else weights,
    )
    repeated.update_state(
        np.repeat(labels, weights),
        np.repeat(beside(scores, domains), weights, axis=0),
    )
    np.testing.assert_array_equal(weighted.histograms, repeated.histograms)
    assert 0.5 < float(weighted.result()) == float(repeated.result())


def test_fractional_weights():
    metric = StreamingWAUC(2)
    metric.update_state(
        [1, 0, 0, 1, 0],
        beside([0.5, 0.25, 0.75, 0.5, 0.5], [0, 0, 0, 1, 1]),
        sample_weight=[0.5, 0.75, 0.25, 1.25, 1.25],
    )
    np.testing.assert_allclose(metric.per_domain(), [0.75, 0.5])
    expected = (1.5 * 0.75 + 2.5 * 0.5) / 4
    assert float(metric.result()) == pytest.approx(expected)


def test_counts_past_float32():
    # float32: 2^24 + 1 == 2^24. Here every single row still counts.
    metric = StreamingWAUC(1, bins=2)
    metric.histograms.assign(np.full((1, 2, 2), 2.0**24))
    for _ in range(3):
        metric.update_state([1], beside([0.75], [0]))
    assert metric.histograms.numpy()[0, 1, 1] == 2**24 + 3
    metric.histograms.assign(np.full((1, 2, 2), 2.0**40))
    metric.update_state([1], beside([0.75], [0]))
    assert metric.histograms.numpy()[0, 1, 1] == 2**40 + 1


def test_reset_state():
    metric = StreamingWAUC(2)
    good = ([1, 0], beside([0.75, 0.25], [0, 0]))
    bad = ([1, 0], beside([0.25, 0.75], [0, 0]))
    metric.update_state(*bad)
    assert float(metric.result()) == 0.0
    metric.reset_state()
    assert not metric.histograms.numpy().any()
    metric.update_state(*good)
    assert float(metric.result()) == 1.0


# --- What can't be counted --------------------------------------------------


@pytest.mark.parametrize(
    ("label", "score", "domain"),
    [
        (1, np.nan, 0),
        (1, np.inf, 0),
        (1, 1.5, 0),
        (0, -0.25, 0),
        (1, 0.5, 2),
        (1, 0.5, -1),
        (1, 0.5, 0.5),
        (1, 0.5, np.nan),
        (0.5, 0.5, 0),
        (2, 0.5, 0),
    ],
)
def test_a_row_that_cannot_be_counted_shows(label, score, domain):
    labels = [1.0, 0.0, label]
    rows = beside([0.75, 0.25, score], [0, 0, domain])
    metric = StreamingWAUC(2)
    metric.update_state(labels, rows)
    assert np.isnan(float(metric.result()))
    # Padding may hold anything.
    metric.reset_state()
    metric.update_state(labels, rows, sample_weight=[1, 1, 0])
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (3, 2, 1)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(batch, 2\).*Received: shape"):
        StreamingWAUC(2).update_state(np.ones(3), np.ones(shape, "float32"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_too_few_bits_for_a_domain(dtype):
    y_pred = keras.ops.ones((3, 2), dtype=dtype)
    with pytest.raises(ValueError, match=f"Received: dtype {dtype}"):
        StreamingWAUC(2).update_state(np.ones(3), y_pred)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="Received: num_domains=0"):
        StreamingWAUC(0)
    with pytest.raises(ValueError, match="Received: bins=1"):
        StreamingWAUC(2, bins=1)


# --- In Keras ---------------------------------------------------------------


def test_config_round_trip():
    metric = StreamingWAUC(7, bins=32, name="w", dtype="float64")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(copy) is StreamingWAUC
    assert copy.get_config() == metric.get_config()
    assert copy.get_config() == {
        "name": "w",
        "dtype": "float64",
        "num_domains": 7,
        "bins": 32,
    }
    assert copy.histograms.shape == (7, 2, 32)
    assert keras.backend.standardize_dtype(copy.result().dtype) == "float64"


def test_a_function_of_tensors_alone():
    # The form without a variable to count in: as JAX and some tracing use it.
    labels, scores, domains = clicks(300, 3)
    metric = StreamingWAUC(3)
    state = [keras.ops.zeros((3, 2, 2048), "float64")]
    for _ in range(2):
        state = metric.stateless_update_state(
            state, labels, beside(scores, domains)
        )
    assert not metric.histograms.numpy().any()
    metric.update_state(labels, beside(scores, domains))
    metric.update_state(labels, beside(scores, domains))
    np.testing.assert_array_equal(metric.histograms, state[0])
    assert state[0].numpy().sum() == 600


def inputs(n, num_domains):
    labels, _, domains = clicks(n, num_domains)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 4)).astype("float32")
    x[:, 0] += labels * (1 + domains % 3)
    features = {"x": x, "domain": domains.astype("int32")}
    y = labels[:, None]
    return features, {"ctr": y, "by_domain": y}


def test_in_a_stock_model():
    num_domains = 6
    features, targets = inputs(4000, num_domains)
    model = carrying_model(num_domains)
    history = model.fit(
        features, targets, epochs=2, batch_size=100, verbose=0
    ).history
    logs = model.evaluate(
        features, targets, batch_size=512, return_dict=True, verbose=0
    )
    scores = model.predict(features, batch_size=512, verbose=0)["ctr"]
    names = [str(d) for d in range(num_domains)]
    exact = evaluation.evaluate(
        targets["ctr"], scores, features["domain"], names
    )
    assert exact.wauc > 0.6
    assert logs["by_domain_wauc"] == pytest.approx(exact.wauc, abs=1e-3)
    assert len(history["by_domain_wauc"]) == 2


def test_callbacks_know_that_more_is_better():
    # Of a model with this output alone: Keras looks for a metric by the whole
    # name of the log, and with more outputs has to be told `mode="max"`.
    features, targets = inputs(40, 2)
    both = carrying_model(2)
    model = keras.Model(both.input, both.output["by_domain"])
    model.compile(loss="mse", metrics=[StreamingWAUC(2)], run_eagerly=True)
    stopping = keras.callbacks.EarlyStopping("wauc")
    model.fit(features, targets["by_domain"], callbacks=[stopping], verbose=0)
    assert stopping.monitor_op(0.9, 0.8)
    assert not stopping.monitor_op(0.7, 0.8)


def test_two_replicas_are_one():
    # The two logical CPUs are made by conftest.py.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    num_domains = 5
    # The last batch doesn't divide evenly; the first does.
    features, targets = inputs(1333, num_domains)
    one = carrying_model(num_domains)
    with strategy.scope():
        two = carrying_model(num_domains)
    logs = []
    for model in (one, two):
        data = tf.data.Dataset.from_tensor_slices((features, targets))
        logs.append(
            model.evaluate(data.batch(128), return_dict=True, verbose=0)
        )
    assert 0.05 < logs[0]["by_domain_wauc"] < 0.95
    assert logs[1]["by_domain_wauc"] == pytest.approx(
        logs[0]["by_domain_wauc"], abs=1e-6
    )
    states = [histograms_of(model) for model in (one, two)]
    assert states[0].sum() == 1333
    np.testing.assert_array_equal(states[1], states[0])


def histograms_of(model):
    (metric,) = (
        metric
        for container in model.metrics
        for metric in getattr(container, "metrics", [container])
        if isinstance(metric, StreamingWAUC)
    )
    return metric.histograms.numpy()


def test_compiles_under_xla():
    labels, scores, domains = clicks(256, 3)
    plain, compiled = StreamingWAUC(3), StreamingWAUC(3)
    update = tf.function(compiled.update_state, jit_compile=True)
    for metric_update in (plain.update_state, update):
        metric_update(tf.constant(labels), tf.constant(beside(scores, domains)))
    np.testing.assert_array_equal(plain.histograms, compiled.histograms)
    assert compiled.histograms.numpy().sum() == 256
