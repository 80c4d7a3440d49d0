import dataclasses
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import callbacks
from mlora_tf import data
from mlora_tf import training
from mlora_tf import training_state
from mlora_tf.recipes import Recipe
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals
from tests import clicks
from tests import streams

RECIPE = Recipe(
    tower="shared",
    hidden_units=(8,),
    dropout=0.2,
    batch_size=8,
    max_epochs=2,
    learning_rate=1e-2,
)
STEPS = 75
"""Of an epoch: two executions of 32 and one of 11."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "clicks"
    return streams.regroup(clicks.prepare(folder, rows=1000), 100)


@pytest.fixture(scope="module")
def log(folder):
    return data.load(folder)


class Signal(keras.callbacks.Callback):
    """Raises a signal after some steps of an epoch."""

    def __init__(self, epoch, step, number=signal.SIGTERM):
        super().__init__()
        self.at = epoch, step
        self.number = number

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at:
            signal.raise_signal(self.number)


class KilledError(Exception):
    """Ends a run without a chance to save."""


class Kill(Signal):
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at:
            raise KilledError


def train(log, folder, more=(), strategy=None, **changes):
    with StopSignals() as stop:
        return training.train(
            log,
            dataclasses.replace(RECIPE, **changes),
            strategy or tf.distribute.get_strategy(),
            state_folder=folder,
            phase_callbacks=lambda name, steps: list(more),
            stop=stop,
        )


def result(phases):
    """All that a training leaves, but for its clocks."""
    left = []
    for phase in phases:
        left += [
            [
                {k: v for k, v in logs.items() if not k.endswith("seconds")}
                for logs in phase.history
            ],
            phase.best,
            phase.best_epoch,
            [weight.numpy() for weight in phase.model.weights],
            [np.asarray(one) for one in phase.model.optimizer.variables],
        ]
    return left


def assert_same(mine, expected):
    keras.tree.assert_same_structure(mine, expected)
    for one, other in zip(
        keras.tree.flatten(mine), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole(log, tmp_path_factory):
    return result(train(log, tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    ("epoch", "number"), [(0, signal.SIGTERM), (1, signal.SIGINT)]
)
def test_a_stopped_epoch_goes_on_where_it_was(
    log, tmp_path, whole, epoch, number
):
    with pytest.raises(Stopped) as stopped:
        train(log, tmp_path, [Signal(epoch, 64, number)])
    assert str(stopped.value) == (
        f"stopped by {number.name} in phase joint, epoch {epoch + 1}, after "
        f"step 64 of {STEPS}. Nothing is lost: the same command goes on from "
        "there."
    )
    seen = []
    counter = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch + 1)
    )
    assert_same(result(train(log, tmp_path, [counter])), whole)
    # Of the epoch under way, no step is done again.
    assert seen == [32, *[32, 64, 96] * (1 - epoch)]


@pytest.mark.slow
def test_an_epoch_can_be_stopped_more_than_once(log, tmp_path, whole):
    for step in (32, 32, 32):
        with pytest.raises(Stopped):
            train(log, tmp_path, [Signal(0, step)])
    assert_same(result(train(log, tmp_path)), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reading", "replicas", "changes"),
    [
        ("memory", 2, {}),
        ("stream", 1, {"epoch_steps": 50}),
        (
            "stream",
            2,
            {"batches": "per_domain", "domain_sampling": "proportional"},
        ),
        (
            "stream",
            1,
            {
                "batches": "sliding_window",
                "window_rows": 100,
                "optimizer": "lazy_adam",
            },
        ),
        ("memory", 1, {"batches": "per_domain", "rollback": True}),
    ],
    ids=str,
)
def test_every_kind_of_batches_goes_on(
    folder, tmp_path, two_replicas, reading, replicas, changes
):
    log = data.load(folder, reading)
    strategy = two_replicas if replicas == 2 else None
    expected = result(
        train(log, tmp_path / "whole", strategy=strategy, **changes)
    )
    with pytest.raises(Stopped, match="epoch 2, after step 32 of"):
        train(log, tmp_path / "run", [Signal(1, 32)], strategy, **changes)
    log = data.load(folder, reading)
    mine = train(log, tmp_path / "run", strategy=strategy, **changes)
    assert_same(result(mine), expected)


@pytest.mark.slow
def test_phase_two_goes_on_too(log, tmp_path):
    changes = {"schedule": "two_phase", "tower": "mlora", "max_epochs": 1}
    expected = result(train(log, tmp_path / "whole", **changes))

    class InPhaseTwo(Signal):
        def on_train_batch_end(self, batch, logs=None):
            if not self.model.get_layer("hidden.0").kernel.trainable:
                super().on_train_batch_end(batch, logs)

    with pytest.raises(Stopped, match="in phase adapters, epoch 1, after"):
        train(log, tmp_path / "run", [InPhaseTwo(0, 64)], **changes)
    assert_same(result(train(log, tmp_path / "run", **changes)), expected)


def test_a_signal_cuts_an_evaluation_short(log, tmp_path, whole, monkeypatch):
    score_split = callbacks.score_split
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
            calls.append("not cut short")
        return score_split(*args, **kwargs)

    monkeypatch.setattr(callbacks, "score_split", interrupted)
    with pytest.raises(Stopped, match=f"epoch 2, after step {STEPS} of"):
        train(log, tmp_path)
    assert len(calls) == 2
    seen = []
    counter = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    assert_same(result(train(log, tmp_path, [counter])), whole)
    # All that was left to do was the evaluation.
    assert seen == []
    assert len(calls) == 3


@pytest.mark.slow
def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(log, tmp_path):
    with pytest.raises(Stopped):
        train(log, tmp_path, [Signal(0, 64)], max_epochs=1)
    state = tmp_path / "joint.npz"
    with np.load(state) as arrays:
        saved = dict(arrays)
    content = training_state.json.loads(str(saved["state"]))
    assert content["seconds"] > 0
    content["seconds"] = 1000.0
    saved["state"] = np.array(training_state.json.dumps(content))
    np.savez(state, **saved)
    (phase,) = train(log, tmp_path, max_epochs=1)
    assert 1000 < phase.history[0]["train_seconds"] < 1100


def test_a_long_epoch_is_saved_from_time_to_time(
    log, tmp_path, whole, monkeypatch
):
    monkeypatch.setattr(training_state, "SAVE_SECONDS", 0.0)
    # The next save waits for a hundred times what the last one took.
    monkeypatch.setattr(training_state, "SAVING_SHARE", 1e9)
    with pytest.raises(KilledError):
        train(log, tmp_path, [Kill(1, 64)])
    with np.load(tmp_path / "joint.npz") as arrays:
        assert training_state.json.loads(str(arrays["state"]))["done"] == 32
    monkeypatch.undo()
    assert_same(result(train(log, tmp_path)), whole)


def begun(folder, done=0, seconds=0.0):
    """A state in the midst of its first epoch, without a model."""
    stopping = callbacks.EarlyStopping("val_wauc", 2)
    state = training_state.TrainingState(folder / "a.npz", stopping, {})
    state.set_params({"steps": 96})
    state.on_train_begin()
    state.done, state.seconds = done, seconds
    state.on_epoch_begin(0)
    return state


def test_the_very_first_epoch_is_saved_from_time_to_time(tmp_path, monkeypatch):
    # There is no save before, from which on time would count.
    monkeypatch.setattr(training_state, "SAVE_SECONDS", -1.0)
    state, saved = begun(tmp_path), []
    monkeypatch.setattr(state, "save", lambda: saved.append(state.done))
    state.on_train_batch_end(31)
    assert saved == [32]


def test_an_epoch_that_is_stopped_again_has_all_of_its_seconds(tmp_path):
    state = begun(tmp_path, done=32, seconds=1000.0)
    state.on_train_batch_end(31)
    assert state.done == 64
    assert 1000 <= state.seconds < 1100


@pytest.mark.slow
def test_saving_takes_little_of_the_time(log, tmp_path, monkeypatch):
    monkeypatch.setattr(training_state, "SAVE_SECONDS", 0.0)
    saved = []
    replace = training_state.durable.replace
    monkeypatch.setattr(
        training_state.durable,
        "replace",
        lambda *paths: saved.append(paths) or replace(*paths),
    )
    train(log, tmp_path)
    # The first execution's, the two epochs' ends, and the end's.
    assert len(saved) <= 4


def test_a_stop_before_the_first_step_loses_nothing(log, tmp_path, whole):
    class Early(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"after step 32 of"):
        train(log, tmp_path, [Early()])
    assert_same(result(train(log, tmp_path)), whole)


@pytest.mark.slow
def test_a_stop_while_an_epoch_is_saved_waits_for_it(log, tmp_path, whole):
    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"epoch 2\. Nothing is lost"):
        train(log, tmp_path, [Late()])
    assert_same(result(train(log, tmp_path)), whole)


def test_a_second_ctrl_c_saves_nothing_that_is_half_done(log, tmp_path, whole):
    class Impatient(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 32:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as ended:
        train(log, tmp_path, [Impatient()])
    assert not isinstance(ended.value, Stopped)
    assert list(tmp_path.iterdir()) == []
    assert_same(result(train(log, tmp_path)), whole)


@pytest.mark.slow
def test_a_signal_that_others_handle_saves_nothing_half_done(
    log, tmp_path, whole
):
    class InAStep(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 32:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"^stopped by SIGTERM$"), StopSignals():
        training.train(
            log,
            RECIPE,
            tf.distribute.get_strategy(),
            state_folder=tmp_path,
            phase_callbacks=lambda name, steps: [InAStep()],
        )
    assert list(tmp_path.iterdir()) == []
    assert_same(result(train(log, tmp_path)), whole)


@pytest.mark.slow
def test_callbacks_see_one_training(log, tmp_path):
    with pytest.raises(Stopped):
        train(log, tmp_path, [Signal(0, 32)])
    seen = []
    counter = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_train_end=lambda logs: seen.append("end"),
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
    )
    train(log, tmp_path, [counter])
    assert seen == ["begin", 0, 1, "end"]


@pytest.mark.slow
def test_an_epoch_that_early_stopping_ends_is_the_last(log, tmp_path):
    changes = {"patience": 1, "max_epochs": 9, "learning_rate": 1e-9}
    expected = train(log, tmp_path / "whole", **changes)
    last = len(expected[0].history) - 1
    assert last < 8
    with pytest.raises(Stopped):
        train(log, tmp_path / "run", [Signal(last, 64)], **changes)
    mine = train(log, tmp_path / "run", **changes)
    assert_same(result(mine), result(expected))
