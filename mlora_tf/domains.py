"""A trained model's domains: add one, remove one, rename one."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mlora_tf.cloning import Pairs
from mlora_tf.cloning import cloned
from mlora_tf.cloning import copy_weights
from mlora_tf.domain_slices import is_domain_table
from mlora_tf.domain_slices import size_argument
from mlora_tf.domain_slices import sliced_layers
from mlora_tf.domain_slices import slices
from mlora_tf.layers import DomainIds
from mlora_tf.layers import DomainLayer
from mlora_tf.transform import domain_index
from mlora_tf.transform import domain_names

MEAN = "mean"
"""What `init_from` calls the mean of all domains; no domain's name."""


def add_domain(
    model: keras.Model, name: str, init_from: str | None = None
) -> keras.Model:
    """A copy of a model with one more domain: the last one.

    The old domains' weights are copied bit for bit. Unless told otherwise the
    new domain starts as the shared model: its adapters' `B` and bias are
    zero, its `W_p` is one, and where the domain is an embedded field or has
    statistics, its own are the mean of the others'. Layers that domains don't
    share (all of `shared_bottom`'s, the gates and the logit of `mmoe`) start
    from their initializers.

    Its schema needs the name as well: `dataclasses.replace(schema,
    domains=domain_names(model))`.

    Args:
        model: A functional model with per-domain weights; it stays as it is.
        name: The new domain's.
        init_from: What the domain starts as: None is the shared model,
            "mean" the mean of the others' weights (statistics start anew),
            and a domain's name that domain.

    Returns:
        The larger model: not compiled, and with nothing frozen.

    Raises:
        ValueError: The name isn't a new one, there is no such domain to start
            from, or "mean" is one; or the model has no per-domain weight to
            grow, or a layer that all its domains pass through.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> larger = add_domain(model, "pt", init_from="it")
    >>> domain_names(larger)
    ('fr', 'it', 'pt')
    >>> rows = {"item": np.array([1, 1]), "domain": np.array([1, 2])}
    >>> it, pt = larger(rows)["ctr"].numpy()
    >>> bool(it == pt)
    True
    """
    names = domain_names(model)
    _check_new(model, name)
    source = None
    if init_from == MEAN and MEAN in names:
        raise ValueError(
            f"{model.name!r} has a domain {MEAN!r}, which init_from can't tell "
            f"from the mean of all: rename_domain first. Received: {init_from=}"
        )
    if init_from not in (None, MEAN):
        source = domain_index(model, init_from)
    larger, pairs = _with_domains(model, (*names, name))
    copy_weights(
        pairs, lambda old, new: ops.concatenate([old, new[len(names) :]])
    )
    sliced = {id(layer) for layer in sliced_layers(model)}
    for layer, copy in pairs:
        if id(layer) not in sliced:
            continue
        if isinstance(copy, DomainLayer):
            copy.start_domain(len(names))
        averaged = init_from == MEAN or not isinstance(copy, DomainLayer)
        for old, new in zip(slices(layer), slices(copy), strict=True):
            if source is not None:
                start = old[source : source + 1]
            elif averaged and new.trainable:
                start = ops.mean(old, axis=0, keepdims=True)
            else:
                continue
            new.assign(ops.concatenate([old, start]))
    return larger


def remove_domain(model: keras.Model, name: str) -> keras.Model:
    """A copy of a model without one of its domains.

    The others' weights are copied bit for bit; those behind it move up by one
    place, as they must in the schema and in the rows.

    Args:
        model: A functional model with per-domain weights; it stays as it is.
        name: The domain's.

    Returns:
        The smaller model: not compiled, and with nothing frozen.

    Raises:
        ValueError: There is no such domain or no other, or the model has no
            per-domain weight, or a layer that all its domains pass through.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> domain_names(remove_domain(model, "fr"))
    ('it',)
    """
    names, index = domain_names(model), domain_index(model, name)
    if len(names) == 1:
        raise ValueError(
            f"{model.name!r} must keep one domain. Received: {name!r}, its "
            "only one"
        )
    smaller, pairs = _with_domains(
        model, tuple(one for one in names if one != name)
    )
    copy_weights(
        pairs,
        lambda old, new: ops.concatenate([old[:index], old[index + 1 :]]),
    )
    return smaller


def rename_domain(model: keras.Model, old: str, new: str) -> keras.Model:
    """A copy of a model in which one domain has another name.

    Args:
        model: A functional model; it stays as it is.
        old: The domain's name.
        new: Its new name.

    Returns:
        The same model but for the name: not compiled, and with nothing
        frozen.

    Raises:
        ValueError: There is no such domain, or the name isn't a new one.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> domain_names(rename_domain(model, "it", "italy"))
    ('fr', 'italy')
    """
    index, names = domain_index(model, old), list(domain_names(model))
    _check_new(model, new)
    names[index] = new
    renamed, pairs = _cloned(model, names)
    copy_weights(pairs)
    return renamed


def _check_new(model: keras.Model, name: Any) -> None:
    """Raises unless a model's domain can be named so."""
    if not isinstance(name, str) or name in ("", MEAN):
        raise ValueError(
            "a domain's name must be a string that isn't empty, and not "
            f'"{MEAN}", which says what to start from. Received: {name!r}'
        )
    if name in domain_names(model):
        raise ValueError(
            f"{model.name!r} must have each domain once. Received: {name!r}, "
            f"which is one of {list(domain_names(model))}"
        )


def _with_domains(
    model: keras.Model, names: Sequence[str]
) -> tuple[keras.Model, Pairs]:
    """A copy of a model for more or fewer domains, as initialized."""
    for layer in model._flatten_layers(include_self=False):
        # Of a fixed number of domains, with none of its weights one's own.
        if hasattr(layer, "num_domains") and not isinstance(layer, DomainLayer):
            raise ValueError(
                f"{model.name!r} can't have another number of domains: its "
                f"layer {layer.name!r} is made for all {layer.num_domains} "
                "together. Build the model anew and train it."
            )
    if not sliced_layers(model):
        raise ValueError(
            f"{model.name!r} has no per-domain weights, so there is nothing "
            "to add a domain to, or to take one from."
        )
    return _cloned(model, names)


def _cloned(
    model: keras.Model, names: Sequence[str]
) -> tuple[keras.Model, Pairs]:
    """A copy of a model for domains of those names, as initialized."""
    sliced = {id(layer) for layer in sliced_layers(model)}

    def change(layer: keras.layers.Layer, config: dict[str, Any]) -> None:
        if isinstance(layer, DomainIds):
            config["domains"] = list(names)
        elif id(layer) in sliced:
            config[size_argument(layer)] = len(names)
            if is_domain_table(layer):
                config["trainable_rows"] = None

    copy, pairs = cloned(model, change)
    if inside := sliced - {id(layer) for layer, _ in pairs}:
        hidden = [one for one in sliced_layers(model) if id(one) in inside]
        raise ValueError(
            f"{model.name!r} can't have other domains: its layer "
            f"{hidden[0].name!r} is within another layer, which makes it."
        )
    return copy, pairs
