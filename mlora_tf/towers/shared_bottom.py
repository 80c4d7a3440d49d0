"""A fully connected network per domain on shared embeddings."""

from typing import Any

from mlora_tf.layers import DomainDense
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import domain_logit
from mlora_tf.towers.tower import drop


def shared_bottom(domain: Any, num_domains: int, hidden: Hidden) -> Tower:
    """A whole network of its own for each domain, the last layer included.

    What is shared is the bottom: the embeddings, and the backbone's other
    parts (STAR, section 4.1). A row is computed by its own network alone.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = shared_bottom(domain, 3, Hidden(units=(8, 4)))
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Ruder, "An Overview of Multi-Task Learning in Deep Neural Networks",
        2017; Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """

    def tower(x: Any) -> Any:
        for i, units in enumerate(hidden.units):
            x = DomainDense(
                units,
                num_domains,
                activation=hidden.activation,
                kernel_initializer=hidden.initializer(),
                name=f"hidden.{i}",
            )(x, domain)
            x = drop(x, hidden.dropout, i)
        return x

    return Tower(tower, domain_logit(domain, num_domains))
