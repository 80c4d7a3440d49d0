"""Makes a functional model's graph again, call by call."""

import functools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

Tensor = Any


def is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose graph can be made again.

    That is a functional or sequential model that has its inputs, and no
    subclass of these: what a subclass does besides, its graph doesn't show.
    """
    functional = isinstance(layer, keras.Model) and isinstance(
        layer, keras.Function
    )
    if not (functional or _is_sequential(layer)):
        return False
    own = type(layer).__module__.partition(".")[0] == "keras"
    return own and hasattr(layer, "inputs")


def check_graph(model: Any) -> None:
    """Raises unless a model's graph can be made again.

    Raises:
        ValueError: The model is subclassed, or has no inputs yet.
    """
    if not is_graph(model):
        raise ValueError(
            "model must be a functional or sequential Keras model with "
            "inputs. Of a subclass of these pass keras.Model(model.input, "
            f"model.output). Received: {model!r}"
        )


def check_untied(model: keras.Model) -> None:
    """Raises unless each weight is in one layer of a model's graphs.

    Args:
        model: A model that `is_graph`.

    Raises:
        ValueError: Two layers share a weight, as one that is called both by
            itself and within another: each copy would train its own.
    """
    owners: dict[int, Any] = {}
    for layer in _leaves(model):
        for weight in layer.weights:
            owner = owners.setdefault(id(weight), layer)
            if owner is not layer:
                raise ValueError(
                    f"{model.name!r} can't be copied: its layers "
                    f"{owner.name!r} and {layer.name!r} share the weight "
                    f"{weight.path!r}, of which each copy would train its "
                    "own. Call one layer, or one model, in both places."
                )


def _leaves(model: Any) -> Iterator[Any]:
    """The layers of a model and of the models in it; subclassed ones whole."""
    if not is_graph(model):
        yield model
        return
    for layer in model.layers:
        yield from _leaves(layer)


def calls(
    model: keras.Model,
) -> Iterator[tuple[Any, list[Tensor], list[Tensor]]]:
    """Each call in a model's graph: of what, from which tensors, to which.

    A call comes after those that made its tensors.
    """
    by_depth = _functional(model)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node.operation, node.input_tensors, node.outputs


def rebuild(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """Makes every call of a model's graph anew, in an order that goes.

    Args:
        model: A model that `is_graph`.
        inputs: What stands for the model's inputs, in their structure or
            flat: symbolic tensors, or whatever `call` takes for one.
        call: Called as `call(layer, *args, **kwargs)` for each call of a
            layer, a nested model or an operation such as `a + b`, with what
            it returned before in the place of each tensor. A layer that is
            called twice comes twice.

    Returns:
        What `call` returned for the model's outputs, in their structure.
    """
    # Keras's own walk, which clone_model and a call of the model go as well.
    return _functional(model)._run_through_graph(
        inputs, operation_fn=lambda layer: functools.partial(call, layer)
    )


def structure_of_inputs(model: keras.Model) -> Any:
    """A model's symbolic inputs: one, or a list or dict of them."""
    return _functional(model).input


def model_arguments(args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The inputs that a call of a model gave, and all else by its name."""
    names = ("inputs", "training", "mask")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return given.pop("inputs"), given


def flat_inputs(model: keras.Model, given: Any) -> list[Any]:
    """What a call of a model gave for each of `model.inputs`, in order."""
    structure = structure_of_inputs(model)
    if isinstance(given, dict) and not isinstance(structure, dict):
        return [given[tensor.name] for tensor in model.inputs]
    return keras.tree.flatten(given)


def copy_input(tensor: Tensor) -> Tensor:
    """A new input of a model's input's name, shape, dtype and kind."""
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def _functional(model: keras.Model) -> Any:
    """The functional model that has the graph; a sequential one keeps it."""
    return model._functional if _is_sequential(model) else model


def _is_sequential(model: Any) -> bool:
    return isinstance(model, keras.Sequential)
