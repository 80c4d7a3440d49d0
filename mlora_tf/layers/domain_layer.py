"""The one protocol: a layer that keeps weights of its own for each domain."""

import abc
from typing import Any

import keras

from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.per_domain import PerDomain


class DomainLayer(keras.layers.Layer, abc.ABC):
    """A layer that keeps weights of its own for each of several domains.

    Subclasses are called with any mix of domains in a batch and are exact
    for each row. All that is done to adapters later (freezing the backbone,
    counting parameters, saving, adding a domain, folding one domain for
    serving) needs nothing but the members declared here, because every
    per-domain weight has its domain on axis 0.

    Args:
        num_domains: How many domains there are, at least 1.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, ...)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.

    Raises:
        ValueError: `num_domains` isn't a positive integer.

    Example:
        A layer that adds a number of the domain's own; one domain of it is a
        stock layer:

    >>> class Offset(DomainLayer):
    ...     def build(self, inputs_shape, domain_shape):
    ...         self.offset = self.add_domain_weight("offset", (), "ones")
    ...
    ...     def call(self, inputs, domain):
    ...         return inputs + keras.ops.take(self.offset, domain)[:, None]
    ...
    ...     def specialize(self, domain):
    ...         return keras.layers.Rescaling(1, float(self.offset[domain]))
    >>> layer = Offset(num_domains=2)
    >>> layer(np.array([[1.0], [2.0]]), np.array([0, 1])).numpy().tolist()
    [[2.0], [3.0]]
    >>> layer.specialize(1)(np.array([[2.0]])).numpy().tolist()
    [[3.0]]
    """

    def __init__(self, num_domains: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer("num_domains", num_domains, 1)
        self.num_domains = num_domains
        self._domain_variables: list[keras.Variable] = []

    def add_domain_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        **kwargs: Any,
    ) -> keras.Variable:
        """Makes a weight with a slice for each domain.

        Its attribute `per_domain` tells `LazyAdam` that a slice without a
        gradient stays where it is.

        Args:
            name: The weight's name.
            shape: Shape of one domain's slice.
            initializer: Draws each slice as if it were alone.
            **kwargs: `keras.layers.Layer.add_weight` arguments.

        Returns:
            The weight, of shape `(num_domains, *shape)`.
        """
        variable = self.add_weight(
            name=name,
            shape=(self.num_domains, *shape),
            initializer=PerDomain(initializer),
            **kwargs,
        )
        variable.per_domain = True
        self._domain_variables.append(variable)
        return variable

    @property
    def domain_variables(self) -> list[keras.Variable]:
        """The per-domain weights: axis 0 of each is the domain."""
        return list(self._domain_variables)

    @property
    def shared_values(self) -> list[tuple[keras.Variable, float]] | None:
        """Per-domain weights with the value that makes them the shared model.

        `disable_adapters` puts these values in place of the weights'. None
        means that domains share nothing, as here; a weight that belongs to
        the shared model is left out. The layer must be built.
        """
        return None

    @property
    def low_rank_factors(self) -> tuple[keras.Variable, keras.Variable] | None:
        """`A`, `(D, in, rank)`, and `B`, `(D, rank, units)`, or None.

        `limit_ranks` takes columns of `A` and rows of `B` from a domain. The
        layer must be built.
        """
        return None

    def start_domain(self, domain: int) -> None:
        """Makes a domain that was just added start as the shared model.

        Its slices are as initialized; that is enough where they are then the
        shared model, as `B = 0` and `W_p = 1` are. Others override this.

        Args:
            domain: The new domain's index.
        """
        del domain

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

    def _as_dense(
        self, activation: Any, kernel: Any, bias: Any = None
    ) -> keras.layers.Dense:
        """A stock `Dense` with those weights, this layer's name and dtype."""
        dense = keras.layers.Dense(
            kernel.shape[1],
            activation=activation,
            use_bias=bias is not None,
            dtype=self.dtype_policy,
            name=self.name,
        )
        dense.build((None, kernel.shape[0]))
        dense.set_weights([kernel] if bias is None else [kernel, bias])
        return dense
