"""How a mixed batch reaches each row's own per-domain weights.

This is the one place that decides. Every function takes per-domain weights with
the domain on axis 0 and one domain id a row, and is exact for each row
whatever the mix, as long as all weights are finite: zero times another
domain's NaN is NaN. Which form computes it is settled when a graph is traced,
by static shapes, the devices and `pure_batches`, so a graph holds one form, or
two behind a test for a pure batch:

- masked: all domains' columns in one matrix product, then zeros for the
  columns of other domains. `D * r` columns, no dynamic shape, no gather.
- pure: if every row is of one domain, one small product with its slice.
- gathered: each row fetches its own matrices. Its cost doesn't grow with D.
- parted: the rows of each domain make products with its own matrices, some
  small products per domain. It needs dynamic shapes, hence TensorFlow and no
  XLA, and is for CPUs. Rows that aren't sorted by domain are sorted first;
  `mlora_tf.batches` sorts those of every batch.
- merged: the same with `W + A_d B_d`, formed for each domain and step: in
  place of passes over all rows, which cost most where domains are few.
- blocks: rows are sorted by domain and padded to blocks of one domain each,
  for one batched product. Few operations at any D, and fewer matrices to
  fetch than rows. `low_rank` takes it where `parted` would be too many small
  products and rows enough share a domain.

Who knows that each batch is of one domain says so with `pure_batches`: then a
graph holds the pure form alone.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from mlora_tf.layers import low_rank_forms
from mlora_tf.layers.checks import check_domains
from mlora_tf.layers.checks import check_finite
from mlora_tf.layers.checks import check_ids
from mlora_tf.layers.domain_blocks import by_blocks
from mlora_tf.layers.domain_parts import by_parts
from mlora_tf.layers.domain_parts import on_tensorflow_cpu
from mlora_tf.layers.domain_tables import domain_rows
from mlora_tf.layers.domain_tables import domain_sums
from mlora_tf.layers.domain_tables import first_row
from mlora_tf.layers.domain_tables import table_rows

__all__ = [
    "check_domains",
    "check_finite",
    "check_ids",
    "domain_rows",
    "domain_sums",
    "full_rank",
    "low_rank",
    "merged",
    "merging_pays",
    "pure_batches",
    "table_rows",
]

Tensor = Any
Activation = Callable[[Tensor], Tensor]

GATHERED_DOMAINS = 38
"""A gathered row costs as much as one masked over so many domains.

Both cost in proportion to the rank and to `in + out`. The costs of low-rank
forms are in multiply-adds of a masked row. These were fitted to the times of
single layers and of whole towers at 1024 rows on one core;
`python -m experiments.benchmarks.routing` times the forms of one.
"""

PART_COST = 340
"""What a domain's small products cost a row, in the same unit."""

PARTED_COST = 20
"""What the parted rows of all domains cost, times `in + out`."""

BLOCKED_COST = 40
"""What it costs to pad rows to blocks and back, times `in + out`."""

BLOCKED_DOMAINS = 8.5
"""A row's product in a block costs as much as one masked over so many domains,
and by one more for every `DOMAINS_PER_BLOCK`, which leave blocks part empty.
"""

DOMAINS_PER_BLOCK = 30

MASKED_ALWAYS_COLUMNS = 32
"""Up to this many columns `D * r` the pure form saves next to nothing."""

PARTED_DOMAINS = 256
"""Up to this many domains a small product for each is worth its graph.

On a CPU these steps are faster than those of the blocks, at 1000 domains
still. But their graph grows with D, and with it the time before the first
step: seconds for each layer at 256 domains, far more at 1000.
"""

MERGED_DOMAINS = 16
"""Up to this many domains forming `W + A_d B_d` for each is worth it.

Its cost grows with the domains, that of passing over all rows once more
doesn't. Both were timed in steps of whole towers at 1024 rows on one core.
"""

_assumed_pure = False


@contextlib.contextmanager
def pure_batches(pure: bool = True) -> Iterator[None]:
    """Says of graphs traced meanwhile that each batch is of one domain.

    Such a graph fetches one domain's weights and makes one product a layer.
    Under TensorFlow it raises when it meets a mixed batch.

    Args:
        pure: False takes it back, for graphs that are for any batch.

    Example:
    >>> layer = mlora_tf.MLoRADense(4, num_domains=3)
    >>> with pure_batches():
    ...     outputs = layer(np.ones((2, 5)), np.array([1, 1]))
    >>> tuple(outputs.shape)
    (2, 4)
    """
    global _assumed_pure
    before, _assumed_pure = _assumed_pure, pure
    try:
        yield
    finally:
        _assumed_pure = before


def full_rank(
    inputs: Tensor,
    kernels: Tensor,
    domain: Tensor,
    *,
    shared: Tensor | None = None,
    bias: Tensor | None = None,
    activation: Activation = keras.activations.linear,
) -> Tensor:
    """`act(x W_d + b_d)` or `act(x (W * W_d) + b_d)`, d the row's own domain.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        kernels: `W_d`, a tensor of shape `(D, in, out)`.
        domain: Tensor of shape `(batch,)`.
        shared: `W`, a tensor of shape `(in, out)`; None is one of ones.
        bias: `b_d`, a tensor of shape `(D, out)`; None is one of zeros.
        activation: Applied to each row.

    Returns:
        Tensor of shape `(batch, out)`.
    """

    def own(kernel: Tensor) -> Tensor:
        return kernel if shared is None else shared * kernel

    def product(rows: Tensor, kernel: Tensor, *own_bias: Tensor) -> Tensor:
        return activation(_dense(rows, own(kernel), *own_bias))

    stacks = [kernels] if bias is None else [kernels, bias]

    def pure() -> Tensor:
        return product(inputs, *(first_row(stack, domain) for stack in stacks))

    def blocks() -> Tensor:
        outputs = by_blocks(inputs, kernels, domain, own)
        if bias is not None:
            outputs = outputs + domain_rows(bias, domain)
        return activation(outputs)

    num_domains = kernels.shape[0]
    if num_domains == 1:
        return pure()
    if (
        on_tensorflow_cpu()
        and num_domains <= PARTED_DOMAINS
        and not _assumed_pure
    ):
        return by_parts(inputs, domain, stacks, product)
    return _by_purity(domain, pure, blocks)


def low_rank(
    inputs: Tensor,
    a: Tensor,
    b: Tensor,
    domain: Tensor,
    *,
    bias: Tensor | None = None,
) -> Tensor:
    """`x A_d B_d + b_d`, with each row's own domain d.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        a: Tensor of shape `(D, in, r)`.
        b: Tensor of shape `(D, r, out)`.
        domain: Tensor of shape `(batch,)`.
        bias: `b_d`, a tensor of shape `(D, out)`; None is one of zeros.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    num_domains, width, rank = a.shape
    arguments = inputs, a, b, domain, bias
    if num_domains == 1:
        return low_rank_forms.pure(*arguments)
    mixed = low_rank_form(num_domains, rank, width + b.shape[2])
    few = num_domains * rank <= MASKED_ALWAYS_COLUMNS
    always = mixed is _parted or (mixed is low_rank_forms.masked and few)
    if always and not _assumed_pure:
        return mixed(*arguments)
    return _by_purity(
        domain,
        lambda: low_rank_forms.pure(*arguments),
        lambda: mixed(*arguments),
    )


def low_rank_form(
    num_domains: int, rank: int, widths: int
) -> Callable[..., Tensor]:
    """The form of `low_rank` that costs a mixed batch least.

    Args:
        num_domains: How many domains there are.
        rank: The rank.
        widths: The sum of the widths of inputs and outputs.
    """
    costs: dict[Callable[..., Tensor], float] = {
        low_rank_forms.masked: num_domains * rank * widths,
        low_rank_forms.gathered: GATHERED_DOMAINS * rank * widths,
    }
    if on_tensorflow_cpu():
        masked_domains = BLOCKED_DOMAINS + num_domains / DOMAINS_PER_BLOCK
        costs[low_rank_forms.blocked] = widths * (
            BLOCKED_COST + rank * masked_domains
        )
    if on_tensorflow_cpu() and num_domains <= PARTED_DOMAINS:
        costs[_parted] = PART_COST * num_domains + PARTED_COST * widths
    return min(costs, key=costs.__getitem__)


def merging_pays(num_domains: int) -> bool:
    """Whether `merged` is faster than a shared product and a low-rank one."""
    few = on_tensorflow_cpu() and num_domains <= MERGED_DOMAINS
    return num_domains == 1 or few or _assumed_pure


def merged(
    inputs: Tensor,
    kernel: Tensor,
    a: Tensor,
    b: Tensor,
    domain: Tensor,
    *,
    bias: Tensor | None = None,
    activation: Activation = keras.activations.linear,
) -> Tensor:
    """`act(x (W + A_d B_d) + b_d)`, with each row's own domain d.

    The gradient in `W + A_d B_d` is formed too, which costs as much as one in
    `W`: it is for training all of them.

    Args:
        inputs: Tensor of shape `(batch, in)`.
        kernel: `W`, a tensor of shape `(in, out)`.
        a: Tensor of shape `(D, in, r)`.
        b: Tensor of shape `(D, r, out)`.
        domain: Tensor of shape `(batch,)`.
        bias: `b_d`, a tensor of shape `(D, out)`; None is one of zeros.
        activation: Applied to each row.

    Returns:
        Tensor of shape `(batch, out)`.
    """
    stacks = [a, b] if bias is None else [a, b, bias]

    def product(
        rows: Tensor, own_a: Tensor, own_b: Tensor, *own_bias: Tensor
    ) -> Tensor:
        own = kernel + ops.matmul(own_a, own_b)
        return activation(_dense(rows, own, *own_bias))

    def pure() -> Tensor:
        return product(inputs, *(first_row(stack, domain) for stack in stacks))

    def parted() -> Tensor:
        return by_parts(inputs, domain, stacks, product)

    if a.shape[0] == 1:
        return pure()
    return _by_purity(domain, pure, parted) if _assumed_pure else parted()


def _parted(
    inputs: Tensor, a: Tensor, b: Tensor, domain: Tensor, bias: Tensor | None
) -> Tensor:
    def product(
        rows: Tensor, own_a: Tensor, own_b: Tensor, *own_bias: Tensor
    ) -> Tensor:
        return _dense(ops.matmul(rows, own_a), own_b, *own_bias)

    stacks = [a, b] if bias is None else [a, b, bias]
    return by_parts(inputs, domain, stacks, product)


def _dense(rows: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    outputs = ops.matmul(rows, kernel)
    if bias is None:
        return outputs
    bias = ops.cast(bias, outputs.dtype)
    if keras.backend.backend() != "tensorflow":
        return outputs + bias
    import tensorflow as tf

    # One operation with the product before and the activation after it.
    return tf.nn.bias_add(outputs, bias)


def _by_purity(
    domain: Tensor,
    pure: Callable[[], Tensor],
    mixed: Callable[[], Tensor],
) -> Tensor:
    """What `pure` computes if the batch is pure, else what `mixed` does."""
    is_pure = ops.all(ops.equal(domain, domain[:1]))
    if not _assumed_pure:
        return ops.cond(is_pure, pure, mixed)
    if keras.backend.backend() != "tensorflow":
        return pure()
    import tensorflow as tf

    message = (
        "This graph was traced under pure_batches(), for batches of one domain "
        "each: trace it outside for others. Received the domains:"
    )
    with tf.control_dependencies(
        [tf.debugging.Assert(is_pure, [message, domain], summarize=16)]
    ):
        return tf.identity(pure())
