"""Picks what the network of a row's own domain says."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.arguments import check_integer


@keras.saving.register_keras_serializable(package="mlora_tf")
class OwnNetwork(keras.layers.Layer):
    """Keeps, of one network's output for each domain, the own domain's.

    `y = x_d`, with d the row's domain. The others are left out, not
    multiplied by zero: whatever they hold, and be it no number, neither the
    output nor a gradient shows it.

    Args:
        num_domains: How many domains, and so networks, there are.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, num_domains, units)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.

    Returns:
        Tensor of shape `(batch, units)`.

    Raises:
        ValueError: `num_domains` isn't a positive integer.
        tf.errors.InvalidArgumentError: A domain is out of range; see
            `domain_ops.check_ids` for where nothing can raise.

    Example:
    >>> inputs = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    >>> OwnNetwork(2)(inputs, np.array([1, 0])).numpy().tolist()
    [[2.0], [3.0]]
    """

    def __init__(self, num_domains: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("num_domains", num_domains, 1)
        self.num_domains = num_domains
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={1: num_domains})

    def call(self, inputs: Any, domain: Any) -> Any:
        """Picks each row's own slice."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        own = ops.equal(domain[:, None], ops.arange(self.num_domains))
        # Not times zero, which would let another slice's inf through; and no
        # gather, whose gradient is slow.
        return ops.sum(ops.where(own[:, :, None], inputs, 0.0), axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], domain_shape: Any
    ) -> tuple[int, ...]:
        """`(batch, units)`."""
        return (inputs_shape[0], inputs_shape[2])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "num_domains": self.num_domains}
