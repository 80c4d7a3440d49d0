"""Forms of `x A_d B_d + b_d` that any backend and compiler can run."""

from typing import Any

from keras import ops

from mlora_tf.layers.domain_blocks import Blocks
from mlora_tf.layers.domain_tables import domain_rows
from mlora_tf.layers.domain_tables import first_row

Tensor = Any

FULL_BLOCK_DOMAINS = 512
"""Up to this many domains a block has eight rows, beyond four.

Rows to fill more aren't there: padding would take more than it saves.
"""


def masked(
    inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor, bias: Tensor | None
) -> Tensor:
    """All domains' columns in one product, zeros for those of others."""
    num_domains, width, rank = a.shape
    all_a = ops.reshape(ops.transpose(a, (1, 0, 2)), (width, -1))
    hidden = ops.reshape(ops.matmul(inputs, all_a), (-1, num_domains, rank))
    own = ops.one_hot(domain, num_domains, dtype=hidden.dtype)
    hidden = ops.reshape(hidden * own[:, :, None], (-1, num_domains * rank))
    all_b = ops.reshape(b, (num_domains * rank, -1))
    if bias is not None:
        # One product for both: a sum would pass over all outputs once more.
        hidden = ops.concatenate([hidden, own], axis=1)
        all_b = ops.concatenate([all_b, ops.cast(bias, all_b.dtype)], axis=0)
    return ops.matmul(hidden, all_b)


def pure(
    inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor, bias: Tensor | None
) -> Tensor:
    """Every row by the first one's matrices."""
    hidden = ops.matmul(inputs, first_row(a, domain))
    outputs = ops.matmul(hidden, first_row(b, domain))
    return outputs if bias is None else outputs + first_row(bias, domain)


def gathered(
    inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor, bias: Tensor | None
) -> Tensor:
    """Each row by matrices fetched for it alone."""
    own_a = ops.take(a, domain, axis=0)
    own_b = ops.take(b, domain, axis=0)
    hidden = ops.matmul(inputs[:, None, :], own_a)
    outputs = ops.squeeze(ops.matmul(hidden, own_b), axis=1)
    return outputs if bias is None else outputs + domain_rows(bias, domain)


def blocked(
    inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor, bias: Tensor | None
) -> Tensor:
    """Each block of a domain's rows by matrices fetched for it alone."""
    num_domains = a.shape[0]
    block_rows = 8 if num_domains <= FULL_BLOCK_DOMAINS else 4
    blocks = Blocks(domain, num_domains, block_rows)
    hidden = ops.matmul(blocks.of(inputs), ops.take(a, blocks.owner, axis=0))
    outputs = ops.matmul(hidden, ops.take(b, blocks.owner, axis=0))
    if bias is not None:
        outputs = outputs + ops.take(bias, blocks.owner, axis=0)[:, None]
    return blocks.rows(outputs)
