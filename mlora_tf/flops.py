"""The work of each kind of layer, in floating-point operations (FLOPs).

It is counted per row, at inference:

- A multiply-add is 2. A bias, an activation, a normalization and any other
  elementwise step is 1 for each number that it makes.
- It is what a row of one domain needs, whatever else a batch computes. Where
  a model mixes networks or experts, as `mmoe` and `cross_stitch` do, a row
  needs all of them; of `star` and `shared_bottom` it needs one network. What
  only training reads, as MulANN's discriminator is, a row doesn't need.
- What is the same for all rows of a domain is made once and counts 0: STAR's
  `W * W_d`, the sum of a shared and a domain's bias. Adapters are counted as
  they are trained, beside the shared kernel; folded into it they are free.
- Looking up, checking, reshaping and joining move numbers and count 0.
- A layer on `(batch, length, ...)` counts each position, padding too.
- A layer without weights that has no rule counts the numbers that it makes.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from mlora_tf import layers as ours

Shape = tuple[int, ...]
Rule = Callable[[Any, Sequence[Shape], Sequence[Shape]], int]


def _numbers(*shapes: Shape) -> int:
    """How many numbers tensors of those shapes hold."""
    return sum(math.prod(shape) for shape in shapes)


def _activated(activation: Any, numbers: int) -> int:
    return 0 if activation is keras.activations.linear else numbers


def elementwise(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    """One step for each number that the layer makes."""
    return _numbers(*outputs)


def _moved(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return 0


def _summed(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return _numbers(inputs[0])


def _dense(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    *positions, width = inputs[0]
    numbers = math.prod(positions) * layer.units
    biases = numbers if layer.use_bias else 0
    return 2 * width * numbers + biases + _activated(layer.activation, numbers)


def _mlora_dense(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    width, units, a = inputs[0][-1], layer.units, layer.lora_kernel_a
    rank = 0 if a is None else a.shape[-1]
    flops = 2 * width * units if layer.use_kernel else 0
    flops += 2 * rank * (width + units)
    if layer.use_kernel and rank:
        flops += units
    if layer.use_bias or layer.use_lora_bias:
        flops += units
    return flops + _activated(layer.activation, units)


def _einsum_dense(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    # The product runs over all axes of the input and of the kernel.
    of_inputs, of_kernel = layer.equation.partition("->")[0].split(",")
    more = [
        size
        for axis, size in zip(of_kernel, layer.kernel.shape, strict=True)
        if axis not in of_inputs
    ]
    product = 2 * _numbers(inputs[0]) * math.prod(more)
    numbers = _numbers(outputs[0])
    biases = numbers if layer.bias is not None else 0
    return product + biases + _activated(layer.activation, numbers)


def _dot(layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    # Rows have no batch axis.
    length = inputs[0][axis - 1 if axis > 0 else axis]
    return 2 * length * _numbers(outputs[0])


def _gru(layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    (length, dim), units = inputs[0], layer.units
    biases = 6 if layer.reset_after else 3
    # Besides the biases: two gates' sum and sigmoid, the reset state, the
    # candidate's sum and tanh, and the four steps of the mixture.
    steps = (biases if layer.use_bias else 0) + 11
    return length * (6 * units * (dim + units) + steps * units)


def _interest_evolution(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    (dim,), (length, _), (units,) = inputs[0], inputs[1], outputs[0]
    states = (length, units)
    extractor = _gru(layer.extractor, [inputs[1]], [states])
    # W q once; then a score for each step, and the softmax.
    attention = 2 * units * dim + 2 * length * units + length
    # A GRU with one bias, whose update gate is multiplied once more.
    evolution = length * (6 * units * (units + units) + (3 + 12) * units)
    return extractor + attention + evolution


def _attention_pooling(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    length, dim = inputs[1]
    flops = 2 * length * dim  # q - k and q * k
    row: Shape = (length, 4 * dim)
    for dense in (*layer.hidden, layer.score):
        flops += _dense(dense, [row], [])
        row = (length, dense.units)
    softmax = 2 * length if layer.use_softmax else 0
    return flops + softmax + 2 * length * dim


def _bi_interaction(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    # Both sums, the squares, and three steps with the pooled ones.
    return 3 * _numbers(inputs[0]) + 3 * inputs[0][1]


def _factorization_machine(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    # As above, with the half taken of the last sum.
    return 3 * _numbers(inputs[0]) + 3 * inputs[0][1] + 1


def _inner_product(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return 2 * _numbers(outputs[0]) * inputs[0][1]


def _outer_product(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    pairs, dim = outputs[0][0], inputs[0][1]
    weighted = {"matrix": 2 * dim * dim, "vector": dim, "scalar": 1}
    return pairs * (weighted[layer.kernel_type] + 2 * dim)


def _bilinear_interaction(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    fields, dim = inputs[0]
    pairs = outputs[0][0]
    products = pairs if layer.bilinear_type == "interaction" else fields - 1
    return products * 2 * dim * dim + pairs * dim


def _compressed_interaction(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    dim = inputs[0][1]
    flops = dim * outputs[0][0]  # the pooling
    for kernel in layer.kernels:
        products, maps = kernel.shape
        flops += dim * (products + 2 * products * maps)
        flops += _activated(layer.activation, dim * maps)
    return flops


def _cross_network(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    width = inputs[0][0]
    return sum(
        2 * math.prod(kernel.shape) + 3 * width for kernel in layer.kernels
    )


def _side_by_side_dense(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    width, numbers = inputs[0][-1], layer.networks * layer.units
    return 2 * width * numbers + numbers + _activated(layer.activation, numbers)


def _cross_stitch(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    networks = inputs[0][0]
    return 2 * networks * _numbers(inputs[0])


def _extraction_level(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    own, shared = inputs
    domains, units = layer.num_domains, layer.units
    of_domains, of_all = domains * layer.num_specific, layer.num_shared
    experts = layer.num_specific + of_all
    flops = _dense(layer.shared_gate, [shared], [])
    for part, given in (
        (layer.specific, own),
        (layer.gates, own),
        (layer.shared, shared),
    ):
        flops += _side_by_side_dense(part, [given], [])
    # Each domain's mixture, of two parts that are added, and the shared one.
    flops += domains * (2 * experts + 1) * units
    return flops + 2 * (of_domains + of_all) * units


def _field_attention(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    fields, dim = inputs[0]
    numbers = _numbers(outputs[0])
    projections = 4 if layer.use_residual else 3
    flops = projections * 2 * dim * numbers
    flops += 2 * 2 * fields * numbers  # the scores, and what they weigh
    scores = layer.num_heads * fields * fields
    flops += scores * (2 if layer.use_scale else 1)  # softmax
    return flops + numbers * (2 if layer.use_residual else 1)  # sum and relu


def _squeeze_excitation(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    fields, reduced = layer.reduction_kernel.shape
    # The mean and the weighting, then two layers with relu.
    return 2 * _numbers(inputs[0]) + 4 * fields * reduced + reduced + fields


RULES: dict[type, Rule] = {
    keras.layers.BatchNormalization: elementwise,
    keras.layers.Concatenate: _moved,
    keras.layers.Dense: _dense,
    keras.layers.Dot: _dot,
    keras.layers.Dropout: _moved,
    keras.layers.EinsumDense: _einsum_dense,
    keras.layers.Embedding: _moved,
    keras.layers.Flatten: _moved,
    keras.layers.GRU: _gru,
    keras.layers.InputLayer: _moved,
    keras.layers.LayerNormalization: elementwise,
    keras.layers.Normalization: elementwise,
    keras.layers.Reshape: _moved,
    ours.AttentionPooling: _attention_pooling,
    ours.BiInteraction: _bi_interaction,
    ours.BilinearInteraction: _bilinear_interaction,
    ours.CheckedIds: _moved,
    ours.CompressedInteraction: _compressed_interaction,
    ours.CrossNetwork: _cross_network,
    ours.CrossStitch: _cross_stitch,
    ours.DomainDense: _dense,
    ours.DomainIds: _moved,
    ours.DomainLoss: _moved,
    ours.EmbeddingTable: _moved,
    ours.ExtractionLevel: _extraction_level,
    ours.FactorizationMachine: _factorization_machine,
    ours.FieldAttention: _field_attention,
    ours.GradientReversal: _moved,
    ours.InnerProduct: _inner_product,
    ours.InterestEvolution: _interest_evolution,
    ours.MLoRADense: _mlora_dense,
    ours.OuterProduct: _outer_product,
    ours.OwnNetwork: _moved,
    ours.PartitionedNormalization: elementwise,
    ours.PretrainedEmbedding: _moved,
    ours.SequenceMask: _moved,
    ours.SequencePooling: _summed,
    ours.SideBySideDense: _side_by_side_dense,
    ours.SqueezeExcitation: _squeeze_excitation,
    ours.StarDense: _dense,
}
"""A layer's work for one row, by its class: of the layer and of the shapes of
its inputs and outputs, without the batch axis. Add a layer of your own."""
