"""Gives any functional Keras model an adapter per domain."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from mlora_tf.adapt_targets import Target
from mlora_tf.adapt_targets import find_targets
from mlora_tf.adapted_dense import adapted_dense
from mlora_tf.domain_input import check_no_domain
from mlora_tf.domain_input import domain_place
from mlora_tf.domain_input import pack_inputs
from mlora_tf.layer_copies import Copies
from mlora_tf.layers import DomainIds
from mlora_tf.rebuild import calls
from mlora_tf.rebuild import check_graph
from mlora_tf.rebuild import check_untied
from mlora_tf.rebuild import copy_input
from mlora_tf.rebuild import flat_inputs
from mlora_tf.rebuild import is_graph
from mlora_tf.rebuild import model_arguments
from mlora_tf.rebuild import rebuild
from mlora_tf.schema import DOMAIN

Tensor = Any


def adapt(
    model: keras.Model,
    domains: Sequence[str] | None,
    *,
    target: Target = None,
    rank: int | None = None,
    temperature: int = 32,
    max_adapter_params: int | None = None,
    lora_alpha: float | None = None,
    use_lora_bias: bool = True,
    a_initializer: Any = "glorot_normal",
    lora_regularizer: Any = None,
) -> keras.Model:
    """A model for many domains from one that knows of none.

    Dense layers become `MLoRADense` of the same name and weights, and the
    model gets an input `"domain"`, of shape `(batch,)` and `int32`: each
    row's index into `domains`. As `B` starts at zero, all outputs are bit
    for bit what they were, whatever the domain, until the model is trained.

    A list of inputs gets the domain as its last, a dict under the key
    `"domain"`; of a single input `x` comes the dict
    `{x.name: x, "domain": domain}`. Models within the model are rebuilt in
    the same way, and a layer that is called several times keeps one adapter
    for all of them. All other layers are copied. What was frozen stays so,
    and of a frozen dense layer the new adapters alone train; see
    `freeze_backbone` to train nothing else. A dense layer with constraints
    or a penalty on its bias stays as it is and gets an adapter beside it.

    Args:
        model: A functional or sequential model, which stays as it is. Layers
            of one's own need a `get_config`.
        domains: The domains' names; None for a model that has domains
            already, such as one of `build_model` with the tower "shared".
        target: Which dense layers to adapt: names (in nested models too), or
            a function that is given each `Dense` and returns whether to.
            None takes all on inputs of rank 2 but the last, those behind
            which no more weights come: as in the paper, the logit has none.
        rank: The adapters' rank; see `MLoRADense`, as for all that follow.
        temperature: Divides a layer's units to give its rank.
        max_adapter_params: The most numbers of one domain's `A` and `B`.
        lora_alpha: Scales adapters by `lora_alpha / rank`.
        use_lora_bias: Whether there is a bias for each domain.
        a_initializer: Draws `A`.
        lora_regularizer: Penalty on `A` and on `B`.

    Returns:
        The adapted model, not compiled.

    Raises:
        ValueError: The model is subclassed or has no inputs yet; two of its
            layers share a weight, as one that is called both by itself and
            within another; it has
            domains already, or an input of that name, or with None no
            domains; a layer can't be copied; a layer that `target` names
            isn't there or can't have an adapter (it is no `Dense`, or called
            on another rank than 2); or there is none to adapt.

    Example:
    >>> x = keras.Input((6,), name="x")
    >>> hidden = keras.layers.Dense(64, activation="relu")(x)
    >>> plain = keras.Model(x, keras.layers.Dense(1)(hidden))
    >>> model = adapt(plain, ["fr", "it"], temperature=16)
    >>> rows = {"x": np.ones((2, 6)), "domain": np.array([0, 1])}
    >>> bool(keras.ops.all(model(rows) == plain(rows["x"])))
    True
    >>> [weight.name for weight in model.layers[-2].domain_variables]
    ['lora_kernel_a', 'lora_kernel_b', 'lora_bias']
    """
    check_graph(model)
    check_untied(model)
    ids, place = _domain_ids(model, domains)
    targets = find_targets(model, target)
    adapter = {
        "rank": rank,
        "temperature": temperature,
        "max_adapter_params": max_adapter_params,
        "lora_alpha": lora_alpha,
        "use_lora_bias": use_lora_bias,
        "a_initializer": a_initializer,
        "lora_regularizer": lora_regularizer,
    }
    inputs = [copy_input(tensor) for tensor in model.inputs]
    if place is None:
        given = keras.Input((), dtype="int32", name=DOMAIN)
        packed = pack_inputs(model, inputs, given)
    else:
        given, packed = inputs[place], pack_inputs(model, inputs)
    adapting = _Adapting(targets, adapter, ids)
    outputs = adapting.graph(model, inputs, ids(given))
    return keras.Model(packed, outputs, name=model.name)


class _Adapting:
    """Makes calls anew, with a dense layer's adapted one in its place.

    Args:
        targets: The `id`s of the layers to adapt.
        adapter: What makes adapters: arguments of `MLoRADense`.
        ids: What checks the domains in the new model.
    """

    def __init__(
        self, targets: set[int], adapter: dict[str, Any], ids: DomainIds
    ) -> None:
        self._targets = targets
        self._adapter = adapter
        self._ids = ids
        self._copies = Copies()
        self._made: dict[int, Any] = {}

    def graph(
        self, model: keras.Model, inputs: Any, domain: Tensor = None
    ) -> Any:
        """A graph's outputs from new inputs and the rows' checked domains."""
        return rebuild(model, inputs, functools.partial(self._call, domain))

    def _call(
        self, domain: Tensor, layer: Any, /, *args: Any, **kwargs: Any
    ) -> Any:
        if isinstance(layer, DomainIds):
            return domain
        if id(layer) in self._targets:
            return self._adapted(layer)(*args, domain=domain, **kwargs)
        if not is_graph(layer):
            return self._copies.call(layer, *args, **kwargs)
        inputs, kwargs = model_arguments(args, kwargs)
        own = (domain,) if self._has_target(layer) else ()
        packed = pack_inputs(layer, flat_inputs(layer, inputs), *own)
        if kwargs.get("mask") is not None:
            masks = keras.tree.flatten(kwargs["mask"])
            kwargs["mask"] = pack_inputs(layer, masks, *[None] * len(own))
        return self._nested(layer)(packed, **kwargs)

    def _adapted(self, dense: Any) -> Callable[..., Tensor]:
        """A dense layer with adapters, one however often it is called."""
        if id(dense) not in self._made:
            self._made[id(dense)] = adapted_dense(
                dense, len(self._ids.domains), self._adapter
            )
        return self._made[id(dense)]

    def _nested(self, model: keras.Model) -> keras.Model:
        """A model within the model, one however often it is called."""
        if id(model) not in self._made:
            inputs = [copy_input(tensor) for tensor in model.inputs]
            own: list[Tensor] = []
            if self._has_target(model):
                check_no_domain(model)
                own = [keras.Input((), dtype="int32", name=DOMAIN)]
            outputs = self.graph(model, inputs, *own)
            packed = pack_inputs(model, inputs, *own)
            self._made[id(model)] = keras.Model(
                packed, outputs, name=model.name
            )
        return self._made[id(model)]

    def _has_target(self, model: keras.Model) -> bool:
        return any(
            id(layer) in self._targets
            or (is_graph(layer) and self._has_target(layer))
            for layer, _, _ in calls(model)
        )


def _domain_ids(
    model: keras.Model, domains: Sequence[str] | None
) -> tuple[DomainIds, int | None]:
    """What checks an adapted model's domains, and which input has them.

    Returns:
        A new layer, and the place of its input among `model.inputs`: None
        for an input that is yet to be made.

    Raises:
        ValueError: The model has domains and shouldn't, or should and hasn't.
    """
    everywhere = model._flatten_layers(include_self=False)
    known = [layer for layer in everywhere if isinstance(layer, DomainIds)]
    if domains is not None:
        if known:
            raise ValueError(
                f"{model.name!r} has domains already, {known[0].domains}: give "
                f"it adapters with domains=None. Received: domains={domains!r}"
            )
        check_no_domain(model)
        return DomainIds(domains), None
    place = domain_place(model)
    if place is None or not any(known[0] is layer for layer in model.layers):
        raise ValueError(
            f"{model.name!r} has no domains yet: name them. If a model within "
            "it has some, adapt that one. Received: domains=None"
        )
    return DomainIds.from_config(known[0].get_config()), place
