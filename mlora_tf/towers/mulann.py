"""A shared network that a discriminator keeps from telling domains apart."""

from typing import Any

from keras import layers

from mlora_tf.layers import DomainLoss
from mlora_tf.layers import GradientReversal
from mlora_tf.towers.shared import shared
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import shared_logit


def mulann(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    loss_weight: float = 0.1,
    reversal_weight: float = 1.0,
    discriminator_units: int = 64,
) -> Tower:
    """The shared tower with an adversarial domain discriminator.

    The discriminator learns to tell a row's domain from the last hidden
    layer; its gradient is reversed on its way into the tower, so that the
    tower learns to hide it (Schoenauer-Sebag et al., ICLR 2019, as STAR's
    section 4.1 uses it). It plays no part in a prediction.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers.
        loss_weight: Weight of the discriminator's cross-entropy.
        reversal_weight: Weight of its reversed gradient: the tower gets
            `-reversal_weight * loss_weight` times the cross-entropy's.
        discriminator_units: Width of its hidden layer.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: A weight isn't a number of at least 0, or
            `discriminator_units` isn't a positive integer; raised when the
            tower is called.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = mulann(domain, 3, Hidden(units=(8, 4)))
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Schoenauer-Sebag et al., "Multi-Domain Adversarial Learning", ICLR
        2019; Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """
    base = shared(domain, num_domains, hidden)

    def tower(x: Any) -> Any:
        x = base(x)
        told = GradientReversal(reversal_weight, name="reversal.domain")(x)
        told = layers.Dense(
            discriminator_units, activation="relu", name="discriminator.0"
        )(told)
        told = layers.Dense(num_domains, name="discriminator.logits")(told)
        return DomainLoss(num_domains, loss_weight, name="loss.domain")(
            x, told, domain
        )

    return Tower(tower, shared_logit)
