"""How a mixed batch reaches each row's own per-domain weights.

This is the one place that knows. Every function takes per-domain weights with
the domain on axis 0 and one domain id a row, and is exact for each row
whatever the mix. Which form computes it follows from static shapes alone, so
a graph holds one form, or two behind a test for a pure batch:

- masked: all domains' columns in one matrix product, then zeros for the
  columns of other domains. `D * r` columns, no dynamic shape, no gather.
- pure: if every row is of one domain, one small product with its slice.
- gathered: each row fetches its own matrices. Its cost doesn't grow with D.
"""

from typing import Any

import keras
from keras import ops

Tensor = Any

MASKED_DOMAINS = 48
"""Up to this many domains the masked form beats the gathered one.

Both cost in proportion to the rank, so it is D alone that decides;
`python -m experiments.benchmarks.routing` measures where.
"""

MASKED_ALWAYS_COLUMNS = 32
"""Up to this many columns `D * r` the pure form saves next to nothing."""

ONE_HOT_DOMAINS = 64
"""Up to this many domains a row is picked by a matrix product.

Its gradient is dense, so that replicas sum it like any other.
"""


def check_ids(ids: Tensor, num_ids: int, what: str = "domain") -> Tensor:
    """Returns ids as `int32`, and raises where one is out of range.

    Under TensorFlow the check is part of the graph, of exported models too.
    Compiled by XLA, and under other backends, nothing can raise: there
    `mlora_tf.data` has checked the ids when it loaded them.

    Args:
        ids: Integer tensor of shape `(batch,)`.
        num_ids: How many ids there are.
        what: Whose ids they are, for the message.

    Raises:
        tf.errors.InvalidArgumentError: An id is not in `[0, num_ids)`.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.cast(ids, "int32")
    import tensorflow as tf

    # To 64 bits first: 32 would wrap a larger id, 8 couldn't hold num_ids.
    ids = tf.cast(ids, tf.int64)
    known = tf.reduce_all((ids >= 0) & (ids < num_ids))
    message = f"{what} ids must be in [0, {num_ids}). Received:"
    with tf.control_dependencies(
        [tf.debugging.Assert(known, [message, ids], summarize=16)]
    ):
        return tf.cast(ids, tf.int32)


def domain_rows(table: Tensor, domain: Tensor) -> Tensor:
    """Each row's own slice of a table.

    Args:
        table: Tensor of shape `(D, units)`.
        domain: Tensor of shape `(batch,)`.

    Returns:
        Tensor of shape `(batch, units)`.
    """
    num_domains = table.shape[0]
    if num_domains <= ONE_HOT_DOMAINS:
        return ops.matmul(
            ops.one_hot(domain, num_domains, dtype=table.dtype), table
        )
    return ops.take(table, domain, axis=0)


def low_rank(inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> Tensor:
    """`x A_d B_d`, with each row's own domain d.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        a: Tensor of shape `(D, in, r)`.
        b: Tensor of shape `(D, r, out)`.
        domain: Tensor of shape `(batch,)`.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    num_domains, _, rank = a.shape
    if num_domains == 1:
        return ops.matmul(ops.matmul(inputs, a[0]), b[0])
    mixed = _masked if num_domains <= MASKED_DOMAINS else _gathered
    if num_domains * rank <= MASKED_ALWAYS_COLUMNS:
        return mixed(inputs, a, b, domain)
    return ops.cond(
        ops.all(ops.equal(domain, domain[:1])),
        lambda: _pure(inputs, a, b, domain),
        lambda: mixed(inputs, a, b, domain),
    )


def _masked(inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> Tensor:
    num_domains, width, rank = a.shape
    all_a = ops.reshape(ops.transpose(a, (1, 0, 2)), (width, -1))
    hidden = ops.reshape(ops.matmul(inputs, all_a), (-1, num_domains, rank))
    own = ops.one_hot(domain, num_domains, dtype=hidden.dtype)
    hidden = ops.reshape(hidden * own[:, :, None], (-1, num_domains * rank))
    return ops.matmul(hidden, ops.reshape(b, (num_domains * rank, -1)))


def _pure(inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> Tensor:
    # A sum over the first row alone, because a batch may have no row.
    own_a = ops.sum(ops.take(a, domain[:1], axis=0), axis=0)
    own_b = ops.sum(ops.take(b, domain[:1], axis=0), axis=0)
    return ops.matmul(ops.matmul(inputs, own_a), own_b)


def _gathered(inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> Tensor:
    own_a = ops.take(a, domain, axis=0)
    own_b = ops.take(b, domain, axis=0)
    hidden = ops.matmul(inputs[:, None, :], own_a)
    return ops.squeeze(ops.matmul(hidden, own_b), axis=1)
