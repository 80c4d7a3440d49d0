"""Every layer and every model once: what the laws in conformance/ run on.

A new layer needs one entry in `LAYERS`, a new backbone or tower none:
`MODELS` reads their dicts. `TOWER_VARIANTS` holds the towers whose options
change what a model is.

Weights are random, never as initialized: adapters start at zero, and with
them most laws would hold of nothing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf import layers
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.transform import domain_variables

NUM_DOMAINS = 3
WIDTH = 6
ROWS = 12

SCHEMA = Schema(
    features=(
        SparseFeature("item", tuple(range(10, 17))),
        SparseFeature("shop", ("corner", "market", "mall")),
    ),
    domain_name="country",
    domains=("fr", "it", "pl"),
)


@dataclasses.dataclass(frozen=True)
class LayerGolden:
    """A layer as the laws need it: of any shape, but alike to call.

    Args:
        layer: Its class.
        config: Its constructor's arguments.
        row_shape: Shape of one row of its first argument.
        random: Whether its output in training is random.
        dtype: Of its first argument; integers are below `config["num_ids"]`.
    """

    layer: Callable[..., keras.layers.Layer]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    row_shape: tuple[int, ...] = (WIDTH,)
    random: bool = False
    dtype: str = "float32"

    @property
    def takes_domain(self) -> bool:
        return issubclass(self.layer, layers.DomainLayer)

    @property
    def num_domains(self) -> int:
        return self.config.get("num_domains", NUM_DOMAINS)

    def fresh(self, name: str = "golden") -> keras.layers.Layer:
        """The layer without weights."""
        return self.layer(name=name, **self.config)

    def make(self, seed: int = 0) -> keras.layers.Layer:
        """The layer with random weights."""
        layer = self.fresh()
        layer(*self.inputs())
        randomize(layer, seed)
        return layer

    def inputs(
        self, domain: Any = None, rows: int = ROWS, seed: int = 1
    ) -> tuple[np.ndarray, ...]:
        """Arguments of a call: rows of all domains, or of those given."""
        rng = np.random.default_rng(seed)
        shape = (rows, *self.row_shape)
        if self.dtype == "int32":
            x = rng.integers(0, self.config["num_ids"], shape, "int32")
        else:
            x = rng.normal(size=shape).astype("float32")
        if not self.takes_domain:
            return (x,)
        if domain is None:
            domain = spread(rows, self.num_domains)
        return x, np.broadcast_to(domain, rows).astype("int32")

    def model(self, seed: int = 0) -> keras.Model:
        """The layer alone in a functional model, with random weights."""
        x = keras.Input(self.row_shape, dtype=self.dtype, name="x")
        arguments = {"x": x}
        if self.takes_domain:
            arguments["domain"] = keras.Input((), dtype="int32", name="domain")
        outputs = self.fresh()(*arguments.values())
        model = keras.Model(arguments, outputs)
        randomize(model, seed)
        return model


@dataclasses.dataclass(frozen=True)
class ModelGolden:
    """A backbone with a tower, small.

    The first hidden layer is wide enough for a test for a pure batch, the
    second is not.
    """

    backbone: str
    tower: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, seed: int = 0, **changes: Any) -> keras.Model:
        """The model with random weights."""
        model = self.fresh(**changes)
        randomize(model, seed)
        return model

    def fresh(self, schema: Schema = SCHEMA, **changes: Any) -> keras.Model:
        """The model as initialized."""
        arguments = {
            "hidden_units": (48, 4),
            "embedding_dim": 4,
            "tower_options": self.options,
            **changes,
        }
        return build_model(schema, self.backbone, self.tower, **arguments)


def spread(rows: int, num_domains: int) -> np.ndarray:
    """Domains for rows: as many as there is room for, out of order."""
    domain = np.linspace(0, num_domains - 1, min(rows, num_domains))
    domain = np.resize(np.round(domain), rows).astype("int32")
    return np.random.default_rng(2).permutation(domain)


def rows_of(
    domain: Any = None, rows: int = ROWS, seed: int = 1
) -> dict[str, np.ndarray]:
    """Inputs of a model: rows of all domains, or of those given."""
    rng = np.random.default_rng(seed)
    if domain is None:
        domain = spread(rows, NUM_DOMAINS)
    inputs = {
        feature.name: rng.integers(0, feature.num_ids, rows, "int32")
        for feature in SCHEMA.features
    }
    return {
        **inputs,
        "domain": np.broadcast_to(domain, rows).astype("int32"),
    }


def labels(rows: int = ROWS, seed: int = 3) -> np.ndarray:
    """Clicks of shape `(rows, 1)`."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (rows, 1)).astype("float32")


def randomize(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Draws all weights anew; state is positive, as variances are."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.trainable:
            value = rng.normal(0.0, 0.4, weight.shape)
        else:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value.astype("float32"))


def arrays(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Copies of all weights, state included, by path."""
    return {weight.path: weight.numpy().copy() for weight in layer.weights}


def _mlora(**config: Any) -> LayerGolden:
    random = bool(config.get("shared_dropout"))
    config = {"units": 8, "num_domains": NUM_DOMAINS, **config}
    return LayerGolden(layers.MLoRADense, config, random=random)


LAYERS = {
    "bi_interaction": LayerGolden(layers.BiInteraction, row_shape=(4, 3)),
    "checked_ids": LayerGolden(
        layers.CheckedIds,
        {"num_ids": 9, "feature": "item"},
        row_shape=(),
        dtype="int32",
    ),
    "mlora_dense": _mlora(),
    "mlora_dense-rank": _mlora(rank=3, activation="sigmoid"),
    "mlora_dense-bias_only": _mlora(rank=0),
    "mlora_dense-alpha": _mlora(rank=2, lora_alpha=5.0),
    "mlora_dense-no_biases": _mlora(use_bias=False, use_lora_bias=False),
    "mlora_dense-shared_dropout": _mlora(shared_dropout=0.5),
    "mlora_dense-max_adapter_params": _mlora(
        temperature=1, max_adapter_params=30
    ),
    "mlora_dense-regularized": _mlora(
        kernel_initializer="he_normal",
        bias_initializer="ones",
        a_initializer=keras.initializers.RandomNormal(stddev=0.1),
        kernel_regularizer=keras.regularizers.L2(1e-3),
        lora_regularizer=keras.regularizers.L2(1e-2),
    ),
    "mlora_dense-masked_or_pure": _mlora(num_domains=5, rank=8),
    "mlora_dense-gathered_or_pure": _mlora(num_domains=70, rank=8),
}

DOMAIN_LAYERS = {
    name: golden for name, golden in LAYERS.items() if golden.takes_domain
}

TOWER_VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "mlora": {
        "": {"temperature": 4},
        "shared_adapter": {"temperature": 4, "shared_adapter": True},
    },
}
"""Options to build a tower with, by a name; a tower not here has none."""

MODELS = {
    "-".join(filter(None, (backbone, tower, variant))): ModelGolden(
        backbone, tower, options
    )
    for backbone in BACKBONES
    for tower in TOWERS
    for variant, options in TOWER_VARIANTS.get(tower, {"": {}}).items()
}

_ADAPTERS = {
    (tower, variant): {
        variable.shape[0]
        for variable in domain_variables(
            ModelGolden(next(iter(BACKBONES)), tower, options).fresh()
        )
    }
    for tower in TOWERS
    for variant, options in TOWER_VARIANTS.get(tower, {"": {}}).items()
}

ADAPTED_MODELS = {
    name: golden
    for name, golden in MODELS.items()
    if _ADAPTERS[golden.tower, name.partition(f"-{golden.tower}-")[2]]
}
"""Those with domain variables."""

PER_DOMAIN_MODELS = {
    name: golden
    for name, golden in ADAPTED_MODELS.items()
    if _ADAPTERS[golden.tower, name.partition(f"-{golden.tower}-")[2]]
    == {NUM_DOMAINS}
}
"""Those whose domains have weights of their own."""
