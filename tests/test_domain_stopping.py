"""Each domain keeps its own best epoch: on a model moved by hand."""

import keras
import numpy as np
import pytest

from mlora_tf import build_model
from mlora_tf.domain_stopping import DomainEarlyStopping
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.transform import freeze_backbone

DOMAINS = ("fr", "it", "pt")
START = {"fr": 0.70, "it": 0.60}
ROWS = (300, 100, 50)


@pytest.fixture
def model():
    schema = Schema((SparseFeature("item", (7, 8)),), "country", DOMAINS)
    model = build_model(schema, tower="mlora", hidden_units=[4, 3])
    freeze_backbone(model)
    return model


def begun(model, patience=2, history=()):
    stopping = DomainEarlyStopping(DOMAINS, ROWS, START, patience)
    stopping.remember(history)
    stopping.set_model(model)
    model.stop_training = False
    stopping.on_train_begin()
    return stopping


def epoch(stopping, number, **auc):
    """An epoch after which each adapter's weights are its number."""
    for variable in stopping.model.trainable_variables:
        variable.assign(np.full(variable.shape, float(number)))
    logs = {f"val_auc_{name}": value for name, value in auc.items()}
    stopping.on_epoch_end(number, {**logs, "val_wauc": 0.5})


def test_each_domain_has_the_weights_of_its_best_epoch(model):
    before = {v.path: v.numpy() for v in model.variables}
    stopping = begun(model)
    epoch(stopping, 1, fr=0.72, it=0.59, pt=0.9)
    epoch(stopping, 2, fr=0.71, it=0.63, pt=0.95)
    epoch(stopping, 3, fr=0.70, it=0.61)
    stopping.on_train_end()
    own = {id(variable) for variable in model.trainable_variables}
    for variable in model.variables:
        values, old = variable.numpy(), before[variable.path]
        if id(variable) in own:
            assert (values[0] == 1).all()
            assert (values[1] == 2).all()
            # It had no AUC to beat: it is what it was.
            np.testing.assert_array_equal(values[2], old[2])
        else:
            np.testing.assert_array_equal(values, old)
    assert stopping.best == pytest.approx((300 * 0.72 + 100 * 0.63) / 400)
    assert stopping.best_epoch == 2


def test_no_better_epoch_leaves_the_start(model):
    before = [variable.numpy() for variable in model.variables]
    stopping = begun(model)
    assert stopping.best == pytest.approx((300 * 0.7 + 100 * 0.6) / 400)
    epoch(stopping, 0, fr=0.70, it=0.60)
    assert not model.stop_training
    epoch(stopping, 1, fr=0.1, it=0.2)
    assert model.stop_training
    assert stopping.best_epoch == -1
    stopping.on_train_end()
    for variable, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_it_stops_when_no_domain_has_got_better_for_long_enough(model):
    stopping = begun(model)
    for number, it in enumerate((0.61, 0.60, 0.62, 0.61, 0.6)):
        assert not model.stop_training
        epoch(stopping, number, fr=0.1, it=it)
    assert model.stop_training
    assert stopping.wait == 2


def test_going_on_it_knows_what_each_domain_had(model):
    history = [
        {"val_auc_fr": 0.75, "val_auc_it": 0.5},
        {"val_auc_fr": 0.73, "val_auc_it": 0.65},
    ]
    stopping = begun(model, history=history)
    assert stopping.best_by_domain == {"fr": 0.75, "it": 0.65}
    # What it restores besides comes from the state.
    epoch(stopping, 2, fr=0.74, it=0.66)
    assert stopping.best_by_domain == {"fr": 0.75, "it": 0.66}


def test_shared_weights_must_be_frozen(model):
    model.get_layer("logit.deep").trainable = True
    with pytest.raises(ValueError, match=r"freeze_backbone first.*logit\.deep"):
        begun(model)


def test_the_best_weights_are_no_view_of_the_models(model):
    stopping = begun(model)
    kept = [one.copy() for one in stopping.best_weights]
    epoch(stopping, 0, fr=0.1, it=0.1)
    for one, old in zip(stopping.best_weights, kept, strict=True):
        np.testing.assert_array_equal(one, old)
    assert isinstance(stopping, keras.callbacks.EarlyStopping)
