"""The ways by which an exported model can be asked."""

import hashlib
import logging
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mlora_tf.features import DOMAIN
from mlora_tf.merge import merge_domain
from mlora_tf.raw_inputs import RawInputs
from mlora_tf.schema import Schema
from mlora_tf.stored_weights import StoredWeights

logger = logging.getLogger(__name__)

MIXED = "serving_default"
RAW = "raw"
EXAMPLES = "tf_example"
PREFIX = "domain_"

SHARED = "the model makes nothing of domains"
"""Why there is nothing to fold."""

Tensors = Mapping[str, Any]
Call = Callable[[Tensors], Tensors]


class Signatures(tf.Module):
    """A model's signatures, and all that they need of Keras by then: nothing.

    Attributes:
        functions: Each signature's function by name.
        domains: Of each signature of one domain, by name: the domain, and
            why it isn't folded; None if it is.

    Args:
        model: The model.
        schema: Its schema.
        weights: What kernels and tables are stored in.
        domains: The domains that get a signature of their own.
        folded: Whether each of them must be folded, unless the model makes
            nothing of domains.

    Raises:
        ValueError: A domain can't be folded and must be.
    """

    def __init__(
        self,
        model: keras.Model,
        schema: Schema,
        weights: str,
        domains: Iterable[str],
        *,
        folded: bool = False,
    ) -> None:
        super().__init__(name="signatures")
        stored = StoredWeights(model, weights)
        self._raw = RawInputs(schema)
        specs = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
            for name, tensor in model.input.items()
        }
        mixed = _caller(model, stored)
        self.functions = {
            MIXED: _traced(mixed, specs),
            RAW: _traced(
                lambda inputs: mixed(self._raw(inputs)), self._raw.signature
            ),
            EXAMPLES: _traced(
                lambda inputs: mixed(self._raw.parse(inputs["examples"])),
                {"examples": tf.TensorSpec([None], tf.string, "examples")},
            ),
        }
        names = legal_names(schema.domains)
        del specs[DOMAIN]
        self.domains = {}
        for domain in domains:
            merged, why = _merged(model, domain, folded)
            call = (
                _at(mixed, schema.domains.index(domain))
                if merged is None
                else _caller(merged, stored)
            )
            self.functions[names[domain]] = _traced(call, specs)
            self.domains[names[domain]] = (domain, why)
        self._weights = stored.variables


def legal_names(domains: Iterable[str]) -> dict[str, str]:
    """The name of each domain's signature, in letters that all clients take.

    Every other letter is an underscore, and eight digits of the domain's
    SHA-256 tell it from others. A name depends on its domain alone: clients
    of one export find the same domain in the next one.

    Raises:
        ValueError: Two domains have one name.
    """
    names: dict[str, str] = {}
    for domain in domains:
        name = PREFIX + re.sub("[^A-Za-z0-9_]", "_", domain)
        if name != PREFIX + domain:
            name += f"_{hashlib.sha256(domain.encode()).hexdigest()[:8]}"
        if name in names.values():
            raise ValueError(
                f"Two domains would have the signature {name!r}: rename one "
                f"with rename_domain. Received: {domain!r} beside "
                f"{next(one for one in names if names[one] == name)!r}"
            )
        names[domain] = name
    return names


def _merged(
    model: keras.Model, domain: str, must: bool
) -> tuple[keras.Model | None, str | None]:
    """The model folded for a domain, or why it isn't."""
    shared = _without_domain(model)
    if shared is not None:
        return shared, SHARED
    try:
        return merge_domain(model, domain, share_layers=True), None
    except ValueError as error:
        if must:
            raise ValueError(f"{domain!r} can't be folded: {error}") from error
        logger.warning("%r isn't folded: %s", domain, error)
        return None, str(error)


def _without_domain(model: keras.Model) -> keras.Model | None:
    """The model of the other inputs; None if it needs the domain."""
    inputs = {k: v for k, v in model.input.items() if k != DOMAIN}
    try:
        return keras.Model(inputs, model.output)
    except ValueError:
        return None


def _at(mixed: Call, index: int) -> Call:
    """A domain's own function of a model that can't be folded."""

    def call(inputs: Tensors) -> Tensors:
        rows = tf.shape(next(iter(inputs.values())))[:1]
        return mixed({**inputs, DOMAIN: tf.fill(rows, index)})

    return call


def _caller(model: keras.Model, stored: StoredWeights) -> Call:
    """The model on stored weights, from inputs by name to outputs by name."""
    outputs = stored.caller(model)
    # A function of its own, so that signatures which share it trace it once.
    call = tf.function(
        lambda inputs: {k: _single(v) for k, v in outputs(inputs).items()},
        autograph=False,
    )
    return lambda inputs: call({name: inputs[name] for name in model.input})


def _single(output: tf.Tensor) -> tf.Tensor:
    """Numbers as `float32`: TensorFlow Serving's REST writes no halves."""
    return tf.cast(output, tf.float32) if output.dtype.is_floating else output


def _traced(call: Call, specs: Mapping[str, tf.TensorSpec]) -> Any:
    """The function as a graph, whose arguments have the inputs' names."""
    function = tf.function(lambda **inputs: call(inputs), autograph=False)
    return function.get_concrete_function(**specs)
