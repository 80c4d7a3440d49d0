"""One fully connected network for all domains: the base of both papers."""

from typing import Any

from keras import layers

from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import drop
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
        for i, units in enumerate(hidden.units):
            x = layers.Dense(
                units,
                kernel_initializer=hidden.initializer(),
                name=f"hidden.{i}",
            )(x)
            if hidden.shared_dropout:
                x = layers.Dropout(
                    hidden.shared_dropout, name=f"shared_dropout.{i}"
                )(x)
            x = layers.Activation(hidden.activation, name=f"activation.{i}")(x)
            x = drop(x, hidden.output_dropout, i)
        return x

    return Tower(tower, shared_logit)
