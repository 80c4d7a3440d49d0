"""What a model costs: its weights, shared or a domain's own, and its work.

Work is counted per row, at inference, in floating-point operations (FLOPs):

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

import dataclasses
import itertools
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras

from mlora_tf import layers as ours
from mlora_tf.fields import DOMAIN_TABLES
from mlora_tf.schema import DOMAIN

Shape = tuple[int, ...]
Rule = Callable[[Any, Sequence[Shape], Sequence[Shape]], int]


class CostError(ValueError):
    """A model whose cost can't be counted: says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        name: The layer's name.
        layer: Its class's name.
        shared: Its weights that all domains use, but for tables.
        embeddings: Its learned embeddings.
        pretrained: Its frozen vectors.
        per_domain: How many numbers one domain has of its own in it.
        flops: Work per row, over all its calls.
        rank: The rank of its adapters; None where it has none.
    """

    name: str
    layer: str
    shared: int
    embeddings: int
    pretrained: int
    per_domain: int
    flops: int
    rank: int | None


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a model costs: sums over its layers.

    Attributes:
        layers: Its layers in order, each once.
        domains: How many domains it is made for; 1 if it knows of none.
    """

    layers: tuple[LayerCost, ...]
    domains: int

    @property
    def shared(self) -> int:
        """Weights that all domains use, but for tables."""
        return sum(layer.shared for layer in self.layers)

    @property
    def embeddings(self) -> int:
        """Learned embeddings, but for the domains' own."""
        return sum(layer.embeddings for layer in self.layers)

    @property
    def pretrained(self) -> int:
        """Frozen vectors."""
        return sum(layer.pretrained for layer in self.layers)

    @property
    def per_domain(self) -> int:
        """How many numbers one domain has of its own: state included."""
        return sum(layer.per_domain for layer in self.layers)

    @property
    def all_domains(self) -> int:
        """How many numbers all domains have of their own."""
        return self.domains * self.per_domain

    @property
    def total(self) -> int:
        """All of the above: what `model.count_params()` says."""
        return (
            self.shared + self.embeddings + self.pretrained + self.all_domains
        )

    @property
    def flops(self) -> int:
        """Work per row."""
        return sum(layer.flops for layer in self.layers)

    @property
    def added_to_shared(self) -> float | None:
        """One domain's own, relative to `shared`; None if that is 0."""
        return self.per_domain / self.shared if self.shared else None

    @property
    def added_to_total(self) -> float:
        """One domain's own, relative to `total`."""
        return self.per_domain / self.total if self.total else 0.0


def cost(model: keras.Model) -> Cost:
    """Counts a model's weights, and its work per row.

    Args:
        model: A functional or sequential model, of `build_model` or of one's
            own, whose inputs have known shapes but for the batch.

    Returns:
        The cost. Per-domain weights are those of `DomainLayer`s, and a row of
        each table of domains. An adapter that all domains share is shared,
        and so are experts that every row passes through.

    Raises:
        CostError: The model isn't functional, a length isn't known, or
            nothing in `RULES` says how much work a layer is.

    Example:
    >>> inputs = [keras.Input((24,)), keras.Input((), dtype="int32")]
    >>> outputs = MLoRADense(256, num_domains=10, rank=8)(*inputs)
    >>> counted = cost(keras.Model(inputs, outputs))
    >>> counted.shared, counted.per_domain, counted.flops
    (6400, 2496, 17280)
    """
    domains = _num_domains(model)
    kinds = _kinds(model, domains)
    flops: dict[int, int] = {}
    _add_flops(model, flops)
    counted = []
    for layer in _flat(model):
        sizes = dict.fromkeys(
            ("shared", "embeddings", "pretrained", "per_domain"), 0
        )
        for weight in _weights(layer):
            sizes[kinds.get(id(weight), "shared")] += math.prod(weight.shape)
        sizes["per_domain"] //= domains
        counted.append(
            LayerCost(
                name=layer.name,
                layer=type(layer).__name__,
                **sizes,
                flops=flops[id(layer)],
                rank=_rank(layer),
            )
        )
    return Cost(tuple(counted), domains)


def _num_domains(model: keras.Model) -> int:
    """How many domains a model is made for; 1 if it knows of none."""
    sizes = [1]
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, ours.DomainLayer):
            sizes.append(layer.num_domains)
        elif isinstance(layer, ours.CheckedIds) and layer.feature == DOMAIN:
            sizes.append(layer.num_ids)
    return max(sizes)


def _kinds(model: keras.Model, domains: int) -> dict[int, str]:
    """What each weight is by its id; those left out are shared."""
    kinds = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, ours.DomainLayer):
            # An adapter that all domains share has one slice.
            if layer.num_domains == domains:
                for weight in layer.domain_variables:
                    kinds[id(weight)] = "per_domain"
        elif isinstance(layer, keras.layers.Embedding):
            own = layer.name in DOMAIN_TABLES and layer.input_dim == domains
            for weight in layer.weights:
                kinds[id(weight)] = "per_domain" if own else "embeddings"
        elif isinstance(layer, ours.PretrainedEmbedding):
            kinds[id(layer.vectors)] = "pretrained"
    return kinds


def _rank(layer: Any) -> int | None:
    """The rank of a layer's adapters; None where it has none."""
    if isinstance(layer, ours.MLoRADense):
        a = layer.lora_kernel_a
        return 0 if a is None else a.shape[-1]
    if isinstance(layer, ours.StarDense) and layer.low_rank:
        return layer.domain_kernel_a.shape[-1]
    return None


def _graph(model: Any) -> keras.Function:
    """The graph of a functional or sequential model."""
    graph = model
    if isinstance(model, keras.Sequential):
        graph = model._functional
    if not isinstance(graph, keras.Function):
        raise CostError(
            f"{model.name!r} has no graph of layers to count: build it as a "
            "functional model, or call a sequential one first. "
            f"Received: {type(model).__name__}"
        )
    return graph


def _flat(model: Any) -> Iterator[Any]:
    """A model's layers and operations in order, and those of models in it."""
    found = {}
    for operation in _graph(model).operations:
        inside = isinstance(operation, keras.Model)
        for one in _flat(operation) if inside else (operation,):
            found[id(one)] = one
    yield from found.values()


def _weights(operation: Any) -> list[keras.Variable]:
    """A layer's weights; an operation that is no layer has none."""
    return getattr(operation, "weights", [])


def _add_flops(model: Any, flops: dict[int, int], needed: bool = True) -> None:
    """Adds each call's work to its layer's, by the layer's id."""
    graph = _graph(model)
    calls = _needed(graph) if needed else set()
    for node in itertools.chain(*graph._nodes_by_depth.values()):
        layer = node.operation
        if isinstance(layer, keras.Model):
            _add_flops(layer, flops, id(node) in calls)
            continue
        flops.setdefault(id(layer), 0)
        if id(node) in calls:
            flops[id(layer)] += _flops(layer, node.input_tensors, node.outputs)


def _needed(graph: keras.Function) -> set[int]:
    """The ids of the calls that a prediction needs."""
    ends = {id(tensor) for tensor in graph.inputs}
    found: set[int] = set()
    tensors = list(graph.outputs)
    while tensors:
        layer, index, _ = tensors.pop()._keras_history
        node = layer._inbound_nodes[index]
        if id(node) in found:
            continue
        found.add(id(node))
        sources = node.input_tensors
        if isinstance(layer, ours.DomainLoss):
            # It passes the first one on; the rest is for the loss.
            sources = sources[:1]
        tensors += [one for one in sources if id(one) not in ends]
    return found


def _flops(layer: Any, inputs: list[Any], outputs: list[Any]) -> int:
    """The work of one call, for one row."""
    rule = RULES.get(type(layer))
    if rule is None and _weights(layer):
        raise CostError(
            f"{layer.name!r} has weights, and nothing says how much work it "
            "is: add its class to mlora_tf.cost.RULES. "
            f"Received: {type(layer).__name__}"
        )
    rows = []
    for tensor in (*inputs, *outputs):
        rows.append(tuple(tensor.shape[1:]))
        if None in rows[-1]:
            raise CostError(
                f"{layer.name!r} has as much work as its rows are long: give "
                f"the model's inputs a shape. Received: {tensor.shape}"
            )
    given, made = rows[: len(inputs)], rows[len(inputs) :]
    return (rule or _elementwise)(layer, given, made)


def _numbers(*shapes: Shape) -> int:
    """How many numbers tensors of those shapes hold."""
    return sum(math.prod(shape) for shape in shapes)


def _activated(activation: Any, numbers: int) -> int:
    return 0 if activation is keras.activations.linear else numbers


def _elementwise(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
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
    width, units, rank = inputs[0][-1], layer.units, _rank(layer) or 0
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
    elementwise = (biases if layer.use_bias else 0) + 11
    return length * (6 * units * (dim + units) + elementwise * units)


def _interest_evolution(
    layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    (dim,), (length, _), units = inputs[0], inputs[1], layer.units
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
    flops = _einsum_dense(layer.specific, [own], [(of_domains, units)])
    flops += _einsum_dense(layer.shared, [shared], [(of_all, units)])
    experts = layer.num_specific + of_all
    flops += _einsum_dense(layer.gates, [own], [(domains, experts)])
    flops += _dense(layer.shared_gate, [shared], [])
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
    keras.layers.BatchNormalization: _elementwise,
    keras.layers.Concatenate: _moved,
    keras.layers.Dense: _dense,
    keras.layers.Dot: _dot,
    keras.layers.Dropout: _moved,
    keras.layers.EinsumDense: _einsum_dense,
    keras.layers.Embedding: _moved,
    keras.layers.Flatten: _moved,
    keras.layers.GRU: _gru,
    keras.layers.InputLayer: _moved,
    keras.layers.LayerNormalization: _elementwise,
    keras.layers.Normalization: _elementwise,
    keras.layers.Reshape: _moved,
    ours.AttentionPooling: _attention_pooling,
    ours.BiInteraction: _bi_interaction,
    ours.BilinearInteraction: _bilinear_interaction,
    ours.CheckedIds: _moved,
    ours.CompressedInteraction: _compressed_interaction,
    ours.CrossNetwork: _cross_network,
    ours.CrossStitch: _cross_stitch,
    ours.DomainDense: _dense,
    ours.DomainLoss: _moved,
    ours.ExtractionLevel: _extraction_level,
    ours.FactorizationMachine: _factorization_machine,
    ours.FieldAttention: _field_attention,
    ours.GradientReversal: _moved,
    ours.InnerProduct: _inner_product,
    ours.InterestEvolution: _interest_evolution,
    ours.MLoRADense: _mlora_dense,
    ours.OuterProduct: _outer_product,
    ours.OwnNetwork: _moved,
    ours.PartitionedNormalization: _elementwise,
    ours.PretrainedEmbedding: _moved,
    ours.SequenceMask: _moved,
    ours.SequencePooling: _summed,
    ours.SqueezeExcitation: _squeeze_excitation,
    ours.StarDense: _dense,
}
"""A layer's work for one row, by its class: of the layer and of the shapes of
its inputs and outputs, without the batch axis. Add a layer of your own."""
