import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import DomainDense
from mlora_tf.layers import domain_ops
from tests import goldens

MANY = domain_ops.PARTED_DOMAINS + 1


def reference(layer, x, domain):
    """Row by row: `act(x W_d + b_d)`."""
    kernel, *bias = (v.numpy().astype("float64") for v in layer.weights)
    outputs = np.zeros((len(x), layer.units))
    for i, d in enumerate(domain):
        for k in range(layer.units):
            for j in range(x.shape[1]):
                outputs[i, k] += x[i, j] * kernel[d, j, k]
            if bias:
                outputs[i, k] += bias[0][d, k]
    exponential = np.exp(outputs)
    return {
        "linear": outputs,
        "relu": np.maximum(outputs, 0),
        "softmax": exponential / exponential.sum(axis=1, keepdims=True),
    }[layer.activation.__name__]


def golden(**config):
    config = {"units": 8, "num_domains": 3, **config}
    return goldens.LayerGolden(DomainDense, config)


CONFIGS = {
    "plain": {},
    "one domain": {"num_domains": 1},
    "many domains": {"num_domains": MANY},
    "no bias": {"use_bias": False, "activation": "relu"},
    "gate": {"use_bias": False, "activation": "softmax"},
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@every_config
def test_it_is_the_equation(config):
    case = golden(**config)
    layer = case.make()
    for domain in (None, 0, case.num_domains - 1):
        inputs = case.inputs(domain)
        np.testing.assert_allclose(
            layer(*inputs), reference(layer, *inputs), atol=1e-5
        )


@every_config
def test_specialized_it_is_a_dense_layer(config):
    case = golden(**config)
    layer = case.make()
    for d in (0, case.num_domains - 1):
        x, domain = case.inputs(d)
        dense = layer.specialize(d)
        assert type(dense) is keras.layers.Dense
        assert dense.name == layer.name
        np.testing.assert_array_equal(dense.kernel, layer.domain_kernel[d])
        np.testing.assert_allclose(dense(x), layer(x, domain), atol=1e-6)


def test_all_its_weights_are_domain_variables():
    layer = golden().make()
    assert [v.name for v in layer.weights] == ["domain_kernel", "domain_bias"]
    assert [v.name for v in layer.domain_variables] == [
        "domain_kernel",
        "domain_bias",
    ]
    for variable in layer.domain_variables:
        assert variable.per_domain
    layer = golden(use_bias=False).make()
    assert [v.name for v in layer.weights] == ["domain_kernel"]
    assert layer.domain_bias is None


@pytest.mark.parametrize("num_domains", [1, 50])
def test_each_domain_starts_as_a_layer_of_its_own(num_domains):
    layer = DomainDense(64, num_domains, kernel_initializer="he_normal")
    layer.build((None, 128), (None,))
    kernels = layer.domain_kernel.numpy()
    for kernel in kernels:
        assert kernel.std() == pytest.approx(np.sqrt(2 / 128), rel=0.05)
    assert len(np.unique(kernels[:, 0, 0])) == num_domains
    assert not layer.domain_bias.numpy().any()


def test_initializers_draw_their_own_weight_only():
    layer = golden(
        kernel_initializer=keras.initializers.Constant(2.0),
        bias_initializer=keras.initializers.Constant(3.0),
    ).fresh()
    layer.build((None, 6), (None,))
    np.testing.assert_array_equal(layer.domain_kernel, np.full((3, 6, 8), 2))
    np.testing.assert_array_equal(layer.domain_bias, np.full((3, 8), 3))


@pytest.mark.parametrize("num_domains", [3, MANY])
def test_domains_learn_apart(num_domains):
    case = golden(num_domains=num_domains)
    layer = case.make()
    present = [0, num_domains - 1]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(*case.inputs(present * 6)))
    gradients = tape.gradient(loss, [v.value for v in layer.weights])
    for gradient in gradients:
        gradient = tf.convert_to_tensor(gradient).numpy()
        used = gradient.reshape(num_domains, -1).any(axis=1)
        assert list(np.flatnonzero(used)) == present


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [("units", 0), ("units", 8.0), ("units", None), ("num_domains", 0)],
)
def test_a_number_that_cannot_be_is_named(argument, wrong):
    said = rf"{argument} must be.*Received: {argument}={wrong!r}"
    with pytest.raises(ValueError, match=said):
        DomainDense(**{"units": 8, "num_domains": 3, argument: wrong})


def test_inputs_of_three_axes_raise():
    with pytest.raises(ValueError, match="expected ndim=2"):
        DomainDense(8, 3)(np.ones((2, 4, 6), "float32"), np.zeros(2, "int32"))


@pytest.mark.parametrize("num_domains", [3, MANY])
def test_a_domain_that_is_none_raises(num_domains):
    layer = golden(num_domains=num_domains).make()
    for wrong in (-1, num_domains):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"in \[0, "):
            layer(np.ones((2, 6), "float32"), np.array([0, wrong]))
