"""Mixes the outputs of networks that stand side by side."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class CrossStitch(keras.layers.Layer):
    """Gives each network a learned mixture of all networks' outputs.

    `y_m = sum_n S[m, n] x_n`, one number for each pair of networks: eq. 1 of
    cross-stitch networks, for any number of them. At first a network keeps
    `self_weight` of its own output, and takes the rest in equal shares.

    Args:
        self_weight: What a network keeps of its own at first. A single
            network keeps all.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, networks, units)`.

    Returns:
        Tensor of shape `(batch, networks, units)`.

    Raises:
        ValueError: `self_weight` isn't a number from 0 to 1.

    Example:
    >>> layer = CrossStitch(0.75)
    >>> layer(np.array([[[1.0, 1.0], [0.0, 2.0]]])).numpy().tolist()
    [[[0.75, 1.25], [0.25, 1.75]]]

    Reference:
        Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR
        2016.
    """

    def __init__(self, self_weight: float = 0.9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(self_weight, int | float) or not (
            0 <= self_weight <= 1
        ):
            raise ValueError(
                "self_weight must be a number from 0 to 1. "
                f"Received: self_weight={self_weight!r}"
            )
        self.self_weight = self_weight
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes `S` for inputs of shape `(batch, networks, units)`."""
        networks = inputs_shape[1]
        self.stitch = self.add_weight(
            name="stitch",
            shape=(networks, networks),
            initializer=self._initial_stitch,
        )

    def call(self, inputs: Any) -> Any:
        """Mixes the networks' outputs."""
        return ops.matmul(self.stitch, inputs)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The inputs' shape."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "self_weight": self.self_weight}

    def _initial_stitch(self, shape: tuple[int, ...], dtype: Any) -> Any:
        networks = shape[0]
        if networks == 1:
            return ops.ones(shape, dtype)
        others = (1.0 - self.self_weight) / (networks - 1)
        return ops.where(
            ops.eye(networks, dtype="bool"),
            ops.convert_to_tensor(self.self_weight, dtype),
            ops.convert_to_tensor(others, dtype),
        )
