"""MLoRA's tower: every hidden layer has a low-rank adapter per domain."""

from typing import Any

from keras import layers
from keras import ops

from mlora_tf.layers import MLoRADense
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower


def mlora(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    shared_adapter: bool = False,
    **adapter: Any,
) -> Tower:
    """A fully connected network with a low-rank adapter per layer and domain.

    Its layers bear the names of the shared tower's, so that a trained shared
    model's weights find their places by path.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers.
        shared_adapter: One adapter for all domains: the control that tells
            what the adapters' capacity is worth without any domain.
        **adapter: `MLoRADense` arguments: `rank`, `temperature`,
            `max_adapter_params`, `lora_alpha`, `use_lora_bias`,
            `a_initializer`, `lora_regularizer`.
    """
    if shared_adapter:
        domain, num_domains = ops.zeros_like(domain), 1

    def tower(x: Any) -> Any:
        for i, units in enumerate(hidden.units):
            x = MLoRADense(
                units,
                num_domains,
                activation=hidden.activation,
                shared_dropout=hidden.shared_dropout,
                kernel_initializer=hidden.kernel_initializer,
                name=f"hidden_{i}",
                **adapter,
            )(x, domain)
            if hidden.output_dropout:
                x = layers.Dropout(hidden.output_dropout)(x)
        return x

    return tower
