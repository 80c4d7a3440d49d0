"""Models and layers come back from a file as they were, in any process."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import serving
from mlora_tf.schema import Schema
from tests import goldens

ROOT = pathlib.Path(__file__).parents[2]

# Keras's own, of TensorFlow's variables under NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

every_model = goldens.every_model()
every_export = goldens.every_model(fast=goldens.SERVED.__contains__)
every_one = pytest.mark.parametrize(
    "name", [*goldens.LAYERS, *every_model.args[1]]
)

FRESH = """
import pathlib, sys
import mlora_tf
import keras
import numpy as np

folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path)
    with np.load(path.with_suffix(".inputs.npz")) as inputs:
        outputs = keras.tree.flatten(model(dict(inputs)))
    flat = [np.array(output).reshape(len(output), -1) for output in outputs]
    np.save(path.with_suffix(".fresh.npy"), np.concatenate(flat, axis=1))
"""


def inputs_of(name):
    if name in goldens.MODELS:
        return goldens.rows_of()
    golden = goldens.LAYERS[name]
    return dict(zip(golden.symbolic(), golden.inputs(), strict=True))


def predict(model, inputs):
    return goldens.outputs_of(model(inputs))


def names_of(request, test=""):
    """The goldens that the tests, or one test, of this session are about."""
    return {
        item.callspec.params["name"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
        if "name" in item.callspec.params and item.name.startswith(test)
    }


@pytest.fixture(scope="module")
def saved(request, tmp_path_factory):
    """A folder with every golden saved, and what each predicted."""
    folder = tmp_path_factory.mktemp("saved")
    predicted = {}
    for name in names_of(request):
        if name in goldens.MODELS:
            model = goldens.MODELS[name].make()
        else:
            model = goldens.LAYERS[name].model()
        inputs = inputs_of(name)
        predicted[name] = predict(model, inputs)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.inputs.npz", **inputs)
    return folder, predicted


@pytest.fixture(scope="module")
def in_a_fresh_process(saved):
    """What each predicts where nothing but `import mlora_tf` came before."""
    (folder, predicted) = saved
    process = subprocess.run(
        [sys.executable, "-c", FRESH, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return {name: np.load(folder / f"{name}.fresh.npy") for name in predicted}


@every_one
def test_loaded_it_predicts_the_same_bits(name, saved):
    folder, predicted = saved
    model = keras.saving.load_model(folder / f"{name}.keras")
    np.testing.assert_array_equal(
        predict(model, inputs_of(name)), predicted[name]
    )


@every_one
def test_a_fresh_process_predicts_the_same_bits(
    name, saved, in_a_fresh_process
):
    (_, predicted) = saved
    np.testing.assert_array_equal(in_a_fresh_process[name], predicted[name])


@every_model
def test_a_saved_model_knows_its_paths_again(name, saved):
    # Adapters and resumed runs find their weights by path.
    (folder, _) = saved
    model = keras.saving.load_model(folder / f"{name}.keras")
    expected = [weight.path for weight in goldens.MODELS[name].fresh().weights]
    assert [weight.path for weight in model.weights] == expected


# --- SavedModel --------------------------------------------------------------


@pytest.fixture(scope="module")
def served(request, tmp_path_factory):
    """Every model beside its export, loaded again."""
    pairs = {}
    wanted = names_of(request, "test_served")
    for name in wanted | names_of(request, "test_the_signature"):
        model = goldens.MODELS[name].make()
        folder = tmp_path_factory.mktemp("served")
        # One domain's own signature: of each it would take long.
        path = serving.export(model, goldens.SCHEMA, folder, domains=["it"])
        pairs[name] = model, tf.saved_model.load(str(path))
    return pairs


def serve(loaded, inputs, name="serving_default"):
    signature = loaded.signatures[name]
    tensors = {name: tf.constant(column) for name, column in inputs.items()}
    return signature(**tensors)


@every_export
def test_served_it_is_the_model(name, served):
    model, loaded = served[name]
    for inputs in (goldens.rows_of(), goldens.rows_of(2, rows=1)):
        outputs = serve(loaded, inputs)
        assert list(outputs) == ["ctr"]
        np.testing.assert_allclose(
            outputs["ctr"], predict(model, inputs), atol=1e-6
        )


# `tests/test_merge.py` folds every covering model; here are fewer.
@every_export
def test_served_for_one_domain_it_is_the_model_at_that_domain(name, served):
    model, loaded = served[name]
    inputs = goldens.rows_of(1)
    features = {
        key: column for key, column in inputs.items() if key != "domain"
    }
    outputs = serve(loaded, features, "domain_it")
    np.testing.assert_allclose(
        outputs["ctr"], predict(model, inputs), atol=1e-6
    )


@every_export
def test_the_signature_names_the_features_and_the_domain(name, served):
    (_, loaded) = served[name]
    signature = loaded.signatures["serving_default"]
    (_, takes) = signature.structured_input_signature
    assert set(takes) == {"item", "shop", "domain"}
    for spec in takes.values():
        assert spec.shape.as_list() == [None]
        assert spec.dtype == tf.int32
    assert signature.structured_outputs["ctr"].shape.as_list() == [None, 1]


@every_export
@pytest.mark.parametrize("wrong", [-1, goldens.NUM_DOMAINS])
def test_served_a_bad_domain_raises(name, wrong, served):
    (_, loaded) = served[name]
    inputs = goldens.rows_of()
    inputs["domain"][3] = wrong
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
        serve(loaded, inputs)


def test_every_export_is_a_new_whole_version(tmp_path, monkeypatch):
    """One folder's life: a version, a failure, the next version."""
    golden = goldens.MODELS["mlp-mlora"]

    def fail(_):
        raise KeyboardInterrupt

    folder = tmp_path / "made" / "here"
    old, new = golden.make(), golden.make(seed=1)
    first = serving.export(old, goldens.SCHEMA, folder)
    assert first == folder / "1"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Schema, "to_json", fail)
        serving.export(new, goldens.SCHEMA, folder)
    assert [path.name for path in folder.iterdir()] == ["1"]
    second = serving.export(new, goldens.SCHEMA, folder)
    assert second == folder / "2"
    assert {path.name for path in folder.iterdir()} == {"1", "2"}
    inputs = goldens.rows_of()
    for model, path in ((old, first), (new, second)):
        assert path.stat().st_mode & 0o777 == 0o755
        assert (path / "saved_model.pb").is_file()
        schema = Schema.load(path / "assets.extra" / "schema.json")
        assert schema == goldens.SCHEMA
        outputs = serve(tf.saved_model.load(str(path)), inputs)
        np.testing.assert_allclose(
            outputs["ctr"], predict(model, inputs), atol=1e-6
        )
    assert (predict(old, inputs) != predict(new, inputs)).any()
