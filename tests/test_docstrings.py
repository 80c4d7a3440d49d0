import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import mlora_tf

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
