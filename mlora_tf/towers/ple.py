"""Experts of each domain's own beside shared ones, level by level."""

from typing import Any

from keras import layers

from mlora_tf.layers import DomainDense
from mlora_tf.layers import ExtractionLevel
from mlora_tf.layers import OwnNetwork
from mlora_tf.layers.arguments import check_integer
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import domain_logit
from mlora_tf.towers.tower import drop
from mlora_tf.towers.tower import side_by_side


def ple(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    num_specific: int = 1,
    num_shared: int = 1,
) -> Tower:
    """Progressive layered extraction: each hidden layer is a level.

    In the last level a row needs its own domain's experts and the shared
    ones, and no other is computed (CGC, section 4.1). In the levels
    before it the shared gate mixes all domains' experts (section 4.2): that
    is the model, and there each row passes through all of them. With one
    hidden layer it is the single-level CGC. What the last gate mixes
    goes straight to the domain's logit, where the paper has a network of
    several layers.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The levels; each expert of a level is one layer.
        num_specific: How many experts of a level each domain has of its own.
        num_shared: How many experts of a level are shared.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: `num_specific` or `num_shared` is no integer of at least 1.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = ple(domain, 3, Hidden(units=(8, 4)), num_shared=2)
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task
        Learning (MTL) Model for Personalized Recommendations", RecSys 2020.
    """
    check_integer("num_specific", num_specific, 1)
    check_integer("num_shared", num_shared, 1)

    def tower(x: Any) -> Any:
        own = shared = x
        for i, units in enumerate(hidden.units[:-1]):
            own, shared = ExtractionLevel(
                num_domains,
                units,
                num_specific=num_specific,
                num_shared=num_shared,
                activation=hidden.activation,
                kernel_initializer=hidden.initializer(),
                name=f"extraction.{i}",
            )(own, shared)
            own = drop(own, hidden.dropout, f"own.{i}")
            shared = drop(shared, hidden.dropout, f"shared.{i}")
        if len(hidden.units) > 1:
            own = OwnNetwork(num_domains, name="own.network")(own, domain)
        return last_level(own, shared)

    def specific(i: int, own: Any) -> Any:
        units = hidden.units[-1]
        expert = DomainDense(
            units,
            num_domains,
            activation=hidden.activation,
            kernel_initializer=hidden.initializer(),
            name=f"specific.last.{i}",
        )(own, domain)
        return layers.Reshape((1, units), name=f"expert.last.{i}")(expert)

    def last_level(own: Any, shared: Any) -> Any:
        units = hidden.units[-1]
        experts = [specific(i, own) for i in range(num_specific)]
        experts.append(
            side_by_side(shared, num_shared, units, hidden, "shared.last")
        )
        gate = DomainDense(
            num_specific + num_shared,
            num_domains,
            activation="softmax",
            name="gate.last",
        )(own, domain)
        x = layers.Dot(axes=1, name="mixture.last")(
            [gate, layers.Concatenate(axis=1, name="experts.last")(experts)]
        )
        return drop(x, hidden.dropout, "last")

    return Tower(tower, domain_logit(domain, num_domains))
