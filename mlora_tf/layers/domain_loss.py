"""Adds the loss of guessing a row's domain to a model's own."""

from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.arguments import check_weight
from mlora_tf.layers.replicas import own_loss
from mlora_tf.layers.replicas import own_losses


@keras.saving.register_keras_serializable(package="mlora_tf")
class DomainLoss(keras.layers.Layer):
    """Passes its inputs on, and adds a domain discriminator's loss.

    `weight / batch * sum_i -log softmax(z_i)[d_i]`, with z_i the
    discriminator's logits for row i and d_i its domain: the domain part of
    MulANN's loss. It is added in training only, and averages over the whole
    batch, on however many replicas that is.

    With a `GradientReversal` in front of the discriminator, the network that
    feeds it learns to hide the domain. Pass a tensor that the prediction needs
    through as the inputs, so that the loss is part of the model.

    Args:
        num_domains: How many domains there are.
        weight: Of this loss beside the model's own.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of any shape.
        logits: Tensor of shape `(batch, num_domains)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.
        training: Whether to add the loss.

    Returns:
        The inputs, in their shape.

    Raises:
        tf.errors.InvalidArgumentError: A domain is out of range; see
            `domain_ops.check_ids` for where nothing can raise.

    Example:
    >>> layer = DomainLoss(2, weight=1.0)
    >>> inputs, logits = keras.ops.ones((3, 1)), keras.ops.zeros((3, 2))
    >>> outputs = layer(inputs, logits, np.array([0, 1, 1]), training=True)
    >>> round(float(layer.losses[0]), 4)  # -log(1/2)
    0.6931

    Reference:
        Schoenauer-Sebag et al., "Multi-Domain Adversarial Learning", ICLR
        2019.
    """

    def __init__(
        self, num_domains: int, weight: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_domains", num_domains, 1)
        check_weight("weight", weight)
        self.num_domains = num_domains
        self.weight = weight

    def build(
        self,
        inputs_shape: Any,
        logits_shape: tuple[int, ...],
        domain_shape: Any,
    ) -> None:
        """Checks that there is a logit for each domain."""
        if len(logits_shape) != 2 or logits_shape[1] != self.num_domains:
            raise ValueError(
                f"logits must be of shape (batch, {self.num_domains}). "
                f"Received: logits.shape={logits_shape}"
            )

    def call(
        self, inputs: Any, logits: Any, domain: Any, training: bool = False
    ) -> Any:
        """Adds the loss and passes the inputs on."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        if training:
            # Half a precision would be too coarse to sum a batch in.
            losses = ops.sparse_categorical_crossentropy(
                domain, ops.cast(logits, self.variable_dtype), from_logits=True
            )
            # Not ops.mean: a batch may have no row.
            rows = ops.maximum(ops.shape(losses)[0], 1)
            mean = ops.sum(losses) / ops.cast(rows, losses.dtype)
            self.add_loss(own_loss(self.weight * mean))
        return inputs

    def _get_own_losses(self) -> list[Any]:
        return own_losses(super()._get_own_losses())

    def compute_output_shape(
        self,
        inputs_shape: tuple[int, ...],
        logits_shape: Any,
        domain_shape: Any,
    ) -> tuple[int, ...]:
        """The inputs' shape."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "num_domains": self.num_domains,
            "weight": self.weight,
        }
