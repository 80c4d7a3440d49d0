"""What can be done to a model because its adapters are domain variables."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import keras

from mlora_tf.layers import DomainIds
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.weight_names import weights_by_name


@dataclasses.dataclass(frozen=True)
class OneSlice:
    """A penalty on one domain's slice of a per-domain weight.

    Args:
        regularizer: The penalty.
        index: The domain's.
    """

    regularizer: Callable[[Any], Any]
    index: int

    def __call__(self, weight: Any) -> Any:
        """The penalty."""
        return self.regularizer(weight[self.index : self.index + 1])


def domain_layers(model: keras.Model) -> Iterator[DomainLayer]:
    """The layers of a model that keep weights of their own per domain."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, DomainLayer):
            yield layer


def domain_variables(model: keras.Model) -> list[keras.Variable]:
    """The per-domain weights of a model; axis 0 of each is the domain.

    Args:
        model: A model from `build_model` or `adapt`, or any with layers that
            are `DomainLayer`s, in models within it too.

    Returns:
        Variables of shape `(num_domains, ...)`; none for a shared tower.

    Example:
    >>> x, domain = keras.Input((6,)), keras.Input((), dtype="int32")
    >>> outputs = mlora_tf.MLoRADense(8, 3, rank=2)(x, domain)
    >>> model = keras.Model([x, domain], outputs)
    >>> [tuple(variable.shape) for variable in domain_variables(model)]
    [(3, 6, 2), (3, 2, 8), (3, 8)]
    """
    return [
        variable
        for layer in domain_layers(model)
        for variable in layer.domain_variables
    ]


def freeze_backbone(
    model: keras.Model, base: keras.Model | None = None
) -> None:
    """Leaves the per-domain weights as the only ones that train.

    A normalization belongs to the backbone, a partitioned one as well: it is
    frozen whole, with its statistics, as in MLoRA's second phase.

    Compile the model after it, in the strategy's scope: Keras caches the
    train function, and one that was made before would train on as before.

    Args:
        model: The model; it is changed in place.
        base: A trained model whose weights `model` starts from and keeps:
            where it has per-domain weights itself, as STAR has beneath
            MLoRA, those are frozen too, by their names.

    Raises:
        ValueError: The model has no per-domain weight, or none that the base
            lacks, so that nothing would be left to train.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> freeze_backbone(model)
    >>> sorted({weight.name for weight in model.trainable_weights})
    ['lora_bias', 'lora_kernel_a', 'lora_kernel_b']
    """
    own = adapters(model, base)
    # What trained one domain alone had penalties on that one's slices alone.
    unfreeze(model)
    freeze_all_but(model, {id(variable) for variable in own})


def adapters(
    model: keras.Model, base: keras.Model | None = None
) -> list[keras.Variable]:
    """The per-domain weights that train when all else is frozen.

    Args:
        model: The model.
        base: See `freeze_backbone`.

    Raises:
        ValueError: There is none.
    """
    trained: set[int] = set()
    if base is not None:
        before = weights_by_name(base)
        trained = {
            id(weight)
            for name, weight in weights_by_name(model).items()
            if name in before
        }
    own = [
        variable
        for layer in domain_layers(model)
        if not isinstance(layer, PartitionedNormalization)
        for variable in layer.domain_variables
        if id(variable) not in trained
    ]
    if not own:
        of_its_own = " that its base lacks" if base else ""
        raise ValueError(
            f"{model.name!r} has no per-domain weights{of_its_own}: frozen, "
            'nothing of it would train. Build it with a tower such as "mlora", '
            "or give a model of your own adapters by mlora_tf.adapt."
        )
    return own


def freeze_all_but(model: keras.Model, kept: set[int]) -> None:
    """Freezes all weights of a model but some, where they train at all.

    Args:
        model: The model.
        kept: The `id`s of the others.
    """
    for layer in model._flatten_layers(include_self=False):
        if any(id(weight) in kept for weight in layer.weights):
            for weight in layer.weights:
                weight.trainable &= id(weight) in kept
        else:
            # The layer as a whole, so that moving statistics stop too.
            layer.trainable = False


def unfreeze(model: keras.Model) -> None:
    """Lets every weight train again; compile the model after it.

    Args:
        model: The model; it is changed in place.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.layers[0].trainable = False
    >>> unfreeze(model)
    >>> len(model.trainable_weights)
    2
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, EmbeddingTable):
            layer.trainable_rows = None
        if isinstance(layer, DomainLayer):
            for variable in layer.domain_variables:
                if isinstance(variable.regularizer, OneSlice):
                    variable.regularizer = variable.regularizer.regularizer
        # Keras passes over a value that a layer has already, as one with
        # adapters has, and leaves its frozen weights as they are.
        layer.trainable = False
        layer.trainable = True


def initialize_from(
    model: keras.Model, source: keras.Model, *, partly: bool = False
) -> None:
    """Copies a model's weights into another that has them and maybe more.

    Weights find their places by `weights_by_name`, never by position. Those of
    `model` that `source` doesn't have keep their values: adapters start as they
    were initialized, that is, as the shared model.

    Args:
        model: The model to change.
        source: The model to copy from.
        partly: Whether `source` may have weights that `model` has no place
            for, as a shared tower's in a model whose domains share none.

    Raises:
        ValueError: A weight of `source` has no place in `model` (unless
            `partly`), or another shape there, or two weights of one model
            have the same path. Nothing has been copied then.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> base = build_model(schema, tower="shared", hidden_units=[8])
    >>> initialize_from(model, base)
    >>> rows = {"item": np.array([1]), "domain": np.array([0])}
    >>> bool(model(rows)["ctr"][0] == base(rows)["ctr"][0])
    True
    """
    places, given = weights_by_name(model), weights_by_name(source)
    copied = {
        name: variable
        for name, variable in given.items()
        if not partly or name in places
    }
    for name, variable in copied.items():
        place = places.get(name)
        if place is None or place.shape != variable.shape:
            there = None if place is None else tuple(place.shape)
            raise ValueError(
                f"{source.name!r} can't initialize {model.name!r}: its weight "
                f"{name!r} of shape {tuple(variable.shape)} has no place "
                f"there. Received: {there}"
            )
    for name, variable in copied.items():
        places[name].assign(variable)


def check_names(domains: Iterable[str]) -> tuple[str, ...]:
    """Names of domains to do something with.

    Raises:
        ValueError: It is a single string, has no name, or one twice.
    """
    names = () if isinstance(domains, str) else tuple(domains)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "domains must be a list of names, at least one and each once. "
            f"Received: domains={domains!r}"
        )
    return names


def domain_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's domains, in order.

    Args:
        model: A model from `build_model` or `adapt`.

    Returns:
        The names; a row's domain is an index into them.

    Raises:
        ValueError: The model has no `DomainIds`, or several.

    Example:
    >>> domain = keras.Input((), dtype="int32", name="domain")
    >>> ids = DomainIds(["fr", "it"])(domain)
    >>> domain_names(keras.Model(domain, ids))
    ('fr', 'it')
    """
    found = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, DomainIds)
    ]
    if len(found) != 1:
        raise ValueError(
            f"{model.name!r} must have one layer DomainIds, which says what "
            "its domains are; mlora_tf.adapt makes a model of your own "
            f"multi-domain. Received: {len(found)} of them"
        )
    return found[0].domains


def domain_index(model: keras.Model, name: str) -> int:
    """The index of a model's domain of that name.

    Raises:
        ValueError: The model has no such domain.
    """
    names = domain_names(model)
    if name not in names:
        raise ValueError(
            f"a domain of {model.name!r} must be one of {list(names)}. "
            f"Received: {name!r}"
        )
    return names.index(name)
