import pytest
import tensorflow as tf

from mlora_tf.distribution import mirrored_strategy


def test_two_replicas_are_two_logical_cpu_devices(two_replicas):
    assert isinstance(two_replicas, tf.distribute.MirroredStrategy)
    assert two_replicas.num_replicas_in_sync == 2


def test_one_device_has_nothing_to_mirror():
    assert mirrored_strategy(1) is tf.distribute.get_strategy()


def test_replicas_must_be_positive():
    with pytest.raises(ValueError, match=r"positive integer\. Received: 0"):
        mirrored_strategy(0)


def test_asking_too_late_says_so():
    with pytest.raises(RuntimeError, match=r"2 logical CPU .* 3 are needed"):
        mirrored_strategy(3)
