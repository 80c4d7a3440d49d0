"""STAR's tower: every layer's weights are shared ones times a domain's own."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from keras import layers

from mlora_tf.layers import MLoRADense
from mlora_tf.layers import StarDense
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import chosen_layers
from mlora_tf.towers.tower import drop

MLORA_FORMS = ("factorized", "parallel")


def star(
    domain: Any,
    num_domains: int,
    hidden: Hidden,
    *,
    mlora: str | None = None,
    rank: int | None = None,
    temperature: int = 32,
    max_adapter_params: int | None = None,
    lora_alpha: float | None = None,
    use_lora_bias: bool = True,
    lora_dropout: float = 0.0,
    lora_regularizer: Any = None,
    adapted_layers: Sequence[int] | None = None,
) -> Tower:
    """A star topology network (STAR, section 3.4), the last layer included.

    Its layers bear the names of the shared tower's, so that a trained shared
    model's weights find their places by path.

    Args:
        domain: The rows' domains, an integer tensor of shape `(batch,)`.
        num_domains: How many domains there are.
        hidden: The hidden layers.
        mlora: STAR + MLoRA, which the paper measures and whose wiring its
            code never showed. "factorized": `W_d := 1 + A_d B_d` in each
            hidden layer, our reading of adapters that reduce a specific
            network's parameters (MLoRA, section 4.4). "parallel": a full
            `W_d`, and beside it `x A_d B_d + b_d` before the activation, as
            its author describes it. None is STAR.
        rank: The adapters' rank; see `MLoRADense`, as for the next two.
        temperature: Divides a layer's width to give its rank.
        max_adapter_params: The most numbers of one domain's `A` and `B`.
        lora_alpha: Scales "parallel" adapters by `lora_alpha / rank`.
        use_lora_bias: Whether "parallel" has a `b_d`, beside STAR's `b_p`.
        lora_dropout: Rate of dropout on the input of "parallel" adapters.
        lora_regularizer: Penalty on their `A` and on their `B`.
        adapted_layers: Which hidden layers have them; see `mlora`.

    Returns:
        The tower: from `(batch, in)` to the last hidden layer `(batch,
        hidden.units[-1])`, and from whatever is gathered for it to the logit
        `(batch, 1)`.

    Raises:
        ValueError: There is no such form of `mlora`, or there is none and
            adapters are asked for; or one of their arguments isn't in its
            range, raised when the tower is called.

    Example:
    >>> x, domain = keras.Input((5,)), keras.Input((), dtype="int32")
    >>> tower = star(domain, 3, Hidden(units=(8, 4)), mlora="parallel")
    >>> last = tower(x)
    >>> last.shape, tower.logit(last).shape
    ((None, 4), (None, 1))

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021, eqs. 5 and 6;
        Yang et al., "MLoRA: Multi-Domain Low-Rank Adaptive Network for
        Click-Through Rate Prediction", RecSys 2024, section 4.4.
    """
    if mlora is not None and mlora not in MLORA_FORMS:
        raise ValueError(
            f"mlora must be None or one of {MLORA_FORMS}. "
            f"Received: mlora={mlora!r}"
        )
    if mlora is None and (rank, max_adapter_params) != (None, None):
        raise ValueError(
            "rank and max_adapter_params are for STAR + MLoRA: say which form "
            f"with mlora, one of {MLORA_FORMS}. Received: rank={rank!r}, "
            f"max_adapter_params={max_adapter_params!r}"
        )
    parallel = mlora == "parallel"
    of_parallel = (lora_alpha, lora_dropout, lora_regularizer, adapted_layers)
    adapted: Collection[int] = ()
    if parallel:
        adapted = chosen_layers(adapted_layers, hidden)
    elif of_parallel != (None, 0.0, None, None):
        raise ValueError(
            "lora_alpha, lora_dropout, lora_regularizer and adapted_layers are "
            f'for mlora="parallel". Received: lora_alpha={lora_alpha!r}, '
            f"lora_dropout={lora_dropout!r}, "
            f"lora_regularizer={lora_regularizer!r}, "
            f"adapted_layers={adapted_layers!r}"
        )
    adapter: dict[str, Any] = {
        "rank": rank,
        "temperature": temperature,
        "max_adapter_params": max_adapter_params,
    }

    def tower(x: Any) -> Any:
        for i, units in enumerate(hidden.units):
            starred = StarDense(
                units,
                num_domains,
                activation=None if i in adapted else hidden.activation,
                low_rank=mlora == "factorized",
                kernel_initializer=hidden.initializer(),
                name=f"hidden.{i}",
                **(adapter if mlora == "factorized" else {}),
            )(x, domain)
            if i in adapted:
                beside = MLoRADense(
                    units,
                    num_domains,
                    use_kernel=False,
                    use_bias=False,
                    lora_alpha=lora_alpha,
                    use_lora_bias=use_lora_bias,
                    lora_dropout=lora_dropout,
                    lora_regularizer=lora_regularizer,
                    name=f"adapter.{i}",
                    **adapter,
                )(x, domain)
                both = layers.Add(name=f"sum.{i}")([starred, beside])
                starred = layers.Activation(
                    hidden.activation, name=f"activation.{i}"
                )(both)
            x = drop(starred, hidden.dropout, i)
        return x

    def logit(x: Any) -> Any:
        return StarDense(
            1,
            num_domains,
            kernel_initializer="glorot_normal",
            name="logit.deep",
        )(x, domain)

    return Tower(tower, logit)
