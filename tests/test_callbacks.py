import keras
import numpy as np
import pytest

from mlora_tf import build_model
from mlora_tf import callbacks
from mlora_tf import metrics
from mlora_tf.data import Split
from mlora_tf.evaluation import evaluate
from mlora_tf.predictor import Predictor
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature

SCHEMA = Schema(
    (SparseFeature("item", tuple(range(20))),), "shop", ("a", "b", "c")
)


def split(rows=500, label=None, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {
        "item": rng.integers(0, 21, rows).astype(np.int32),
        "domain": rng.integers(0, 3, rows).astype(np.int32),
    }
    if label is None:
        label = rng.integers(0, 2, rows)
    return Split(inputs, np.asarray(label, np.float32))


@pytest.fixture(scope="module")
def model():
    model = build_model(SCHEMA, "mlp", "mlora", hidden_units=(8, 4))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    return model


def test_a_predictor_scores_rows_as_the_model_does(model):
    rows = split(77)
    scores = Predictor(model, batch_size=16)(rows.inputs)
    expected = model(rows.inputs, training=False)["ctr"][:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_a_predictor_follows_the_weights(model):
    rows, predictor = split(5), Predictor(model)
    before = predictor(rows.inputs)
    kernel = model.get_layer("logit.deep").kernel
    old = kernel.numpy()
    kernel.assign(-old)
    assert np.abs(predictor(rows.inputs) - before).max() > 1e-3
    kernel.assign(old)


def test_a_predictor_of_no_rows_gives_none(model):
    assert Predictor(model)(split(0).inputs).shape == (0,)


def test_exact_evaluation_adds_what_early_stopping_reads(model):
    rows = split()
    rows.label[rows.domain == 2] = 0  # one class: no AUC
    callback = callbacks.ExactEvaluation(rows, SCHEMA)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    logs = {}
    callback.on_epoch_end(0, logs)
    scores = Predictor(model)(rows.inputs)
    expected = metrics.grouped_auc(rows.label, scores, rows.domain, 3)
    assert logs["val_auc_a"] == expected[0]
    assert logs["val_auc_b"] == expected[1]
    assert "val_auc_c" not in logs
    counts = np.bincount(rows.domain)[:2]
    assert logs["val_wauc"] == pytest.approx(
        (counts * expected[:2]).sum() / counts.sum()
    )
    assert logs["val_macro_auc"] == pytest.approx(expected[:2].mean())
    assert logs["val_auc"] == metrics.auc(rows.label, scores)
    assert logs["val_logloss"] == metrics.logloss(rows.label, scores)
    assert logs["train_seconds"] >= 0
    assert logs["val_seconds"] > 0


def test_seconds_spent_before_count_for_the_epoch_that_goes_on_alone(model):
    callback = callbacks.ExactEvaluation(split(9), SCHEMA)
    callback.set_model(model)
    callback.spent = 1000.0
    first, second = {}, {}
    for epoch, logs in enumerate((first, second)):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
    assert first["train_seconds"] > 1000 > second["train_seconds"]


def test_predictions_that_are_not_finite_end_training(model):
    kernel = model.get_layer("logit.deep").kernel
    old = kernel.numpy()
    kernel.assign(np.full_like(old, np.nan))
    callback = callbacks.ExactEvaluation(split(9), SCHEMA)
    callback.set_model(model)
    try:
        with pytest.raises(callbacks.DivergedError, match=r"epoch 3: predic"):
            callback.on_epoch_end(2, {})
    finally:
        kernel.assign(old)


def test_an_epoch_takes_one_line():
    lines = []
    callback = callbacks.EpochLines(lines.append, "joint")
    callback.on_epoch_end(
        4,
        {
            "loss": 0.25,
            "val_wauc": 0.8,
            "train_seconds": 2.0,
            "val_seconds": 0.5,
        },
    )
    assert lines == ["joint epoch 5: loss 0.2500, val WAUC 80.000, 2.5 s"]


def test_the_streaming_metric_fits_into_compile(model):
    from mlora_tf.models import with_domain_output
    from mlora_tf.streaming_wauc import StreamingWAUC

    rows = split()
    both = with_domain_output(model)
    both.compile(
        loss={"ctr": "binary_crossentropy", "ctr_domain": None},
        metrics={"ctr_domain": StreamingWAUC(3)},
    )
    label = rows.label[:, None]
    logs = both.evaluate(
        rows.inputs,
        {"ctr": label, "ctr_domain": label},
        batch_size=64,
        verbose=0,
        return_dict=True,
    )
    scores = Predictor(model)(rows.inputs)
    exact = evaluate(rows.label, scores, rows.domain, SCHEMA.domains)
    assert logs["ctr_domain_wauc"] == pytest.approx(exact.wauc, abs=5e-3)
    assert isinstance(both, keras.Model)
