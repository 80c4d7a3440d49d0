"""Passes domains through, unless one is unknown, and keeps their names."""

from collections.abc import Sequence
from typing import Any

import keras

from mlora_tf.layers import domain_ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class DomainIds(keras.layers.Layer):
    """Raises where a domain is out of range, and passes the others through.

    A model's domain input goes through it. It has the domains' names in its
    config, so that a saved model knows which domain is which.

    Args:
        domains: The domains' names; a row's domain is an index into them.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Integer tensor of shape `(batch,)`.

    Returns:
        The same integers, `int32` of shape `(batch,)`.

    Raises:
        tf.errors.InvalidArgumentError: One is not in `[0, len(domains))`;
            see `domain_ops.check_ids` for where nothing can raise.

    Example:
    >>> layer = DomainIds(["fr", "it"])
    >>> layer(np.array([1, 0])).numpy().tolist()
    [1, 0]
    >>> layer.domains
    ('fr', 'it')
    """

    def __init__(
        self, domains: Sequence[str], name: str = "ids.domain", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(domains, list | tuple | str):
            raise ValueError(
                "domains must be a list of names: write list(...). "
                f"Received: domains={domains!r}"
            )
        many = not isinstance(domains, str) and len(domains) > 0
        if not many or not all(
            isinstance(domain, str) and domain for domain in domains
        ):
            raise ValueError(
                "domains must be a list of names, strings that aren't empty. "
                f"Received: domains={domains!r}"
            )
        if len(set(domains)) < len(domains):
            raise ValueError(
                "domains must have a name each of its own. "
                f"Received: domains={domains!r}"
            )
        self.domains = tuple(domains)

    def call(self, inputs: Any) -> Any:
        """Checks the domains."""
        return domain_ops.check_ids(inputs, len(self.domains))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """The domains' shape, as `int32`."""
        return keras.KerasTensor(inputs.shape, dtype="int32")

    def compute_output_shape(
        self, input_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The domains' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "domains": list(self.domains)}
