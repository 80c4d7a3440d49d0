"""Which weights of a model have a slice for each of its domains."""

import keras

from mlora_tf.fields import DOMAIN_TABLES
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import EmbeddingTable
from mlora_tf.transform import domain_names

_SHARED_DOMAIN = "domain.shared"
"""Name of the layer that tells an adapter for all that there is one domain."""


def sliced_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers with a slice for each domain: those to grow with one more.

    They are the `DomainLayer`s and the tables that embed the domain. An
    adapter that all domains share is none of them.

    Raises:
        ValueError: The model doesn't say what its domains are, or a layer is
            for more domains or fewer.
    """
    size = len(domain_names(model))
    found = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if _size(layer)
    ]
    for layer in found:
        if _size(layer) != size:
            raise ValueError(
                f"{model.name!r} has {size} domains, as its DomainIds says, "
                f"and so must each of its layers. Received: {layer.name!r} "
                f"with {size_argument(layer)}={_size(layer)}"
            )
    return found


def is_domain_table(layer: keras.layers.Layer) -> bool:
    """Whether a layer embeds the domain, by a row for each."""
    return isinstance(layer, EmbeddingTable) and layer.name in DOMAIN_TABLES


def slices(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of such a layer whose axis 0 is the domain."""
    if isinstance(layer, DomainLayer):
        return layer.domain_variables
    return [layer.embeddings]


def size_argument(layer: keras.layers.Layer) -> str:
    """The argument that says how many domains such a layer is for."""
    return "num_domains" if isinstance(layer, DomainLayer) else "num_ids"


def _size(layer: keras.layers.Layer) -> int:
    """How many domains a layer has slices for; 0 if for none."""
    if is_domain_table(layer):
        return layer.num_ids
    if not isinstance(layer, DomainLayer) or _is_shared(layer):
        return 0
    return layer.num_domains


def _is_shared(layer: DomainLayer) -> bool:
    """Whether all domains share the layer's one slice."""
    return any(
        parent.operation.name == _SHARED_DOMAIN
        for node in layer._inbound_nodes
        for parent in node.parent_nodes
    )
