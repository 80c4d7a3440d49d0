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
    """
    del domain, num_domains

    def tower(x: Any) -> Any:
        for i in range(len(hidden.units)):
            x = shared_hidden(x, hidden, i)
        return x

    return Tower(tower, shared_logit)
