import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.domain_loss import DomainLoss
from tests import goldens

DOMAINS, ROWS = 3, 8
DOMAIN = np.array([2, 0, 1, 1, 2, 0, 0, 1], "int32")


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(ROWS, 2)).astype("float32"),
        rng.normal(size=(ROWS, DOMAINS)).astype("float32"),
        DOMAIN,
    )


def reference(logits, domain):
    """The mean of `-log softmax(z)_d`, row by row."""
    total = 0.0
    for z, d in zip(logits.astype("float64"), domain, strict=True):
        total -= np.log(np.exp(z[d]) / sum(np.exp(z)))
    return total / len(domain)


@pytest.mark.parametrize("weight", [0, 0.1, 2.5])
def test_in_training_it_adds_the_weighted_cross_entropy(weight):
    layer = DomainLoss(DOMAINS, weight)
    x, logits, domain = inputs()
    layer(x, logits, domain, training=True)
    (loss,) = layer.losses
    assert loss.shape == ()
    expected = weight * reference(logits, domain)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_the_weight_is_a_tenth_unless_told_otherwise():
    assert DomainLoss(DOMAINS).weight == 0.1


def test_outside_training_it_adds_nothing():
    layer = DomainLoss(DOMAINS)
    layer(*inputs())
    assert layer.losses == []
    layer(*inputs(), training=False)
    assert layer.losses == []


@pytest.mark.parametrize("training", [False, True])
def test_inputs_pass_bit_by_bit(training):
    x, logits, domain = inputs()
    x[0] = -0.0, np.nan
    outputs = DomainLoss(DOMAINS)(x, logits, domain, training=training)
    np.testing.assert_array_equal(
        outputs.numpy().view("int32"), x.view("int32")
    )


def test_the_loss_has_the_cross_entropys_gradient():
    x, logits, domain = inputs()
    layer, z = DomainLoss(DOMAINS, 0.5), tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(z)
        layer(x, z, domain, training=True)
        loss = layer.losses[0]
    for row, gradient in enumerate(tape.gradient(loss, z).numpy()):
        expected = np.exp(logits[row]) / np.exp(logits[row]).sum()
        expected[domain[row]] -= 1.0
        np.testing.assert_allclose(gradient, 0.5 * expected / ROWS, atol=1e-7)


def test_a_large_batch_is_averaged_in_full_precision():
    layer = DomainLoss(DOMAINS, 1.0, dtype="mixed_float16")
    # Summed in half precision, 2^17 rows of log(3) would be infinite.
    rows = 2**17
    layer(
        np.zeros((rows, 1)),
        np.zeros((rows, DOMAINS)),
        np.zeros(rows, "int32"),
        training=True,
    )
    np.testing.assert_allclose(layer.losses[0], np.log(3), rtol=1e-5)


def test_a_batch_of_no_rows_adds_nothing():
    layer = DomainLoss(DOMAINS)
    outputs = layer(*(array[:0] for array in inputs()), training=True)
    assert outputs.shape == (0, 2)
    assert float(layer.losses[0]) == 0.0


def model(weight=0.5):
    """A task's logit, and a discriminator beside it."""
    x = keras.Input((4,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    hidden = keras.layers.Dense(5, activation="tanh")(x)
    outputs = DomainLoss(DOMAINS, weight)(
        keras.layers.Dense(1)(hidden),
        keras.layers.Dense(DOMAINS)(hidden),
        domain,
    )
    one = keras.Model({"x": x, "domain": domain}, outputs)
    goldens.randomize(one)
    one.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    return one


def rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 4)).astype("float32")
    y = rng.normal(size=(ROWS, 1)).astype("float32")
    # Sorted, two replicas see different domains.
    return {"x": x, "domain": np.sort(DOMAIN)}, y


def fitted(one):
    """Weights after a step, and the loss that it reports."""
    data = tf.data.Dataset.from_tensor_slices(rows()).batch(ROWS)
    history = one.fit(data, epochs=1, shuffle=False, verbose=0).history
    return [weight.numpy() for weight in one.weights], history["loss"][0]


@pytest.mark.slow
def test_two_replicas_train_like_one(two_replicas):
    with two_replicas.scope():
        mirrored = model()
    start = [weight.numpy().copy() for weight in mirrored.weights]
    (ones, loss), (twos, mirrored_loss) = fitted(model()), fitted(mirrored)
    assert mirrored_loss == pytest.approx(loss, abs=1e-6)
    for one, two, old in zip(ones, twos, start, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)
        assert (one != old).any()


def test_the_models_loss_is_the_sum_of_both():
    one = model(weight=0.5)
    inputs, targets = rows()
    dense, task, discriminator = (
        layer for layer in one.layers if isinstance(layer, keras.layers.Dense)
    )
    hidden = dense(inputs["x"])
    expected = np.mean((task(hidden).numpy() - targets) ** 2)
    logits = discriminator(hidden).numpy()
    evaluated = one.evaluate(inputs, targets, batch_size=ROWS, verbose=0)
    assert evaluated == pytest.approx(expected, rel=1e-5)
    expected += 0.5 * reference(logits, inputs["domain"])
    assert fitted(one)[1] == pytest.approx(expected, rel=1e-5)


def test_it_comes_back_from_a_file(tmp_path):
    one = model(0.25)
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    (weights, loss), (others, other_loss) = fitted(one), fitted(twin)
    assert loss == other_loss
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_bad_domain_raises_in_an_export_too(tmp_path):
    one = model()
    one.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    inputs = {name: tf.constant(value) for name, value in rows()[0].items()}
    np.testing.assert_allclose(served.serve(inputs), one(inputs), rtol=1e-6)
    inputs["domain"] = tf.constant([DOMAINS] * ROWS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
        served.serve(inputs)


@pytest.mark.parametrize("wrong", [-1, DOMAINS, 2**32])
@pytest.mark.parametrize("training", [False, True])
def test_a_bad_domain_raises_eagerly_and_in_a_graph(wrong, training):
    layer = DomainLoss(DOMAINS)
    x, logits, domain = inputs()
    domain = domain.astype("int64")
    domain[3] = wrong
    tensors = tuple(map(tf.constant, (x, logits, domain)))
    for function in (layer, tf.function(layer)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
            function(*tensors, training=training)


@pytest.mark.parametrize("wrong", [0, -2, 2.0, None])
def test_num_domains_must_be_a_positive_integer(wrong):
    with pytest.raises(ValueError, match=f"Received: num_domains={wrong!r}"):
        DomainLoss(wrong)


@pytest.mark.parametrize("wrong", [-0.1, "1", None, np.nan, np.inf])
def test_a_weight_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=f"Received: weight={wrong!r}"):
        DomainLoss(2, wrong)


def test_logits_for_other_domains_raise():
    x, logits, domain = inputs()
    said = r"\(batch, 4\)\. Received: logits.shape=\(8, 3\)"
    with pytest.raises(ValueError, match=said):
        DomainLoss(4)(x, logits, domain)
