import pytest
import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from mlora_tf.untuned_pipelines import untuned
from mlora_tf.untuned_pipelines import untuned_replicas

MAKER = "_create_device_dataset"


def fed(strategy, monkeypatch):
    """What a strategy's replicas get, and their datasets' tuners."""
    tuners = []
    make = getattr(multi_device_iterator_ops, MAKER)

    def watched(*args):
        dataset = make(*args)
        tuners.append(dataset.options().autotune.enabled)
        return dataset

    monkeypatch.setattr(multi_device_iterator_ops, MAKER, watched)
    dataset = strategy.experimental_distribute_dataset(
        untuned(tf.data.Dataset.range(8).batch(4))
    )
    batches = [
        [
            int(row)
            for part in strategy.experimental_local_results(one)
            for row in part
        ]
        for one in dataset
    ]
    return batches, tuners


def test_a_replicas_dataset_has_no_tuner(two_replicas, monkeypatch):
    # The premise: a replica's dataset doesn't take the options over.
    batches, tuners = fed(two_replicas, monkeypatch)
    assert tuners == [None, None]
    with untuned_replicas(), monkeypatch.context() as inner:
        assert fed(two_replicas, inner) == (batches, [False, False])
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_tensorflow_is_left_as_it_was():
    before = getattr(multi_device_iterator_ops, MAKER)
    with pytest.raises(KeyError), untuned_replicas():
        assert getattr(multi_device_iterator_ops, MAKER) is not before
        raise KeyError
    assert getattr(multi_device_iterator_ops, MAKER) is before


def test_a_tensorflow_that_makes_them_elsewhere_is_left_alone(monkeypatch):
    monkeypatch.delattr(multi_device_iterator_ops, MAKER)
    with untuned_replicas():
        assert not hasattr(multi_device_iterator_ops, MAKER)
    assert not hasattr(multi_device_iterator_ops, MAKER)
