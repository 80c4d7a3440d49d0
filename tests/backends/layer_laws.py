"""Holds every layer to the laws under the Keras backend that is set.

Run in a process of its own, as `python -m tests.backends.layer_laws FILE`.
FILE holds each layer's weights and outputs under TensorFlow. Prints, as JSON,
what went wrong by law and layer; nothing, where all is well.
"""

import inspect
import json
import sys

import keras
import numpy as np
from keras import ops

from tests import goldens

LAWS = {}


def law(function):
    """Registers a law by its name."""
    LAWS[function.__name__] = function
    return function


def numpy(tensors):
    """Outputs of a call, as arrays."""
    return [ops.convert_to_numpy(one) for one in keras.tree.flatten(tensors)]


def close(actual, expected):
    for one, other in zip(numpy(actual), numpy(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def gradients(layer, inputs):
    """The gradients of a loss, by `layer.trainable_variables`' order."""
    variables = layer.trainable_variables
    if keras.backend.backend() == "jax":
        import jax

        others = [one.value for one in layer.non_trainable_variables]
        # Stateless, Keras hands it on to layers that don't take it, too.
        takes = "training" in inspect.signature(layer.call).parameters
        in_training = {"training": True} if takes else {}

        def loss(values):
            outputs, _ = layer.stateless_call(
                values, others, *inputs, **in_training
            )
            return ops.sum((outputs + 1.0) ** 3)

        return numpy(jax.grad(loss)([one.value for one in variables]))
    layer.zero_grad()
    ops.sum((layer(*inputs, training=True) + 1.0) ** 3).backward()
    return [
        np.zeros(one.shape)
        if one.value.grad is None
        else ops.convert_to_numpy(one.value.grad)
        for one in variables
    ]


@law
def its_outputs_are_tensorflows(golden, layer, expected):
    close(layer(*golden.inputs()), expected)


@law
def its_config_makes_the_same_layer(golden, layer, expected):
    config = json.loads(json.dumps(layer.get_config()))
    twin = golden.layer.from_config(config)
    twin(*golden.inputs())
    twin.set_weights(layer.get_weights())
    close(twin(*golden.inputs()), expected)


@law
def a_batch_of_one_row_is_that_row(golden, layer, expected):
    inputs = [array[1:2] for array in golden.inputs()]
    close(layer(*inputs), [array[1:2] for array in expected])


@law
def a_batch_of_no_rows_has_no_output(golden, layer, expected):
    nothing = layer(*(array[:0] for array in golden.inputs()))
    for none, array in zip(numpy(nothing), expected, strict=True):
        expected_shape = (0, *array.shape[1:])
        assert none.shape == expected_shape, f"it is of shape {none.shape}"


@law
def a_mixed_batch_is_each_domain_alone(golden, layer, expected):
    if golden.takes_domain:
        *inputs, domain = golden.inputs()
        for d in set(domain):
            rows = domain == d
            alone = layer(*(array[rows] for array in inputs), domain[rows])
            close(alone, [array[rows] for array in expected])


@law
def specialized_it_is_the_layer_at_that_domain(golden, layer, expected):
    if hasattr(layer, "specialize"):
        x, domain = golden.inputs(golden.num_domains - 1)
        close(layer.specialize(golden.num_domains - 1)(x), layer(x, domain))


@law
def absent_domains_have_no_gradient(golden, layer, expected):
    if not hasattr(layer, "domain_variables"):
        return
    present = [0, golden.num_domains - 1]
    inputs = golden.inputs(np.resize(present, goldens.ROWS))
    own = {id(one) for one in layer.domain_variables}
    for variable, gradient in zip(
        layer.trainable_variables, gradients(layer, inputs), strict=True
    ):
        if id(variable) in own:
            size = np.abs(gradient).reshape(len(gradient), -1).max(axis=1)
            assert set(np.flatnonzero(size)) == set(present), variable.path


def main():
    expected = np.load(sys.argv[1], allow_pickle=False)
    wrong = {name: {} for name in LAWS}
    for name, golden in goldens.LAYERS.items():
        for one, check in LAWS.items():
            try:
                layer = golden.make()
                count = len(layer.weights)
                layer.set_weights(
                    [expected[f"{name}/weight{i}"] for i in range(count)]
                )
                outputs = [
                    expected[key]
                    for key in expected.files
                    if key.startswith(f"{name}/output")
                ]
                check(golden, layer, outputs)
            except Exception as error:
                lines = str(error).split()
                wrong[one][name] = f"{type(error).__name__}: " + " ".join(lines)
    print(json.dumps({"backend": keras.backend.backend(), "wrong": wrong}))


if __name__ == "__main__":
    main()
