"""Makes a functional model again, some of its layers with other arguments."""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import keras

from mlora_tf.layer_copies import copy_functions
from mlora_tf.layer_copies import copy_values
from mlora_tf.rebuild import check_untied
from mlora_tf.rebuild import is_graph
from mlora_tf.transform import unfreeze

Layer = Any
Pairs = list[tuple[Layer, Layer]]


def cloned(
    model: keras.Model, change: Callable[[Layer, dict[str, Any]], None]
) -> tuple[keras.Model, Pairs]:
    """A copy of a model, with models in it, whose layers have other arguments.

    Args:
        model: A functional model; it stays as it is.
        change: Is given each layer and its config, which it may change.

    Returns:
        The copy, as initialized, not compiled and with nothing frozen, models
        in it being functional ones; and each layer of the model beside its own
        copy.

    Raises:
        ValueError: The model isn't functional, or a subclass of such; or its
            layers share a weight.
    """
    if not is_graph(model) or isinstance(model, keras.Sequential):
        raise ValueError(
            f"{model.name!r} must be a functional model, whose layers can be "
            "made again. Of a subclass, whose methods the copy wouldn't have, "
            "pass keras.Model(model.input, model.output). "
            f"Received: {type(model).__name__}"
        )
    check_untied(model)
    pairs: Pairs = []

    def copied(model: Any) -> keras.Model:
        # Keras compiles the copy of a compiled model, whose metrics may be
        # made for just the domains that it has.
        twin = keras.Model(model.input, model.output, name=model.name)
        return keras.models.clone_model(twin, clone_function=clone)

    def clone(layer: Any) -> Any:
        if is_graph(layer):
            return copied(layer)
        config = layer.get_config()
        if not isinstance(layer, keras.layers.Layer):
            return layer.__class__.from_config(config)
        change(layer, config)
        copy = layer.__class__.from_config(config)
        pairs.append((layer, copy))
        return copy

    copy = copied(model)
    unfreeze(copy)
    return copy, pairs


def copy_weights(
    pairs: Iterable[tuple[Layer, Layer]],
    resized: Callable[[Any, Any], Any] | None = None,
) -> None:
    """Copies weights bit for bit from each layer to its copy.

    And what else a layer has learned, such as a vocabulary.

    Args:
        pairs: What `cloned` returns.
        resized: The value for a weight of another shape, given the old weight
            and the new one; None where there is none such.

    Raises:
        ValueError: A vocabulary can't be copied.
    """
    for layer, copy in pairs:
        if _shapes(layer) == _shapes(copy):
            copy_values(layer, copy)
            continue
        copy_functions(layer, copy)
        for old, new in zip(layer.weights, copy.weights, strict=True):
            if resized is not None and old.shape != new.shape:
                old = resized(old, new)
            new.assign(old)


def _shapes(layer: Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
