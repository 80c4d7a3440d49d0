"""Experts that all domains share, and a gate per domain over them."""

from typing import Any

from keras import layers

from mlora_tf.layers import DomainDense
from mlora_tf.layers.arguments import check_integer
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import domain_logit
from mlora_tf.towers.tower import drop
from mlora_tf.towers.tower import side_by_side


def mmoe(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    num_experts: int | None = None,
) -> Tower:
    """A multi-gate mixture of experts, with a gate and a logit per domain.

    `sum_e softmax(x G_d + g_d)_e f_e(x)` (Ma et al., KDD 2018, eqs. 6 to 8),
    where each expert `f_e` has all the hidden layers, as in STAR's section
    4.1. What a gate mixes goes straight to the domain's logit, where that
    paper has a network of several layers. The mixture is dense: every row is
    computed by every expert.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers of each expert.
        num_experts: How many experts, at least 2; None is one for each
            domain, and 2 for a single one.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: There are not at least two experts to mix.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = mmoe(domain, 3, Hidden(units=(8, 4)), num_experts=4)
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Ma et al., "Modeling Task Relationships in Multi-task Learning with
        Multi-gate Mixture-of-Experts", KDD 2018, eqs. 6 to 8; Sheng et al.,
        "One Model to Serve All: Star Topology Adaptive Recommender for
        Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """
    if num_experts is None:
        num_experts = max(num_domains, 2)
    check_integer("num_experts", num_experts, 2)

    def tower(x: Any) -> Any:
        gate = DomainDense(
            num_experts, num_domains, activation="softmax", name="gate.experts"
        )(x, domain)
        for i, units in enumerate(hidden.units):
            x = side_by_side(x, num_experts, units, hidden, f"experts.{i}")
            x = drop(x, hidden.dropout, i)
        return layers.Dot(axes=1, name="mixture.experts")([gate, x])

    return Tower(tower, domain_logit(domain, num_domains))
