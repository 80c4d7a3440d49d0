"""A model without its adapters, for as long as one looks at it."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence

import keras
from keras import ops

from mlora_tf.transform import check_names
from mlora_tf.transform import domain_index
from mlora_tf.transform import domain_layers
from mlora_tf.transform import domain_names


@contextlib.contextmanager
def disable_adapters(
    model: keras.Model, domains: Sequence[str] | None = None
) -> Iterator[None]:
    """Within it, domains have the outputs of the shared model.

    That is the model with a shared tower: the domain's embedding and a
    partitioned normalization belong to it, and stay. The adapters' values are
    replaced in place, so that it holds for graphs that are compiled already,
    and put back when the context is left, by an exception too. Don't train
    those domains within it, nor use the model from another thread.

    Args:
        model: A model with adapters.
        domains: The domains' names; None is all of them.

    Raises:
        ValueError: There is no such domain, it is there twice or `domains` is
            empty; the model has no adapters, or a layer whose domains have
            nothing that they share. Nothing has changed then.

    Example:
    >>> x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    >>> outputs = MLoRADense(2, 3, name="adapted")(x, domain)
    >>> model = keras.Model([x, domain], outputs)
    >>> _ = model.get_layer("adapted").lora_bias.assign(ops.ones((3, 2)))
    >>> inputs = [np.zeros((1, 4)), np.array([2])]
    >>> with disable_adapters(model):
    ...     print(model(inputs).numpy())
    [[0. 0.]]
    >>> model(inputs).numpy()
    array([[1., 1.]], dtype=float32)
    """
    chosen = None
    if domains is not None:
        chosen = [domain_index(model, name) for name in check_names(domains)]
    kept = []
    for variable, value in _shared_values(model, chosen):
        values = ops.convert_to_numpy(variable)
        rows = list(range(len(values))) if chosen is None else chosen
        kept.append((variable, rows, values[rows], value))
    try:
        for variable, rows, _, value in kept:
            _assign(variable, rows, value)
        yield
    finally:
        for variable, rows, values, _ in kept:
            _assign(variable, rows, values)


def _shared_values(
    model: keras.Model, chosen: list[int] | None
) -> list[tuple[keras.Variable, float]]:
    """The adapters' variables, and their value in the shared model."""
    size = len(domain_names(model)) if chosen is not None else 0
    found: list[tuple[keras.Variable, float]] = []
    for layer in domain_layers(model):
        values = layer.shared_values
        if values is None:
            raise ValueError(
                f"{model.name!r} has no shared model beneath its adapters: "
                f"its layer {layer.name!r} is each domain's own. "
                f"Received: {type(layer).__name__}"
            )
        if values and chosen is not None and layer.num_domains < size:
            raise ValueError(
                f"{model.name!r} can't disable some domains' adapters: "
                f"{layer.name!r} has one for {layer.num_domains}."
            )
        found += values
    if not found:
        raise ValueError(f"{model.name!r} has no adapters to disable.")
    return found


def _assign(variable: keras.Variable, rows: list[int], values: object) -> None:
    """Gives some slices of a variable other values, to the bit."""
    changed = ops.convert_to_numpy(variable).copy()
    changed[rows] = values
    variable.assign(changed)
