import doctest
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

import mlora_tf
from mlora_tf import layers

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(mlora_tf.__path__, "mlora_tf.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_they_are_shown(name):
    module = importlib.import_module(name)
    names = {"keras": keras, "np": np, "mlora_tf": mlora_tf}
    names |= {name: getattr(mlora_tf, name) for name in mlora_tf.__all__}
    results = doctest.testmod(module, extraglobs=names)
    assert results.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = sum(
        len(test.examples)
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
    )
    assert examples > 20


@pytest.mark.parametrize("name", layers.__all__)
def test_every_layer_shows_how_it_is_used(name):
    layer = getattr(layers, name)
    if inspect.isabstract(layer) or not issubclass(layer, keras.layers.Layer):
        return
    assert ">>>" in layer.__doc__
