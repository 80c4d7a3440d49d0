"""Names of a model's weights that are the same in every copy of it."""

import collections
from collections.abc import Iterator
from typing import Any

import keras

from mlora_tf.rebuild import is_graph


def weights_by_name(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a model by names that are the same in every copy of it.

    A weight's path has the names of the layers within a layer, which Keras
    numbers anew for each that is made. Here these are counted within their
    layer: `"block/2/kernel"` is of the second one in `"block"`.

    A model within the model is a part of a name only where two weights would
    have one without it.

    Args:
        model: A model.

    Returns:
        The variables by name, in the order of the layers.

    Raises:
        ValueError: Two weights have one name.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(1, name="logit")]
    ... )
    >>> list(weights_by_name(model))
    ['logit/kernel', 'logit/bias']
    """
    names: dict[int, tuple[str, str]] = {}
    weights: dict[int, keras.Variable] = {}
    for models, place, layer in _places(model, ""):
        # Its own alone: those of layers within it come with these.
        for weight in (
            *layer._trainable_variables,
            *layer._non_trainable_variables,
        ):
            name = f"{place}{weight.name}"
            names.setdefault(id(weight), (name, f"{models}{name}"))
            weights[id(weight)] = weight
    short = collections.Counter(name for name, _ in names.values())
    found: dict[str, keras.Variable] = {}
    for key, (name, full) in names.items():
        chosen = name if short[name] == 1 else full
        if chosen in found:
            raise ValueError(
                f"{model.name!r} must have each weight under a name of its "
                "own: give its layers names of their own. "
                f"Received: {chosen!r} twice"
            )
        found[chosen] = weights[key]
    return found


def _places(model: Any, models: str) -> Iterator[tuple[str, str, Any]]:
    """Each layer: the models it is in, its place in the last, and itself."""
    yield models, "", model
    for layer in model.layers:
        if is_graph(layer):
            yield from _places(layer, f"{models}{layer.name}/")
            continue
        for index, inner in enumerate(layer._flatten_layers()):
            place = f"{layer.name}/{index}/" if index else f"{layer.name}/"
            yield models, place, inner
