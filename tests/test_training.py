import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import data
from mlora_tf import training
from mlora_tf.callbacks import EarlyStopping
from mlora_tf.callbacks import TrainingError
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.transform import domain_variables
from tests import clicks

RECIPE = Recipe(hidden_units=(16, 8), batch_size=64, max_epochs=2)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return data.load(clicks.prepare(tmp_path_factory.mktemp("data") / "clicks"))


def train(log, folder, strategy=None, **changes):
    return training.train(
        log,
        dataclasses.replace(RECIPE, **changes),
        strategy or tf.distribute.get_strategy(),
        state_folder=folder,
    )


def weights(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def test_joint_training_learns_what_domains_like(log, tmp_path):
    (phase,) = train(log, tmp_path, max_epochs=12, learning_rate=1e-2)
    assert phase.name == "joint"
    assert phase.best > 0.65
    scores = [logs["val_wauc"] for logs in phase.history]
    assert phase.best == max(scores)
    assert phase.best_epoch == int(np.argmax(scores))


def test_phase_two_trains_the_adapters_alone(log, tmp_path, two_replicas):
    pretrained, adapted = train(
        log, tmp_path, two_replicas, schedule="two_phase", learning_rate=1e-2
    )
    assert (pretrained.name, adapted.name) == ("pretrain", "adapters")
    before, after = weights(pretrained.model), weights(adapted.model)
    assert set(before) < set(after)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)
    adapters = {variable.path for variable in domain_variables(adapted.model)}
    assert set(after) - set(before) == adapters


def test_phase_two_is_never_worse_on_the_validation_rows(log, tmp_path):
    pretrained, adapted = train(log, tmp_path, schedule="two_phase")
    assert adapted.best >= pretrained.best


def test_two_phases_on_the_same_rows_warn(log, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train(log, tmp_path / "same", schedule="two_phase", max_epochs=1)
    assert "fresh_fraction" in caplog.text
    caplog.clear()
    train(
        log,
        tmp_path / "fresh",
        schedule="two_phase",
        max_epochs=1,
        fresh_fraction=0.5,
    )
    assert "fresh_fraction" not in caplog.text


def test_fresh_rows_are_not_in_phase_one(log):
    recipe = dataclasses.replace(
        RECIPE, schedule="two_phase", fresh_fraction=0.25
    )
    rows = data.Split(
        {"domain": np.arange(1000, dtype=np.int32)},
        np.zeros(1000, np.float32),
    )
    first, second = training.phase_rows(rows, recipe)
    assert (len(first), len(second)) == (750, 250)
    assert sorted([*first.domain, *second.domain]) == list(range(1000))


def test_training_on_is_a_second_phase_of_the_base(log, tmp_path):
    pretrained, trained_on = train(
        log,
        tmp_path,
        tower="shared",
        schedule="two_phase",
        control="train_on",
        max_epochs=1,
        learning_rate=1e-2,
    )
    assert trained_on.name == "train_on"
    assert set(weights(trained_on.model)) == set(weights(pretrained.model))
    assert trained_on.best >= pretrained.best


def test_both_arms_start_from_the_same_weights(log, tmp_path):
    starts = {}
    for tower in ("shared", "mlora"):

        class Start(keras.callbacks.Callback):
            def on_train_begin(self, logs=None, tower=tower):
                starts[tower] = weights(self.model)

        training.train(
            log,
            dataclasses.replace(RECIPE, tower=tower, max_epochs=1),
            tf.distribute.get_strategy(),
            state_folder=tmp_path / tower,
            phase_callbacks=lambda name, steps, start=Start: [start()],
        )
    for path, value in starts["shared"].items():
        np.testing.assert_array_equal(starts["mlora"][path], value)


def test_a_finished_phase_is_not_trained_again(log, tmp_path):
    (first,) = train(log, tmp_path)
    (again,) = train(log, tmp_path)
    assert again.history == first.history
    assert (again.best, again.best_epoch) == (first.best, first.best_epoch)
    for path, value in weights(first.model).items():
        np.testing.assert_array_equal(weights(again.model)[path], value)


def test_state_of_another_recipe_is_refused(log, tmp_path):
    train(log, tmp_path, max_epochs=1)
    with pytest.raises(TrainingError, match="saved by another run"):
        train(log, tmp_path, max_epochs=1, dropout=0.1)


def test_damaged_state_is_named(log, tmp_path):
    train(log, tmp_path, max_epochs=1)
    state = tmp_path / "joint.npz"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"joint\.npz is damaged.*delete"):
        train(log, tmp_path, max_epochs=1)


def test_the_batch_must_divide_by_the_replicas(log, tmp_path, two_replicas):
    with pytest.raises(RecipeError, match="batch_size=65, replicas=2"):
        train(log, tmp_path, two_replicas, batch_size=65)


def test_single_domain_batches_train_small_domains_too(log, tmp_path):
    (phase,) = train(
        log, tmp_path, batches="per_domain", batch_size=512, max_epochs=1
    )
    for variable in domain_variables(phase.model):
        if variable.path.endswith("lora_bias"):
            assert np.abs(variable.numpy()).max(axis=1).min() > 0


def test_a_diverging_run_says_so_and_keeps_its_state(log, tmp_path):
    train(log, tmp_path / "fine", max_epochs=1)
    with pytest.raises(TrainingError, match=r"diverged in epoch 1.*rate"):
        train(log, tmp_path / "wild", learning_rate=1e30)
    assert not (tmp_path / "wild" / "joint.npz").exists()


def test_a_validation_split_without_an_auc_is_refused(log, tmp_path):
    split = log.valid
    clickless = data.Split(split.inputs, np.zeros_like(split.label))
    with pytest.raises(data.DataError, match="validation split"):
        train(dataclasses.replace(log, valid=clickless), tmp_path)


def model_with_weight(value):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.full((1, 1), value), np.zeros(1)])
    model.stop_training = False
    return model


def epoch(callback, number, score, value):
    callback.model.layers[0].kernel.assign([[value]])
    callback.on_epoch_end(number, {"val_wauc": score})


def test_early_stopping_keeps_a_start_that_no_epoch_beats():
    callback = EarlyStopping("val_wauc", 2, start=0.7)
    callback.set_model(model_with_weight(1.0))
    callback.on_train_begin()
    epoch(callback, 0, 0.6, 2.0)
    assert not callback.model.stop_training
    epoch(callback, 1, 0.65, 3.0)
    assert callback.model.stop_training
    callback.on_train_end()
    assert callback.model.get_weights()[0] == 1.0
    assert callback.best_epoch == -1


@pytest.mark.parametrize(("rollback", "kept"), [(True, 2.0), (False, 3.0)])
def test_rollback_undoes_an_epoch_without_a_new_best(rollback, kept):
    callback = EarlyStopping("val_wauc", 5, rollback=rollback)
    callback.set_model(model_with_weight(1.0))
    callback.on_train_begin()
    epoch(callback, 0, 0.7, 2.0)
    epoch(callback, 1, 0.6, 3.0)
    assert callback.model.get_weights()[0] == kept
