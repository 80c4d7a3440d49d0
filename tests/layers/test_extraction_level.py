import keras
import numpy as np
import pytest

from mlora_tf.layers import ExtractionLevel
from tests import goldens

D, UNITS, ROWS = 3, 4, 5
OWN, SHARED = 6, 7  # Widths of the inputs, where they differ.

CONFIGS = {
    "one of each": {},
    "more specific": {"num_specific": 2},
    "more shared": {"num_shared": 3},
    "more of both": {"num_specific": 3, "num_shared": 2},
    "linear": {"num_specific": 2, "activation": None},
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
every_level = pytest.mark.parametrize("first", [True, False])


def inputs(first, domains=D, seed=0):
    """Of the first level, whose one input all see, or of a later one."""
    rng = np.random.default_rng(seed)
    if first:
        x = rng.normal(size=(ROWS, OWN)).astype("float32")
        return x, x
    return (
        rng.normal(size=(ROWS, domains, OWN)).astype("float32"),
        rng.normal(size=(ROWS, SHARED)).astype("float32"),
    )


def make(first, domains=D, **config):
    layer = ExtractionLevel(domains, UNITS, **config)
    layer(*inputs(first, domains))
    goldens.randomize(layer)
    return layer


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def reference(layer, own, shared):
    """Row by row, expert by expert."""
    w = {
        "/".join(weight.path.split("/")[-2:]): weight.numpy().astype("float64")
        for weight in layer.weights
    }
    act = {"relu": lambda z: np.maximum(z, 0), "linear": lambda z: z}[
        layer.activation.__name__
    ]
    domains, specific = layer.num_domains, layer.num_specific
    y_own = np.zeros((len(shared), domains, layer.units))
    y_shared = np.zeros((len(shared), layer.units))
    for row in range(len(shared)):
        x_s = shared[row]
        of_all = [
            act(x_s @ w["shared/kernel"][k] + w["shared/bias"][k])
            for k in range(layer.num_shared)
        ]
        everyone = []
        for d in range(domains):
            x_d = own[row] if own.ndim == 2 else own[row, d]
            experts = []
            for k in range(d * specific, (d + 1) * specific):
                z = x_d @ w["specific/kernel"][k] + w["specific/bias"][k]
                experts.append(act(z))
            everyone += experts
            gate = softmax(x_d @ w["gates/kernel"][d] + w["gates/bias"][d])
            for g, expert in zip(gate, experts + of_all, strict=True):
                y_own[row, d] += g * expert
        gate = softmax(x_s @ w["shared_gate/kernel"] + w["shared_gate/bias"])
        for g, expert in zip(gate, everyone + of_all, strict=True):
            y_shared[row] += g * expert
    return y_own, y_shared


@every_level
@every_config
def test_it_is_the_papers_equations(config, first):
    layer, x = make(first, **config), inputs(first)
    for outputs, expected in zip(layer(*x), reference(layer, *x), strict=True):
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@every_level
def test_a_single_domain_has_its_own_experts_too(first):
    layer = make(first, domains=1, num_specific=2)
    x = inputs(first, domains=1)
    for outputs, expected in zip(layer(*x), reference(layer, *x), strict=True):
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@every_level
def test_a_batch_may_have_any_number_of_rows(first):
    layer, x = make(first, num_specific=2), inputs(first)
    own, shared = layer(*(one[:0] for one in x))
    assert own.shape == (0, D, UNITS)
    assert shared.shape == (0, UNITS)
    for one, all_rows in zip(
        layer(*(one[:1] for one in x)), layer(*x), strict=True
    ):
        np.testing.assert_allclose(one, all_rows[:1], atol=1e-6)
    own, shared = layer(*(keras.Input(one.shape[1:]) for one in x))
    assert own.shape == (None, D, UNITS)
    assert shared.shape == (None, UNITS)


@every_level
def test_each_expert_is_drawn_as_if_alone(first):
    keras.utils.set_random_seed(0)
    layer = ExtractionLevel(4, 100, num_specific=2, num_shared=3)
    own = (None, 60) if first else (None, 4, 60)
    layer.build(own, (None, 60))
    experts = [*layer.specific.kernel.numpy(), *layer.shared.kernel.numpy()]
    assert len(experts) == 4 * 2 + 3
    for kernel in experts:
        assert kernel.shape == (60, 100)
        assert kernel.std() == pytest.approx(np.sqrt(2 / 160), rel=0.05)
    assert len({kernel.flat[0] for kernel in experts}) == len(experts)
    for gate in layer.gates.kernel.numpy():
        # As a stock Dense layer draws it: 300 numbers, 4% of noise.
        assert gate.std() == pytest.approx(np.sqrt(2 / 65), rel=0.15)
    for weight in layer.weights:
        assert not weight.path.endswith("bias") or not weight.numpy().any()


@every_level
def test_other_precisions_are_kept(first):
    for dtype, outputs, weights in (
        ("float64", "float64", "float64"),
        ("mixed_float16", "float16", "float32"),
    ):
        layer = make(first, dtype=dtype)
        assert [one.dtype for one in layer(*inputs(first))] == [outputs] * 2
        assert {weight.dtype for weight in layer.weights} == {weights}


@pytest.mark.parametrize(
    "argument", ["num_domains", "units", "num_specific", "num_shared"]
)
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_sizes_that_cannot_be_are_named(argument, wrong):
    config = {"num_domains": D, "units": UNITS, argument: wrong}
    with pytest.raises(ValueError, match=f"Received: {argument}={wrong!r}"):
        ExtractionLevel(**config)


def test_inputs_of_other_domains_raise():
    with pytest.raises(ValueError, match=r"Received: .*=\(5, 2, 6\)"):
        ExtractionLevel(D, UNITS)(*inputs(False, domains=2))
