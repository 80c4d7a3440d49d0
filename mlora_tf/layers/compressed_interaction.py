"""Feature maps of the fields' products, one degree more in each layer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class CompressedInteraction(keras.layers.Layer):
    """Compresses the products of fields into feature maps: xDeepFM's CIN.

    With `X^0` the fields' embeddings, row h of the k-th layer's maps is
    `X^k_h = act(sum_ij W^{k,h}_ij (X^{k-1}_i * X^0_j))` (eq. 6). The output
    is each map's sum over the embedding axis, all layers' side by side: what
    the output unit of eq. 8 reads.

    There is no bias: neither eq. 6 nor its authors' code has one (DeepCTR's
    does). The paper finds the identity the best activation; "relu", the
    default, is DeepCTR's and with it that of MLoRA's published code.

    Args:
        sizes: How many feature maps each layer has.
        split_half: Whether the first half of each layer's maps but the
            last's goes on to the next layer alone and the second half to the
            output alone, as in the authors' code; all go to both otherwise.
        activation: Applied to each map.
        kernel_initializer: Draws the kernels `W^k`, of shape `(maps before
            x fields, maps)`.
        kernel_regularizer: Penalty on the kernels.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, fields, dim)`.

    Returns:
        Tensor of shape `(batch, maps)`, with the maps of all layers that go
        to the output.

    Raises:
        ValueError: `sizes` aren't positive integers, or a layer's but the last
            can't be split in halves and must be.

    Example:
    >>> layer = CompressedInteraction((6, 4))
    >>> tuple(layer(keras.ops.ones((2, 3, 8))).shape)
    (2, 7)

    Reference:
        Lian et al., "xDeepFM: Combining Explicit and Implicit Feature
        Interactions for Recommender Systems", KDD 2018.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (128, 128),
        *,
        split_half: bool = True,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        if not self.sizes or any(
            type(size) is not int or size < 1 for size in self.sizes
        ):
            raise ValueError(
                "sizes must be one or more positive integers. "
                f"Received: sizes={sizes!r}"
            )
        if split_half and any(size % 2 for size in self.sizes[:-1]):
            raise ValueError(
                "sizes of all layers but the last must be even to be split "
                f"in halves. Received: sizes={sizes!r}"
            )
        self.split_half = split_half
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape: tuple[int, ...]) -> None:
        """Makes the kernels for inputs of shape `(batch, fields, dim)`."""
        fields = before = inputs_shape[1]
        self.kernels = []
        for i, size in enumerate(self.sizes):
            kernel = self.add_weight(
                name=f"kernel_{i}",
                shape=(before * fields, size),
                initializer=self.kernel_initializer.clone(),
                regularizer=self.kernel_regularizer,
            )
            self.kernels.append(kernel)
            before = size // 2 if self.split_half else size

    def call(self, inputs: Any) -> Any:
        """Computes the pooled feature maps."""
        # With the embedding axis beside the batch, a layer is one plain matrix
        # product, of all products `X_i * X_j` with the kernel. (TensorFlow's
        # einsum over three axes takes ten times as long.)
        fields = ops.swapaxes(inputs, 1, 2)
        dim = fields.shape[1]
        maps, pooled = fields, []
        for i, kernel in enumerate(self.kernels):
            products = ops.einsum("bdi,bdj->bdij", maps, fields)
            products = ops.reshape(products, (-1, kernel.shape[0]))
            maps = self.activation(ops.matmul(products, kernel))
            maps = ops.reshape(maps, (-1, dim, kernel.shape[1]))
            outputs = maps
            if self.split_half and i + 1 < len(self.sizes):
                maps, outputs = ops.split(maps, 2, axis=2)
            pooled.append(ops.sum(outputs, axis=1))
        return ops.concatenate(pooled, axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """`(batch, maps)`."""
        *hidden, last = self.sizes
        maps = sum(hidden) // 2 if self.split_half else sum(hidden)
        return (inputs_shape[0], maps + last)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "sizes": list(self.sizes),
            "split_half": self.split_half,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
