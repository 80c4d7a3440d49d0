"""Sums over the replicas of a distribution strategy."""

from typing import Any

import keras

Tensors = Any


def sum_over_replicas(values: Tensors) -> Tensors:
    """Adds up tensors over all replicas; each replica gets the sums.

    Under a `tf.distribute` strategy the gradients are summed over the
    replicas too. Where there is one replica, or no strategy, the tensors pass
    unchanged. Not for use within a conditional or a loop over tensors:
    TensorFlow can't meet the other replicas there.

    Args:
        values: A tensor of one shape on all replicas, or a structure of such
            tensors, which travel together.

    Returns:
        The sums, in the structure of `values`.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    # None outside of the replicas: what is computed there is already whole.
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)
