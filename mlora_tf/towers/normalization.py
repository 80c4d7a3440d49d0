"""What normalizes a tower's input: nothing, or one of three layers."""

from collections.abc import Callable
from typing import Any

from keras import layers

from mlora_tf.layers import PartitionedNormalization
from mlora_tf.towers.tower import Tower


def batch(x: Any, domain: Any, num_domains: int) -> Any:
    """One normalization for all domains (STAR, eqs. 1 and 2).

    Synchronized: else each replica keeps moving statistics of its own, and
    only the first one's are saved.
    """
    del domain, num_domains
    return layers.BatchNormalization(synchronized=True, name="norm.deep")(x)


def layer(x: Any, domain: Any, num_domains: int) -> Any:
    """Each row by itself."""
    del domain, num_domains
    return layers.LayerNormalization(name="norm.deep")(x)


def partitioned(x: Any, domain: Any, num_domains: int) -> Any:
    """Each domain by its own statistics (STAR, eqs. 3 and 4)."""
    return PartitionedNormalization(num_domains, name="norm.deep")(x, domain)


NORMS: dict[str, Callable[[Any, Any, int], Any] | None] = {
    "none": None,
    "batch": batch,
    "layer": layer,
    "partitioned": partitioned,
}


def normalized(tower: Tower, norm: str, domain: Any, num_domains: int) -> Tower:
    """A tower with its input normalized first, as in STAR's Figure 4.

    Args:
        tower: The tower.
        norm: A name in `NORMS`.
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.

    Returns:
        A tower from `(batch, in)` to the last hidden layer, with the logit of
        the one it was given; for "none" that tower itself.

    Raises:
        ValueError: There is no such `norm`.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> plain = Tower(keras.layers.Dense(8), keras.layers.Dense(1))
    >>> tower = normalized(plain, "partitioned", domain, 3)
    >>> keras.Model([x, domain], tower(x)).layers[2].name
    'norm.deep'

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021, section 3.3.
    """
    if norm not in NORMS:
        raise ValueError(
            f"norm must be one of {sorted(NORMS)}. Received: {norm!r}"
        )
    normalize = NORMS[norm]
    if normalize is None:
        return tower
    return Tower(
        lambda x: tower(normalize(x, domain, num_domains)), tower.logit
    )
