"""The weights that are some domains' own, to save alone and load again."""

import hashlib
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from mlora_tf import adapter_file
from mlora_tf.domain_slices import sliced_layers
from mlora_tf.domain_slices import slices
from mlora_tf.transform import check_names
from mlora_tf.transform import domain_index
from mlora_tf.transform import domain_names
from mlora_tf.weight_names import weights_by_name


def save_adapters(
    model: keras.Model,
    path: str | pathlib.Path,
    domains: Iterable[str] | None = None,
) -> None:
    """Writes what is some domains' own: slices of the per-domain weights.

    A domain's row of the tables that embed it and its statistics are among
    them; rows of a vocabulary, whoever they were trained for, are not: they
    are of the backbone, which is another one once `grow_vocabulary` added
    some or they were trained, so that `load_adapters` refuses files from
    before. The file is an `.npz` of plain arrays. It is written aside and
    renamed, so that a reader never sees half of one.

    Args:
        model: A model with per-domain weights.
        path: The file; one that is there is replaced.
        domains: The domains' names; None is all of them.

    Raises:
        ValueError: There is no such domain, it is there twice or `domains` is
            empty; the model has no per-domain weights, or one isn't finite.
            Nothing has been written then.

    Example:
    >>> import tempfile
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_adapters(model, f"{folder}/it.npz", ["it"])
    ...     load_adapters(model, f"{folder}/it.npz")
    ('it',)
    """
    names = domain_names(model)
    if domains is not None:
        names = check_names(domains)
    rows = [domain_index(model, name) for name in names]
    weights = {}
    own = _own(model)
    for name, variable in own.items():
        weights[name] = ops.convert_to_numpy(variable)[rows]
        if not np.isfinite(weights[name]).all():
            raise ValueError(
                f"{model.name!r} can't be saved: its weight {name!r} isn't "
                f"finite for one of {list(names)}."
            )
    adapter_file.write(
        adapter_file.Adapters(
            names,
            weights,
            {
                name: keras.backend.standardize_dtype(variable.dtype)
                for name, variable in own.items()
            },
            backbone=backbone_fingerprint(model),
        ),
        path,
    )


def load_adapters(
    model: keras.Model,
    path: str | pathlib.Path,
    domains: Iterable[str] | Mapping[str, str] | None = None,
    *,
    check_backbone: bool = True,
) -> tuple[str, ...]:
    """Replaces what is some domains' own by what a file holds.

    All of the file is checked before any of it reaches the model. It may be
    another's: it is read without unpickling or evaluating anything.

    Args:
        model: The model; it has those domains already, maybe by `add_domain`.
        path: The file.
        domains: The names of those to load; with other names in the model, a
            mapping from the file's names to the model's. None is all that
            are in the file, by their names.
        check_backbone: Whether the model must have the very weights beneath
            its adapters that they were saved with: adapters of one backbone
            mean nothing to another.

    Returns:
        The names of the model's domains that were loaded.

    Raises:
        ValueError: The file isn't one of adapters, or not of this model's:
            the message names it and says what is wrong. Nothing of it has
            been loaded then.

    Example:
        What `it` learned, for a domain of another name:

    >>> import tempfile
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> larger = add_domain(model, "pt")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_adapters(model, f"{folder}/it.npz", ["it"])
    ...     load_adapters(larger, f"{folder}/it.npz", {"it": "pt"})
    ('pt',)
    """
    adapters = adapter_file.read(path)
    places = _places(model, path, adapters.domains, domains)
    if check_backbone and adapters.backbone != backbone_fingerprint(model):
        raise ValueError(
            f"{path} holds adapters of another backbone than that of "
            f"{model.name!r}. If they shall be loaded all the same: "
            "check_backbone=False."
        )
    own = _own(model)
    if set(own) != set(adapters.weights):
        wrong = min(set(own) ^ set(adapters.weights))
        raise ValueError(
            f"{path} must have the per-domain weights of {model.name!r}. "
            f"Received: {wrong!r} is in one of them alone"
        )
    loaded = []
    for name, variable in own.items():
        values = ops.convert_to_numpy(variable).copy()
        given = adapters.weights[name]
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if (given.shape[1:], adapters.dtypes[name]) != (
            values.shape[1:],
            dtype,
        ):
            raise ValueError(
                f"{path} must have slices of {name!r} of shape "
                f"{values.shape[1:]} and dtype {dtype}. Received: "
                f"{given.shape[1:]} and {adapters.dtypes[name]}"
            )
        for row, place in places.items():
            values[place] = given[row]
        loaded.append((variable, values))
    for variable, values in loaded:
        variable.assign(values)
    return tuple(domain_names(model)[place] for place in places.values())


def backbone_fingerprint(model: keras.Model) -> str:
    """SHA-256 of all weights of a model that are no domain's own.

    Of their names, dtypes, shapes and bytes, in the order of the names, as
    `weights_by_name` has them.
    """
    own = {id(variable) for variable in _own(model).values()}
    digest = hashlib.sha256()
    for name, weight in sorted(weights_by_name(model).items()):
        if id(weight) in own:
            continue
        values = np.ascontiguousarray(ops.convert_to_numpy(weight))
        said = f"{name} {values.dtype.name} {values.shape}\n"
        digest.update(said.encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _own(model: keras.Model) -> dict[str, keras.Variable]:
    """The per-domain weights of a model by their names."""
    sliced = {
        id(variable)
        for layer in sliced_layers(model)
        for variable in slices(layer)
    }
    own = {
        name: variable
        for name, variable in weights_by_name(model).items()
        if id(variable) in sliced
    }
    if not own:
        raise ValueError(f"{model.name!r} has no per-domain weights.")
    return own


def _places(
    model: keras.Model,
    path: str | pathlib.Path,
    held: tuple[str, ...],
    domains: Iterable[str] | Mapping[str, str] | None,
) -> dict[int, int]:
    """The model's domain of each domain to load, both by their indices."""
    if domains is None:
        domains = held
    renamed = (
        dict(domains)
        if isinstance(domains, Mapping)
        else {name: name for name in check_names(domains)}
    )
    if not renamed:
        raise ValueError(
            f"domains must name some of {list(held)}, which {path} holds. "
            f"Received: {domains!r}"
        )
    for name in renamed:
        if name not in held:
            raise ValueError(
                f"{path} holds the domains {list(held)}. Received: {name!r}"
            )
    places = {
        held.index(name): domain_index(model, there)
        for name, there in renamed.items()
    }
    if len(set(places.values())) < len(places):
        raise ValueError(
            f"each domain of {model.name!r} can be loaded once. "
            f"Received: {renamed}"
        )
    return places
