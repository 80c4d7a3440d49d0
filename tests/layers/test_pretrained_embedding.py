import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.pretrained_embedding import PretrainedEmbedding

IDS, DIM = 6, 3
VECTORS = np.random.default_rng(0).normal(size=(IDS, DIM)).astype("float32")


def filled(**options):
    layer = PretrainedEmbedding(IDS, DIM, **options)
    layer.set_vectors(VECTORS)
    return layer


@pytest.mark.parametrize("ids", [[4, 0, 4], [[1, 5], [0, 2]], []])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_an_id_gets_its_vector(ids, dtype):
    ids = np.array(ids, dtype)
    np.testing.assert_array_equal(filled()(ids), VECTORS[ids])


def test_vectors_are_zeros_until_they_are_set():
    layer = PretrainedEmbedding(IDS, DIM)
    np.testing.assert_array_equal(layer(np.array([1, 2])), np.zeros((2, DIM)))
    layer.set_vectors(VECTORS)
    np.testing.assert_array_equal(layer(np.array([1, 2])), VECTORS[1:3])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64"])
def test_vectors_may_be_set_from_any_type(dtype):
    vectors = (10 * VECTORS).astype(dtype)
    layer = PretrainedEmbedding(IDS, DIM)
    layer.set_vectors(vectors)
    assert layer.vectors.dtype == "float32"
    np.testing.assert_array_equal(layer.vectors, vectors.astype("float32"))
    layer.set_vectors((2 * vectors).tolist())
    np.testing.assert_array_equal(layer.vectors, 2 * vectors.astype("float32"))


def model(layer):
    ids = keras.Input((), dtype="int32")
    x = keras.layers.Dense(1, kernel_initializer="ones")(layer(ids))
    return keras.Model(ids, x)


@pytest.mark.parametrize("trainable", [None, True, False])
def test_it_never_trains(trainable):
    layer = filled()
    one = model(layer)
    if trainable is not None:
        layer.trainable = trainable
    assert layer.trainable_weights == []
    assert [w.path for w in layer.non_trainable_weights] == [
        f"{layer.name}/vectors"
    ]
    one.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    one.fit(np.arange(IDS), np.ones(IDS), epochs=2, verbose=0)
    np.testing.assert_array_equal(layer.vectors, VECTORS)
    assert (one.layers[-1].kernel.numpy() != 1).all()


@pytest.mark.slow
def test_two_replicas_look_up_the_same(two_replicas):
    with two_replicas.scope():
        one = model(PretrainedEmbedding(IDS, DIM, name="table"))
        one.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    one.get_layer("table").set_vectors(VECTORS)
    expected = VECTORS.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        one.predict(np.arange(IDS), verbose=0), expected, rtol=1e-5
    )
    one.fit(np.arange(IDS), np.ones(IDS), batch_size=IDS, verbose=0)
    np.testing.assert_array_equal(one.get_layer("table").vectors, VECTORS)


def test_the_vectors_are_in_the_file(tmp_path):
    one = model(filled(name="table"))
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(twin.get_layer("table").vectors, VECTORS)
    twin.get_layer("table").trainable = True
    assert twin.get_layer("table").trainable_weights == []
    one.save_weights(tmp_path / "one.weights.h5")
    other = model(PretrainedEmbedding(IDS, DIM, name="table"))
    other.load_weights(tmp_path / "one.weights.h5")
    np.testing.assert_array_equal(other(np.arange(IDS)), one(np.arange(IDS)))
    one.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(
        served.serve(tf.range(IDS)), one(np.arange(IDS)), rtol=1e-6
    )


def test_half_precision_casts_what_is_looked_up():
    layer = filled(dtype="mixed_float16")
    assert layer.vectors.dtype == "float32"
    outputs = layer(np.array([1]))
    assert outputs.dtype == "float16"
    np.testing.assert_array_equal(outputs, VECTORS[1:2].astype("float16"))


@pytest.mark.parametrize("shape", [(IDS, DIM + 1), (IDS - 1, DIM), (IDS,)])
def test_vectors_of_another_shape_raise(shape):
    layer = filled(name="table")
    said = rf"'table' must be of shape \(6, 3\).*vectors.shape=\({shape[0]},"
    with pytest.raises(ValueError, match=said):
        layer.set_vectors(np.ones(shape))
    np.testing.assert_array_equal(layer.vectors, VECTORS)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_raise(wrong):
    layer = filled(name="table")
    vectors = VECTORS.astype("float64")
    vectors[4, 1] = wrong
    with pytest.raises(ValueError, match=r"finite. Received:.* of id 4 "):
        layer.set_vectors(vectors)
    np.testing.assert_array_equal(layer.vectors, VECTORS)


@pytest.mark.parametrize("argument", ["num_ids", "dim"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_sizes_that_cannot_be_are_named(argument, wrong):
    with pytest.raises(ValueError, match=f"Received: {argument}={wrong!r}"):
        PretrainedEmbedding(**{"num_ids": IDS, "dim": DIM, argument: wrong})
