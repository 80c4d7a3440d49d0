import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import SequencePooling
from mlora_tf.layers import domain_ops
from mlora_tf.optimizers import LazyAdam
from tests import goldens

IDS, DIM = 6, 3
BATCH = np.array([4, 0, 4, 2, 4, 2, 0, 4], "int32")


def drawn(seed=0, **options):
    """A table of random rows."""
    layer = EmbeddingTable(IDS, DIM, name="table", **options)
    layer.build()
    goldens.randomize(layer, seed)
    return layer


def penalty(table, ids, strength):
    """The squares of each distinct row once, row by row."""
    total = 0.0
    for row in set(np.ravel(ids).tolist()):
        for value in table[row]:
            total += float(value) ** 2
    return strength * total


def gradients(layer, ids, loss=lambda outputs: 0.0 * tf.reduce_sum(outputs)):
    """The table's gradient, of the layer's own losses and one of outputs."""
    with tf.GradientTape() as tape:
        outputs = layer(ids, training=True)
        total = tf.cast(loss(outputs), "float32") + tf.add_n(layer.losses)
    return tape.gradient(total, layer.embeddings.value)


# --- Looking up --------------------------------------------------------------


@pytest.mark.parametrize("ids", [[4, 0, 4], [[1, 5], [0, 2]], [[[3]]], []])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_an_id_gets_its_row(ids, dtype):
    layer, ids = drawn(), np.array(ids, dtype)
    expected = np.zeros((*ids.shape, DIM), "float32")
    for place in np.ndindex(ids.shape):
        expected[place] = layer.embeddings.numpy()[ids[place]]
    for call in (layer, tf.function(layer)):
        np.testing.assert_array_equal(call(tf.constant(ids)), expected)


@pytest.mark.parametrize("initializer", ["uniform", "normal", "ones"])
def test_it_draws_and_computes_what_keras_embedding_does(initializer):
    made = []
    for kind in (keras.layers.Embedding, EmbeddingTable):
        keras.utils.set_random_seed(7)
        layer = kind(IDS, DIM, embeddings_initializer=initializer, name="table")
        made.append((layer(BATCH).numpy(), layer.weights))
    (theirs, (their_weight,)), (mine, (weight,)) = made
    np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(weight, their_weight)
    assert weight.path == their_weight.path == "table/embeddings"


def test_tables_are_small_uniform_numbers_unless_told_otherwise():
    rows = EmbeddingTable(200, 8)(np.arange(200)).numpy()
    assert -0.05 <= rows.min() < -0.04
    assert 0.04 < rows.max() <= 0.05


def test_the_table_is_never_read_whole():
    # A read is a copy of the table, once some of its rows have been updated.
    layer = drawn(batch_l2=0.1)

    @tf.function
    def step(ids):
        return gradients(layer, ids)

    graph = step.get_concrete_function(tf.TensorSpec([None], tf.int32)).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert "ResourceGather" in kinds
    assert "ReadVariableOp" not in kinds


@pytest.mark.parametrize("wrong", [-1, IDS])
def test_an_id_that_has_no_row_gets_none(wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 6\)"):
        drawn()(np.array([0, wrong]))


def test_other_backends_take_rows_as_keras_does(monkeypatch):
    layer, taken = drawn(batch_l2=0.3), []
    expected = layer(BATCH).numpy()
    take = domain_ops.ops.take

    def recorded(table, ids, axis):
        taken.append(ids.shape)
        return take(table, ids, axis=axis)

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(domain_ops.ops, "take", recorded)
    np.testing.assert_array_equal(layer(BATCH, training=True), expected)
    assert taken == [BATCH.shape]
    expected = penalty(layer.embeddings.numpy(), BATCH, 0.3)
    np.testing.assert_allclose(layer.losses, [expected], rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_casts_what_is_looked_up(policy):
    layer = drawn(dtype=policy, batch_l2=0.5)
    outputs = layer(BATCH, training=True)
    assert outputs.dtype == policy.removeprefix("mixed_")
    rows = tf.constant(layer.embeddings.numpy()[BATCH])
    np.testing.assert_array_equal(outputs, tf.cast(rows, outputs.dtype))
    assert layer.embeddings.dtype == "float32"
    # Squares of small numbers would vanish in half precision.
    assert layer.losses[0].dtype == "float32"
    gradient = gradients(layer, BATCH)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.dtype == "float32"


# --- Its gradient ------------------------------------------------------------


def test_the_gradient_is_sparse_and_sums_all_look_ups():
    layer = drawn(batch_l2=1e-9)
    weights = np.random.default_rng(1).normal(size=(8, DIM)).astype("float32")
    gradient = gradients(layer, BATCH, lambda y: tf.reduce_sum(weights * y))
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.zeros((IDS, DIM))
    for row, weight in zip(BATCH, weights, strict=True):
        expected[row] += weight
    np.testing.assert_allclose(
        tf.convert_to_tensor(gradient), expected, atol=1e-6
    )


def test_a_shared_table_has_one_sparse_gradient():
    layer = drawn()
    with tf.GradientTape() as tape:
        first, second = layer(BATCH), layer(BATCH[:2, None])
        loss = tf.reduce_sum(first) + 2 * tf.reduce_sum(second)
    gradient = tape.gradient(loss, layer.embeddings.value)
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.bincount(BATCH, minlength=IDS).astype("float32")
    expected += 2 * np.bincount(BATCH[:2], minlength=IDS)
    expected = np.repeat(expected[:, None], DIM, axis=1)
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


# --- The penalty on the batch's rows -----------------------------------------


@pytest.mark.parametrize("ids", [BATCH, BATCH.reshape(4, 2), [3], [1, 1, 1]])
@pytest.mark.parametrize("strength", [0.1, 2])
def test_each_distinct_row_of_the_batch_counts_once(ids, strength):
    layer = drawn(batch_l2=strength)
    expected = penalty(layer.embeddings.numpy(), ids, strength)

    def loss(ids):
        layer(ids, training=True)
        (own,) = layer.losses
        assert own.shape == ()
        return own

    for call in (loss, tf.function(loss)):
        np.testing.assert_allclose(call(np.array(ids)), expected, rtol=1e-5)


def test_its_gradient_is_that_of_l2_on_the_table_for_those_rows_alone():
    mine = drawn(batch_l2=0.3)
    whole = drawn(embeddings_regularizer=keras.regularizers.L2(0.3))
    np.testing.assert_array_equal(mine.embeddings, whole.embeddings)
    gradient, other = gradients(mine, BATCH), gradients(whole, BATCH)
    assert isinstance(gradient, tf.IndexedSlices)
    assert not isinstance(other, tf.IndexedSlices)
    gradient = tf.convert_to_tensor(gradient).numpy()
    rows = np.unique(BATCH)
    np.testing.assert_allclose(gradient[rows], other.numpy()[rows], rtol=1e-5)
    others = np.delete(np.arange(IDS), rows)
    assert not gradient[others].any()
    assert other.numpy()[others].all()


def test_a_row_in_a_share_of_the_batches_shrinks_as_often():
    layer = drawn(batch_l2=0.05)
    before = layer.embeddings.numpy()
    sgd = keras.optimizers.SGD(1.0)
    for step in range(8):  # id 0 in all, id 1 in a half, id 2 in a quarter
        ids = [i for i, every in ((0, 1), (1, 2), (2, 4)) if step % every == 0]
        sgd.apply([gradients(layer, np.array(ids))], [layer.embeddings])
    for i, steps in ((0, 8), (1, 4), (2, 2), (3, 0)):
        np.testing.assert_allclose(
            layer.embeddings[i], 0.9**steps * before[i], rtol=1e-5
        )


def test_calls_of_a_shared_table_have_a_penalty_each():
    layer = drawn(batch_l2=0.3)
    ids = keras.Input((2,), dtype="int32")
    outputs = [layer(ids[:, 0]), layer(ids[:, 1])]
    model = keras.Model(ids, outputs)
    model(BATCH.reshape(4, 2), training=True)
    table = layer.embeddings.numpy()
    expected = [penalty(table, BATCH[first::2], 0.3) for first in (0, 1)]
    np.testing.assert_allclose(
        sorted(model.losses), sorted(expected), rtol=1e-5
    )


def test_outside_training_and_without_strength_there_is_none():
    layer = drawn(batch_l2=0.3)
    layer(BATCH)
    layer(BATCH, training=False)
    assert layer.losses == []
    plain = drawn()
    plain(BATCH, training=True)
    assert plain.losses == []


@pytest.mark.parametrize("rows", [None, (2, 5)])
def test_a_frozen_table_has_none(rows):
    layer = drawn(batch_l2=0.3, trainable_rows=rows)
    layer.trainable = False
    layer(BATCH, training=True)
    assert layer.losses == []
    layer.trainable = True
    layer(BATCH, training=True)
    assert len(layer.losses) == 1


def test_a_batch_of_no_rows_adds_nothing():
    layer = drawn(batch_l2=0.3)
    assert layer(BATCH[:0], training=True).shape == (0, DIM)
    assert float(layer.losses[0]) == 0.0


def test_the_whole_tables_penalty_is_its_regularizer():
    layer = drawn(embeddings_regularizer=keras.regularizers.L2(0.3))
    (loss,) = layer.losses
    expected = penalty(layer.embeddings.numpy(), range(IDS), 0.3)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


# --- Rows that train ---------------------------------------------------------


@pytest.mark.parametrize("rows", [(2, 5), [0, 1], (0, IDS)])
def test_only_the_rows_that_train_have_a_gradient(rows):
    layer = drawn(
        batch_l2=0.3,
        embeddings_regularizer=keras.regularizers.L2(0.2),
        trainable_rows=rows,
    )
    every = drawn(
        batch_l2=0.3, embeddings_regularizer=keras.regularizers.L2(0.2)
    )
    np.testing.assert_array_equal(layer(BATCH), every(BATCH))

    def loss(outputs):
        return tf.reduce_sum(outputs**3)

    gradient = tf.convert_to_tensor(gradients(layer, BATCH, loss)).numpy()
    whole = tf.convert_to_tensor(gradients(every, BATCH, loss)).numpy()
    for row in range(IDS):
        if rows[0] <= row < rows[1]:
            np.testing.assert_array_equal(gradient[row], whole[row])
            assert gradient[row].any()
        else:
            assert not gradient[row].any()


def test_penalties_count_the_rows_that_train_alone():
    layer = drawn(
        batch_l2=0.3,
        embeddings_regularizer=keras.regularizers.L2(0.2),
        trainable_rows=(1, 3),
    )
    layer(BATCH.reshape(4, 2), training=True)
    table = layer.embeddings.numpy()
    # Of the rows 1 and 2 the batch looks up the second.
    expected = [penalty(table, [2], 0.3), penalty(table, [1, 2], 0.2)]
    np.testing.assert_allclose(
        sorted(layer.losses), sorted(expected), rtol=1e-5
    )


def test_the_gradient_of_some_rows_is_sparse_too():
    layer = drawn(batch_l2=0.3, trainable_rows=(1, 3))
    assert isinstance(gradients(layer, BATCH), tf.IndexedSlices)
    (loss,) = layer.losses
    np.testing.assert_allclose(
        loss, penalty(layer.embeddings.numpy(), [2], 0.3), rtol=1e-5
    )


@pytest.mark.parametrize("penalties", ["none", "batch", "all"])
@pytest.mark.parametrize(
    "optimizer", [LazyAdam, keras.optimizers.Adam, keras.optimizers.SGD]
)
def test_frozen_rows_stay_to_the_bit(optimizer, penalties, tmp_path):
    options = {"none": {}, "batch": {"batch_l2": 0.5}}.get(
        penalties, {"embeddings_regularizer": keras.regularizers.L2(0.5)}
    )
    one = model(optimizer(0.01), **options)
    one.get_layer("table").trainable_rows = (4, 9)
    before = goldens.arrays(one)["table/embeddings"]
    one.compile(optimizer=optimizer(0.01), loss="mse", jit_compile=False)
    one.optimizer.build(one.trainable_variables)
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    assert twin.get_layer("table").trainable_rows == (4, 9)
    for trained in (one, twin):
        after = fitted(trained)[0]["table/embeddings"]
        np.testing.assert_array_equal(after[:4], before[:4])
        np.testing.assert_array_equal(after[9:], before[9:])
        assert (after[4:9] != before[4:9]).all()


def test_all_rows_train_again():
    layer = drawn(batch_l2=0.3, trainable_rows=(1, 3))
    layer.trainable_rows = None
    assert layer.get_config()["trainable_rows"] is None
    expected = tf.convert_to_tensor(gradients(drawn(batch_l2=0.3), BATCH))
    gradient = tf.convert_to_tensor(gradients(layer, BATCH))
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    "wrong", [(3, 3), (-1, 2), (0, 7), (1,), (1, 2, 3), 2, (0, 2.0), "ab"]
)
def test_rows_that_cannot_train_are_named(wrong):
    layer = drawn()
    for made in (
        lambda: EmbeddingTable(IDS, DIM, trainable_rows=wrong),
        lambda: setattr(layer, "trainable_rows", wrong),
    ):
        with pytest.raises(ValueError, match="of 6 rows") as error:
            made()
        assert f"trainable_rows={wrong!r}" in str(error.value)


# --- In a model --------------------------------------------------------------


def model(optimizer="sgd", **options):
    ids = keras.Input((2,), dtype="int32", name="ids")
    embedded = EmbeddingTable(40, DIM, name="table", **options)(ids)
    pooled = SequencePooling("sum")(embedded, ids >= 0)
    one = keras.Model(ids, keras.layers.Dense(1, name="ctr")(pooled))
    goldens.randomize(one)
    one.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    one.optimizer.build(one.trainable_variables)
    return one


def rows(count=48, ids=12):
    rng = np.random.default_rng(3)
    x = rng.integers(0, ids, (count, 2)).astype("int32")
    y = rng.normal(size=(count, 1)).astype("float32")
    return x, y


def fitted(one, batch=16, **options):
    data = tf.data.Dataset.from_tensor_slices(rows(**options)).batch(batch)
    fit = one.fit(data, shuffle=False, verbose=0)
    return goldens.arrays(one), fit.history["loss"][0]


@pytest.mark.parametrize(
    "steps_per_execution", [pytest.param(1, marks=pytest.mark.slow), 2]
)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1),
        lambda: LazyAdam(0.01, epsilon=1e-2),
    ],
    ids=["sgd", "lazy_adam"],
)
def test_two_replicas_train_like_one(
    two_replicas, optimizer, steps_per_execution
):
    # Of 12 ids many are on both replicas, and each counts once.
    one = model(optimizer(), batch_l2=0.5)
    with two_replicas.scope():
        two = model(optimizer(), batch_l2=0.5)
    before = goldens.arrays(one)
    two.steps_per_execution = steps_per_execution
    (ones, _), (twos, _) = fitted(one), fitted(two)
    for path, expected in ones.items():
        np.testing.assert_allclose(twos[path], expected, atol=1e-6)
        assert (before[path] != expected).any()
    for copy in two.get_layer("table").embeddings.value.values:
        np.testing.assert_array_equal(copy, twos["table/embeddings"])


def test_rows_that_no_batch_looks_up_stay_to_the_bit():
    one = model(LazyAdam(0.01, clipnorm=1.0), batch_l2=0.5)
    before = goldens.arrays(one)["table/embeddings"]
    after = fitted(one)[0]["table/embeddings"]
    np.testing.assert_array_equal(after[12:], before[12:])
    assert (after[:12] != before[:12]).all()


def test_millions_of_rows_train_with_sparse_gradients(monkeypatch):
    kinds = set()
    original = LazyAdam.update_step

    def recorded(self, gradient, variable, learning_rate):
        if variable.shape[0] == 6_000_000:
            kinds.add(type(gradient).__name__)
        original(self, gradient, variable, learning_rate)

    monkeypatch.setattr(LazyAdam, "update_step", recorded)
    ids = keras.Input((), dtype="int32")
    tables = [
        EmbeddingTable(6_000_000, 1, "zeros", batch_l2=1e-5) for _ in range(2)
    ]
    one = keras.Model(ids, keras.layers.Add()([t(ids) for t in tables]))
    one.compile(optimizer=LazyAdam(0.1), loss="mse", jit_compile=False)
    x = np.array([5_999_999, 3, 3], "int32")
    one.fit(x, np.ones(3), shuffle=False, verbose=0)
    assert kinds == {"IndexedSlices"}
    for table in tables:
        found = np.flatnonzero(table.embeddings.numpy())
        np.testing.assert_array_equal(found, [3, 5_999_999])


def test_frozen_it_stays():
    one = model(batch_l2=0.5)
    one.get_layer("table").trainable = False
    one.compile(optimizer="sgd", loss="mse")
    before = goldens.arrays(one)
    after, _ = fitted(one)
    path = "table/embeddings"
    np.testing.assert_array_equal(after.pop(path), before[path])
    assert all((after[path] != before[path]).any() for path in after)


def test_it_comes_back_from_a_file_and_goes_on_to_the_bit(tmp_path):
    one = model(LazyAdam(0.01), batch_l2=0.5)
    fitted(one)
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    (ones, loss), (twins, other_loss) = fitted(one), fitted(twin)
    assert loss == other_loss
    for path, expected in ones.items():
        np.testing.assert_array_equal(twins[path], expected)


def test_it_serves(tmp_path):
    one = model(batch_l2=0.5)
    one.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    x, _ = rows()
    np.testing.assert_allclose(served.serve(x), one(x), rtol=1e-5, atol=1e-6)


# --- Arguments ---------------------------------------------------------------


@pytest.mark.parametrize("argument", ["num_ids", "dim"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_sizes_that_cannot_be_are_named(argument, wrong):
    with pytest.raises(ValueError, match=f"Received: {argument}={wrong!r}"):
        EmbeddingTable(**{"num_ids": IDS, "dim": DIM, argument: wrong})


@pytest.mark.parametrize("wrong", [-0.1, "1", None, np.nan])
def test_a_penalty_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=f"Received: batch_l2={wrong!r}"):
        EmbeddingTable(IDS, DIM, batch_l2=wrong)
