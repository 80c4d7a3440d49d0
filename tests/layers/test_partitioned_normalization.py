import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import domain_ops
from mlora_tf.layers.partitioned_normalization import PartitionedNormalization
from tests import goldens

WIDTH = 5
DOMAINS = 4
STATE = ("moving_mean", "moving_variance", "num_updates")


def weights_of(layer):
    """Copies of a layer's weights by name, in double precision."""
    return {
        weight.name: weight.numpy().astype("float64")
        for weight in layer.weights
    }


def normalized(weights, row, d, mean, variance, epsilon=1e-3):
    """`(gamma * gamma_d) (z - mean) / sqrt(variance + epsilon) + ...`."""
    scale = weights["gamma"] * weights["domain_gamma"][d]
    shift = weights["beta"] + weights["domain_beta"][d]
    return scale * (row - mean) / np.sqrt(variance + epsilon) + shift


def equation_3(layer, x, domain):
    """Training, row by row, with the moments of the row's domain's rows."""
    weights = weights_of(layer)
    outputs = []
    for row, d in zip(x.astype("float64"), domain, strict=True):
        own = [other for other, e in zip(x, domain, strict=True) if e == d]
        own = np.array(own, "float64")
        mean = sum(own) / len(own)
        variance = sum((own - mean) ** 2) / len(own)
        outputs.append(normalized(weights, row, d, mean, variance))
    return np.array(outputs)


def equation_4(layer, x, domain):
    """Inference, row by row, with the domain's moving statistics."""
    weights = weights_of(layer)
    return np.array(
        [
            normalized(
                weights,
                row,
                d,
                weights["moving_mean"][d],
                weights["moving_variance"][d],
            )
            for row, d in zip(x.astype("float64"), domain, strict=True)
        ]
    )


def moving_statistics(batches, momentum):
    """Each domain's mean and variance: weighted means over its batches."""
    mean, variance = np.zeros((DOMAINS, WIDTH)), np.ones((DOMAINS, WIDTH))
    count = np.zeros(DOMAINS)
    for d in range(DOMAINS):
        own = [x[domain == d].astype("float64") for x, domain in batches]
        own = [rows for rows in own if len(rows) > 1]
        count[d] = len(own)
        if own:
            weights = [momentum ** (len(own) - 1 - s) for s in range(len(own))]
            means, variances = ([f(rows, 0) for rows in own] for f in
                                (np.mean, np.var))  # fmt: skip
            mean[d] = np.average(means, axis=0, weights=weights)
            variance[d] = np.average(variances, axis=0, weights=weights)
    return {
        "moving_mean": mean,
        "moving_variance": variance,
        "num_updates": count,
    }


def built(num_domains=DOMAINS, randomized=True, **config):
    """A layer of random scales and shifts, its state as initialized."""
    layer = PartitionedNormalization(num_domains, **config)
    layer.build((None, WIDTH), (None,))
    if randomized:
        rng = np.random.default_rng(7)
        for weight in layer.trainable_weights:
            weight.assign(rng.normal(1.0, 0.4, weight.shape))
    return layer


def rows_of(domain, seed=0):
    """Rows of which each domain has a mean and a spread of its own."""
    rng = np.random.default_rng(seed)
    domain = np.asarray(domain, "int32")
    x = rng.normal(size=(len(domain), WIDTH))
    x = (x + domain[:, None]) * (1.0 + domain[:, None] / 2)
    return x.astype("float32"), domain


def state(layer):
    return {name: getattr(layer, name).numpy().copy() for name in STATE}


def assert_same(actual, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, name)


MIXED = [0, 2, 0, 1, 1, 2, 0, 1, 0, 2, 2, 1]
PURE = [1] * 6


# --- The equations -----------------------------------------------------------


@pytest.mark.parametrize("domain", [MIXED, PURE, [3, 0, 0, 3]])
def test_in_training_it_is_equation_3(domain):
    layer = built()
    x, domain = rows_of(domain)
    np.testing.assert_allclose(
        layer(x, domain, training=True),
        equation_3(layer, x, domain),
        atol=1e-5,
    )


@pytest.mark.parametrize("domain", [MIXED, PURE, [3]])
def test_in_inference_it_is_equation_4(domain):
    layer = built()
    goldens.randomize(layer)
    x, domain = rows_of(domain)
    expected = equation_4(layer, x, domain)
    np.testing.assert_allclose(layer(x, domain), expected, atol=1e-5)
    np.testing.assert_allclose(
        layer(x, domain, training=False), expected, atol=1e-5
    )


@pytest.mark.parametrize("num_domains", [1, 3, 100])
def test_any_number_of_domains_will_do(num_domains):
    # A hundred take the other forms of the sums and of the rows.
    layer = built(num_domains)
    x, domain = rows_of(np.arange(24) % min(num_domains, 5))
    expected = equation_3(layer, x, domain)
    outputs = layer(x, domain, training=True)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(
        layer(x, domain), equation_4(layer, x, domain), atol=1e-5
    )


def test_a_mixed_training_batch_is_each_domain_alone():
    together = built()
    x, domain = rows_of(MIXED)
    outputs = together(x, domain, training=True).numpy()
    for d in set(MIXED):
        alone = built()
        np.testing.assert_allclose(
            alone(x[domain == d], domain[domain == d], training=True),
            outputs[domain == d],
            atol=1e-6,
        )
        for name, value in state(alone).items():
            np.testing.assert_allclose(
                state(together)[name][d], value[d], rtol=1e-6, atol=1e-7
            )


def test_large_means_leave_small_deviations_whole():
    layer = built(randomized=False)
    rng = np.random.default_rng(0)
    domain = rng.integers(0, DOMAINS, 3000).astype("int32")
    x = 1e4 * (1 - 2 * domain[:, None]) + rng.normal(0, 1e-2, (3000, WIDTH))
    x = x.astype("float32")
    expected = equation_3_of_many(x, domain)
    outputs = layer(x, domain, training=True)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for d in range(DOMAINS):
        own = x[domain == d].astype("float64")
        np.testing.assert_allclose(
            layer.moving_variance[d], own.var(axis=0), rtol=1e-5
        )
        np.testing.assert_allclose(
            layer.moving_mean[d], own.mean(axis=0), rtol=1e-7
        )


def equation_3_of_many(x, domain):
    """Equation 3 for scales of one and shifts of zero."""
    outputs = np.zeros(x.shape)
    for d in set(domain):
        own = x[domain == d].astype("float64")
        deviations = own - own.mean(axis=0)
        outputs[domain == d] = deviations / np.sqrt(own.var(axis=0) + 1e-3)
    return outputs


def test_the_second_pass_takes_back_what_the_first_is_off(monkeypatch):
    exact, calls = domain_ops.domain_sums, []

    def coarse(values, domain, num_domains):
        calls.append(values.shape[1])
        sums = exact(values, domain, num_domains)
        return 1.1 * sums if calls == [1, WIDTH] else sums

    monkeypatch.setattr(domain_ops, "domain_sums", coarse)
    layer = built()
    x, domain = rows_of(MIXED)
    np.testing.assert_allclose(
        layer(x, domain, training=True),
        equation_3(layer, x, domain),
        atol=1e-5,
    )
    expected = moving_statistics([(x, domain)], layer.momentum)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(layer, name), value, atol=1e-5)


def test_one_row_alone_is_the_shift():
    layer = built()
    before = state(layer)
    for domain in ([2], [0, 0, 2, 0]):
        x, domain = rows_of(domain)
        outputs = layer(x, domain, training=True).numpy()
        shift = layer.beta + layer.domain_beta[2]
        np.testing.assert_array_equal(outputs[domain == 2], [shift])
        for name, value in before.items():
            np.testing.assert_array_equal(state(layer)[name][2], value[2])


def test_no_rows_change_nothing():
    layer = built()
    goldens.randomize(layer)
    before = state(layer)
    x, domain = rows_of([])
    with tf.GradientTape() as tape:
        outputs = layer(x, domain, training=True)
        loss = tf.reduce_sum(outputs)
    assert outputs.shape == (0, WIDTH)
    for gradient in tape.gradient(
        loss, [weight.value for weight in layer.trainable_weights]
    ):
        assert not tf.convert_to_tensor(gradient).numpy().any()
    assert_same(state(layer), before)


# --- Gradients ---------------------------------------------------------------


@pytest.mark.parametrize("domain", [MIXED, PURE, [0, 1, 1, 3, 1, 0]])
def test_gradients_are_the_numerical_ones(domain):
    layer = built(dtype="float64")
    x, domain = rows_of(domain)
    x = x.astype("float64")
    rng = np.random.default_rng(5)
    towards = rng.normal(size=x.shape)
    trained = layer.trainable_weights
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        outputs = layer(inputs, domain, training=True)
        loss = tf.reduce_sum(towards * outputs**2)
    gradients = tape.gradient(loss, [inputs, *(w.value for w in trained)])

    def loss_at(values):
        for weight, value in zip(trained, values[1:], strict=True):
            weight.assign(value)
        return np.sum(towards * equation_3(layer, values[0], domain) ** 2)

    values = [x, *(weight.numpy() for weight in trained)]
    for i, gradient in enumerate(gradients):
        expected = np.zeros(values[i].shape)
        for place in np.ndindex(expected.shape):
            sides = []
            for change in (1e-5, -1e-5):
                changed = [value.copy() for value in values]
                changed[i][place] += change
                sides.append(loss_at(changed))
            expected[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), expected, rtol=1e-5, atol=1e-6
        )


def test_absent_domains_have_no_gradient_and_one_row_a_finite_one():
    layer = built()
    x, domain = rows_of([0, 0, 0, 2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, domain, training=True) ** 2)
    own = [layer.domain_gamma.value, layer.domain_beta.value]
    for gradient in tape.gradient(loss, own):
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all()
        assert not gradient[[1, 3]].any()
        assert gradient[0].all()


# --- The moving statistics ---------------------------------------------------


def batches_of_some_domains():
    """Domains come, stay away, come in one row, and come back."""
    domains = [MIXED, PURE, [0, 0, 1, 2, 2], [0, 1], [2, 2, 1, 1], MIXED]
    return [rows_of(domain, seed) for seed, domain in enumerate(domains)]


@pytest.mark.parametrize("momentum", [0.99, 0.5, 0.9999])
def test_moving_statistics_are_the_debiased_average(momentum):
    layer = built(momentum=momentum)
    batches = batches_of_some_domains()
    for i, batch in enumerate(batches):
        layer(*batch, training=True)
        for name, value in moving_statistics(
            batches[: i + 1], momentum
        ).items():
            np.testing.assert_allclose(
                getattr(layer, name), value, rtol=2e-6, atol=1e-6
            )
    assert layer.num_updates.numpy().tolist() == [3, 4, 4, 0]


def test_each_update_is_a_step_of_the_size_said():
    momentum = 0.9
    layer = built(momentum=momentum)
    mean, t = np.zeros((DOMAINS, WIDTH)), np.zeros(DOMAINS)
    for x, domain in batches_of_some_domains():
        layer(x, domain, training=True)
        for d in range(DOMAINS):
            own = x[domain == d].astype("float64")
            if len(own) > 1:
                t[d] += 1
                step = (1 - momentum) / (1 - momentum ** t[d])
                mean[d] += step * (own.mean(axis=0) - mean[d])
        np.testing.assert_allclose(
            layer.moving_mean, mean, rtol=2e-6, atol=1e-6
        )


def test_the_first_update_leaves_nothing_of_what_was_there():
    layer, other = built(), built()
    for weight in (other.moving_mean, other.moving_variance):
        weight.assign(np.full(weight.shape, 1e6))
    x, domain = rows_of(MIXED)
    x *= 1e-4
    for each in (layer, other):
        each(x, domain, training=True)
    for name in STATE:
        np.testing.assert_array_equal(
            getattr(layer, name)[:3], getattr(other, name)[:3]
        )
    own = x[domain == 1].astype("float64")
    np.testing.assert_allclose(
        layer.moving_variance[1], own.var(axis=0), rtol=1e-5
    )


def test_absent_domains_keep_every_bit():
    layer = built()
    goldens.randomize(layer)
    before = state(layer)
    x, domain = rows_of([0, 2, 0, 2, 2])
    layer(x, domain, training=True)
    for name, value in state(layer).items():
        np.testing.assert_array_equal(value[[1, 3]], before[name][[1, 3]])
        assert (value[[0, 2]] != before[name][[0, 2]]).all()


def test_inference_moves_nothing():
    layer = built()
    goldens.randomize(layer)
    before = state(layer)
    x, domain = rows_of(MIXED)
    layer(x, domain)
    layer(x, domain, training=False)
    model = functional(layer)
    model.compile(loss="mean_squared_error")
    model.evaluate([x, domain], np.zeros((len(x), 1)), verbose=0)
    model.predict([x, domain], verbose=0)
    assert_same(state(layer), before)


def test_frozen_it_normalizes_by_its_moving_statistics():
    layer = built()
    goldens.randomize(layer)
    layer.trainable = False
    before = state(layer)
    x, domain = rows_of(MIXED)
    outputs = layer(x, domain, training=True)
    np.testing.assert_array_equal(outputs, layer(x, domain, training=False))
    assert_same(state(layer), before)


# --- In a model --------------------------------------------------------------


def functional(layer):
    """Rows, normalized, into a `Dense`."""
    x = keras.Input((WIDTH,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    outputs = keras.layers.Dense(1, name="dense")(layer(x, domain))
    return keras.Model([x, domain], outputs)


def new_model(**config):
    """The layer between two `Dense`, drawn alike each time."""
    keras.utils.set_random_seed(3)
    x = keras.Input((WIDTH,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    hidden = keras.layers.Dense(WIDTH, use_bias=False, name="below")(x)
    layer = PartitionedNormalization(DOMAINS, name="norm", **config)
    hidden = layer(hidden, domain)
    outputs = keras.layers.Dense(1, name="above")(hidden)
    return keras.Model([x, domain], outputs)


def compiled(model, **options):
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error", **options)
    return model


def fit(model, batches):
    """One epoch of batches of one size."""
    (size,) = {len(domain) for _, domain in batches}
    x, domain = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    targets = np.sin(np.arange(len(x)))[:, None].astype("float32")
    data = tf.data.Dataset.from_tensor_slices(((x, domain), targets))
    model.fit(data.batch(size), shuffle=False, verbose=0)


def some_batches(steps=4):
    return [rows_of(MIXED, seed) for seed in range(steps)]


def test_frozen_fit_changes_no_bit_and_unfrozen_it_moves_again():
    model = compiled(new_model())
    layer = model.get_layer("norm")
    fit(model, some_batches())
    layer.trainable = False
    compiled(model)
    before = goldens.arrays(layer)
    fit(model, some_batches())
    assert_same(goldens.arrays(layer), before)
    layer.trainable = True
    compiled(model)
    fit(model, some_batches())
    assert layer.num_updates.numpy().tolist() == [8, 8, 8, 0]
    for path, value in goldens.arrays(layer).items():
        assert (value != before[path]).any(), path


def test_several_steps_an_execution_are_the_same_steps():
    one, four = compiled(new_model()), new_model()
    compiled(four, steps_per_execution=4)
    fit(one, some_batches(6))
    fit(four, some_batches(6))
    expected = goldens.arrays(one)
    for path, value in goldens.arrays(four).items():
        np.testing.assert_allclose(value, expected[path], atol=1e-6)


def test_a_file_keeps_every_bit_and_training_goes_on(tmp_path):
    model = compiled(new_model(momentum=0.9))
    fit(model, some_batches())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(goldens.arrays(loaded), goldens.arrays(model))
    for each in (model, loaded):
        fit(each, some_batches(3))
    assert_same(goldens.arrays(loaded), goldens.arrays(model))
    assert loaded.get_layer("norm").num_updates.numpy().max() == 7


def test_exported_it_is_the_layer(tmp_path):
    model = compiled(new_model())
    fit(model, some_batches())
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for domain in (MIXED, [2], []):
        x, domain = rows_of(domain)
        np.testing.assert_allclose(
            served.serve([x, domain]), model([x, domain]), atol=1e-6
        )
    x, domain = rows_of([0, DOMAINS])
    with pytest.raises(tf.errors.InvalidArgumentError, match="domain ids"):
        served.serve([x, domain])


def test_a_graph_of_unknown_batch_size_gives_the_same():
    layer, other = built(), built()
    x, domain = rows_of(MIXED)
    graph = tf.function(
        lambda x, domain: layer(x, domain, training=True),
        input_signature=[
            tf.TensorSpec((None, WIDTH), "float32"),
            tf.TensorSpec((None,), "int32"),
        ],
    )
    expected = other(x, domain, training=True)
    np.testing.assert_allclose(graph(x, domain), expected, atol=1e-6)
    for name, value in state(other).items():
        np.testing.assert_allclose(state(layer)[name], value, rtol=1e-6)
    assert graph(*rows_of([])).shape == (0, WIDTH)


# --- Two replicas ------------------------------------------------------------

# The halves of a batch are the replicas': rows 0 to 3, and 4 to 7.
HALVES = {
    "the same domains on both": [[0, 1, 0, 1, 1, 0, 1, 0]] * 4,
    "a domain of its own on each": [[0] * 4 + [1] * 4, [1] * 4 + [2] * 4] * 2,
    "one row of a domain on each": [[0, 0, 3, 0, 0, 3, 0, 0]] * 4,
    "one row of a domain in all": [[0, 0, 3, 0, 0, 0, 0, 0]] * 4,
    "a pure batch": [[2] * 8, [1] * 8, [2] * 8, [1] * 8],
}


def trained(strategy, domains, **options):
    """Each weight's value on each replica after some steps."""
    with strategy.scope():
        model = compiled(new_model(), **options)
    batches = [rows_of(domain, seed) for seed, domain in enumerate(domains)]
    fit(model, batches)
    return {
        weight.path: [
            copy.numpy()
            for copy in strategy.experimental_local_results(weight.value)
        ]
        for weight in model.weights
    }


@pytest.mark.parametrize(
    ("case", "steps_per_execution"),
    [
        ("one row of a domain on each", 4),
        *(
            pytest.param(case, steps, marks=pytest.mark.slow)
            for case, steps in itertools.product(HALVES, (1, 4))
            if (case, steps) != ("one row of a domain on each", 4)
        ),
    ],
)
def test_two_replicas_train_as_one(case, steps_per_execution, two_replicas):
    domains = HALVES[case]
    # Eagerly, for time.
    ones = trained(tf.distribute.get_strategy(), domains, run_eagerly=True)
    twos = trained(
        two_replicas, domains, steps_per_execution=steps_per_execution
    )
    for path, (one,) in ones.items():
        first, second = twos[path]
        np.testing.assert_array_equal(first, second, path)
        np.testing.assert_allclose(first, one, atol=1e-6, err_msg=path)
    rows = [np.bincount(domain, minlength=DOMAINS) for domain in domains]
    (counted, _) = twos["norm/num_updates"]
    np.testing.assert_array_equal(counted, np.sum(np.array(rows) > 1, axis=0))
    absent = np.sum(rows, axis=0) == 0
    for name in ("domain_gamma", "domain_beta", *STATE):
        (values, _) = twos[f"norm/{name}"]
        start = float(name in ("domain_gamma", "moving_variance"))
        np.testing.assert_array_equal(
            values[absent], np.full(values[absent].shape, start)
        )


# --- One domain alone --------------------------------------------------------


def test_specialized_it_is_a_stock_layer():
    layer = built(momentum=0.7, epsilon=0.02)
    goldens.randomize(layer)
    x, domain = rows_of(PURE)
    special = layer.specialize(1)
    assert type(special) is keras.layers.BatchNormalization
    assert special.built
    assert (special.momentum, special.epsilon) == (0.7, 0.02)
    np.testing.assert_allclose(special(x), layer(x, domain), atol=1e-6)
    for d in (-1, DOMAINS):
        with pytest.raises(ValueError, match=f"0 to 3.*Received.*{d}"):
            layer.specialize(d)
    with pytest.raises(ValueError, match="has no weights yet"):
        PartitionedNormalization(2).specialize(0)


def test_a_domain_starts_from_the_mean_of_those_with_statistics():
    layer = built()
    layer(*rows_of(MIXED), training=True)  # Domain 3 has seen nothing.
    layer.moving_mean.assign(layer.moving_mean + np.eye(4, WIDTH, -3))
    before = weights_of(layer)
    layer.start_domain(3)
    for name, value in weights_of(layer).items():
        expected = before[name].copy()
        if name.startswith("moving"):
            expected[3] = before[name][:3].mean(axis=0)
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)
        if name.startswith("moving"):
            np.testing.assert_array_equal(value[:3], before[name][:3])
    # Its own first batch replaces what it started from.
    x, domain = rows_of([3, 3, 3])
    layer(x, domain, training=True)
    np.testing.assert_allclose(layer.moving_mean[3], x.mean(axis=0), rtol=1e-6)


def test_domains_without_statistics_of_their_own_have_no_say():
    layer = built()
    layer(*rows_of([1, 1, 1]), training=True)
    before = state(layer)
    layer.start_domain(2)
    for name in ("moving_mean", "moving_variance"):
        after = getattr(layer, name).numpy()
        np.testing.assert_array_equal(after[2], before[name][1])
        np.testing.assert_array_equal(after[[0, 3]], before[name][[0, 3]])


def test_a_domain_that_starts_again_forgets_its_own():
    layer = built()
    layer(*rows_of(MIXED), training=True)
    before = state(layer)
    layer.start_domain(1)
    assert layer.num_updates.numpy().tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(
        layer.moving_mean[1],
        before["moving_mean"][[0, 2]].mean(axis=0),
        rtol=1e-6,
    )


def test_the_first_domain_of_all_starts_as_initialized():
    layer = built()
    before = state(layer)
    layer.start_domain(3)
    assert_same(state(layer), before)


# --- Weights, configuration, dtypes ------------------------------------------


def test_a_new_layer_scales_by_one_and_shifts_by_zero():
    layer = built(randomized=False)
    for weight in layer.weights:
        one = weight.name.endswith("gamma") or weight.name == "moving_variance"
        expected = np.full(weight.shape, float(one))
        np.testing.assert_array_equal(weight, expected)


def test_the_domain_variables_are_all_but_the_shared_scale_and_shift():
    layer = built()
    assert [(v.name, v.trainable) for v in layer.domain_variables] == [
        ("domain_gamma", True),
        ("domain_beta", True),
        ("moving_mean", False),
        ("moving_variance", False),
        ("num_updates", False),
    ]
    for variable in layer.domain_variables:
        assert variable.shape[0] == DOMAINS
        # Said, so that replicas could not keep values of their own.
        assert variable.trainable or variable.aggregation != "none"
    shared = [weight.name for weight in layer.weights if weight.shape[0] != 4]
    assert shared == ["gamma", "beta"]


def test_the_config_makes_the_same_layer():
    layer = PartitionedNormalization(3, momentum=0.9, epsilon=1e-5, name="n")
    config = json.loads(json.dumps(layer.get_config()))
    assert (config["momentum"], config["epsilon"]) == (0.9, 1e-5)
    twin = PartitionedNormalization.from_config(config)
    assert twin.get_config() == layer.get_config()
    assert twin.compute_output_shape((None, 7), (None,)) == (None, 7)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]
)
def test_half_precision_keeps_moments_and_counts_whole(policy):
    layer = built(randomized=False, dtype=policy)
    # Their squares, and the sum of the rows, are beyond float16.
    x, domain = rows_of(np.arange(600) % 3)
    x = 300 * x
    for _ in range(2):
        outputs = layer(x, domain, training=True)
    assert outputs.dtype == layer.compute_dtype
    assert layer(x, domain).dtype == layer.compute_dtype
    expected = equation_3_of_many(x, domain)
    # Half a unit in the last of bfloat16's 8 bits, of inputs and of outputs.
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=0.05)
    for weight in layer.weights:
        assert weight.dtype == "float32"
        assert np.isfinite(weight.numpy()).all()
    assert layer.num_updates.numpy().tolist() == [2, 2, 2, 0]
    special = layer.specialize(1)(x[domain == 1])
    assert special.dtype == layer.compute_dtype


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, 1, -0.5, 1.5, float("nan")])
def test_a_momentum_that_cannot_be_is_named(wrong):
    said = f"momentum must be between 0 and 1. Received: momentum={wrong!r}"
    with pytest.raises(ValueError, match=said):
        PartitionedNormalization(3, momentum=wrong)


@pytest.mark.parametrize("wrong", [0, -1e-3, float("nan")])
def test_an_epsilon_that_cannot_be_is_named(wrong):
    said = f"epsilon must be positive. Received: epsilon={wrong!r}"
    with pytest.raises(ValueError, match=said):
        PartitionedNormalization(3, epsilon=wrong)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("wrong", [-1, DOMAINS])
def test_a_bad_domain_raises_and_moves_nothing(training, wrong):
    layer = built()
    before = state(layer)
    x, domain = rows_of(MIXED)
    domain[3] = wrong
    for call in (layer, tf.function(layer)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="domain ids"):
            call(x, domain, training=training)
    assert_same(state(layer), before)


def test_inputs_of_another_shape_raise():
    layer = built()
    domain = np.zeros(2, "int32")
    with pytest.raises(ValueError, match="expected axis -1"):
        layer(np.ones((2, 1), "float32"), domain)
    with pytest.raises(ValueError, match="expected ndim=2"):
        layer(np.ones((2, 3, WIDTH), "float32"), domain)
