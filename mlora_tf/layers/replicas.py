"""Sums over the replicas of a distribution strategy."""

from collections.abc import Sequence
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
    if num_replicas() == 1:
        return values
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)


def gather_over_replicas(values: Tensors) -> Tensors:
    """Joins the tensors of all replicas; each replica gets all rows.

    Where there is one replica, or no strategy, the tensor passes unchanged.
    Not for use within a conditional or a loop over tensors.

    Args:
        values: A tensor whose axis 0 may differ in length between replicas.

    Returns:
        The replicas' tensors, in their order, along axis 0.
    """
    if num_replicas() == 1:
        return values
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_gather(values, axis=0)


def own_loss(loss: Any) -> Any:
    """Marks a loss for `add_loss` as this replica's; see `own_losses`."""
    replica = _replica()
    if replica is not None:
        loss.mlora_tf_replica = replica
    return loss


def own_losses(losses: Sequence[Any]) -> list[Any]:
    """Leaves out the losses that another replica has marked as its own.

    Keras keeps what all replicas of a machine add to a layer in one list.
    Each has its turn until it meets the others, as in `sum_over_replicas`:
    those whose turn comes later would count the losses of the earlier ones.

    Args:
        losses: What the layer has, in Keras's list.
    """
    replica = _replica()
    return [
        loss
        for loss in losses
        if replica is None
        or getattr(loss, "mlora_tf_replica", replica) == replica
    ]


def num_replicas() -> int:
    """How many replicas compute this together; 1 outside of them."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    # None outside of the replicas: what is computed there is already whole.
    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else replica.num_replicas_in_sync


def _replica() -> int | None:
    """Which of several replicas computes this; None outside of them."""
    if num_replicas() == 1:
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.get_static_value(replica)
