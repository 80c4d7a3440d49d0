"""One fully connected network for all domains: the base of both papers."""

from typing import Any

from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import shared_hidden
from mlora_tf.towers.tower import shared_logit


def shared(domain: Any, num_domains: int, hidden: Hidden) -> Tower:
    """A plain fully connected network, the same for every domain.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`; not
            used.
        num_domains: How many domains there are; not used.
        hidden: The hidden layers.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = shared(domain, 3, Hidden(units=(8, 4)))
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Yang et al., "MLoRA: Multi-Domain Low-Rank Adaptive Network for
        Click-Through Rate Prediction", RecSys 2024, section 4.2; Sheng et al.,
        "One Model to Serve All: Star Topology Adaptive Recommender for
        Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """
    del domain, num_domains

    def tower(x: Any) -> Any:
        for i in range(len(hidden.units)):
            x = shared_hidden(x, hidden, i)
        return x

    return Tower(tower, shared_logit)
