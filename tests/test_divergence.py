import dataclasses
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import data
from mlora_tf import training
from mlora_tf.batches import Batches
from mlora_tf.callbacks import DivergedError
from mlora_tf.divergence import Divergence
from mlora_tf.divergence import FiniteSteps
from mlora_tf.divergence import check_finite
from mlora_tf.optimizers import Adam
from mlora_tf.recipes import Recipe
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals
from tests import clicks
from tests import streams

RECIPE = Recipe(
    tower="mlora",
    hidden_units=(4,),
    temperature=2,
    batch_size=8,
    max_epochs=2,
    embedding_l2=0.0,
)
BAD_ITEM = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "clicks"
    return streams.regroup(clicks.prepare(folder, rows=1000), 100)


class Poison(keras.callbacks.Callback):
    """Gives a variable a number that isn't finite, from an epoch on."""

    def __init__(self, path, place, value, epoch=1):
        super().__init__()
        self.poison = path, place, value
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        path, place, value = self.poison
        if epoch == self.epoch:
            (weight,) = (w for w in self.model.weights if w.path == path)
            array = weight.numpy()
            array[place] = value
            weight.assign(array)


def train(log, folder, *more, strategy=None, stop=None, **changes):
    return training.train(
        log,
        dataclasses.replace(RECIPE, **changes),
        strategy or tf.distribute.get_strategy(),
        state_folder=folder,
        phase_callbacks=lambda name, steps: list(more),
        stop=stop,
    )


def without_bad_item(log, row=321):
    """The log with one single training row that has the bad item."""
    item = log.train.inputs["item"]
    item[item == BAD_ITEM] = 1
    for split in (log.valid, log.test):
        split.inputs["item"][split.inputs["item"] == BAD_ITEM] = 1
    item[row] = BAD_ITEM
    return log


@pytest.mark.parametrize(
    "replicas", [1, pytest.param(2, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_step_and_the_mix_of_its_batch_are_named(
    folder, tmp_path, two_replicas, replicas, value
):
    log = without_bad_item(data.load(folder))
    with pytest.raises(DivergedError) as error:
        train(
            log,
            tmp_path,
            # It is added to the logit: no ReLU can hide it.
            Poison("first_order.item/embeddings", BAD_ITEM, value),
            strategy=two_replicas if replicas == 2 else None,
            backbone="wide_deep",
        )
    batches = Batches(log.train, 8, seed=0)
    ((step, _),) = np.argwhere(batches.order(1) == 321)
    rows = log.train.domain[batches.order(1)[step]]
    said = str(error.value)
    assert re.match(
        rf"the loss isn't finite from step {step + 1} of epoch 2 on: (nan|inf)",
        said,
    ), said
    mix = said.partition("has 8 rows: ")[2].partition(". Lower")[0]
    found = {
        name: int(count)
        for count, name in re.findall(r"([0-9]+) of '([a-z]+)'", mix)
    }
    names, counts = np.unique(np.array(clicks.DOMAINS)[rows], return_counts=1)
    assert found == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert said.endswith(
        "Lower the learning rate. The last good state is kept in "
        f"{tmp_path / 'joint.npz'}."
    )
    with np.load(tmp_path / "joint.npz") as arrays:
        assert all(
            np.isfinite(array).all()
            for name, array in arrays.items()
            if name != "state"
        )


def test_a_batch_of_streamed_rows_is_found_again(folder):
    log = data.load(folder, "stream")
    for changes in (
        {},
        {"mode": "sliding_window", "window_rows": 100},
        {"mode": "per_domain", "domain_sampling": "uniform"},
    ):
        batches = Batches(log.train, 8, epoch_steps=50, seed=0, **changes)
        for epoch in range(2):
            batches.epoch = epoch
            domains = [inputs["domain"] for inputs, _ in batches.dataset]
            for step in (0, 17, 49):
                np.testing.assert_array_equal(
                    np.sort(batches.domains(epoch, step)),
                    np.sort(domains[step]),
                )


def test_a_resumed_epoch_counts_its_steps_from_its_start(folder, tmp_path):
    log = data.load(folder)
    row = Batches(log.train, 8, seed=0).order(0)[50, 3]
    log = without_bad_item(log, row)
    stop = StopSignals()
    stopper = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(stop, "received", 15)
    )
    with pytest.raises(Stopped, match="after step 32 of"):
        train(log, tmp_path, stopper, stop=stop, backbone="wide_deep")
    poison = Poison("first_order.item/embeddings", BAD_ITEM, np.nan, epoch=0)
    with pytest.raises(DivergedError, match="from step 51 of epoch 1 on"):
        train(log, tmp_path, poison, backbone="wide_deep")


def test_what_a_relu_hides_is_found_after_the_execution(folder, tmp_path):
    log = without_bad_item(data.load(folder))
    poison = Poison("embedding.item/embeddings", BAD_ITEM, np.nan)
    with pytest.raises(DivergedError) as error:
        train(log, tmp_path, poison)
    ((step, _),) = np.argwhere(Batches(log.train, 8, seed=0).order(1) == 321)
    # Without oneDNN NaN comes through, and the loss has it.
    last = min((step // 32 + 1) * 32, 75)
    assert re.search(
        rf"isn't finite (after step {last} of epoch 2|"
        rf"from step {step + 1} of epoch 2 on)",
        str(error.value),
    ), str(error.value)


def watched(done=0):
    """A model and its callback, at the start of the second epoch."""
    model = compiled()
    schema = dataclasses.make_dataclass("Schema", ["domains"])(("fr", "it"))
    callback = Divergence(None, schema, unused_steps(), done)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(1)
    return model, callback


def unused_steps():
    return FiniteSteps(tf.distribute.get_strategy())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("done", [0, 10])
def test_a_weight_counts_though_the_loss_is_finite(value, done):
    model, callback = watched(done)
    callback.on_train_batch_end(31, {"loss": 0.5})
    kernel = model.layers[0].kernel
    bad = kernel.numpy()
    bad[1, 2] = value
    kernel.assign(bad)
    said = rf"/kernel' isn't finite after step {64 + done} of epoch 2\."
    with pytest.raises(DivergedError, match=said):
        callback.on_train_batch_end(63, {"loss": 0.5})


def test_the_epoch_after_a_resumed_one_counts_its_own_steps_alone():
    model, callback = watched(done=10)
    callback.on_epoch_end(1)
    callback.on_epoch_begin(2)
    kernel = model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(DivergedError, match="after step 32 of epoch 3"):
        callback.on_train_batch_end(31, {"loss": 0.5})


def test_large_weights_are_finite():
    model, callback = watched()
    kernel = model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, 3e38))
    callback.on_train_batch_end(31, {"loss": 0.5})


def test_a_model_of_tables_alone_is_looked_at_after_the_epoch(folder):
    ids = keras.Input((), dtype="int32")
    model = keras.Model(ids, keras.layers.Embedding(5, 2)(ids))
    model.compile(Adam())
    model.optimizer.build(model.trainable_variables)
    schema = data.load(folder).schema
    callback = Divergence(None, schema, unused_steps(), 0)
    callback.set_model(model)
    callback.on_train_begin()
    table = model.layers[-1].embeddings
    table.assign(np.full(table.shape, np.nan))
    callback.on_train_batch_end(0, {"loss": 0.5})
    with pytest.raises(DivergedError, match="isn't finite after epoch 1"):
        callback.on_epoch_end(0)


@pytest.mark.parametrize(
    ("path", "place", "said"),
    [
        (
            "hidden.0/lora_kernel_b",
            (1, slice(None)),
            "'hidden.0/lora_kernel_b' isn't finite for 'toys' after epoch 2.",
        ),
        (
            "embedding.item/embeddings",
            (BAD_ITEM, 0),
            "'embedding.item/embeddings' isn't finite after epoch 2.",
        ),
    ],
)
def test_a_weight_that_no_batch_shows_is_named(
    folder, tmp_path, path, place, said
):
    poison = Poison(path, place, np.inf)

    class AtTheEnd(keras.callbacks.Callback):
        """Poisons after an epoch's last step."""

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if batch > 64:
                poison.set_model(self.model)
                poison.on_epoch_begin(self.epoch)

    log = without_bad_item(data.load(folder))
    with pytest.raises(DivergedError, match=re.escape(said)) as error:
        train(log, tmp_path, AtTheEnd())
    assert "The last good state is kept in" in str(error.value)
    with np.load(tmp_path / "joint.npz") as arrays:
        assert '"epoch": 0' in str(arrays["state"])
        assert '"epoch": 1' not in str(arrays["state"])


def compiled():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile(Adam())
    model.optimizer.build(model.trainable_variables)
    return model


def test_finite_numbers_pass():
    check_finite(compiled(), (), "now")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_optimizers_numbers_count_too(value):
    model = compiled()
    moments = model.optimizer.variables[-1]
    moments.assign(np.full(moments.shape, value))
    with pytest.raises(DivergedError, match="isn't finite now"):
        check_finite(model, (), "now")


def test_many_domains_are_counted():
    model = compiled()
    kernel = model.layers[0].kernel
    kernel.per_domain = True
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(DivergedError, match="isn't finite for 'a', 'b' now"):
        check_finite(model, ("a", "b"), "now")
    # More than can be read are a number.
    wide = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])
    wide.compile(Adam())
    wide.layers[0].kernel.per_domain = True
    wide.layers[0].kernel.assign(np.full((12, 3), np.nan))
    with pytest.raises(DivergedError, match=r"for 'a', .*'j' and 2 more now"):
        check_finite(wide, "abcdefghijkl", "now")


def test_the_rest_of_a_batch_of_many_domains_is_a_number():
    # Domain 0 has one row, the next one two and so on: 78 of twelve domains.
    batch = np.repeat(np.arange(12), np.arange(1, 13))
    batches = types.SimpleNamespace(domains=lambda epoch, step: batch)
    schema = types.SimpleNamespace(domains="abcdefghijkl", num_domains=12)
    callback = Divergence(batches, schema, unused_steps(), 0)
    said = r"78 rows: 12 of 'l', 11 of 'k', .*, 3 of 'c', 3 of 2 other domains"
    with pytest.raises(DivergedError, match=said):
        callback.on_train_batch_end(0, {"loss": np.nan})


def test_statistics_that_do_not_train_count_too():
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(Adam())
    layer.moving_variance.assign([1.0, np.nan])
    with pytest.raises(DivergedError, match="/moving_variance' isn't finite"):
        check_finite(model, (), "now")


def test_the_first_replica_to_diverge_says_which_step(two_replicas):
    steps = FiniteSteps(two_replicas)
    model = types.SimpleNamespace(train_step=lambda loss: {"loss": loss})

    def step(*losses):
        parts = two_replicas.experimental_distribute_values_from_function(
            lambda context: losses[context.replica_id_in_sync_group]
        )
        two_replicas.run(model.train_step, args=(parts,))

    with steps.counted(model):
        step(tf.constant(0.5), tf.constant(0.5))
        step(tf.constant(0.5), tf.constant(np.inf))
    assert steps.count == 1


def test_the_models_own_step_comes_back():
    model = compiled()
    before = model.train_step
    steps = FiniteSteps(tf.distribute.get_strategy())
    with pytest.raises(KeyError), steps.counted(model):
        assert model.train_step != before
        raise KeyError
    assert model.train_step == before
