"""Calls of a model's layers, made anew with the domain known."""

from typing import Any

import keras
import numpy as np
from keras import layers
from keras import ops

from mlora_tf.layers import DomainLayer
from mlora_tf.layers import DomainLoss
from mlora_tf.layers import GradientReversal
from mlora_tf.layers import OwnNetwork
from mlora_tf.layers import SideBySideDense
from mlora_tf.merging.folding import Linear
from mlora_tf.merging.folding import Scaled
from mlora_tf.merging.folding import Sum
from mlora_tf.merging.made_layers import MadeLayers
from mlora_tf.merging.networks import own_network
from mlora_tf.merging.networks import side_by_side
from mlora_tf.merging.values import Joined
from mlora_tf.merging.values import Plain
from mlora_tf.merging.values import Row
from mlora_tf.merging.values import Value
from mlora_tf.rebuild import flat_inputs
from mlora_tf.rebuild import is_graph
from mlora_tf.rebuild import model_arguments
from mlora_tf.rebuild import rebuild


class Calls:
    """Makes calls anew on values of which some are a domain's constants."""

    def __init__(self, made: MadeLayers) -> None:
        self._made = made

    def call(self, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a call returns: a value, or a structure of them."""
        if is_graph(layer):
            inputs, kwargs = model_arguments(args, kwargs)
            args = (inputs,)
        kwargs = _given(kwargs)
        values = _values(args, kwargs)
        rows = [value for value in values if isinstance(value, Row)]
        if len(rows) == len(values) > 0:
            constant = self._constant(layer, args, kwargs)
            if constant is not None:
                return constant
        opened = is_graph(layer) and any(
            not isinstance(value, Plain) for value in values
        )
        if kwargs.get("training") and (
            opened or isinstance(layer, DomainLayer)
        ):
            raise ValueError(
                f"{layer.name!r} can't be folded for one domain: it is called "
                f"as in training. Received: {kwargs}"
            )
        if isinstance(layer, DomainLayer):
            return self._own(layer, *args, **kwargs)
        if isinstance(layer, OwnNetwork):
            index = _index(layer, kwargs.get("domain", args[-1]))
            return own_network(self._made, layer, args[0], index)
        if isinstance(layer, DomainLoss | GradientReversal):
            return args[0]
        if opened:
            return self._open(layer, *args, **kwargs)
        if isinstance(layer, SideBySideDense) and len(values[0].shape) == 2:
            return side_by_side(self._made, layer, values[0])
        folded = None
        if args and not kwargs:
            folded = self._folded(layer, args[0], values)
        if folded is not None:
            return folded
        if _has_domain_layer(layer):
            raise ValueError(
                f"the layer {layer.name!r} can't be folded for one domain: it "
                "keeps weights per domain within itself, and has no "
                f"specialize(). Received: {type(layer).__name__}"
            )
        args, kwargs = keras.tree.map_structure(_tensor, (args, kwargs))
        return keras.tree.map_structure(
            Plain, self._made.call(layer, *args, **kwargs)
        )

    def _constant(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """What a call returns for rows that are all alike.

        None if it isn't the same row for each of them.
        """

        def twice(value: Any) -> Any:
            if not isinstance(value, Row):
                return value
            return ops.convert_to_tensor(np.stack([value.value] * 2))

        args, kwargs = keras.tree.map_structure(twice, (args, kwargs))
        outputs = layer(*args, **kwargs)
        rows = []
        for output in keras.tree.flatten(outputs):
            array = ops.convert_to_numpy(output)
            same = array.shape[:1] == (2,) and np.array_equal(
                array[0], array[1], equal_nan=True
            )
            if not same:
                return None
            if not np.isfinite(array.astype("float64")).all():
                paths = [weight.path for weight in layer.weights]
                raise ValueError(
                    f"what {layer.name!r} gives for the domain isn't finite. "
                    f"Received: weights {paths}"
                )
            rows.append(Row(self._made, array[0], layer.name))
        return keras.tree.pack_sequence_as(outputs, rows)

    def _open(self, model: Any, inputs: Any, mask: Any = None) -> Any:
        """What the layers of a model within the model return."""
        flat = flat_inputs(model, inputs)
        # As a call of a model does, for the layers in it that look for one.
        for value, one in zip(flat, keras.tree.flatten(mask), strict=False):
            if one is not None:
                value.tensor()._keras_mask = _tensor(one)
        return rebuild(model, flat, self.call)

    def _own(self, layer: DomainLayer, inputs: Value, domain: Value) -> Value:
        """A domain's stock layer."""
        index = _index(layer, domain)
        for variable in layer.domain_variables:
            if not np.isfinite(ops.convert_to_numpy(variable[index])).all():
                raise ValueError(
                    f"the domain's slice of {variable.path!r} must be finite. "
                    f"Received: a number that isn't, at [{index}]"
                )
        stock = layer.specialize(index)
        folded = self._folded(stock, inputs, [inputs])
        if folded is not None:
            return folded
        return Plain(self._made.call(stock, inputs.tensor()))

    def _folded(
        self, layer: Any, argument: Any, values: list[Value]
    ) -> Value | None:
        """What needn't be made yet; None of all other calls."""
        if any(
            len(value.shape) != 2 or value.shape[1] is None for value in values
        ):
            return None
        kind, made = type(layer), self._made
        if kind is layers.Dense and _is_plain(layer):
            linear = Linear(made, [layer], argument)
            if layer.activation is keras.activations.linear:
                return linear
            return Plain(linear.tensor())
        if kind is layers.BatchNormalization and layer.axis in (-1, 1):
            return Scaled(made, layer, argument)
        if kind is layers.Concatenate and layer.axis in (-1, 1):
            return Joined(made, values, layer)
        alike = len({value.shape[-1] for value in values}) == 1
        if kind is not layers.Add or not alike:
            return None
        if len(values) == 2 and isinstance(values[0], Linear):
            both = values[0] + values[1]
            if both is not None:
                return both
        return Sum(made, values, layer)


def _given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments but for those that say nothing.

    Keras adds the masks that it found, also where there is none.
    """
    given = dict(kwargs)
    if all(mask is None for mask in keras.tree.flatten(given.get("mask"))):
        given.pop("mask", None)
    if not given.get("training", True):
        del given["training"]
    return given


def _index(layer: Any, domain: Value) -> int:
    """The domain that a layer is given."""
    if not isinstance(domain, Row):
        raise ValueError(
            f"the layer {layer.name!r} can't be folded for one domain: its "
            "rows' domains follow from other inputs than the model's domain. "
            f"Received: {domain.shape}"
        )
    return int(domain.value)


def _values(args: Any, kwargs: Any) -> list[Value]:
    flat = keras.tree.flatten((args, kwargs))
    return [value for value in flat if isinstance(value, Value)]


def _is_plain(dense: layers.Dense) -> bool:
    """Whether a dense layer is its kernel, its bias and a function."""
    quantized = dense.quantization_mode is not None
    return not (quantized or isinstance(dense.activation, layers.Layer))


def _tensor(value: Any) -> Any:
    return value.tensor() if isinstance(value, Value) else value


def _has_domain_layer(layer: Any) -> bool:
    return isinstance(layer, layers.Layer) and any(
        isinstance(one, DomainLayer) for one in layer._flatten_layers()
    )
