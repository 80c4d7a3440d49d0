"""MLoRA's tower: every hidden layer has a low-rank adapter per domain."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from mlora_tf.layers import MLoRADense
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import chosen_layers
from mlora_tf.towers.tower import drop
from mlora_tf.towers.tower import shared_hidden
from mlora_tf.towers.tower import shared_logit


def mlora(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    shared_adapter: bool = False,
    rank: int | None = None,
    temperature: int = 32,
    max_adapter_params: int | None = None,
    lora_alpha: float | None = None,
    use_lora_bias: bool = True,
    lora_dropout: float = 0.0,
    a_initializer: Any = "glorot_normal",
    lora_regularizer: Any = None,
    adapted_layers: Sequence[int] | None = None,
) -> Tower:
    """A fully connected network with a low-rank adapter per layer and domain.

    Its layers bear the names of the shared tower's, so that a trained shared
    model's weights find their places by path. As in the published code the
    last layer, the logit, has no adapter.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers.
        shared_adapter: One adapter for all domains: the control that tells
            what training `W + A B` in place of `W` is worth without any
            domain. Trained jointly, it can express nothing else than `W`.
        rank: See `MLoRADense`, as for all that follow.
        temperature: Divides a layer's width to give its rank.
        max_adapter_params: The most numbers of one domain's `A` and `B`.
        lora_alpha: Scales adapters by `lora_alpha / rank`.
        use_lora_bias: Whether there is a bias for each domain.
        lora_dropout: Rate of dropout on the adapters' input.
        a_initializer: Draws `A`.
        lora_regularizer: Penalty on `A` and on `B`.
        adapted_layers: Which hidden layers have adapters, counted from 0; the
            others are the shared tower's. None: all have.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: `adapted_layers` aren't hidden layers; or another argument
            isn't in its range, or not even rank 1 fits into
            `max_adapter_params`, raised when the tower is called.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = mlora(domain, 3, Hidden(units=(8, 4)), rank=2)
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Yang et al., "MLoRA: Multi-Domain Low-Rank Adaptive Network for
        Click-Through Rate Prediction", RecSys 2024, eqs. 9 and 10.
    """
    adapted = chosen_layers(adapted_layers, hidden)
    if shared_adapter:
        domain = layers.Rescaling(0, dtype="int32", name="domain.shared")(
            domain
        )
        num_domains = 1

    def tower(x: Any) -> Any:
        for i, units in enumerate(hidden.units):
            if i not in adapted:
                x = shared_hidden(x, hidden, i)
                continue
            x = MLoRADense(
                units,
                num_domains,
                activation=hidden.activation,
                shared_dropout=hidden.shared_dropout,
                kernel_initializer=hidden.initializer(),
                rank=rank,
                temperature=temperature,
                max_adapter_params=max_adapter_params,
                lora_alpha=lora_alpha,
                use_lora_bias=use_lora_bias,
                lora_dropout=lora_dropout,
                # One instance for several layers would warn, and draw alike.
                a_initializer=keras.initializers.get(a_initializer).clone(),
                lora_regularizer=lora_regularizer,
                name=f"hidden.{i}",
            )(x, domain)
            x = drop(x, hidden.output_dropout, i)
        return x

    return Tower(tower, shared_logit)
