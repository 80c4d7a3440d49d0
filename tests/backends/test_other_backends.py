"""The layers' laws under Keras's other backends, each in its own process."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests import goldens

ROOT = pathlib.Path(__file__).parents[2]
LAWS = (
    "its_outputs_are_tensorflows",
    "its_config_makes_the_same_layer",
    "a_batch_of_one_row_is_that_row",
    "a_batch_of_no_rows_has_no_output",
    "a_mixed_batch_is_each_domain_alone",
    "specialized_it_is_the_layer_at_that_domain",
    "absent_domains_have_no_gradient",
)


def wrong_under(backend, expected):
    """What went wrong there, by law and layer."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.backends.layer_laws", str(expected)],
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert not finished.returncode, finished.stderr[-3000:]
    report = json.loads(finished.stdout.splitlines()[-1])
    assert report["backend"] == backend
    return report["wrong"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Each layer's weights and outputs under TensorFlow."""
    arrays = {}
    for name, golden in goldens.LAYERS.items():
        layer = golden.make()
        for i, value in enumerate(layer.get_weights()):
            arrays[f"{name}/weight{i}"] = value
        outputs = keras.tree.flatten(layer(*golden.inputs()))
        for i, output in enumerate(outputs):
            arrays[f"{name}/output{i}"] = output.numpy()
    path = tmp_path_factory.mktemp("expected") / "tensorflow.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_laws_hold(backend, expected):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} isn't installed: pip install -e '.[{backend}]'")
    wrong = wrong_under(backend, expected)
    assert wrong == {law: {} for law in LAWS}
