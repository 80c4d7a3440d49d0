"""The rows of each domain by themselves: small products, on a CPU.

A layer's outputs are one tensor of all rows, in the batch's order. It also
remembers the rows of each domain that it was put together from. The next layer
takes those, so that rows stay apart through a whole tower, and TensorFlow drops
the tensors between its layers from the graph: nothing reads them.

Hence the one thing to know: a gradient in such a tensor itself, as for a
picture of what a hidden layer does, is None where only layers of this kind
read it. Put it through `tf.identity` to get one.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

Tensor = Any


@dataclasses.dataclass(frozen=True)
class _Parts:
    """A batch's rows, domain by domain.

    Attributes:
        rows: By domain, a tensor of shape `(its rows, units)`.
        domain: The ids that they were parted by.
        is_sorted: Whether the batch was sorted by domain.
        order: Of each sorted row, its place in the batch.
    """

    rows: Sequence[Tensor]
    domain: Tensor
    is_sorted: Tensor
    order: Tensor


def on_tensorflow_cpu() -> bool:
    """Whether many small products of any shapes are fast: on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def by_parts(
    inputs: Tensor,
    domain: Tensor,
    stacks: Sequence[Tensor],
    product: Callable[..., Tensor],
) -> Tensor:
    """Applies a function to each domain's rows and its slices of the stacks.

    Pure batches go the same way: a condition around so many small products
    costs a mixed batch more than it saves a pure one.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        domain: Tensor of shape `(batch,)`.
        stacks: Tensors whose axis 0 is the domain.
        product: Called with rows `(n, in)` and the slices; returns
            `(n, out)`, each row by itself.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    import tensorflow as tf

    parts = getattr(inputs, "_domain_parts", None)
    if parts is None or parts.domain is not domain:
        parts = _split(inputs, domain, stacks[0].shape[0])
    # Unstacked, not sliced: each slice's gradient would be a whole stack.
    slices = zip(*(tf.unstack(stack) for stack in stacks), strict=True)
    rows = [
        product(part, *own)
        for part, own in zip(parts.rows, slices, strict=True)
    ]
    outputs = _moved(tf.concat(rows, axis=0), parts, back=True)
    # Parts don't tell how many rows there are in all.
    outputs = tf.ensure_shape(outputs, (inputs.shape[0], outputs.shape[1]))
    outputs._domain_parts = dataclasses.replace(parts, rows=rows)
    return outputs


def _split(inputs: Tensor, domain: Tensor, num_domains: int) -> _Parts:
    import tensorflow as tf

    is_sorted = tf.reduce_all(domain[1:] >= domain[:-1])
    order = tf.cond(
        is_sorted,
        lambda: tf.range(tf.size(domain)),
        lambda: tf.argsort(domain, stable=True),
    )
    parts = _Parts([], domain, is_sorted, order)
    counts = tf.math.bincount(
        domain, minlength=num_domains, maxlength=num_domains
    )
    rows = tf.split(_moved(inputs, parts), counts, num=num_domains)
    return dataclasses.replace(parts, rows=rows)


def _moved(rows: Tensor, parts: _Parts, back: bool = False) -> Tensor:
    """Rows in the order of domains, or back in the batch's order."""
    import tensorflow as tf

    def move() -> Tensor:
        order = parts.order
        places = order if back else tf.math.invert_permutation(order)
        # Not a gather: its gradient adds rows up one by one, and a gradient
        # of one's own doesn't survive an export. This one's is a gather.
        return tf.dynamic_stitch([places], [rows])

    return tf.cond(parts.is_sorted, lambda: rows, move)
