"""A network per domain, with units that mix them after each layer."""

from typing import Any

from mlora_tf.layers import CrossStitch
from mlora_tf.layers import OwnNetwork
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import domain_logit
from mlora_tf.towers.tower import drop
from mlora_tf.towers.tower import side_by_side


def cross_stitch(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    self_weight: float = 0.9,
) -> Tower:
    """A network per domain, stitched together after each hidden layer.

    `h_m = sum_n S_mn h_n` (Misra et al., CVPR 2016, eq. 1) after each hidden
    layer, as in STAR's section 4.1. Any domain's row passes through all
    networks, because each layer sees a mix of all: that is the model, and D
    times a plain tower's work.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains, and networks, there are.
        hidden: The hidden layers of each network.
        self_weight: What a network keeps of its own at the start.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: `self_weight` isn't a number from 0 to 1; raised when the
            tower is called.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = cross_stitch(domain, 3, Hidden(units=(8, 4)))
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR
        2016; Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """

    def tower(x: Any) -> Any:
        for i, units in enumerate(hidden.units):
            x = side_by_side(x, num_domains, units, hidden, f"networks.{i}")
            x = drop(x, hidden.dropout, i)
            x = CrossStitch(self_weight=self_weight, name=f"stitch.{i}")(x)
        return OwnNetwork(num_domains, name="own.network")(x, domain)

    return Tower(tower, domain_logit(domain, num_domains))
