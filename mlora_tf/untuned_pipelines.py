"""Data pipelines without TensorFlow's tuner, for which epochs would wait.

The tuner's thread looks at a pipeline 10 ms after its start, 20 ms after that,
then 40 ms and so on up to a minute, and in TensorFlow 2.21 whoever drops an
iterator waits for its next look. Keras's `fit` drops one an epoch, which takes
as long again at worst. In the pipelines of this package there is nothing to
tune: `prefetch` sets its own buffer.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset with the same elements and no tuner.

    Args:
        dataset: The dataset.

    Returns:
        A `tf.data.Dataset`.

    Example:
        >>> dataset = untuned(tf.data.Dataset.range(3))
        >>> list(dataset.as_numpy_iterator())
        [np.int64(0), np.int64(1), np.int64(2)]
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def untuned_replicas() -> Iterator[None]:
    """Within it, what feeds each replica has no tuner either.

    A strategy makes a dataset for each of its devices, which doesn't take
    over the options of the one that it parts among them. A TensorFlow that
    makes them elsewhere is left as it is: it is slower, not wrong.

    Example:
        >>> with untuned_replicas():
        ...     pass  # model.fit(...)
    """
    make = getattr(multi_device_iterator_ops, "_create_device_dataset", None)
    if make is None:
        yield
        return

    def make_untuned(*args: Any, **kwargs: Any) -> tf.data.Dataset:
        return untuned(make(*args, **kwargs))

    multi_device_iterator_ops._create_device_dataset = make_untuned
    try:
        yield
    finally:
        multi_device_iterator_ops._create_device_dataset = make
