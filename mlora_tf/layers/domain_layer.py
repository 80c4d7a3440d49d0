"""The one protocol: a layer that keeps weights of its own for each domain."""

import abc
from typing import Any

import keras


class DomainLayer(keras.layers.Layer, abc.ABC):
    """A layer that keeps weights of its own for each of several domains.

    Subclasses are called with any mix of domains in a batch and are exact
    for each row. All that is done to adapters later (freezing the backbone,
    counting parameters, saving, adding a domain, folding one domain for
    serving) needs nothing but the two members declared here, because every
    per-domain weight has its domain on axis 0.

    Args:
        num_domains: How many domains there are, at least 1.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, ...)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.
    """

    def __init__(self, num_domains: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(num_domains, int) or num_domains < 1:
            raise ValueError(
                "num_domains must be a positive integer. "
                f"Received: num_domains={num_domains!r}"
            )
        self.num_domains = num_domains

    @property
    @abc.abstractmethod
    def domain_variables(self) -> list[keras.Variable]:
        """The per-domain weights: axis 0 of each is the domain."""

    @abc.abstractmethod
    def specialize(self, domain: int) -> keras.layers.Layer:
        """A stock Keras layer with this layer's inference output for a domain.

        The layer must be built.

        Args:
            domain: The domain's index in `[0, num_domains)`.

        Returns:
            A built stock layer, called with `inputs` alone.

        Raises:
            ValueError: The layer isn't built, or there is no such domain.
        """

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "num_domains": self.num_domains}

    def _check_specializable(self, domain: int) -> None:
        if not self.built:
            raise ValueError(
                f"{self.name!r} has no weights yet: call it, or the model it "
                "is in, before specialize()."
            )
        if not 0 <= domain < self.num_domains:
            raise ValueError(
                f"{self.name!r} has the domains 0 to {self.num_domains - 1}. "
                f"Received: domain={domain!r}"
            )
