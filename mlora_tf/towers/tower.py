"""What every tower is: hidden layers, and a function from tensor to tensor."""

import dataclasses
from collections.abc import Callable
from typing import Any

Tower = Callable[[Any], Any]
"""From the deep input `(batch, in)` to the last hidden layer `(batch, out)`."""

DROPOUT_PLACEMENTS = ("shared", "output")


@dataclasses.dataclass(frozen=True)
class Hidden:
    """The hidden layers, alike in every tower so that arms compare.

    Args:
        units: Width of each layer.
        activation: Name of the activation.
        dropout: Rate of dropout after each layer.
        dropout_placement: "shared" drops the shared `x W + b` alone, before
            a domain's part is added; "output" drops the layer's output. In a
            tower without a domain's part, and with ReLU, they are the same.
        kernel_initializer: Draws the shared kernels.
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
            raise ValueError("a tower needs at least one hidden layer.")

    @property
    def shared_dropout(self) -> float:
        """The rate on the shared path, 0 if dropout is placed elsewhere."""
        return self.dropout if self.dropout_placement == "shared" else 0.0

    @property
    def output_dropout(self) -> float:
        """The rate on each layer's output, 0 if dropout is placed elsewhere."""
        return self.dropout if self.dropout_placement == "output" else 0.0
