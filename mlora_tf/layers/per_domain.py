"""Initializes a stack of per-domain weights, each slice as if it were alone."""

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="mlora_tf")
class PerDomain(keras.initializers.Initializer):
    """Draws a `(D, in, out)` stack with the fan of one `(in, out)` slice.

    Keras takes leading axes for a convolution's receptive field, so that a
    fan-based initializer makes a stack smaller by `sqrt(D)` than each of its
    slices would be. This multiplies it back; the others pass unchanged. A
    stack of stacks, `(D, experts, in, out)`, is drawn alike.

    Args:
        initializer: A Keras initializer, or its name.

    Example:
    >>> draw = PerDomain("glorot_normal")
    >>> tuple(draw(shape=(10, 24, 8)).shape)
    (10, 24, 8)
    """

    def __init__(self, initializer: Any) -> None:
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Draws the stack.

        Args:
            shape: `(D, in, out)`, or with more leading axes.
            dtype: The stack's dtype.
        """
        stack = self.initializer(shape, dtype)
        if isinstance(self.initializer, keras.initializers.VarianceScaling):
            stack = stack * math.sqrt(math.prod(shape[:-2]))
        return stack

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the initializer again."""
        return {"initializer": keras.initializers.serialize(self.initializer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PerDomain":
        """Makes the initializer from its configuration."""
        return cls(keras.initializers.deserialize(config["initializer"]))
