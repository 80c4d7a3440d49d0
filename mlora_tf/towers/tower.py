"""What every tower is: hidden layers, a last one, and how they are alike."""

import dataclasses
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from mlora_tf.layers import DomainDense
from mlora_tf.layers import SideBySideDense
from mlora_tf.layers.arguments import check_integer

DROPOUT_PLACEMENTS = ("shared", "output")


@dataclasses.dataclass(frozen=True)
class Tower:
    """How domains share a fully connected network: what a backbone is given.

    Called, it is `hidden`.

    Args:
        hidden: From the deep input `(batch, in)` to the last hidden layer
            `(batch, out)`.
        logit: The last layer, from whatever a backbone gathers for it
            `(batch, width)` to `(batch, 1)`.

    Example:
    >>> dense = keras.layers.Dense(8, activation="relu")
    >>> tower = Tower(dense, logit=keras.layers.Dense(1))
    >>> last = tower(np.ones((2, 4)))
    >>> tuple(last.shape), tuple(tower.logit(last).shape)
    ((2, 8), (2, 1))
    """

    hidden: Callable[[Any], Any]
    logit: Callable[[Any], Any]

    def __call__(self, x: Any) -> Any:
        """From the deep input to the last hidden layer."""
        return self.hidden(x)


@dataclasses.dataclass(frozen=True)
class Hidden:
    """The hidden layers, alike in every tower so that arms compare.

    Args:
        units: Width of each layer.
        activation: Name of the activation.
        dropout: Rate of dropout after each layer.
        dropout_placement: "shared" drops the shared `x W + b` alone, before
            MLoRA's adapters are added; "output" drops the layer's output. In
            the other towers, and in every one with ReLU and without
            adapters, they are the same.
        kernel_initializer: Draws the kernels.

    Raises:
        ValueError: There is no layer, a width isn't a positive integer, or
            there is no such `dropout_placement`.

    Example:
    >>> hidden = Hidden(units=(64, 32), dropout=0.1)
    >>> hidden.shared_dropout, hidden.output_dropout
    (0.1, 0.0)
    """

    units: tuple[int, ...] = (256, 128, 64)
    activation: str = "relu"
    dropout: float = 0.0
    dropout_placement: str = "shared"
    kernel_initializer: Any = "glorot_normal"

    def __post_init__(self) -> None:
        if self.dropout_placement not in DROPOUT_PLACEMENTS:
            raise ValueError(
                f"dropout_placement must be one of {DROPOUT_PLACEMENTS}. "
                f"Received: {self.dropout_placement!r}"
            )
        if not self.units:
            raise ValueError(
                "a tower needs at least one hidden layer. "
                f"Received: hidden_units={self.units!r}"
            )
        for i, units in enumerate(self.units):
            check_integer(f"hidden_units[{i}]", units, 1)

    @property
    def shared_dropout(self) -> float:
        """The rate on the shared path, 0 if dropout is placed elsewhere."""
        return self.dropout if self.dropout_placement == "shared" else 0.0

    @property
    def output_dropout(self) -> float:
        """The rate on each layer's output, 0 if dropout is placed elsewhere."""
        return self.dropout if self.dropout_placement == "output" else 0.0

    def initializer(self) -> keras.initializers.Initializer:
        """Draws one layer's kernels; one for several would draw alike."""
        return keras.initializers.get(self.kernel_initializer).clone()


def drop(x: Any, rate: float, where: int | str) -> Any:
    """Dropout on the output of a hidden layer; nothing at rate 0."""
    if not rate:
        return x
    return layers.Dropout(rate, name=f"output_dropout.{where}")(x)


def shared_hidden(x: Any, hidden: Hidden, where: int) -> Any:
    """One hidden layer, the same for every domain.

    Args:
        x: Tensor of shape `(batch, in)`.
        hidden: The hidden layers.
        where: Which of them.

    Returns:
        Tensor of shape `(batch, hidden.units[where])`.
    """
    x = layers.Dense(
        hidden.units[where],
        kernel_initializer=hidden.initializer(),
        name=f"hidden.{where}",
    )(x)
    if hidden.shared_dropout:
        x = layers.Dropout(
            hidden.shared_dropout, name=f"shared_dropout.{where}"
        )(x)
    x = layers.Activation(hidden.activation, name=f"activation.{where}")(x)
    return drop(x, hidden.output_dropout, where)


def chosen_layers(
    adapted_layers: Sequence[int] | None, hidden: Hidden
) -> Collection[int]:
    """The hidden layers that have adapters: those named, or all.

    Raises:
        ValueError: One isn't there, or none is named.
    """
    count = len(hidden.units)
    chosen = range(count) if adapted_layers is None else adapted_layers
    if not chosen or not set(chosen) <= set(range(count)):
        raise ValueError(
            "adapted_layers must be hidden layers, at least one, each in [0, "
            f"{count}). Received: {adapted_layers!r}"
        )
    return chosen


def shared_logit(x: Any) -> Any:
    """The last layer, the same for every domain.

    Args:
        x: Tensor of shape `(batch, width)`.

    Returns:
        Tensor of shape `(batch, 1)`.

    Example:
    >>> hidden = keras.layers.Dense(8, activation="relu")
    >>> tower = Tower(hidden, shared_logit)
    >>> tower.logit(tower(keras.Input((4,)))).shape
    (None, 1)
    """
    return layers.Dense(
        1, kernel_initializer="glorot_normal", name="logit.deep"
    )(x)


def domain_logit(domain: Any, num_domains: int) -> Callable[[Any], Any]:
    """The last layer, a domain's own: a function to `(batch, 1)`."""
    return lambda x: DomainDense(
        1,
        num_domains,
        kernel_initializer="glorot_normal",
        name="logit.deep",
    )(x, domain)


def side_by_side(
    x: Any, networks: int, units: int, hidden: Hidden, name: str
) -> Any:
    """One hidden layer of several networks.

    Args:
        x: Tensor of shape `(batch, in)`, which all networks see, or
            `(batch, networks, in)`.
        networks: How many there are.
        units: Width of the layer.
        hidden: The activation and the initializer.
        name: Name of the layer.

    Returns:
        Tensor of shape `(batch, networks, units)`.
    """
    return SideBySideDense(
        networks,
        units,
        activation=hidden.activation,
        kernel_initializer=hidden.initializer(),
        name=name,
    )(x)
