"""Rows padded to blocks of one domain each: one batched product for any D."""

from collections.abc import Callable
from typing import Any

from keras import ops

from mlora_tf.layers.domain_parts import on_tensorflow_cpu

Tensor = Any

BLOCK_ROWS = 16
"""Rows of a block: more waste padding, fewer fetch a kernel more often."""


class Blocks:
    """Where the rows of a batch are, padded to blocks of one domain each.

    Args:
        domain: Tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        block_rows: Rows of a block.

    Attributes:
        owner: Each block's domain, a tensor of shape `(blocks,)`.
    """

    def __init__(
        self, domain: Tensor, num_domains: int, block_rows: int
    ) -> None:
        self._rows = block_rows
        batch = ops.shape(domain)[0]
        counts = ops.segment_sum(
            ops.ones_like(domain), domain, num_segments=num_domains
        )
        blocks = (counts + block_rows - 1) // block_rows
        last_block, last_row = ops.cumsum(blocks), ops.cumsum(counts)
        if on_tensorflow_cpu():
            self._count = ops.sum(blocks)
        else:
            # Enough whatever the mix, for shapes that follow from the batch's:
            # each domain that has rows leaves one block part empty at most,
            # with one row in it at least. Blocks that no domain needs hold
            # zeros, and no row reads them.
            smaller = min if isinstance(batch, int) else ops.minimum
            present = smaller(batch, num_domains)
            spare = (block_rows - 1) * present
            self._count = (batch + spare) // block_rows
        owner = ops.searchsorted(
            last_block, ops.arange(self._count), side="right"
        )
        self.owner = ops.minimum(ops.cast(owner, "int32"), num_domains - 1)
        # A row of domain d goes to the first slot of d's blocks plus the
        # number of d's rows sorted before it.
        order = ops.argsort(domain)
        sorted_domain = ops.take(domain, order)
        first_slot = block_rows * ops.take(last_block - blocks, sorted_domain)
        before = ops.arange(batch) - ops.take(last_row - counts, sorted_domain)
        self._slot = ops.scatter(order[:, None], first_slot + before, (batch,))

    def of(self, rows: Tensor) -> Tensor:
        """Rows `(batch, units)` in blocks, `(blocks, block_rows, units)`."""
        units = rows.shape[1]
        padded = ops.scatter(
            self._slot[:, None], rows, (self._count * self._rows, units)
        )
        return ops.reshape(padded, (-1, self._rows, units))

    def rows(self, blocks: Tensor) -> Tensor:
        """Blocks `(blocks, block_rows, units)` as rows `(batch, units)`."""
        units = blocks.shape[2]
        return ops.take(ops.reshape(blocks, (-1, units)), self._slot, axis=0)


def by_blocks(
    inputs: Tensor,
    kernels: Tensor,
    domain: Tensor,
    own: Callable[[Tensor], Tensor],
) -> Tensor:
    """`x W_d`, with each row's own domain d.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        kernels: Tensor of shape `(D, in, out)`.
        domain: Tensor of shape `(batch,)`.
        own: Makes `W_d` of slices of `kernels`, `(blocks, in, out)`.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    blocks = Blocks(domain, kernels.shape[0], BLOCK_ROWS)
    kernels = own(ops.take(kernels, blocks.owner, axis=0))
    return blocks.rows(ops.matmul(blocks.of(inputs), kernels))
