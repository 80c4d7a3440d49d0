import keras
import numpy as np
import pytest

from mlora_tf.layers import MLoRADense
from mlora_tf.layers import domain_ops
from tests import goldens


def reference(layer, x, domain):
    """The equation, row by row: `act((x W + b) + s x A_d B_d + b_d)`."""
    weights = {
        path.rpartition("/")[2]: value.astype("float64")
        for path, value in goldens.arrays(layer).items()
    }
    outputs = []
    for row, d in zip(x.astype("float64"), domain, strict=True):
        y = np.zeros(layer.units)
        if "kernel" in weights:
            y = row @ weights["kernel"]
        if "bias" in weights:
            y = y + weights["bias"]
        if "lora_kernel_a" in weights:
            a, b = weights["lora_kernel_a"][d], weights["lora_kernel_b"][d]
            scale = 1.0
            if layer.lora_alpha is not None:
                scale = layer.lora_alpha / a.shape[1]
            y = y + scale * (row @ a @ b)
        if "lora_bias" in weights:
            y = y + weights["lora_bias"][d]
        outputs.append(y)
    outputs = np.array(outputs)
    return {
        "linear": outputs,
        "relu": np.maximum(outputs, 0),
        "sigmoid": 1 / (1 + np.exp(-outputs)),
    }[layer.activation.__name__]


def built(**config):
    """A layer of random weights, with 6 inputs and 8 outputs."""
    config = {"units": 8, "num_domains": 3, **config}
    return goldens.LayerGolden(MLoRADense, config).make()


def names(layer):
    return {weight.name for weight in layer.weights}


MLORA_DENSES = [name for name in goldens.LAYERS if "mlora_dense" in name]


@pytest.mark.parametrize("name", MLORA_DENSES)
def test_it_is_the_equation(name):
    golden = goldens.LAYERS[name]
    layer = golden.make()
    for inputs in (golden.inputs(), golden.inputs(1)):
        np.testing.assert_allclose(
            layer(*inputs), reference(layer, *inputs), atol=1e-5
        )


def test_the_activation_follows_the_sum():
    layer = built(rank=2, activation="relu")
    x, domain = goldens.LAYERS["mlora_dense"].inputs()
    outputs = layer(x, domain).numpy()
    np.testing.assert_allclose(outputs, reference(layer, x, domain), atol=1e-5)
    assert (outputs == 0).any()
    assert (outputs > 0).any()


def test_a_new_layer_is_the_shared_one():
    layer = MLoRADense(8, 3, rank=2)
    x, domain = goldens.LAYERS["mlora_dense"].inputs()
    outputs = layer(x, domain).numpy()
    shared = x @ layer.kernel.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(outputs, shared, atol=1e-6)
    for weight in (layer.lora_kernel_b, layer.lora_bias, layer.bias):
        assert not weight.numpy().any()
    assert layer.lora_kernel_a.numpy().any()


def test_it_has_the_weights_asked_for():
    shared, adapter = {"kernel"}, {"lora_kernel_a", "lora_kernel_b"}
    biases = {"bias", "lora_bias"}
    assert names(built()) == shared | adapter | biases
    assert names(built(rank=0)) == shared | biases
    assert names(built(use_bias=False)) == shared | adapter | {"lora_bias"}
    assert names(built(use_lora_bias=False)) == shared | adapter | {"bias"}
    assert names(built(use_kernel=False)) == adapter | biases
    alone = built(use_kernel=False, use_bias=False)
    assert names(alone) == adapter | {"lora_bias"}


def test_the_domain_variables_are_the_adapters():
    assert [v.name for v in built().domain_variables] == [
        "lora_kernel_a",
        "lora_kernel_b",
        "lora_bias",
    ]
    assert [v.name for v in built(rank=0).domain_variables] == ["lora_bias"]
    assert built(rank=0, use_lora_bias=False).domain_variables == []


ADAPTERS = [
    {"use_bias": False},
    {"use_bias": False, "lora_alpha": 5.0, "rank": 2},
    {"use_bias": False, "use_lora_bias": False},
    {"use_bias": False, "rank": 0},
    {"use_bias": True, "activation": "relu"},
    {"use_bias": False, "num_domains": 1},
]


@pytest.mark.parametrize("config", ADAPTERS)
def test_without_a_kernel_it_is_the_adapter_alone(config):
    layer = built(use_kernel=False, **config)
    x, domain = goldens.LAYERS["mlora_dense"].inputs()
    domain = np.minimum(domain, layer.num_domains - 1)
    outputs = layer(x, domain)
    expected = reference(layer, x, domain)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for d in range(layer.num_domains):
        special = layer.specialize(d)
        np.testing.assert_allclose(
            special(x)[domain == d], outputs[domain == d], atol=1e-5
        )


def test_without_a_kernel_a_new_layer_is_zero():
    layer = MLoRADense(8, 3, use_kernel=False, use_bias=False)
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    np.testing.assert_array_equal(layer(*inputs), np.zeros((12, 8)))


def test_domain_variables_are_marked_for_the_optimizer():
    layer = built()
    marked = [v.name for v in layer.weights if hasattr(v, "per_domain")]
    assert marked == [v.name for v in layer.domain_variables]


@pytest.mark.parametrize("use_kernel", [True, False])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16", "float64"])
def test_it_computes_in_its_policys_dtype(use_kernel, policy):
    layer = built(use_kernel=use_kernel, shared_dropout=0.5, dtype=policy)
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    for training in (True, False):
        outputs = layer(*inputs, training=training)
        assert outputs.dtype == layer.compute_dtype
    for weight in layer.trainable_weights:
        assert weight.dtype == layer.variable_dtype
    expected = reference(layer, *inputs)
    np.testing.assert_allclose(
        keras.ops.cast(outputs, "float32"), expected, atol=0.1
    )


# --- The rank ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "temperature", "rank"),
    [(256, 32, 8), (128, 32, 4), (64, 32, 2), (100, 32, 3), (16, 32, 1),
     (1, 32, 1), (64, 1, 64)],
)  # fmt: skip
def test_the_rank_is_the_width_over_the_temperature(units, temperature, rank):
    layer = MLoRADense(units, 2, temperature=temperature)
    layer.build((None, 5), (None,))
    assert layer.adapter_rank(5) == rank
    assert layer.lora_kernel_a.shape == (2, 5, rank)
    assert layer.lora_kernel_b.shape == (2, rank, units)


def test_a_rank_of_its_own_overrules_the_temperature():
    assert MLoRADense(256, 2, rank=3, temperature=1).adapter_rank(9) == 3
    assert MLoRADense(256, 2, rank=0, temperature=1).adapter_rank(9) == 0


@pytest.mark.parametrize("width", [24, 64, 256])
@pytest.mark.parametrize("units", [1, 37, 256, 512])
@pytest.mark.parametrize("temperature", [1, 16, 32])
def test_the_temperature_rises_until_the_adapter_fits(
    width, units, temperature
):
    limit = 1024
    ranks = (max(units // t, 1) for t in range(temperature, 10_000))
    fitting = next(r for r in ranks if r * (width + units) <= limit)
    layer = MLoRADense(
        units, 2, temperature=temperature, max_adapter_params=limit
    )
    assert layer.adapter_rank(width) == fitting


def test_a_limit_that_is_not_reached_changes_nothing():
    assert MLoRADense(64, 2, max_adapter_params=1024).adapter_rank(64) == 2
    limited = MLoRADense(64, 2, temperature=8, max_adapter_params=1024)
    assert limited.adapter_rank(64) == 8


def test_a_rank_of_its_own_is_cut_to_the_limit():
    layer = MLoRADense(100, 2, rank=9, max_adapter_params=1024)
    assert layer.adapter_rank(100) == 5
    layer = MLoRADense(100, 2, rank=0, max_adapter_params=1)
    assert layer.adapter_rank(100) == 0


def test_a_limit_below_rank_one_raises():
    layer = MLoRADense(800, 2, max_adapter_params=1024)
    said = r"800\) has 1056 parameters.*Received: max_adapter_params=1024"
    with pytest.raises(ValueError, match=said):
        layer.build((None, 256), (None,))


# --- Initial values ----------------------------------------------------------


@pytest.mark.parametrize("num_domains", [1, 50])
def test_a_starts_as_large_whatever_the_number_of_domains(num_domains):
    layer = MLoRADense(64, num_domains, rank=32)
    layer.build((None, 128), (None,))
    a = layer.lora_kernel_a.numpy()
    # Glorot's, of one domain's slice; 4096 numbers at least: 1.1% of noise.
    expected = np.sqrt(2 / (128 + 32))
    assert a.std() == pytest.approx(expected, rel=0.05)
    for d in range(num_domains):
        assert a[d].std() == pytest.approx(expected, rel=0.08)


def test_initializers_draw_their_own_weight_only():
    layer = MLoRADense(
        8,
        3,
        kernel_initializer=keras.initializers.Constant(2.0),
        bias_initializer=keras.initializers.Constant(3.0),
        a_initializer=keras.initializers.Constant(4.0),
    )
    layer.build((None, 6), (None,))
    for weight, value in [
        (layer.kernel, 2),
        (layer.bias, 3),
        (layer.lora_kernel_a, 4),
        (layer.lora_kernel_b, 0),
        (layer.lora_bias, 0),
    ]:
        np.testing.assert_array_equal(weight, np.full(weight.shape, value))


# --- Dropout and penalties ---------------------------------------------------


def test_dropout_drops_the_shared_path_alone():
    x, domain = goldens.LAYERS["mlora_dense"].inputs()
    layer = built(rank=2, shared_dropout=0.5)
    whole = layer(x, domain, training=False).numpy()
    dropped = layer(x, domain, training=True).numpy()
    shared = x @ layer.kernel.numpy() + layer.bias.numpy()
    adapters = whole - shared
    # Each number of the shared path is gone or doubled; adapters are whole.
    kept = np.abs(dropped - adapters) > 1e-5
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(dropped, adapters + 2 * shared * kept, atol=1e-5)


def test_adapters_pass_dropout_undropped():
    layer = built(rank=2, shared_dropout=0.9)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign(np.zeros(layer.bias.shape))
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    whole = layer(*inputs, training=False).numpy()
    assert (whole != 0).all()
    np.testing.assert_array_equal(layer(*inputs, training=True), whole)


def test_the_adapters_own_dropout_drops_their_input_alone():
    x, domain = goldens.LAYERS["mlora_dense"].inputs()
    layer = built(rank=2, lora_dropout=0.5)
    # One number of the input is all that the adapters see of a row.
    x = np.where(np.arange(x.shape[1]) == 0, x, 0.0).astype(x.dtype)
    whole = layer(x, domain, training=False).numpy()
    dropped = layer(x, domain, training=True).numpy()
    shared = x @ layer.kernel.numpy() + layer.bias.numpy()
    bias = layer.lora_bias.numpy()[domain]
    adapters = whole - shared - bias
    kept = np.abs(dropped - shared - bias).max(axis=1) > 1e-5
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_allclose(
        dropped, shared + bias + 2 * adapters * kept[:, None], atol=1e-5
    )


def test_there_is_no_dropout_unless_asked_for():
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    layer = built()
    np.testing.assert_allclose(
        layer(*inputs, training=True),
        layer(*inputs, training=False),
        atol=1e-5,
    )


def test_penalties_are_on_their_own_weights():
    layer = built(
        rank=2,
        kernel_regularizer=keras.regularizers.L2(0.5),
        lora_regularizer=keras.regularizers.L2(0.25),
    )
    a, b = layer.lora_kernel_a.numpy(), layer.lora_kernel_b.numpy()
    expected = [
        0.5 * np.sum(layer.kernel.numpy() ** 2),
        0.25 * np.sum(a**2),
        0.25 * np.sum(b**2),
    ]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert built(rank=2).losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("units", 0),
        ("units", 8.0),
        ("units", None),
        ("rank", -1),
        ("rank", 1.5),
        ("temperature", 0),
        ("temperature", None),
        ("max_adapter_params", 0),
        ("max_adapter_params", "1024"),
    ],
)
def test_a_number_that_cannot_be_is_named(argument, wrong):
    said = rf"{argument} must be an integer.*Received: {argument}={wrong!r}"
    with pytest.raises(ValueError, match=said):
        MLoRADense(**{"units": 8, "num_domains": 3, argument: wrong})


@pytest.mark.parametrize("argument", ["shared_dropout", "lora_dropout"])
def test_a_rate_that_is_none_is_named(argument):
    with pytest.raises(ValueError, match=r"1\.5"):
        MLoRADense(8, 3, **{argument: 1.5})


def test_inputs_of_three_axes_raise():
    with pytest.raises(ValueError, match="expected ndim=2"):
        MLoRADense(8, 3)(np.ones((2, 4, 6), "float32"), np.zeros(2, "int32"))


def trained_merged(monkeypatch, change=lambda layer: None, **arguments):
    """Whether a call in training goes through `domain_ops.merged`."""
    taken = []
    original = domain_ops.merged
    monkeypatch.setattr(
        domain_ops,
        "merged",
        lambda *given, **named: taken.append(1) or original(*given, **named),
    )
    layer = built(**arguments)
    change(layer)
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    layer(*inputs, training=False)
    layer(*inputs)
    assert not taken
    layer(*inputs, training=True)
    return bool(taken)


def test_training_forms_each_domains_kernel(monkeypatch):
    assert trained_merged(monkeypatch)


@pytest.mark.parametrize(
    "arguments", [{"shared_dropout": 0.5}, {"use_kernel": False}, {"rank": 0}]
)
def test_training_forms_none_that_it_could_not_train(monkeypatch, arguments):
    assert not trained_merged(monkeypatch, **arguments)


def test_phase_two_forms_no_gradient_in_whole_kernels(monkeypatch):
    def freeze(layer):
        layer.kernel.trainable = False

    assert not trained_merged(monkeypatch, freeze)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("use_lora_bias", [True, False])
@pytest.mark.parametrize("lora_alpha", [None, 3.0])
def test_training_computes_what_inference_does(
    use_bias, use_lora_bias, lora_alpha
):
    layer = built(
        use_bias=use_bias,
        use_lora_bias=use_lora_bias,
        lora_alpha=lora_alpha,
        activation="gelu",
    )
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        if weight.dtype == "float32":
            weight.assign(rng.normal(size=weight.shape))
    inputs = goldens.LAYERS["mlora_dense"].inputs()
    np.testing.assert_allclose(
        layer(*inputs, training=True), layer(*inputs), rtol=1e-5, atol=1e-5
    )
