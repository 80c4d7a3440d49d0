"""How a mixed batch reaches each row's own per-domain weights.

This is the one place that knows. Every function takes per-domain weights with
the domain on axis 0 and one domain id a row, and is exact for each row
whatever the mix. Which form computes it follows from static shapes alone, so
a graph holds one form, or two behind a test for a pure batch:

- masked: all domains' columns in one matrix product, then zeros for the
  columns of other domains. `D * r` columns, no dynamic shape, no gather.
- pure: if every row is of one domain, one small product with its slice.
- gathered: each row fetches its own matrices. Its cost doesn't grow with D.
- parted: the rows of each domain make one matrix product with its kernel, one
  small product per domain. It needs dynamic shapes: TensorFlow alone.
- blocks: rows are sorted by domain and padded to blocks of one domain each,
  for one batched product. Few operations at any D, and shapes that follow
  from the batch's alone.
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

PARTED_DOMAINS = 256
"""Up to this many domains a small product for each is worth its graph.

On a CPU these steps are two to five times as fast as those of the blocks, at
1000 domains still. But their graph grows with D: at 256 it takes seconds for
each layer before the first step, at 1000 half a minute.
"""

BLOCK_ROWS = 16
"""Rows of a block: more waste padding, fewer fetch a kernel more often."""

ONE_HOT_DOMAINS = 64
"""Up to this many domains a row is picked by a matrix product.

Its gradient is dense, so that replicas sum it like any other.
"""


def check_ids(
    ids: Tensor, num_ids: int, what: str = "domain", lowest: int = 0
) -> Tensor:
    """Returns ids as `int32`, and raises where one is out of range.

    Under TensorFlow the check is part of the graph, of exported models too.
    Compiled by XLA, and under other backends, nothing can raise: there
    `mlora_tf.data` has checked the ids when it loaded them.

    Args:
        ids: Integer tensor of shape `(batch,)`, or of any other.
        num_ids: How many ids there are.
        what: Whose ids they are, for the message.
        lowest: The smallest id: -1 where that stands for padding.

    Raises:
        tf.errors.InvalidArgumentError: An id is not in `[lowest, num_ids)`.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.cast(ids, "int32")
    import tensorflow as tf

    # To 64 bits first: 32 would wrap a larger id, 8 couldn't hold num_ids.
    ids = tf.cast(ids, tf.int64)
    known = tf.reduce_all((ids >= lowest) & (ids < num_ids))
    message = f"{what} ids must be in [{lowest}, {num_ids}). Received:"
    with tf.control_dependencies(
        [tf.debugging.Assert(known, [message, ids], summarize=16)]
    ):
        return tf.cast(ids, tf.int32)


def check_finite(numbers: Tensor, what: str) -> Tensor:
    """Returns numbers as they are, and raises where one isn't finite.

    Nothing raises where `check_ids` doesn't.

    Args:
        numbers: Tensor of numbers.
        what: Whose they are, for the message.

    Raises:
        tf.errors.InvalidArgumentError: A number is NaN or infinite.
    """
    if keras.backend.backend() != "tensorflow":
        return numbers
    import tensorflow as tf

    finite = tf.reduce_all(tf.math.is_finite(numbers))
    message = f"{what} must be finite numbers. Received:"
    with tf.control_dependencies(
        [tf.debugging.Assert(finite, [message, numbers], summarize=16)]
    ):
        return tf.identity(numbers)


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


def domain_sums(values: Tensor, domain: Tensor, num_domains: int) -> Tensor:
    """Sums the rows of each domain.

    Args:
        values: Tensor of shape `(batch, units)`.
        domain: Tensor of shape `(batch,)`.
        num_domains: How many domains there are.

    Returns:
        Tensor of shape `(D, units)`; zeros for a domain without rows.
    """
    if num_domains <= ONE_HOT_DOMAINS:
        own = ops.one_hot(domain, num_domains, dtype=values.dtype)
        return ops.matmul(ops.transpose(own), values)
    return ops.segment_sum(values, domain, num_segments=num_domains)


def full_rank(inputs: Tensor, kernels: Tensor, domain: Tensor) -> Tensor:
    """`x W_d`, with each row's own domain d.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        kernels: Tensor of shape `(D, in, out)`.
        domain: Tensor of shape `(batch,)`.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    num_domains = kernels.shape[0]
    if num_domains == 1:
        return ops.matmul(inputs, kernels[0])
    tensorflow = keras.backend.backend() == "tensorflow"
    if tensorflow and num_domains <= PARTED_DOMAINS:
        return _parted(inputs, kernels, domain)
    return ops.cond(
        ops.all(ops.equal(domain, domain[:1])),
        lambda: ops.matmul(inputs, _first(kernels, domain)),
        lambda: _blocks(inputs, kernels, domain),
    )


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
    return ops.matmul(ops.matmul(inputs, _first(a, domain)), _first(b, domain))


def _gathered(inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> Tensor:
    own_a = ops.take(a, domain, axis=0)
    own_b = ops.take(b, domain, axis=0)
    hidden = ops.matmul(inputs[:, None, :], own_a)
    return ops.squeeze(ops.matmul(hidden, own_b), axis=1)


def _parted(inputs: Tensor, kernels: Tensor, domain: Tensor) -> Tensor:
    import tensorflow as tf

    num_domains = kernels.shape[0]
    rows = tf.range(tf.shape(domain)[0])
    # Unstacked, not sliced: each slice's gradient would be a whole stack.
    products = [
        tf.matmul(own_rows, kernel)
        for own_rows, kernel in zip(
            tf.dynamic_partition(inputs, domain, num_domains),
            tf.unstack(kernels),
            strict=True,
        )
    ]
    outputs = tf.dynamic_stitch(
        tf.dynamic_partition(rows, domain, num_domains), products
    )
    # Stitching forgets that there are as many rows as there were.
    return tf.ensure_shape(outputs, (inputs.shape[0], kernels.shape[2]))


def _blocks(inputs: Tensor, kernels: Tensor, domain: Tensor) -> Tensor:
    num_domains, width, units = kernels.shape
    batch = ops.shape(inputs)[0]
    # Enough whatever the mix: each domain that has rows leaves one block part
    # empty at most, with one row in it at least.
    smaller = min if isinstance(batch, int) else ops.minimum
    present = smaller(batch, num_domains)
    num_blocks = (batch + (BLOCK_ROWS - 1) * present) // BLOCK_ROWS
    counts = ops.segment_sum(
        ops.ones_like(domain), domain, num_segments=num_domains
    )
    blocks = (counts + BLOCK_ROWS - 1) // BLOCK_ROWS
    last_block, last_row = ops.cumsum(blocks), ops.cumsum(counts)
    # Blocks that no domain needs hold zeros, and no row reads them.
    owner = ops.searchsorted(last_block, ops.arange(num_blocks), side="right")
    owner = ops.minimum(ops.cast(owner, "int32"), num_domains - 1)
    # A row of domain d goes to the first slot of d's blocks plus the number
    # of d's rows sorted before it.
    order = ops.argsort(domain)
    own = ops.take(domain, order)
    first_slot = BLOCK_ROWS * ops.take(last_block - blocks, own)
    before = ops.arange(batch) - ops.take(last_row - counts, own)
    slot = ops.scatter(order[:, None], first_slot + before, (batch,))
    padded = ops.scatter(
        slot[:, None], inputs, (num_blocks * BLOCK_ROWS, width)
    )
    products = ops.matmul(
        ops.reshape(padded, (num_blocks, BLOCK_ROWS, width)),
        ops.take(kernels, owner, axis=0),
    )
    products = ops.reshape(products, (num_blocks * BLOCK_ROWS, units))
    return ops.take(products, slot, axis=0)


def _first(stack: Tensor, domain: Tensor) -> Tensor:
    """The first row's domain's slice; zeros where a batch has no row."""
    return ops.sum(ops.take(stack, domain[:1], axis=0), axis=0)
