"""Exports a model as a SavedModel that needs neither Keras nor mlora_tf."""

import json
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlora_tf import golden_request
from mlora_tf import warm_up
from mlora_tf.features import DOMAIN
from mlora_tf.layers import CheckedIds
from mlora_tf.raw_inputs import padding
from mlora_tf.replies import Replies
from mlora_tf.replies import check_differences
from mlora_tf.replies import full_precision
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema_checks import short
from mlora_tf.serving_signatures import Signatures
from mlora_tf.transform import domain_names
from mlora_tf.version import __version__
from mlora_tf.version_folder import publish
from mlora_tf.version_folder import versions

__all__ = ["FORMAT", "MOST_DOMAINS", "TOLERANCE", "export", "versions"]

FORMAT = "mlora_tf.export/1"

MOST_DOMAINS = 32
"""Of more domains, none gets a signature of its own unless it is named."""

TOLERANCE = 1e-5
"""The most by which an exported prediction may differ from the model's."""

NARROW_TOLERANCE = 0.05
"""The same where weights or computations are of less than `float32`."""

README = """# A model for TensorFlow Serving

Exported by `mlora_tf.serving.export`, or by `python -m experiments.export`.
The folder above this one is a version of the model, and the one above that is
what a server takes: `tensorflow_model_server --model_base_path=...`.

- `export.json`: versions, the type of the weights, which domains are folded
- `schema.json`: features, vocabularies, domains
- `golden.json`: a request to each signature, and its answer

`python -m experiments.verify_export --export=...` replays those requests; it
needs TensorFlow alone.
"""
"""The page in an export's `assets.extra`."""


def export(
    model: keras.Model,
    schema: Schema,
    folder: str | pathlib.Path,
    *,
    weights: str = "float32",
    domains: Sequence[str] | None = None,
    golden: Mapping[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """Writes the next version of a served model.

    The layout is TensorFlow Serving's: `folder/1`, `folder/2` and so on. A
    version is written aside and renamed, so that a reader never sees half of
    one. All signatures return `ctr` of shape `(batch, 1)`, in `float32`
    whatever the model computes in:

    - `serving_default` takes each feature in its `shape` and `dtype` (ids are
      `int32` of shape `(batch,)`, numbers `float32`, sequences `int32` of
      shape `(batch, max_length)` with -1 after the last id) and the rows'
      domains, any mix of them;
    - `domain_<name>`, for rows of one domain, the same without the domain.
      Its weights are folded by `merge_domain`: it costs what the plain model
      does. Where a model can't be folded, `export.json` says why, and the
      signature is the whole model at that domain, unless `domains` names it;
    - `raw` takes raw values and domains' names; see `RawInputs.signature`;
    - `tf_example` takes serialised `tf.Example`s of raw values.

    Tables are stored once for all signatures. `assets.extra` holds a page
    that says what this is, `schema.json`, `export.json`, warm-up requests for
    TensorFlow Serving and `golden.json`: for each signature a request and its
    answer, which `experiments.verify_export` replays. Nothing is exported
    unless each answer is the model's, within `TOLERANCE`; where weights are
    narrow, or the model computes in less than `float32`, within
    `NARROW_TOLERANCE`, which is loose: it tells a wrong fold of a probability,
    not how much rounding costs.

    Args:
        model: A model from `build_model`, or another with its inputs.
        schema: Its schema.
        folder: The model's folder; made if it isn't there.
        weights: What kernels and tables are stored in: "float32", "bfloat16"
            or "float16". It is computed as the model computes, which is in
            `float32` but for models of another dtype policy.
        domains: The domains that get a signature of their own, folded. None:
            all, if they are at most `MOST_DOMAINS`.
        golden: The golden request's rows, as `serving_default` takes them,
            of any integers and numbers; None draws some from the schema.

    Returns:
        The new version's folder.

    Raises:
        ValueError: The model isn't the schema's, a weight isn't finite, a
            domain that is named can't be folded, a signature doesn't predict
            what the model does, or an argument is wrong.

    Example:
    >>> import tempfile
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     version = export(model, schema, folder, domains=["it"])
    ...     served = tf.saved_model.load(version)
    >>> sorted(served.signatures)
    ['domain_it', 'raw', 'serving_default', 'tf_example']
    >>> pen = served.signatures["raw"](
    ...     item=tf.constant(["pen"]), domain=tf.constant(["it"])
    ... )
    >>> tuple(pen["ctr"].shape)
    (1, 1)
    """
    if not isinstance(schema, Schema):
        raise ValueError(
            "schema must be a Schema; the folder is the third argument. "
            f"Received: {schema!r}"
        )
    _check(model, schema, domains)
    rows = golden_request.draw(schema)
    if golden is not None:
        rows = golden_request.checked(schema, golden)
    few = schema.domains if schema.num_domains <= MOST_DOMAINS else ()
    folder = pathlib.Path(folder)
    signatures = Signatures(
        model,
        schema,
        weights,
        few if domains is None else domains,
        folded=domains is not None,
    )
    with full_precision():
        replies = Replies(signatures, schema, rows)
        differences = replies.differences(model)
    exact = weights == "float32" and _is_single(model)
    check_differences(differences, TOLERANCE if exact else NARROW_TOLERANCE)

    def write(aside: pathlib.Path) -> None:
        tf.saved_model.save(signatures, str(aside), signatures.functions)
        extra = aside / "assets.extra"
        extra.mkdir()
        (extra / "README.md").write_text(README, "utf-8")
        (extra / "schema.json").write_text(schema.to_json(), "utf-8")
        about = _about(signatures, schema, weights, differences)
        text = json.dumps(about, indent=1, ensure_ascii=False)
        (extra / "export.json").write_text(text, "utf-8")
        content = {"format": FORMAT, "requests": replies.to_json()}
        text = json.dumps(content, ensure_ascii=False)
        (extra / "golden.json").write_text(text, "utf-8")
        warm_up.write(extra, folder.name, replies.requests.items())

    return publish(folder, write)


def _check(
    model: keras.Model, schema: Schema, domains: Sequence[str] | None
) -> None:
    """Raises unless the model is the schema's, and the domains are known."""
    names = set(model.input) if isinstance(model.input, dict) else None
    if names != set(schema.input_names):
        raise ValueError(
            "the model's inputs must be a dict of the schema's features and "
            f"the domain, {schema.input_names}. Received: {names}"
        )
    expected = {f.name: ((None, *f.shape), f.dtype) for f in schema.features}
    expected[DOMAIN] = ((None,), "int32")
    for name, tensor in model.input.items():
        received = tuple(tensor.shape), tensor.dtype
        if received != expected[name]:
            raise ValueError(
                f"the model's input {name!r} must have the schema's shape and "
                f"dtype, {expected[name]}. Received: {received}"
            )
    outputs = list(model.output) if isinstance(model.output, dict) else None
    if not outputs:
        raise ValueError(
            "the model's outputs must be a dict, whose names the signatures "
            f"have. Received: {model.output}"
        )
    known = _known_domains(model)
    if known not in (None, schema.domains):
        raise ValueError(
            "the schema's domains must be the model's, in their order: "
            f"{short(known)}. Received: {short(schema.domains)}"
        )
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, CheckedIds) or layer.feature == DOMAIN:
            continue
        feature = schema.feature(layer.feature)
        size = None if isinstance(feature, DenseFeature) else feature.num_ids
        if size != layer.num_ids:
            raise ValueError(
                f"the schema's {layer.feature!r} must have the model's "
                f"{layer.num_ids} ids. Received: {size}"
            )
    unknown = sorted({*(domains or ())} - {*schema.domains})
    if unknown:
        raise ValueError(
            f"domains must be among {short(schema.domains)}. "
            f"Received: {unknown}"
        )


def _known_domains(model: keras.Model) -> tuple[str, ...] | None:
    """A model's domains; None if it makes nothing of them."""
    try:
        return domain_names(model)
    except ValueError:
        return None


def _is_single(model: keras.Model) -> bool:
    """Whether a model computes in `float32` alone."""
    layers = model._flatten_layers(include_self=False)
    return all(layer.compute_dtype == "float32" for layer in layers)


def _about(
    signatures: Signatures,
    schema: Schema,
    weights: str,
    differences: Mapping[str, float],
) -> dict[str, Any]:
    """What is to be known of an export beside the schema."""
    return {
        "format": FORMAT,
        "mlora_tf": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "weights": weights,
        "difference_to_the_model": dict(differences),
        "domains": {
            name: {"domain": domain, "folded": why is None, "why_not": why}
            for name, (domain, why) in signatures.domains.items()
        },
        "padding": {
            feature.name: padding(feature)
            for feature in schema.features
            if isinstance(feature, SequenceFeature)
        },
    }
