"""Copies of layers, with all that the layers have learned."""

import pathlib
import tempfile
import types
from typing import Any

import keras


class Copies:
    """Calls copies of layers in their place.

    Of each layer there is one copy, so that what was shared stays shared. A
    copy has the layer's configuration, weights and vocabularies, and what of
    it trains.
    """

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def call(self, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a layer's copy of the same name returns; see `call_as`."""
        return self.call_as(layer, layer.name, *args, **kwargs)

    def call_as(
        self, layer: Any, name: str, /, *args: Any, **kwargs: Any
    ) -> Any:
        """What a layer's copy returns.

        Args:
            layer: A layer, or an operation, which has no state and is called
                itself.
            name: The copy's name.
            *args: Its arguments.
            **kwargs: More of its arguments, of any names.

        Raises:
            ValueError: The layer can't be made from its configuration.
        """
        if not isinstance(layer, keras.layers.Layer):
            return layer(*args, **kwargs)
        if id(layer) in self._made:
            return self._made[id(layer)](*args, **kwargs)
        copy = self._made[id(layer)] = _from_config(layer, name)
        outputs = copy(*args, **kwargs)
        copy_state(layer, copy)
        return outputs


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Gives a built layer another's values and trainability.

    Args:
        source: A layer, of any number of layers within it.
        target: One of the same configuration.

    Raises:
        ValueError: A vocabulary can't be copied.
    """
    copy_values(source, target)
    for old, new in zip(source.weights, target.weights, strict=True):
        if new.trainable != old.trainable:
            new.trainable = old.trainable


def copy_values(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Gives a built layer another's weights, vocabularies and functions.

    Args:
        source: A layer, of any number of layers within it.
        target: One of the same configuration.

    Raises:
        ValueError: A vocabulary can't be copied.
    """
    for old, new in zip(
        source._flatten_layers(), target._flatten_layers(), strict=True
    ):
        copy_functions(old, new)
        # What a `.keras` file would hold of the layer, without the file.
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)
        if getattr(old, "lora_enabled", False):
            # A file holds these merged, and with nothing left to train.
            places = {weight.name: weight for weight in new.weights}
            for weight in old.weights:
                places[weight.name].assign(weight)
        if hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                if any(pathlib.Path(folder).iterdir()):
                    new.load_assets(folder)
        # Keras's file loses empty strings at a vocabulary's end.
        if hasattr(old, "get_vocabulary") and list(
            old.get_vocabulary()
        ) != list(new.get_vocabulary()):
            raise ValueError(
                f"the vocabulary of {old.name!r} can't be copied: give it to "
                "the layer as an argument. Received: it ends in "
                f"{old.get_vocabulary()[-3:]}"
            )


def copy_functions(
    source: keras.layers.Layer, target: keras.layers.Layer
) -> None:
    """Gives a layer the very functions that another has for activations.

    In a configuration a function is its name, by which Keras may know another.
    """
    for name in ("activation", "recurrent_activation"):
        function = vars(source).get(name)
        if isinstance(function, types.FunctionType):
            setattr(target, name, function)


def _from_config(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    try:
        config = layer.get_config()
        # Of a layer that takes no name, the config has none.
        if "name" in config:
            config = {**config, "name": name}
        copy = type(layer).from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        # Keras's messages may have several lines.
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the layer {layer.name!r} can't be copied: it can't be made from "
            f"its get_config() ({reason}). Received: {type(layer).__name__}"
        ) from error
    copy.name = name
    return copy
