import dataclasses
import logging

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from data_prep import features
from data_prep import folder as prepared_folder
from data_prep import splits
from mlora_tf import data
from mlora_tf import phases
from mlora_tf import recipe_models
from mlora_tf import recipes
from mlora_tf import training
from mlora_tf.batches import Batches
from mlora_tf.callbacks import EarlyStopping
from mlora_tf.callbacks import TrainingError
from mlora_tf.layers import domain_ops
from mlora_tf.optimizers import LazyAdam
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import evaluate_split
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import EXTENDS_SHARED
from mlora_tf.towers import TOWERS
from mlora_tf.towers import Tower
from mlora_tf.towers import shared_logit
from mlora_tf.transform import domain_variables
from mlora_tf.workers import Workers
from tests import clicks
from tests import streams

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


def test_the_first_phase_is_the_base_trained_alone(log, tmp_path):
    # Tables count either run as the base's.
    first, _ = train(log, tmp_path / "two", schedule="two_phase", dropout=0.2)
    (alone,) = train(log, tmp_path / "one", tower="shared", dropout=0.2)
    assert first.history[-1]["loss"] == alone.history[-1]["loss"]
    expected = weights(alone.model)
    assert expected.keys() == weights(first.model).keys()
    for path, value in weights(first.model).items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


BESIDE = {"mlora": "parallel", "rank": 2}
"""STAR + MLoRA: adapters beside STAR's own weights."""


def test_adapters_beside_star_train_on_a_trained_star(log, tmp_path):
    changes = {"tower": "star", "norm": "partitioned", "learning_rate": 1e-2}
    star, adapted = train(
        log,
        tmp_path / "two",
        schedule="two_phase",
        tower_options=BESIDE,
        **changes,
    )
    before, after = weights(star.model), weights(adapted.model)
    assert before["hidden.0/domain_kernel"].shape[0] == 3
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)
    assert {path.split("/")[0] for path in set(after) - set(before)} == {
        "adapter.0",
        "adapter.1",
    }
    assert after["adapter.0/lora_kernel_b"].any() or adapted.best_epoch == -1
    assert adapted.best >= star.best
    # The first phase is STAR trained alone, to the last bit.
    (alone,) = train(log, tmp_path / "one", **changes)
    expected = weights(alone.model)
    assert expected.keys() == before.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_small_domains_have_smaller_ranks(tmp_path, reading):
    # Of the rows the domains have .6, .3 and .1, of rank 8 the square root.
    log = data.load(clicks.prepare(tmp_path / "clicks"), reading)
    assert log.reading == reading
    (phase,) = train(
        log,
        tmp_path / "state",
        rank_power=0.5,
        tower_options={"rank": 8},
        max_epochs=1,
    )
    a = weights(phase.model)["hidden.0/lora_kernel_a"]
    assert [int(one.any(axis=0).sum()) for one in a] == [8, 6, 3]


def test_ranks_are_by_the_rows_of_training_alone(log):
    few = log.valid.take(np.flatnonzero(log.valid.domain == 2))
    recipe = dataclasses.replace(
        RECIPE, rank_power=0.5, tower_options={"rank": 8}
    )
    log = dataclasses.replace(log, valid=few)
    _, model = recipe_models.start(log, recipe)
    a = weights(model)["hidden.0/lora_kernel_a"]
    assert [int(one.any(axis=0).sum()) for one in a] == [8, 6, 3]


def test_phase_two_is_never_worse_on_the_validation_rows(log, tmp_path):
    pretrained, adapted = train(log, tmp_path, schedule="two_phase")
    assert adapted.best >= pretrained.best


@pytest.mark.parametrize("own", [False, True])
def test_phase_two_has_to_beat_phase_ones_best_epoch(
    log, tmp_path, monkeypatch, own
):
    one, two, *_ = log.schema.domains
    history = [
        {f"val_auc_{one}": 0.6, f"val_auc_{two}": 0.7},
        {f"val_auc_{one}": 0.5, f"val_auc_{two}": 0.9},
    ]
    given = []

    def fit(self, name, model, rows=None, **start):
        given.append(start)
        return phases.Phase(name, model, 0.65, 0, history)

    monkeypatch.setattr(training.PhaseTrainer, "fit", fit)
    train(log, tmp_path, schedule="two_phase", stop_by_domain=own)
    # A domain without an AUC in that epoch has none to beat.
    aucs = {one: 0.6, two: 0.7} if own else None
    assert given == [{}, {"start": 0.65, "start_by_domain": aucs}]


def by_domain(log, model):
    """Each domain's validation AUC, and the WAUC."""
    result = evaluate_split(Predictor(model), log.valid, log.schema)
    return {one.name: one.auc for one in result.domains}, result.wauc


def test_each_domain_can_have_its_own_best_epoch(log, tmp_path):
    changes = {
        "schedule": "two_phase",
        "learning_rate": 1e-2,
        "max_epochs": 6,
        "patience": 6,
    }
    base, together = train(log, tmp_path / "one", **changes)
    pretrained, adapted = train(
        log, tmp_path / "own", stop_by_domain=True, **changes
    )
    before, wauc = by_domain(log, base.model)
    assert by_domain(log, pretrained.model) == (before, wauc)
    after, best = by_domain(log, adapted.model)
    # Its epochs are those of one best epoch for all; each has its own best.
    for name, auc in after.items():
        epochs = [logs[f"val_auc_{name}"] for logs in adapted.history]
        assert auc == pytest.approx(max([before[name], *epochs]), abs=1e-9)
    assert best == pytest.approx(adapted.best)
    assert best >= together.best


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
    other, _ = training.phase_rows(rows, dataclasses.replace(recipe, seed=1))
    assert sorted(other.domain) != sorted(first.domain)


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


@pytest.fixture
def starts(monkeypatch):
    """What each phase would start from, by its name: nothing trains."""
    weights_of = {}

    def fit(trainer, name, model, *args, **kwargs):
        weights_of[name] = weights(model)
        return training.Phase(name, model, 0.5, 0, [])

    monkeypatch.setattr(training.PhaseTrainer, "fit", fit)
    return weights_of


@pytest.mark.parametrize("tower", sorted(set(TOWERS) - {"shared"}))
def test_every_tower_starts_from_the_bases_weights(
    log, tmp_path, starts, tower
):
    changes = {"backbone": "deepfm", "norm": "partitioned", "auxiliary": True}
    train(log, tmp_path, tower="shared", **changes)
    base = starts["joint"]
    train(log, tmp_path, tower=tower, **changes)
    model = starts["joint"]
    for path in set(base) & set(model):
        np.testing.assert_array_equal(base[path], model[path], err_msg=path)
    for name in ("user", "item", "domain"):
        assert f"embedding.{name}/embeddings" in model
        assert f"first_order.{name}/embeddings" in model
    assert {"auxiliary.0/kernel", "logit.auxiliary/kernel"} < set(model)
    if tower in EXTENDS_SHARED or tower == "mulann":
        assert set(base) < set(model)
    else:
        assert "hidden.0/kernel" not in model


def other_width(domain, num_domains, hidden, *, name="hidden.0"):
    """A tower whose layer has a name of the shared one's, and another width."""
    return Tower(keras.layers.Dense(8, name=name), shared_logit)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("mine", "joint"), ("mlora", "joint"), ("mlora", "two_phase")],
)
def test_a_tower_that_cannot_start_as_the_base_is_told_so_at_once(
    log, tmp_path, starts, monkeypatch, name, schedule
):
    monkeypatch.setitem(TOWERS, name, other_width)
    said = (
        rf"tower='{name}' .*\"hidden.0\".*hidden_units.*otherwise.*"
        r"'hidden.0/kernel' of shape \(24, 16\).*Received: \(24, 8\)$"
    )
    with pytest.raises(RecipeError, match=said):
        train(log, tmp_path, tower=name, schedule=schedule)
    assert not starts
    if name == "mine":  # With a name of its own it works.
        train(log, tmp_path, tower=name, tower_options={"name": "narrow"})
        assert set(starts) == {"joint"}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"tower_options": {"rank": 0, "use_lora_bias": False}},
            RecipeError,
            "no per-domain weights that its base lacks",
        ),
        (
            {"fresh_fraction": 0.0001},
            data.DataError,
            "fresh_fraction leaves no row to phase two.*0.0001 of",
        ),
    ],
)
def test_a_second_phase_without_work_is_told_so_at_once(
    log, tmp_path, starts, changes, error, said
):
    with pytest.raises(error, match=said):
        train(log, tmp_path, schedule="two_phase", **changes)
    assert not starts


@pytest.mark.parametrize("tower", EXTENDS_SHARED)
def test_a_second_phase_starts_from_the_first_ones_model(
    log, tmp_path, starts, tower
):
    (_, adapted) = train(
        log, tmp_path, tower=tower, schedule="two_phase", norm="partitioned"
    )
    for path, value in starts["pretrain"].items():
        np.testing.assert_array_equal(starts["adapters"][path], value)
    left = {variable.path for variable in adapted.model.trainable_variables}
    assert left == {
        variable.path
        for variable in domain_variables(adapted.model)
        if "norm" not in variable.path
    }


def test_star_trains_whole(log, tmp_path):
    (phase,) = train(
        log,
        tmp_path,
        tower="star",
        norm="partitioned",
        auxiliary=True,
        max_epochs=4,
        learning_rate=1e-2,
    )
    assert phase.best > 0.55
    model = phase.model
    assert (model.get_layer("norm.deep").num_updates.numpy() > 0).all()
    for path, value in weights(model).items():
        if path.endswith("domain_kernel"):
            # Each domain has left the shared model, in a way of its own.
            assert (np.abs(value - 1).max(axis=(1, 2)) > 0).all()
            assert (value[0] != value[1]).any()
        if path.startswith("logit.auxiliary"):
            assert value.any()


class KilledError(Exception):
    """Ends a run in the midst of an epoch."""


class Killer(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1:
            raise KilledError


@pytest.mark.slow
def test_a_star_run_that_was_killed_ends_as_an_uninterrupted_one(log, tmp_path):
    changes = {
        "tower": "star",
        "norm": "partitioned",
        "auxiliary": True,
        "dropout": 0.2,
        "optimizer": "lazy_adam",
        "hidden_units": (8,),
        "max_epochs": 3,
        "patience": 3,
    }
    (whole,) = train(log, tmp_path / "whole", **changes)
    killed = dataclasses.replace(RECIPE, **changes)
    with pytest.raises(KilledError):
        training.train(
            log,
            killed,
            tf.distribute.get_strategy(),
            state_folder=tmp_path / "killed",
            phase_callbacks=lambda name, steps: [Killer()],
        )
    (resumed,) = train(log, tmp_path / "killed", **changes)
    assert len(resumed.history) == 3
    for logs, expected in zip(resumed.history, whole.history, strict=True):
        assert {k: v for k, v in logs.items() if "seconds" not in k} == {
            k: v for k, v in expected.items() if "seconds" not in k
        }
    for path, value in weights(whole.model).items():
        np.testing.assert_array_equal(
            weights(resumed.model)[path], value, err_msg=path
        )
    for mine, other in zip(
        whole.model.optimizer.variables,
        resumed.model.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)


def test_the_optimizer_is_the_recipes(log, tmp_path):
    (phase,) = train(
        log,
        tmp_path,
        optimizer="lazy_adam",
        learning_rate=0.25,
        adam_epsilon=1e-3,
        embedding_l2=0.0,
        max_epochs=1,
    )
    assert type(phase.model.optimizer) is LazyAdam
    assert phase.model.optimizer.learning_rate == 0.25
    assert phase.model.optimizer.epsilon == 1e-3
    assert np.isfinite(phase.history[0]["loss"])
    for variable in domain_variables(phase.model):
        assert variable.per_domain


def test_all_that_a_model_is_built_with_is_the_recipes(log, monkeypatch):
    # None of these is a default, so that one left out is another value.
    values = {
        "norm": "layer",
        "auxiliary": True,
        "hidden_units": (7, 5),
        "dropout": 0.25,
        "dropout_placement": "output",
        "embedding_dim": 5,
        "embedding_l2": 0.5,
        "embedding_l2_rows": "batch",
        "domain_field": False,
        "backbone_options": {"num_layers": 5},
    }
    recipe = Recipe("dcn", embedding_stddev=0.25, temperature=2, **values)
    given = []
    monkeypatch.setattr(
        recipe_models, "build_model", lambda *what, **how: given.append(how)
    )
    training.build(dataclasses.replace(log, vectors={"item": [1]}), recipe)
    # Another tower has its default options.
    training.build(log, recipe, tower="star")
    for how, vectors, options in (
        (given[0], {"item": [1]}, recipe.tower_arguments),
        (given[1], {}, {}),
    ):
        assert how.pop("embedding_initializer").stddev == 0.25
        assert how == values | {"vectors": vectors, "tower_options": options}
    assert recipe.tower_arguments["temperature"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"batches": "sliding_window", "window_rows": 300, "epoch_steps": 7},
        {"batches": "per_domain", "domain_sampling": "uniform"},
    ],
)
def test_the_batches_are_the_recipes(log, tmp_path, options):
    recipe = dataclasses.replace(RECIPE, seed=5, **options)
    strategy = tf.distribute.get_strategy()
    trainer = training.PhaseTrainer(log, recipe, strategy, tmp_path)
    made = trainer._batches(log.train, Workers(strategy))
    mode = options.pop("batches")
    expected = Batches(log.train, 64, mode=mode, seed=5, **options)
    np.testing.assert_array_equal(made.order(1), expected.order(1))


def test_early_stopping_is_the_recipes(log):
    recipe = dataclasses.replace(
        RECIPE, monitor="val_macro_auc", patience=7, rollback=True
    )
    stopping = phases._stopping(log, recipe, 0.5, None)
    assert (stopping.monitor, stopping.patience) == ("val_macro_auc", 7)
    assert (stopping.rollback, stopping.start) == (True, 0.5)
    start = {log.schema.domains[0]: 0.5}
    by_domain = phases._stopping(log, recipe, 0.5, start)
    assert (by_domain.patience, by_domain.best_by_domain) == (7, start)
    # A domain weighs by its rows in validation, as in the WAUC it reports.
    rows = log.counts("valid").sum(axis=1)
    assert by_domain.rows == tuple(rows.tolist())


def test_going_on_each_domain_has_to_beat_its_best_epoch_so_far(
    log, tmp_path, monkeypatch
):
    one = log.schema.domains[0]
    made = []

    class Saved(phases.TrainingState):
        def restore(self, model):
            made.append(self.early_stopping)
            self.history = [{f"val_auc_{one}": auc} for auc in (0.8, 0.7)]
            self.finished = True

    monkeypatch.setattr(phases, "TrainingState", Saved)
    strategy = tf.distribute.get_strategy()
    trainer = training.PhaseTrainer(log, RECIPE, strategy, tmp_path)
    model = training.build(log, RECIPE)
    trainer.fit("adapters", model, start_by_domain={one: 0.6})
    assert made[0].best_by_domain == {one: 0.8}


@pytest.mark.parametrize("rows", ["all", "batch"])
def test_the_penalty_is_on_the_rows_that_the_recipe_says(log, rows):
    recipe = dataclasses.replace(RECIPE, embedding_l2=0.5)
    model = training.build(
        log, dataclasses.replace(recipe, embedding_l2_rows=rows)
    )
    table = model.get_layer("embedding.domain")
    assert table.batch_l2 == (0.5 if rows == "batch" else 0.0)
    assert (table.embeddings_regularizer is None) == (rows == "batch")


@pytest.mark.parametrize("domain_field", [True, False])
def test_a_recipe_says_whether_the_domain_is_a_field(log, domain_field):
    recipe = dataclasses.replace(RECIPE, domain_field=domain_field)
    paths = weights(training.build(log, recipe))
    assert ("embedding.domain/embeddings" in paths) == domain_field


@pytest.fixture(scope="module")
def kinds_log(tmp_path_factory):
    """A log with features of each kind; brands and histories tell clicks."""
    rng = np.random.default_rng(0)
    rows, items = 1200, 20
    item = rng.integers(0, items, rows)
    domain = rng.choice(2, rows, p=[0.7, 0.3])
    price = rng.normal(50, 20, rows)
    lengths = rng.integers(0, 5, rows)
    taste = rng.normal(size=(2, items))[domain, item] + (price - 50) / 20
    output = tmp_path_factory.mktemp("data") / "kinds"
    names = [f"item {i}" for i in range(items)]
    prepared_folder.write(
        output,
        prepared_folder.Prepared(
            dataset="test",
            options={},
            seed=0,
            sources={},
            features=[
                features.sparse("item", names, vectors=5),
                features.dense("price", mean=50, stddev=20),
                features.dense("age", boundaries=[20, 40]),
                features.sequence(
                    "seen",
                    names,
                    4,
                    pooling="din",
                    target="item",
                    table="item",
                    vectors=5,
                ),
                features.sequence("tags", ["a", "b"], 4),
            ],
            domain_name="shop",
            domains=("books", "toys"),
            columns={
                "item": item + 1,
                "price": price,
                "age": rng.integers(10, 60, rows),
                "seen": features.lists(
                    rng.integers(1, items + 1, lengths.sum()), lengths
                ),
                "tags": features.lists(
                    rng.integers(0, 3, lengths.sum()), lengths
                ),
                "domain": domain,
                "label": (rng.random(rows) < 1 / (1 + np.exp(-2 * taste))),
            },
            split=splits.stratified_split(
                rng.integers(0, 2, rows), domain, (0.6, 0.2, 0.2), 0
            ),
            vectors={"item": rng.normal(size=(items + 1, 5)).astype("float32")},
        ),
    )
    return data.load(output)


def test_features_of_every_kind_train(kinds_log, tmp_path):
    changes = {"max_epochs": 6, "learning_rate": 2e-2, "embedding_dim": 4}
    (phase,) = train(kinds_log, tmp_path, **changes)
    assert phase.best > 0.65
    final = weights(phase.model)
    np.testing.assert_array_equal(
        final["embedding.item/vectors"], kinds_log.vectors["item"]
    )
    assert final["projection.item/kernel"].shape == (5, 4)
    (again,) = train(kinds_log, tmp_path, **changes)
    for path, value in weights(again.model).items():
        np.testing.assert_array_equal(value, final[path])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"tower": "mmoe", "tower_options": {"num_experts": 0}},
            "num_experts must be an integer of at least",
        ),
        (
            {"tower": "star", "tower_options": {"mlora": "both"}},
            r"'factorized', 'parallel'.*'both'",
        ),
        (
            {"tower": "star", "tower_options": {"rank": 2}},
            r"rank and max_adapter_params are for STAR \+ MLoRA",
        ),
        ({"max_adapter_params": 1}, "raise max_adapter_params"),
        (
            {"backbone": "dcn", "backbone_options": {"num_layers": 0}},
            "num_layers must be an integer of at least 1",
        ),
        (
            {"backbone": "pnn", "backbone_options": {"inner": False}},
            "inner, outer or both",
        ),
        (
            {"backbone": "xdeepfm", "backbone_options": {"cin_sizes": 4}},
            "'int' object is not iterable",
        ),
        ({"dropout_placement": "input"}, "dropout_placement must be one of"),
        ({"hidden_units": (8, 2.5)}, "hidden_units must be integers"),
    ],
)
def test_a_recipe_that_cannot_be_built_says_so_in_one_line(
    log, tmp_path, changes, said
):
    with pytest.raises(RecipeError, match=said) as error:
        train(log, tmp_path, **changes)
    assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_finished_phase_is_not_trained_again(log, tmp_path):
    (first,) = train(log, tmp_path)
    (again,) = train(log, tmp_path)
    assert again.history == first.history
    assert (again.best, again.best_epoch) == (first.best, first.best_epoch)
    for path, value in weights(first.model).items():
        np.testing.assert_array_equal(weights(again.model)[path], value)


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "float16"])
def test_a_phase_of_any_precision_is_not_trained_again(log, tmp_path, policy):
    """NumPy has no bfloat16 to store; Keras adds no penalties of it."""
    keras.config.set_dtype_policy(policy)
    try:
        (first,) = train(log, tmp_path, max_epochs=1, embedding_l2=0.0)
        (again,) = train(log, tmp_path, max_epochs=1, embedding_l2=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert again.history == first.history
    for path, value in weights(first.model).items():
        np.testing.assert_array_equal(weights(again.model)[path], value)


def test_rows_made_by_hand_may_have_numpys_own_types(tmp_path):
    """Which have 64 bits: the same rows as of 32 train the same model."""
    schema = Schema(
        (SparseFeature("item", ("a", "b")), DenseFeature("price")),
        "domain",
        ("x", "y"),
    )
    own = {"item": np.arange(40) % 3, "domain": np.arange(40) % 2}
    own["price"] = np.arange(40)
    label = (np.arange(40) % 4 == 0).astype(np.float64)

    def trained(folder, inputs):
        rows = data.Split(inputs, label)
        by_hand = data.ClickLog(schema, "by hand", rows, rows, rows)
        (phase,) = train(by_hand, tmp_path / folder, batch_size=8)
        assert by_hand.train.inputs["item"].dtype == np.int32
        assert by_hand.train.inputs["price"].dtype == np.float32
        return phase

    narrow = {name: column.astype("uint8") for name, column in own.items()}
    same = {name: column.astype("int32") for name, column in own.items()}
    same["price"] = own["price"].astype("float32")
    first, *others = (
        trained(str(place), inputs)
        for place, inputs in enumerate((same, own, narrow))
    )
    for other in others:
        for path, value in weights(first.model).items():
            np.testing.assert_array_equal(weights(other.model)[path], value)


def saved_before(monkeypatch, log, folder, field):
    """A state of a version that didn't have a field of the recipe yet."""
    whole = Recipe.to_dict
    with monkeypatch.context() as patch:
        patch.setattr(
            Recipe,
            "to_dict",
            lambda self: {k: v for k, v in whole(self).items() if k != field},
        )
        train(log, folder, max_epochs=1)


def test_a_state_of_before_a_field_goes_on(log, tmp_path, monkeypatch):
    saved_before(monkeypatch, log, tmp_path, "rank_power")
    before = (tmp_path / "joint.npz").read_bytes()
    train(log, tmp_path, max_epochs=1)
    assert (tmp_path / "joint.npz").read_bytes() == before
    with pytest.raises(TrainingError, match="saved by another run"):
        train(log, tmp_path, max_epochs=1, rank_power=0.5)


def test_a_default_that_changes_later_is_another_recipe(
    log, tmp_path, monkeypatch
):
    train(log, tmp_path, max_epochs=1)
    monkeypatch.setitem(recipes.DEFAULTS, "patience", 9)
    with pytest.raises(TrainingError, match="saved by another run"):
        train(log, tmp_path, max_epochs=1, patience=9)


@pytest.mark.parametrize(
    "options",
    [{"rank": 0, "use_lora_bias": True}, {"shared_adapter": True}],
)
def test_what_has_no_ranks_has_none_by_rows(log, tmp_path, options):
    with pytest.raises(RecipeError, match=r"rank_power=0.5: .* no low-rank"):
        train(log, tmp_path, rank_power=0.5, tower_options=options)


def test_a_huge_power_leaves_each_small_domain_one_rank(log, tmp_path):
    (phase,) = train(
        log,
        tmp_path,
        rank_power=1e6,
        tower_options={"rank": 4},
        max_epochs=1,
    )
    a = weights(phase.model)["hidden.0/lora_kernel_a"]
    assert [int(one.any(axis=0).sum()) for one in a] == [4, 1, 1]


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


@pytest.mark.parametrize("batches", ["per_domain", "mixed"])
def test_steps_on_batches_of_one_domain_fetch_no_other(
    log, tmp_path, monkeypatch, batches
):
    forms = []
    for name in ("by_parts", "first_row"):
        original = getattr(domain_ops, name)
        monkeypatch.setattr(
            domain_ops,
            name,
            lambda *given, name=name, original=original: (
                forms.append(name) or original(*given)
            ),
        )
    train(log, tmp_path, batches=batches, tower="star", max_epochs=1)
    assert ("first_row" in forms) == (batches == "per_domain")
    # What evaluates takes any batch.
    assert "by_parts" in forms


def test_a_diverging_run_says_so_and_keeps_its_state(log, tmp_path):
    train(log, tmp_path / "fine", max_epochs=1)
    with pytest.raises(TrainingError, match=r"isn't finite.*epoch 1.*rate"):
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


def test_early_stopping_counts_the_first_epoch_after_a_start():
    callback = EarlyStopping("val_wauc", 1, start=0.7)
    callback.set_model(model_with_weight(1.0))
    callback.on_train_begin()
    epoch(callback, 0, 0.6, 2.0)
    assert callback.model.stop_training
    callback.on_train_end()
    assert callback.model.get_weights()[0] == 1.0


@pytest.mark.parametrize(("rollback", "kept"), [(True, 2.0), (False, 3.0)])
def test_rollback_undoes_an_epoch_without_a_new_best(rollback, kept):
    callback = EarlyStopping("val_wauc", 5, rollback=rollback)
    callback.set_model(model_with_weight(1.0))
    callback.on_train_begin()
    epoch(callback, 0, 0.7, 2.0)
    epoch(callback, 1, 0.6, 3.0)
    assert callback.model.get_weights()[0] == kept


# --- Streamed rows, and epochs that are parts of a pass ----------------------

PROPORTIONAL = {"batches": "per_domain", "domain_sampling": "proportional"}
UNIFORM = {"batches": "per_domain", "domain_sampling": "uniform"}
SLIDING = {"batches": "sliding_window", "window_rows": 300}


def prepare_groups(output):
    """1,800 training rows in 9 row groups."""
    return streams.regroup(clicks.prepare(output), 200)


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    return prepare_groups(tmp_path_factory.mktemp("data") / "groups")


@pytest.mark.parametrize("batches", [{}, UNIFORM], ids=str)
def test_streamed_rows_train_on_two_replicas(
    groups, tmp_path, two_replicas, batches
):
    streamed = data.load(groups, "stream")
    (phase,) = train(
        streamed,
        tmp_path,
        two_replicas,
        tower="shared",
        max_epochs=2,
        learning_rate=1e-2,
        **batches,
    )
    assert phase.best > 0.5
    assert np.isfinite([logs["loss"] for logs in phase.history]).all()


@pytest.mark.parametrize(
    ("reading", "batches"),
    [("stream", {}), ("stream", SLIDING), ("memory", PROPORTIONAL)],
    ids=str,
)
def test_a_run_killed_in_the_midst_of_a_pass_ends_as_an_uninterrupted_one(
    groups, tmp_path, reading, batches
):
    # A pass has about 30 steps: the third epoch goes over its end.
    changes = {"tower": "shared", "epoch_steps": 12, "max_epochs": 3, **batches}
    log = data.load(groups, reading)
    (whole,) = train(log, tmp_path / "whole", **changes)
    with pytest.raises(KilledError):
        training.train(
            log,
            dataclasses.replace(RECIPE, **changes),
            tf.distribute.get_strategy(),
            state_folder=tmp_path / "killed",
            phase_callbacks=lambda name, steps: [Killer()],
        )
    (resumed,) = train(
        data.load(groups, reading), tmp_path / "killed", **changes
    )
    assert len(resumed.history) == 3
    for path, value in weights(whole.model).items():
        np.testing.assert_array_equal(
            weights(resumed.model)[path], value, err_msg=path
        )


def test_epochs_have_the_recipes_steps(groups, tmp_path):
    seen = []
    training.train(
        data.load(groups, "stream"),
        dataclasses.replace(RECIPE, epoch_steps=5, max_epochs=1),
        tf.distribute.get_strategy(),
        state_folder=tmp_path,
        phase_callbacks=lambda name, steps: seen.append(steps) or [],
    )
    assert seen == [5]


def test_two_phases_stream_their_own_row_groups(groups, tmp_path):
    streamed = data.load(groups, "stream")
    recipe = dataclasses.replace(
        RECIPE, schedule="two_phase", fresh_fraction=0.25
    )
    first, second = training.phase_rows(streamed.train, recipe)
    assert (len(first.groups), len(second.groups)) == (7, 2)
    phases = train(
        streamed,
        tmp_path,
        schedule="two_phase",
        fresh_fraction=0.25,
        max_epochs=1,
    )
    assert [phase.name for phase in phases] == ["pretrain", "adapters"]


def test_a_sliding_window_over_fresh_rows_keeps_their_order():
    recipe = dataclasses.replace(
        RECIPE, schedule="two_phase", fresh_fraction=0.25, **SLIDING
    )
    rows = data.Split({"domain": np.arange(100)}, np.zeros(100))
    for part in training.phase_rows(rows, recipe):
        assert (np.diff(part.domain) > 0).all()


def test_domains_one_after_the_other_cannot_be_streamed(groups, tmp_path):
    with pytest.raises(RecipeError, match="domain_sampling='proportional'"):
        train(data.load(groups, "stream"), tmp_path, batches="per_domain")
    assert list(tmp_path.iterdir()) == []


def test_state_of_another_reading_is_refused(groups, tmp_path):
    train(data.load(groups, "memory"), tmp_path, max_epochs=1)
    with pytest.raises(TrainingError, match="saved by another run"):
        train(data.load(groups, "stream"), tmp_path, max_epochs=1)


def test_a_row_group_that_was_corrupted_stops_training_in_one_line(
    tmp_path, two_replicas
):
    folder = prepare_groups(tmp_path / "data")
    log = data.load(folder, "stream")
    path = folder / "train.parquet"
    content = bytearray(path.read_bytes())
    content[4:9000] = b"\xff" * 8996
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=r"train\.parquet") as error:
        train(log, tmp_path / "run", two_replicas)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("reading", ["memory", "stream"])
def test_a_domain_outside_the_schema_stops_training(tmp_path, reading):
    folder = prepare_groups(tmp_path / "data")
    log = data.load(folder, reading)
    if reading == "memory":
        log.train.domain[1234] = 3
    else:
        path = folder / "train.parquet"
        rows = pq.read_table(path)
        domain = rows["domain"].to_numpy().copy()
        domain[1234] = 3
        place = rows.schema.get_field_index("domain")
        rows = rows.set_column(place, "domain", pa.array(domain))
        pq.write_table(rows, path, row_group_size=200, write_statistics=False)
        streams.seal(folder)
        log = data.load(folder, "stream")
    said = r"'domain', row 1234: ids must be in \[0, 3\)\. Received: 3"
    with pytest.raises(data.DataError, match=said):
        train(log, tmp_path / "run")
