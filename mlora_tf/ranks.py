"""Smaller ranks for some domains' adapters."""

import numbers
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mlora_tf.domain_slices import sliced_layers
from mlora_tf.layers import DomainLayer
from mlora_tf.transform import domain_index


def limit_ranks(model: keras.Model, shares: Mapping[str, float]) -> None:
    """Leaves some domains' adapters a part of each layer's rank.

    A domain with little data may need less of an adapter. Its `A` keeps the
    first columns and its `B` as many first rows; what is beyond is zero in
    both. There the gradient of each is a product with the other, so that no
    optimizer moves them, nor an L1 or L2 penalty. The weights keep their
    shapes, the layers their speed. A domain that is added later has the whole
    rank, unless it starts as one that hasn't (`init_from`).

    Compile the model after it: an optimizer that has trained the model before
    has momentum left.

    Args:
        model: A model with low-rank adapters; it is changed in place.
        shares: By domain's name, the share of a layer's rank in (0, 1], to
            the nearest rank and at least 1. Domains without one keep theirs.

    Raises:
        ValueError: There is no such domain, a share isn't in its range, or
            the model has no low-rank adapter with a slice for each domain.
            Nothing has changed then.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(
    ...     schema, tower="mlora", hidden_units=[8], tower_options={"rank": 4}
    ... )
    >>> limit_ranks(model, {"it": 0.5})
    >>> a = model.get_layer("hidden.0").lora_kernel_a
    >>> np.linalg.matrix_rank(a).tolist()
    [4, 2]
    """
    chosen = {
        domain_index(model, name): _share(name, share)
        for name, share in shares.items()
    }
    factors = [
        layer.low_rank_factors
        for layer in sliced_layers(model)
        if isinstance(layer, DomainLayer) and layer.low_rank_factors
    ]
    if not factors:
        raise ValueError(
            f"{model.name!r} has no low-rank adapters per domain, whose ranks "
            "could be limited."
        )
    for a, b in factors:
        rank = a.shape[2]
        new_a, new_b = (ops.convert_to_numpy(one).copy() for one in (a, b))
        for index, share in chosen.items():
            kept = max(round(share * rank), 1)
            new_a[index, :, kept:] = 0.0
            new_b[index, kept:] = 0.0
        a.assign(new_a)
        b.assign(new_b)


def _share(name: str, share: Any) -> float:
    if not isinstance(share, numbers.Real) or not 0 < float(share) <= 1:
        raise ValueError(
            "a share of the rank must be a number in (0, 1]. "
            f"Received: {share!r} for {name!r}"
        )
    return float(share)
