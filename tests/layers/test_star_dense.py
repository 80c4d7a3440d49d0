import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import DomainDense
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import StarDense
from mlora_tf.layers import domain_ops
from tests import goldens

MANY = domain_ops.PARTED_DOMAINS + 1


def reference(layer, x, domain):
    """Eqs. 5 and 6, row by row: `act(x (W * W_d) + b + b_d)`."""
    weights = {
        path.rpartition("/")[2]: value.astype("float64")
        for path, value in goldens.arrays(layer).items()
    }
    outputs = np.zeros((len(x), layer.units))
    for i, d in enumerate(domain):
        if layer.low_rank:
            a = weights["domain_kernel_a"][d]
            own = 1 + a @ weights["domain_kernel_b"][d]
        else:
            own = weights["domain_kernel"][d]
        for k in range(layer.units):
            for j in range(x.shape[1]):
                star = weights["kernel"][j, k] * own[j, k]
                outputs[i, k] += x[i, j] * star
            if layer.use_bias:
                outputs[i, k] += weights["bias"][k]
                outputs[i, k] += weights["domain_bias"][d, k]
    return {
        "linear": outputs,
        "relu": np.maximum(outputs, 0),
        "sigmoid": 1 / (1 + np.exp(-outputs)),
    }[layer.activation.__name__]


def golden(**config):
    config = {"units": 8, "num_domains": 3, **config}
    return goldens.LayerGolden(StarDense, config)


def built(**config):
    """A layer of random weights, with 6 inputs and 8 outputs."""
    return golden(**config).make()


def names(layer):
    return {weight.name for weight in layer.weights}


CONFIGS = {
    "plain": {},
    "one domain": {"num_domains": 1},
    "many domains": {"num_domains": MANY},
    "no bias": {"use_bias": False},
    "relu": {"activation": "relu"},
    "low rank": {"low_rank": True},
    "low rank 3": {"low_rank": True, "rank": 3, "activation": "sigmoid"},
    "low rank, no bias": {"low_rank": True, "rank": 2, "use_bias": False},
    "low rank, many domains": {"low_rank": True, "num_domains": MANY},
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@every_config
def test_it_is_the_papers_equations(config):
    case = golden(**config)
    layer = case.make()
    for domain in (None, 0, case.num_domains - 1):
        inputs = case.inputs(domain)
        np.testing.assert_allclose(
            layer(*inputs), reference(layer, *inputs), atol=1e-5
        )


@every_config
def test_a_new_layer_is_the_shared_dense_exactly(config):
    case = golden(**config)
    layer = case.fresh()
    x, domain = case.inputs()
    layer(x, domain)
    shared = keras.layers.Dense(
        8,
        activation=config.get("activation"),
        use_bias=config.get("use_bias", True),
    )
    shared.build(x.shape)
    shared.set_weights(
        [weight for weight in (layer.kernel, layer.bias) if weight is not None]
    )
    np.testing.assert_allclose(layer(x, domain), shared(x), atol=1e-6)
    for d in (0, case.num_domains - 1):
        for own, weight in zip(
            layer.specialize(d).weights, shared.weights, strict=True
        ):
            np.testing.assert_array_equal(own, weight)


def test_domain_kernels_start_at_one_and_biases_at_zero():
    layer = golden().fresh()
    layer.build((None, 6), (None,))
    assert layer.domain_kernel.shape == (3, 6, 8)
    np.testing.assert_array_equal(layer.domain_kernel, np.ones((3, 6, 8)))
    np.testing.assert_array_equal(layer.domain_bias, np.zeros((3, 8)))
    np.testing.assert_array_equal(layer.bias, np.zeros(8))
    assert layer.kernel.numpy().any()


@pytest.mark.parametrize("num_domains", [1, 50])
def test_a_starts_as_large_whatever_the_number_of_domains(num_domains):
    layer = StarDense(64, num_domains, low_rank=True, rank=32)
    layer.build((None, 128), (None,))
    assert not layer.domain_kernel_b.numpy().any()
    for a in layer.domain_kernel_a.numpy():
        assert a.std() == pytest.approx(np.sqrt(2 / (128 + 32)), rel=0.08)


def test_initializers_draw_their_own_weight_only():
    constant = keras.initializers.Constant
    for low_rank in (False, True):
        layer = StarDense(
            8,
            3,
            low_rank=low_rank,
            kernel_initializer=constant(2.0),
            bias_initializer=constant(3.0),
            domain_kernel_initializer=constant(4.0),
        )
        layer.build((None, 6), (None,))
        expected = {
            "kernel": 2,
            "bias": 3,
            "domain_kernel": 4,
            "domain_kernel_a": 4,
            "domain_kernel_b": 0,
            "domain_bias": 0,
        }
        for weight in layer.weights:
            value = np.full(weight.shape, expected[weight.name])
            np.testing.assert_array_equal(weight, value)


def test_it_has_the_weights_asked_for():
    shared, biases = {"kernel"}, {"bias", "domain_bias"}
    low_rank = {"domain_kernel_a", "domain_kernel_b"}
    assert names(built()) == shared | biases | {"domain_kernel"}
    assert names(built(use_bias=False)) == shared | {"domain_kernel"}
    assert names(built(low_rank=True)) == shared | biases | low_rank
    bare = built(low_rank=True, use_bias=False)
    assert names(bare) == shared | low_rank


def test_the_domain_variables_are_the_domains_own():
    def own(**config):
        return [v.name for v in built(**config).domain_variables]

    assert own() == ["domain_kernel", "domain_bias"]
    assert own(use_bias=False) == ["domain_kernel"]
    assert own(low_rank=True) == [
        "domain_kernel_a",
        "domain_kernel_b",
        "domain_bias",
    ]
    for variable in built().domain_variables:
        assert variable.per_domain


@pytest.mark.parametrize(
    ("config", "rank"),
    [
        ({"units": 256}, 8),
        ({"units": 100, "temperature": 16}, 6),
        ({"units": 1}, 1),
        ({"units": 256, "rank": 3}, 3),
        ({"units": 100, "rank": 9, "max_adapter_params": 1100}, 5),
        ({"units": 100, "temperature": 4, "max_adapter_params": 1100}, 10),
        ({"units": 100, "temperature": 4, "max_adapter_params": 1099}, 9),
    ],
)
def test_the_rank_is_mloras(config, rank):
    width = 120 if config.get("rank") == 9 else 10
    layer = StarDense(num_domains=2, low_rank=True, **config)
    layer.build((None, width), (None,))
    units = config["units"]
    assert layer.domain_kernel_a.shape == (2, width, rank)
    assert layer.domain_kernel_b.shape == (2, rank, units)


def test_a_limit_below_rank_one_raises():
    layer = StarDense(800, 2, low_rank=True, max_adapter_params=1024)
    said = r"800\) has 1056 parameters.*Received: max_adapter_params=1024"
    with pytest.raises(ValueError, match=said):
        layer.build((None, 256), (None,))


@every_config
def test_specialized_it_is_a_dense_layer(config):
    case = golden(**config)
    layer = case.make()
    for d in (0, case.num_domains - 1):
        x, domain = case.inputs(d)
        dense = layer.specialize(d)
        assert type(dense) is keras.layers.Dense
        assert dense.name == layer.name
        np.testing.assert_allclose(dense(x), layer(x, domain), atol=1e-5)


def test_the_penalty_is_on_the_shared_kernel():
    layer = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = 0.5 * np.sum(layer.kernel.numpy() ** 2)
    np.testing.assert_allclose(layer.losses, [expected], rtol=1e-5)
    assert built().losses == []


@pytest.mark.parametrize("low_rank", [False, True])
def test_gradients_are_the_products_rules(low_rank):
    layer = built(low_rank=low_rank, use_bias=False)
    x, domain = golden().inputs([0, 2] * 6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, domain))
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    shared, *own = (tf.convert_to_tensor(g).numpy() for g in gradients)
    kernel = layer.kernel.numpy()
    if low_rank:
        a, b = (v.numpy() for v in layer.domain_variables)
        stars = 1 + a @ b
    else:
        stars = layer.domain_kernel.numpy()
    expected = np.zeros(kernel.shape)
    for row, d in zip(x, domain, strict=True):
        expected += row[:, None] * stars[d]
    np.testing.assert_allclose(shared, expected, atol=1e-4)
    for gradient in own:
        assert not gradient[1].any()
        assert gradient[[0, 2]].any(axis=(1, 2)).all()
    if not low_rank:
        for d in (0, 2):
            of_domain = x[domain == d].sum(axis=0)[:, None] * kernel
            np.testing.assert_allclose(own[0][d], of_domain, atol=1e-4)


def test_with_an_adapter_beside_it_it_is_the_parallel_form():
    star = built()
    adapter = goldens.LayerGolden(
        MLoRADense,
        {
            "units": 8,
            "num_domains": 3,
            "rank": 2,
            "use_kernel": False,
            "use_bias": False,
        },
    ).make(seed=5)
    x, domain = golden().inputs()
    outputs = star(x, domain) + adapter(x, domain)
    a, b = adapter.lora_kernel_a.numpy(), adapter.lora_kernel_b.numpy()
    for row, d, output in zip(x, domain, outputs, strict=True):
        kernel = star.kernel.numpy() * star.domain_kernel.numpy()[d]
        expected = row @ kernel + row @ a[d] @ b[d]
        expected = expected + star.bias.numpy() + star.domain_bias.numpy()[d]
        expected = expected + adapter.lora_bias.numpy()[d]
        np.testing.assert_allclose(output, expected, atol=1e-5)


# --- Where it runs -----------------------------------------------------------


@pytest.mark.parametrize("layer", [StarDense, DomainDense])
@pytest.mark.parametrize("num_domains", [1, 3, MANY])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16", "float64"])
def test_it_computes_in_its_policys_dtype(layer, num_domains, policy):
    case = goldens.LayerGolden(
        layer, {"units": 8, "num_domains": num_domains, "dtype": policy}
    )
    made = case.make()
    x, domain = case.inputs(num_domains - 1)
    outputs = made(x, domain)
    assert outputs.dtype == made.compute_dtype
    for weight in made.weights:
        assert weight.dtype == made.variable_dtype
    special = made.specialize(num_domains - 1)
    np.testing.assert_allclose(
        tf.cast(special(x), "float32"), tf.cast(outputs, "float32"), atol=0.1
    )


@pytest.mark.parametrize(
    "num_domains", [3, pytest.param(MANY, marks=pytest.mark.slow)]
)
def test_two_replicas_train_as_one(num_domains, two_replicas):
    case = golden(num_domains=num_domains)
    x, domain = case.inputs(rows=32)
    # Sorted, replicas have domains apart, and some of their batches are pure.
    domain = np.sort(domain)
    domain[8:16] = domain[8]
    y = np.random.default_rng(4).normal(size=(32, 8)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(
        ({"x": x, "domain": domain}, y)
    ).batch(8, drop_remainder=True)

    def train(strategy, steps_per_execution):
        with strategy.scope():
            model = case.model()
            model.compile(
                keras.optimizers.SGD(0.5),
                "mse",
                steps_per_execution=steps_per_execution,
                jit_compile=False,
            )
        model.fit(data, shuffle=False, verbose=0)
        return goldens.arrays(model)

    expected = train(tf.distribute.get_strategy(), 1)
    actual = train(two_replicas, 2)
    before = goldens.arrays(case.model())
    assert len(actual) == len(expected) == 4
    for path, value in expected.items():
        np.testing.assert_allclose(actual[path], value, atol=1e-5)
        assert np.abs(value - before[path]).max() > 1e-3


@pytest.mark.parametrize(
    "num_domains", [3, pytest.param(MANY, marks=pytest.mark.slow)]
)
def test_an_exported_model_serves_any_number_of_rows(num_domains, tmp_path):
    case = golden(num_domains=num_domains)
    model = case.model()
    model.export(tmp_path / "model", verbose=False)
    # Its function lives no longer than the model it is of.
    served = tf.saved_model.load(str(tmp_path / "model"))
    for rows in (0, 1, 7):
        x, domain = (array[:rows] for array in case.inputs())
        outputs = served.serve(
            {"x": tf.constant(x), "domain": tf.constant(domain)}
        )
        layer = model.layers[-1]
        np.testing.assert_allclose(outputs, layer(x, domain), atol=1e-6)


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("units", 0),
        ("units", 8.0),
        ("rank", 0),
        ("rank", 1.5),
        ("temperature", 0),
        ("temperature", None),
        ("max_adapter_params", 0),
    ],
)
def test_a_number_that_cannot_be_is_named(argument, wrong):
    said = rf"{argument} must be an integer.*Received: {argument}={wrong!r}"
    config = {"units": 8, "num_domains": 3, argument: wrong}
    with pytest.raises(ValueError, match=said):
        StarDense(low_rank=True, **config)


@pytest.mark.parametrize("argument", ["rank", "max_adapter_params"])
def test_a_rank_without_low_rank_raises(argument):
    said = rf"are for low_rank=True. Received: .*{argument}=50"
    with pytest.raises(ValueError, match=said):
        StarDense(8, 3, **{argument: 50})


def test_inputs_of_three_axes_raise():
    with pytest.raises(ValueError, match="expected ndim=2"):
        StarDense(8, 3)(np.ones((2, 4, 6), "float32"), np.zeros(2, "int32"))


@pytest.mark.parametrize("num_domains", [3, MANY])
def test_a_domain_that_is_none_raises(num_domains):
    layer = built(num_domains=num_domains)
    for wrong in (-1, num_domains):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"in \[0, "):
            layer(np.ones((2, 6), "float32"), np.array([0, wrong]))
