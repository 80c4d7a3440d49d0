"""What a model costs: its weights, shared or a domain's own, and its work.

Work is counted per row; `mlora_tf.flops` says how, for each kind of layer.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import keras

from mlora_tf import layers as ours
from mlora_tf.fields import DOMAIN_TABLES
from mlora_tf.flops import RULES
from mlora_tf.flops import elementwise

__all__ = ["RULES", "Cost", "CostError", "LayerCost", "cost"]


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
        elif isinstance(layer, ours.DomainIds):
            sizes.append(len(layer.domains))
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
        elif isinstance(layer, ours.EmbeddingTable):
            own = layer.name in DOMAIN_TABLES and layer.num_ids == domains
            kinds[id(layer.embeddings)] = "per_domain" if own else "embeddings"
        elif isinstance(layer, keras.layers.Embedding):
            for weight in layer.weights:
                kinds[id(weight)] = "embeddings"
        elif isinstance(layer, ours.PretrainedEmbedding):
            kinds[id(layer.vectors)] = "pretrained"
    return kinds


def _rank(layer: Any) -> int | None:
    """The rank of a layer's adapters; None where it has none."""
    if not isinstance(layer, ours.DomainLayer):
        return None
    if layer.low_rank_factors is None:
        return 0 if isinstance(layer, ours.MLoRADense) else None
    a, _ = layer.low_rank_factors
    return a.shape[-1]


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
    return (rule or elementwise)(layer, given, made)
