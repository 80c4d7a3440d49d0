import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.callbacks import EarlyStopping
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import domain_ops
from mlora_tf.layers import low_rank_forms
from mlora_tf.optimizers import Adam
from mlora_tf.optimizers import LazyAdam
from mlora_tf.training_state import TrainingState

ROWS = 6
amsgrads = pytest.mark.parametrize("amsgrad", [False, True])
kinds = pytest.mark.parametrize("kind", ["table", "domains", "domain_table"])

STEPS = [
    ([0, 2, 2, 5], 1.0),
    ([2, 1], -3.0),
    ([5, 5, 5, 0, 1], 0.5),
    ([4], 2.0),
    ([0, 2], -0.1),
]
"""The rows looked up in each step, row 3 in none, and the gradients' scale."""


def start(per_domain=False, dtype="float32"):
    values = np.random.default_rng(0).normal(size=(ROWS, 2, 3))
    variable = keras.Variable(values, dtype=dtype)
    variable.per_domain = per_domain
    return variable


def sparse(rows, values):
    return tf.IndexedSlices(
        tf.constant(values, "float32"),
        tf.constant(rows, "int32"),
        tf.constant([ROWS, 2, 3]),
    )


def gradients(kind, steps=STEPS):
    """A gradient for each step, sparse for tables, dense for domains."""
    rng = np.random.default_rng(1)
    found = []
    for rows, scale in steps:
        values = scale * rng.normal(size=(len(rows), 2, 3))
        found.append(sparse(rows, values))
    if kind == "domains":
        found = [tf.convert_to_tensor(gradient) for gradient in found]
    return found


def trained(optimizer, steps, per_domain=False, **kwargs):
    variable = start(per_domain, **kwargs)
    for gradient in steps:
        optimizer.apply([gradient], [variable])
    return variable


def dense(steps):
    return [tf.convert_to_tensor(gradient) for gradient in steps]


def state(optimizer, *variables):
    """All values that training changes."""
    return [np.array(v) for v in (*variables, *optimizer.variables)]


def assert_same(these, those):
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        np.testing.assert_array_equal(this, that)


def assert_close(these, those):
    """But for rounding, of `1 - 0.999` in single precision above all."""
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        np.testing.assert_allclose(
            this.astype("float64"), that.astype("float64"), 1e-4, 1e-5
        )


def reference(steps, lr, b1, b2, epsilon, amsgrad):
    """Adam's algorithm, a row at a time, of the rows looked up alone."""
    w = start().numpy().astype("float64")
    m, v, peak = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(dense(steps), start=1):
        g = gradient.numpy().astype("float64")
        for row in set(STEPS[t - 1][0]):
            m[row] = b1 * m[row] + (1 - b1) * g[row]
            v[row] = b2 * v[row] + (1 - b2) * g[row] ** 2
            peak[row] = np.maximum(peak[row], v[row])
            root = np.sqrt(peak[row] if amsgrad else v[row])
            rate = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
            w[row] = w[row] - rate * m[row] / (root + epsilon)
    return w


# --- What moves, and by how much ---------------------------------------------


@kinds
@amsgrads
def test_it_is_the_papers_algorithm_for_what_has_a_gradient(kind, amsgrad):
    optimizer = LazyAdam(
        0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-3, amsgrad=amsgrad
    )
    steps = gradients(kind)
    variable = trained(optimizer, steps, per_domain=kind != "table")
    expected = reference(steps, 0.1, 0.8, 0.95, 1e-3, amsgrad)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-5)


@kinds
@amsgrads
def test_without_a_gradient_nothing_moves_by_a_bit(kind, amsgrad):
    per_domain = kind != "table"
    lazy = LazyAdam(0.1, amsgrad=amsgrad)
    adam = keras.optimizers.Adam(0.1, amsgrad=amsgrad)
    weights = {lazy: start(per_domain), adam: start(per_domain)}
    for (rows, _), gradient in zip(STEPS, gradients(kind), strict=True):
        moved = np.isin(np.arange(ROWS), rows)
        before = {}
        for optimizer, variable in weights.items():
            optimizer.build([variable])
            before[optimizer] = state(optimizer, variable)
            optimizer.apply([gradient], [variable])
        for old, new in zip(before[lazy], state(lazy, weights[lazy]),
                            strict=True):  # fmt: skip
            if old.ndim == 3:
                np.testing.assert_array_equal(new[~moved], old[~moved])
                if not amsgrad:
                    assert (new[moved] != old[moved]).all()
    # Adam has moved rows 1, 4 and 5 in the last step by their momentum.
    old, new = before[adam][0], weights[adam].numpy()
    assert (new[[1, 4, 5]] != old[[1, 4, 5]]).all()
    np.testing.assert_array_equal(new[3], old[3])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@kinds
@amsgrads
def test_it_is_adam_if_everything_has_a_gradient(kind, amsgrad, dtype):
    every = [(list(range(ROWS)), scale) for scale in (1.0, -2.0, 0.5, 0.1)]
    steps = gradients(kind, every)
    lazy = LazyAdam(0.1, amsgrad=amsgrad)
    adam = keras.optimizers.Adam(0.1, amsgrad=amsgrad)
    mine = trained(lazy, steps, per_domain=kind != "table", dtype=dtype)
    keras_own = trained(adam, steps, dtype=dtype)
    assert_close(state(lazy, mine), state(adam, keras_own))


@amsgrads
def test_any_other_variable_is_adams(amsgrad):
    lazy = LazyAdam(0.1, amsgrad=amsgrad)
    adam = keras.optimizers.Adam(0.1, amsgrad=amsgrad)
    steps = gradients("domains")
    mine, keras_own = trained(lazy, steps), trained(adam, steps)
    assert_close(state(lazy, mine), state(adam, keras_own))


def test_a_row_looked_up_twice_has_one_gradient():
    steps = [sparse([1, 4, 1], np.ones((3, 2, 3)))]
    lazy, adam = LazyAdam(0.1), keras.optimizers.Adam(0.1)
    mine, keras_own = trained(lazy, steps), trained(adam, dense(steps))
    assert_close(state(lazy, mine), state(adam, keras_own))


def test_a_row_looked_up_moves_even_if_its_gradient_is_zero():
    steps = [sparse([1], np.ones((1, 2, 3))), sparse([1], np.zeros((1, 2, 3)))]
    once, twice = (trained(LazyAdam(0.1), steps[:n]) for n in (1, 2))
    assert (once.numpy()[1] != twice.numpy()[1]).all()


def test_a_domain_whose_gradient_is_zero_does_not():
    steps = [sparse([1], np.ones((1, 2, 3))), sparse([1], np.zeros((1, 2, 3)))]
    once, twice = (trained(LazyAdam(0.1), steps[:n], True) for n in (1, 2))
    np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("number", [1e-30, -1e-30])
def test_one_number_that_is_not_zero_moves_a_domain(number):
    gradient = np.zeros((ROWS, 2, 3), "float32")
    gradient[4, 1, 2] = number
    lazy = LazyAdam(0.1)
    variable = start(per_domain=True)
    lazy.build([variable])
    for momentum in lazy._momentums:
        momentum.assign(np.ones((ROWS, 2, 3)))
    lazy.apply([gradient], [variable])
    moved = (variable.numpy() != start().numpy()).all(axis=(1, 2))
    assert moved.tolist() == [False] * 4 + [True, False]


def test_a_weight_of_one_number_for_each_domain():
    variable = keras.Variable(np.ones(3, "float32"))
    variable.per_domain = True
    optimizer = LazyAdam(0.1)
    for gradient in ([2.0, 2.0, 0.0], [2.0, 0.0, 0.0]):
        optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.8, 0.9, 1.0], atol=1e-5)


@kinds
def test_a_batch_of_no_rows_moves_nothing(kind):
    optimizer = LazyAdam(0.1)
    steps = gradients(kind)
    nothing = sparse([], np.zeros((0, 2, 3)))
    if kind == "domains":
        nothing = tf.convert_to_tensor(nothing)
    before = trained(LazyAdam(0.1), steps, kind != "table")
    after = trained(optimizer, [*steps, nothing], kind != "table")
    np.testing.assert_array_equal(before, after)
    assert int(optimizer.iterations) == len(steps) + 1


# --- The cost ----------------------------------------------------------------


def tensors(graph):
    """All tensors of a graph and of the functions in it."""
    return [t for op in graph.get_operations() for t in op.outputs]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"amsgrad": True},
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
        {"global_clipnorm": 1.0},
    ],
)
def test_no_tensor_is_as_large_as_the_table(options):
    def step(optimizer, table):
        optimizer.build([table])

        @tf.function
        def apply(rows, values):
            gradient = tf.IndexedSlices(values, rows, tf.constant([12345, 8]))
            optimizer.apply([gradient], [table])

        rows, values = tf.constant([5, 7, 5]), tf.ones((3, 8))
        graph = apply.get_concrete_function(rows, values).graph
        return [t for t in tensors(graph) if t.shape.rank and
                12345 in t.shape.as_list()]  # fmt: skip

    def table():
        return keras.Variable(np.zeros((12345, 8), "float32"))

    assert step(LazyAdam(**options), table()) == []
    assert step(keras.optimizers.Adam(), table()) != []


def test_it_compiles_with_xla():
    optimizer, expected = LazyAdam(0.1), LazyAdam(0.1)
    table = start()
    optimizer.build([table])

    @tf.function(jit_compile=True)
    def apply(rows, values):
        gradient = tf.IndexedSlices(values, rows, tf.constant([ROWS, 2, 3]))
        optimizer.apply([gradient], [table])

    steps = gradients("table")
    for gradient in steps:
        apply(gradient.indices, gradient.values)
    np.testing.assert_allclose(table, trained(expected, steps), atol=1e-6)


# --- In one operation --------------------------------------------------------

ADAMS = {
    "plain": {},
    "all its numbers": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2},
    "amsgrad": {"amsgrad": True},
    "weight decay": {"weight_decay": 0.1},
    "clipped": {"clipnorm": 0.3},
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"use_ema": True, "ema_momentum": 0.5},
}


@kinds
@pytest.mark.parametrize("options", ADAMS.values(), ids=ADAMS)
def test_adam_is_keras_adam(kind, options):
    steps = gradients(kind) * 2
    keras_own = dense(steps)
    if "gradient_accumulation_steps" in options:
        # Keras makes it dense.
        steps = keras_own
    states = []
    for optimizer, given in (
        (Adam(0.1, **options), steps),
        (keras.optimizers.Adam(0.1, **options), keras_own),
    ):
        variable = trained(optimizer, given)
        states.append(state(optimizer, variable))
    assert_close(*states)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}])
def test_adam_sums_the_look_ups_of_a_row(options):
    rng = np.random.default_rng(0)
    steps = [sparse([1, 4, 1, 1], rng.normal(size=(4, 2, 3))) for _ in "abc"]
    states = []
    for optimizer, given in (
        (Adam(0.1, **options), steps),
        (keras.optimizers.Adam(0.1, **options), dense(steps)),
    ):
        variable = trained(optimizer, given)
        states.append(state(optimizer, variable))
    assert_close(*states)


def operations(optimizer, dtype="float32"):
    """The kinds of operations of an update."""
    variable = start(dtype=dtype)
    optimizer.build([variable])
    traced = tf.function(lambda gradient: optimizer.apply([gradient]))
    graph = traced.get_concrete_function(
        tf.TensorSpec(variable.shape, dtype)
    ).graph
    return {operation.type for operation in graph.get_operations()}


def test_adam_is_one_operation():
    assert "ResourceApplyAdam" in operations(Adam())
    assert "ResourceApplyAdam" in operations(Adam(), "float64")
    for optimizer, dtype in (
        (Adam(amsgrad=True), "float32"),
        (Adam(), "bfloat16"),
        (keras.optimizers.Adam(), "float32"),
    ):
        assert "ResourceApplyAdam" not in operations(optimizer, dtype)


def test_a_domains_step_is_the_same_with_and_without_the_others():
    one, all_of_them = [], []
    for rows, weights in ((1, one), (ROWS, all_of_them)):
        gradient = np.zeros((ROWS, 2, 3), "float32")
        gradient[:rows] = np.linspace(-2, 3, 6).reshape(2, 3)
        variable = trained(LazyAdam(0.1), [tf.constant(gradient)] * 3, True)
        weights.append(variable.numpy()[0])
    np.testing.assert_allclose(one, all_of_them, rtol=1e-6)


def test_adam_on_two_replicas_is_adam_on_one(two_replicas):
    results = []
    for strategy in (two_replicas, tf.distribute.get_strategy()):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            model.compile(Adam(0.1), "mse")
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(64, 3)), rng.normal(size=(64, 2))
        model.fit(*rows, batch_size=16, epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


# --- Keras's options ---------------------------------------------------------


def test_a_schedule_gives_the_learning_rate():
    every = [(list(range(ROWS)), 1.0)] * 4
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    adam = keras.optimizers.Adam(schedule)
    steps = gradients("table", every)
    mine, keras_own = (trained(o, steps) for o in (LazyAdam(schedule), adam))
    np.testing.assert_allclose(mine, keras_own, atol=1e-5)


@kinds
@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("own", [Adam, LazyAdam])
def test_clipping_is_the_dense_gradients(own, kind, clip):
    options = {clip: 0.4}
    every = [([5, 1, 3, 1, 4, 2, 0], scale) for scale in (2.0, 0.02, -1.0)]
    steps = gradients(kind, every)
    lazy, adam = own(0.1, **options), keras.optimizers.Adam(0.1, **options)
    # A second variable, for the global norm to be of both.
    pair = start(per_domain=kind != "table"), keras.Variable(np.ones(2))
    other = start(), keras.Variable(np.ones(2))
    for gradient in steps:
        more = tf.constant([3.0, -4.0])
        lazy.apply([gradient, more], list(pair))
        adam.apply([tf.convert_to_tensor(gradient), more], list(other))
    for mine, keras_own in zip(
        state(lazy, *pair), state(adam, *other), strict=True
    ):
        np.testing.assert_allclose(mine, keras_own, atol=1e-5)
    unclipped = trained(own(0.1), steps, kind != "table")
    assert np.abs(pair[0].numpy() - unclipped.numpy()).max() > 1e-3


@kinds
@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_what_had_no_gradient_stays_though_gradients_are_clipped(kind, clip):
    optimizer = LazyAdam(0.1, **{clip: 0.4})
    first, *_, last = gradients(kind)
    variable = trained(optimizer, [first], kind != "table")
    before = state(optimizer, variable)
    optimizer.apply([last], [variable])
    for old, new in zip(before, state(optimizer, variable), strict=True):
        if old.ndim == 3:
            np.testing.assert_array_equal(new[[1, 3, 4, 5]], old[[1, 3, 4, 5]])


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("weight_decay", 0.01, "AdamW"),
        ("ema_overwrite_frequency", 2, "leave it out"),
        ("gradient_accumulation_steps", 2, "larger batches"),
        ("loss_scale_factor", 8.0, "LossScaleOptimizer"),
    ],
)
def test_an_option_that_cannot_be_lazy_raises(option, value, instead):
    said = rf"no {option}, because.*{instead}.*Received: {option}={value!r}"
    with pytest.raises(ValueError, match=said):
        LazyAdam(use_ema=True, **{option: value})


def test_averages_of_the_weights_leave_the_weights_alone():
    steps = gradients("table")
    averaging = LazyAdam(0.1, use_ema=True, ema_momentum=0.75)
    weights, values = start(), []
    for gradient in steps:
        averaging.apply([gradient], [weights])
        values.append(weights.numpy())
    np.testing.assert_array_equal(weights, trained(LazyAdam(0.1), steps))
    average = values[0]
    for value in values[1:]:
        average = 0.75 * average + 0.25 * value
    averaging.finalize_variable_values([weights])
    np.testing.assert_allclose(weights, average, atol=1e-6)


@kinds
def test_a_loss_scale_optimizer_can_wrap_it(kind):
    scaled = keras.optimizers.LossScaleOptimizer(
        LazyAdam(0.1), initial_scale=8.0
    )
    steps = gradients(kind)
    larger = [
        sparse(g.indices, 8 * g.values) if kind != "domains" else 8 * g
        for g in steps
    ]
    per_domain = kind != "table"
    np.testing.assert_array_equal(
        trained(scaled, larger, per_domain),
        trained(LazyAdam(0.1), steps, per_domain),
    )


def test_its_config_makes_it_again():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    optimizer = LazyAdam(
        schedule, beta_1=0.8, beta_2=0.9, epsilon=1e-4, amsgrad=True, clipnorm=2
    )
    config = keras.optimizers.serialize(optimizer)
    assert config["registered_name"] == "mlora_tf>LazyAdam"
    again = keras.optimizers.deserialize(config)
    assert type(again) is LazyAdam
    assert again.get_config() == optimizer.get_config()


# --- In training -------------------------------------------------------------


def make(optimizer, ids=50, num_domains=3):
    """A model with a table and an adapter for each domain."""
    keras.utils.set_random_seed(0)
    inputs = {
        "id": keras.Input((2,), dtype="int32", name="id"),
        "domain": keras.Input((), dtype="int32", name="domain"),
    }
    embedded = keras.layers.Embedding(ids, 4, name="table")(inputs["id"])
    flat = keras.layers.Flatten()(embedded)
    adapted = MLoRADense(8, num_domains, rank=2, name="adapted")
    hidden = adapted(flat, inputs["domain"])
    outputs = keras.layers.Dense(1, activation="sigmoid", name="ctr")(hidden)
    model = keras.Model(inputs, outputs)
    mark(model)
    model.compile(optimizer, "binary_crossentropy", jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def mark(model):
    for variable in model.get_layer("adapted").domain_variables:
        variable.per_domain = True


def batches(count=8, rows=16, domains=(0, 1), ids=40):
    rng = np.random.default_rng(2)
    size = count * rows
    x = {
        "id": rng.integers(0, ids, (size, 2)).astype("int32"),
        "domain": rng.choice(domains, size).astype("int32"),
    }
    y = rng.integers(0, 2, (size, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(rows)


def fit(model, batches, **kwargs):
    model.fit(batches, verbose=0, shuffle=False, **kwargs)


def weights(model):
    return state(model.optimizer, *model.weights)


def test_a_domain_that_is_not_in_the_batch_keeps_its_adapters():
    model = make(LazyAdam(0.01))
    fit(model, batches())
    adapters = model.get_layer("adapted").domain_variables
    before = [variable.numpy() for variable in adapters]
    table = model.get_layer("table").embeddings
    rows = table.numpy()
    fit(model, batches(count=3, domains=[1], ids=10))
    for variable, old in zip(adapters, before, strict=True):
        new = variable.numpy()
        np.testing.assert_array_equal(new[[0, 2]], old[[0, 2]])
        assert (new[1] != old[1]).any()
    np.testing.assert_array_equal(table.numpy()[10:], rows[10:])
    assert (table.numpy()[:10] != rows[:10]).any()


def test_many_steps_in_one_execution_are_the_same_steps():
    one, many = make(LazyAdam(0.01)), make(LazyAdam(0.01))
    many.steps_per_execution = 32
    for model in (one, many):
        fit(model, batches(count=64))
    assert int(many.optimizer.iterations) == 64
    for this, that in zip(weights(one), weights(many), strict=True):
        np.testing.assert_allclose(this, that, atol=1e-6)
    np.testing.assert_array_equal(
        many.get_layer("table").embeddings.numpy()[40:],
        make(LazyAdam()).get_layer("table").embeddings.numpy()[40:],
    )


@pytest.mark.parametrize(
    "steps_per_execution", [pytest.param(1, marks=pytest.mark.slow), 4]
)
def test_two_replicas_are_one(two_replicas, steps_per_execution):
    # epsilon is large, so that noise in a gradient near zero stays small.
    one = make(LazyAdam(0.01, epsilon=1e-2))
    with two_replicas.scope():
        two = make(LazyAdam(0.01, epsilon=1e-2))
    for model in (one, two):
        model.steps_per_execution = steps_per_execution
        # Of 16 rows with 5 ids many are on both replicas.
        fit(model, batches(ids=5))
    for this, that in zip(weights(one), weights(two), strict=True):
        np.testing.assert_allclose(this, that, atol=1e-6)
    for variable in (*two.weights, *two.optimizer.variables):
        copies = [np.array(copy) for copy in variable.value.values]
        np.testing.assert_array_equal(*copies)


@pytest.mark.parametrize("optimizer", [Adam, LazyAdam])
@pytest.mark.parametrize("used", [20, 70])
def test_two_replicas_are_one_with_sparse_gradients_of_domains(
    optimizer, used, two_replicas
):
    # Each block of a domain's rows fetches its adapter.
    form = domain_ops.low_rank_form(90, 2, 16)
    assert form is low_rank_forms.blocked
    dataset = batches(count=3, rows=64, domains=range(used), ids=5)
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = make(optimizer(0.01, epsilon=1e-2), num_domains=90)
        adapters = model.get_layer("adapted").domain_variables
        before = [variable.numpy()[used:] for variable in adapters]
        fit(model, dataset)
        results.append(weights(model))
        for variable, old in zip(adapters, before, strict=True):
            np.testing.assert_array_equal(variable.numpy()[used:], old)
    for this, that in zip(*results, strict=True):
        np.testing.assert_allclose(this, that, atol=1e-6)


def test_a_saved_model_goes_on_to_the_bit(tmp_path):
    model = make(LazyAdam(0.01, amsgrad=True))
    fit(model, batches())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    mark(again)
    assert type(again.optimizer) is LazyAdam
    assert_same(weights(model), weights(again))
    for each in (model, again):
        fit(each, batches(domains=[2]))
    assert_same(weights(model), weights(again))


def test_a_training_state_goes_on_to_the_bit(tmp_path):
    def trained_for(epochs, path):
        model = make(LazyAdam(0.01))
        # The score rises in each epoch, so that no older weights come back.
        stopping = EarlyStopping("epoch", patience=1)
        saving = TrainingState(path, stopping, {"run": "a"})
        first = saving.restore(model)
        score = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(epoch=epoch)
        )
        fit(
            model,
            batches(),
            epochs=epochs,
            initial_epoch=first,
            callbacks=[score, stopping, saving],
        )
        return model

    whole = trained_for(3, tmp_path / "whole.npz")
    trained_for(2, tmp_path / "halves.npz")
    resumed = trained_for(3, tmp_path / "halves.npz")
    assert int(resumed.optimizer.iterations) == 24
    assert_same(weights(whole), weights(resumed))


# --- Other backends ----------------------------------------------------------


def test_the_rule_for_domains_needs_no_tensorflow(monkeypatch):
    steps = gradients("domains")
    expected = trained(LazyAdam(0.1, clipnorm=1.0), steps, per_domain=True)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    optimizer = LazyAdam(0.1, clipnorm=1.0)
    mine = trained(optimizer, steps, per_domain=True)
    assert_close([mine.numpy()], [expected.numpy()])


@pytest.mark.skipif(not find_spec("jax"), reason="JAX isn't installed")
def test_domains_are_lazy_under_jax():
    code = """
import keras
import numpy as np
from mlora_tf.optimizers import Adam
from mlora_tf.optimizers import LazyAdam
weight = keras.Variable(np.ones((3, 2), "float32"))
weight.per_domain = True
other = keras.Variable(np.ones((3, 2), "float32"))
lazy = LazyAdam(0.1, clipnorm=10.0)
lazy.build([weight, other])
values = [weight.value, other.value], [v.value for v in lazy.variables]
for domains in ([1, 1, 0], [1, 0, 0]):
    gradient = keras.ops.array(domains, "float32")[:, None] * 2 * np.ones(2)
    weights, state = values
    values = lazy.stateless_apply(state, [gradient, gradient], weights)
weight, other = values[0]
print(*[f"{w:.3f}" for w in (*weight[:, 0], *other[:, 0])])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0.800 0.900 1.000 0.800 0.833 1.000\n"
