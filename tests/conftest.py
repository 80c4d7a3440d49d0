"""Two logical CPU devices for every test, before TensorFlow starts."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
import tensorflow as tf

from mlora_tf.distribution import mirrored_strategy

mirrored_strategy(2)


@pytest.fixture
def two_replicas() -> tf.distribute.Strategy:
    """A strategy over two logical CPU devices."""
    return mirrored_strategy(2)
