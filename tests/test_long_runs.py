"""Two hundred epochs take no more memory, files or graphs than a few."""

import dataclasses
import os
import pathlib

import keras
import pytest
import tensorflow as tf

from mlora_tf import data
from mlora_tf import training
from mlora_tf.recipes import Recipe
from tests import clicks
from tests import streams

EPOCHS = 200
WARM = 50
"""Epochs until memory is what it will be: allocators keep what they had."""

RECIPE = Recipe(
    tower="mlora",
    hidden_units=(8,),
    batch_size=64,
    patience=EPOCHS,
    learning_rate=1e-4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "clicks"
    return streams.regroup(clicks.prepare(folder, rows=600), 100)


def resident():
    """Bytes of memory that this process has."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Watch(keras.callbacks.Callback):
    """Notes memory, open files and traces after each epoch."""

    def __init__(self):
        super().__init__()
        self.traces = 0
        self.memory, self.files, self.traced = [], [], []

    def on_epoch_end(self, epoch, logs=None):
        self.memory.append(resident())
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.traced.append(self.traces)


def watched(log, folder, monkeypatch, strategy=None, **changes):
    """Trains, and returns what was noted."""
    watch = Watch()
    x = keras.Input((1,))
    functional = type(keras.Model(x, x))
    call = functional.call

    def counted(self, *args, **kwargs):
        # Python sees a model's call once for each graph that is traced.
        watch.traces += 1
        return call(self, *args, **kwargs)

    monkeypatch.setattr(functional, "call", counted)
    training.train(
        log,
        dataclasses.replace(RECIPE, **changes),
        strategy or tf.distribute.get_strategy(),
        state_folder=folder,
        phase_callbacks=lambda name, steps: [watch],
    )
    return watch


@pytest.mark.parametrize(
    ("reading", "replicas", "changes"),
    [
        ("memory", 1, {}),
        ("stream", 1, {"epoch_steps": 4}),
        pytest.param("memory", 2, {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_nothing_is_traced_after_the_first_epoch(
    folder, tmp_path, monkeypatch, two_replicas, reading, replicas, changes
):
    watch = watched(
        data.load(folder, reading),
        tmp_path,
        monkeypatch,
        two_replicas if replicas == 2 else None,
        max_epochs=4,
        **changes,
    )
    assert watch.traced[0] > 1
    assert watch.traced == [watch.traced[0]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_two_hundred_epochs_take_no_more_than_fifty(
    folder, tmp_path, monkeypatch, reading
):
    log = data.load(folder, reading)
    watch = watched(log, tmp_path, monkeypatch, max_epochs=EPOCHS)
    assert len(watch.memory) == EPOCHS
    assert watch.traced == [watch.traced[0]] * EPOCHS
    warm = watch.memory[WARM]
    assert max(watch.memory[WARM:]) < 1.05 * warm, watch.memory[::10]
    # A file that is read is open for a moment.
    assert max(watch.files[WARM:]) <= max(watch.files[:WARM])
