"""Every layer and every model once: what the laws in conformance/ run on.

A new layer needs one entry in `LAYERS`, a new backbone or tower none:
`MODELS` reads their dicts. `TOWER_VARIANTS` holds the towers whose options
change what a model is. The laws run on all layers and on the models in
`COVERING`; on all others with `-m slow`.

Weights are random, never as initialized: adapters start at zero, and with
them most laws would hold of nothing.
"""

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf import layers
from mlora_tf.layers import domain_ops
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import EXTENDS_SHARED

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
        dtype: Of its first argument.
        others: Shape and dtype of further arguments, but for the domain.
        ids: The range of integers, where an argument is of them.
    """

    layer: Callable[..., keras.layers.Layer]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    row_shape: tuple[int, ...] = (WIDTH,)
    random: bool = False
    dtype: str = "float32"
    others: tuple[tuple[tuple[int, ...], str], ...] = ()
    ids: tuple[int, int] = (0, 9)

    @property
    def takes_domain(self) -> bool:
        return "domain" in inspect.signature(self.layer.call).parameters

    @property
    def num_domains(self) -> int:
        return self.config.get("num_domains", NUM_DOMAINS)

    @property
    def arguments(self) -> list[tuple[tuple[int, ...], str]]:
        """Row shape and dtype of every argument but the domain."""
        return [(self.row_shape, self.dtype), *self.others]

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
        arrays = [
            self._draw(rng, (rows, *shape), dtype)
            for shape, dtype in self.arguments
        ]
        if not self.takes_domain:
            return tuple(arrays)
        if domain is None:
            domain = spread(rows, self.num_domains)
        return *arrays, np.broadcast_to(domain, rows).astype("int32")

    def _draw(self, rng: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if dtype == "int32":
            return rng.integers(*self.ids, shape, "int32")
        numbers = rng.normal(size=shape)
        return numbers > -0.5 if dtype == "bool" else numbers.astype(dtype)

    def symbolic(self, prefix: str = "") -> dict[str, Any]:
        """Inputs of a functional model, in the order of the arguments.

        With a prefix to their names they are without the domain's.
        """
        # No bool: the replicas' first batch is added up.
        inputs = {
            name: keras.Input(
                shape, dtype="int32" if dtype == "bool" else dtype, name=name
            )
            for name, (shape, dtype) in zip(
                (f"{prefix}x{i or ''}" for i in itertools.count()),
                self.arguments,
                strict=False,
            )
        }
        if self.takes_domain and not prefix:
            inputs["domain"] = keras.Input((), dtype="int32", name="domain")
        return inputs

    def model(self, seed: int = 0) -> keras.Model:
        """The layer alone in a functional model, with random weights."""
        inputs = self.symbolic()
        model = keras.Model(inputs, self.fresh()(*inputs.values()))
        randomize(model, seed)
        return model


@dataclasses.dataclass(frozen=True)
class ModelGolden:
    """A backbone with a tower and a norm, small.

    The first hidden layer is wide enough for a test for a pure batch, the
    second is not.
    """

    backbone: str
    tower: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    norm: str = "none"
    auxiliary: bool = False

    def make(self, seed: int = 0, **changes: Any) -> keras.Model:
        """The model with random weights."""
        model = self.fresh(**changes)
        randomize(model, seed + SEEDS.get(self.backbone, 0))
        return model

    def fresh(self, schema: Schema = SCHEMA, **changes: Any) -> keras.Model:
        """The model as initialized."""
        arguments = {
            "hidden_units": (48, 4),
            # No unit of it is ever dead, so that all weights have gradients.
            "activation": "elu",
            "embedding_dim": 4,
            "norm": self.norm,
            "auxiliary": self.auxiliary,
            "auxiliary_units": 8,
            "backbone_options": BACKBONE_OPTIONS.get(self.backbone, {}),
            "tower_options": self.options,
            **changes,
        }
        return build_model(schema, self.backbone, self.tower, **arguments)

    @property
    def base(self) -> "ModelGolden":
        """The same with the shared tower."""
        return dataclasses.replace(self, tower="shared", options={})

    @property
    def extends_shared(self) -> bool:
        """Whether it starts as its base."""
        return self.tower in EXTENDS_SHARED

    @property
    def has_adapters(self) -> bool:
        """Whether something is left to train when its backbone is frozen."""
        return self.tower not in ("shared", "mulann")

    @property
    def per_domain(self) -> bool:
        """Whether its domains have weights of their own."""
        return self.has_adapters and "shared_adapter" not in self.options

    @property
    def can_grow(self) -> bool:
        """Whether a domain can be added: none passes through all of them."""
        return self.tower not in ("ple", "cross_stitch", "mulann")


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


def outputs_of(outputs: Any) -> np.ndarray:
    """A layer's outputs, one or several, row by row in one array."""
    flat = [np.array(output) for output in keras.tree.flatten(outputs)]
    return np.concatenate(
        [output.reshape(len(output), -1) for output in flat], axis=1
    )


def _mlora(**config: Any) -> LayerGolden:
    random = bool(config.get("shared_dropout") or config.get("lora_dropout"))
    config = {"units": 8, "num_domains": NUM_DOMAINS, **config}
    return LayerGolden(layers.MLoRADense, config, random=random)


def _star(**config: Any) -> LayerGolden:
    config = {"units": 8, "num_domains": NUM_DOMAINS, **config}
    return LayerGolden(layers.StarDense, config)


def _domain_dense(**config: Any) -> LayerGolden:
    config = {"units": 8, "num_domains": NUM_DOMAINS, **config}
    return LayerGolden(layers.DomainDense, config)


def _fields(layer: Any, **config: Any) -> LayerGolden:
    return LayerGolden(layer, config, row_shape=(4, 3))


def _sequence(layer: Any, **config: Any) -> LayerGolden:
    sequence = (((5, WIDTH), "float32"), ((5,), "bool"))
    return LayerGolden(layer, config, others=sequence)


LAYERS = {
    "attention_pooling": _sequence(
        layers.AttentionPooling, hidden_units=(7, 4)
    ),
    "attention_pooling-softmax": _sequence(
        layers.AttentionPooling, hidden_units=(7,), use_softmax=True
    ),
    "bi_interaction": _fields(layers.BiInteraction),
    "bilinear_interaction": _fields(layers.BilinearInteraction),
    "bilinear_interaction-all": _fields(
        layers.BilinearInteraction, bilinear_type="all"
    ),
    "bilinear_interaction-each": _fields(
        layers.BilinearInteraction, bilinear_type="each"
    ),
    "checked_ids": LayerGolden(
        layers.CheckedIds,
        {"num_ids": 9, "feature": "item"},
        row_shape=(),
        dtype="int32",
    ),
    "checked_ids-padded": LayerGolden(
        layers.CheckedIds,
        {"num_ids": 9, "feature": "item", "lowest": -1},
        row_shape=(5,),
        dtype="int32",
        ids=(-1, 9),
    ),
    "checked_numbers": LayerGolden(
        layers.CheckedNumbers, {"feature": "price"}, row_shape=()
    ),
    "compressed_interaction": _fields(
        layers.CompressedInteraction, sizes=(6, 4)
    ),
    "compressed_interaction-whole": _fields(
        layers.CompressedInteraction, sizes=(5, 3), split_half=False
    ),
    "cross_network": LayerGolden(layers.CrossNetwork, {"num_layers": 2}),
    "cross_network-matrix": LayerGolden(
        layers.CrossNetwork, {"num_layers": 2, "parameterization": "matrix"}
    ),
    "cross_stitch": _fields(layers.CrossStitch, self_weight=0.8),
    "domain_dense": _domain_dense(),
    "domain_dense-softmax": _domain_dense(activation="softmax"),
    "domain_dense-no_bias": _domain_dense(
        use_bias=False,
        kernel_initializer="he_normal",
        bias_initializer="ones",
    ),
    "domain_dense-blocks": _domain_dense(
        num_domains=domain_ops.PARTED_DOMAINS + 1
    ),
    "domain_ids": LayerGolden(
        layers.DomainIds,
        {"domains": ["fr", "it", "pl"]},
        row_shape=(),
        dtype="int32",
        ids=(0, NUM_DOMAINS),
    ),
    "domain_loss": LayerGolden(
        layers.DomainLoss,
        {"num_domains": NUM_DOMAINS, "weight": 0.3},
        others=(((NUM_DOMAINS,), "float32"),),
    ),
    "embedding_table": LayerGolden(
        layers.EmbeddingTable,
        {"num_ids": 9, "dim": 4},
        row_shape=(5,),
        dtype="int32",
    ),
    "embedding_table-batch_l2": LayerGolden(
        layers.EmbeddingTable,
        {"num_ids": 9, "dim": 4, "batch_l2": 0.1},
        row_shape=(),
        dtype="int32",
    ),
    "embedding_table-rows": LayerGolden(
        layers.EmbeddingTable,
        {
            "num_ids": 9,
            "dim": 4,
            "embeddings_regularizer": keras.regularizers.L2(1e-2),
            "batch_l2": 0.1,
            "trainable_rows": [4, 6],
        },
        row_shape=(2,),
        dtype="int32",
    ),
    "embedding_table-regularized": LayerGolden(
        layers.EmbeddingTable,
        {
            "num_ids": 9,
            "dim": 4,
            "embeddings_initializer": "ones",
            "embeddings_regularizer": keras.regularizers.L2(1e-2),
        },
        row_shape=(),
        dtype="int32",
    ),
    "extraction_level": LayerGolden(
        layers.ExtractionLevel,
        {"num_domains": NUM_DOMAINS, "units": 4, "num_specific": 2},
        others=(((WIDTH,), "float32"),),
    ),
    "extraction_level-later": LayerGolden(
        layers.ExtractionLevel,
        {"num_domains": NUM_DOMAINS, "units": 4, "num_shared": 2},
        row_shape=(NUM_DOMAINS, 5),
        others=(((WIDTH,), "float32"),),
    ),
    "factorization_machine": _fields(layers.FactorizationMachine),
    "field_attention": _fields(layers.FieldAttention, num_heads=2, head_size=5),
    "field_attention-scaled": _fields(
        layers.FieldAttention, num_heads=2, use_residual=False, use_scale=True
    ),
    "gradient_reversal": LayerGolden(layers.GradientReversal, {"weight": 0.5}),
    "inner_product": _fields(layers.InnerProduct),
    "interest_evolution": _sequence(layers.InterestEvolution),
    "interest_evolution-units": _sequence(layers.InterestEvolution, units=3),
    "mlora_dense": _mlora(),
    "mlora_dense-rank": _mlora(rank=3, activation="sigmoid"),
    "mlora_dense-bias_only": _mlora(rank=0),
    "mlora_dense-alpha": _mlora(rank=2, lora_alpha=5.0),
    "mlora_dense-no_biases": _mlora(use_bias=False, use_lora_bias=False),
    "mlora_dense-adapter_alone": _mlora(use_kernel=False, use_bias=False),
    "mlora_dense-shared_dropout": _mlora(shared_dropout=0.5),
    "mlora_dense-lora_dropout": _mlora(rank=2, lora_dropout=0.5),
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
    "mlora_dense-gathered_or_pure": _mlora(num_domains=70, rank=1),
    "mlora_dense-blocked_or_pure": _mlora(num_domains=70, rank=8),
    "mlora_dense-parted": _mlora(num_domains=7, rank=60),
    "outer_product": _fields(layers.OuterProduct),
    "outer_product-vector": _fields(layers.OuterProduct, kernel_type="vector"),
    "outer_product-scalar": _fields(layers.OuterProduct, kernel_type="scalar"),
    "own_network": LayerGolden(
        layers.OwnNetwork,
        {"num_domains": NUM_DOMAINS},
        row_shape=(NUM_DOMAINS, 5),
    ),
    "partitioned_normalization": LayerGolden(
        layers.PartitionedNormalization, {"num_domains": NUM_DOMAINS}
    ),
    "partitioned_normalization-momentum": LayerGolden(
        layers.PartitionedNormalization,
        {"num_domains": NUM_DOMAINS, "momentum": 0.5, "epsilon": 0.1},
    ),
    "pretrained_embedding": LayerGolden(
        layers.PretrainedEmbedding,
        {"num_ids": 9, "dim": 4},
        row_shape=(5,),
        dtype="int32",
    ),
    "sequence_mask": LayerGolden(
        layers.SequenceMask, row_shape=(5,), dtype="int32", ids=(-1, 9)
    ),
    **{
        f"sequence_pooling-{mode}": LayerGolden(
            layers.SequencePooling,
            {"mode": mode},
            row_shape=(5, WIDTH),
            others=(((5,), "bool"),),
        )
        for mode in ("mean", "sum", "max")
    },
    "side_by_side_dense": LayerGolden(
        layers.SideBySideDense,
        {"networks": 3, "units": 4, "activation": "elu"},
        row_shape=(3, WIDTH),
    ),
    "side_by_side_dense-first": LayerGolden(
        layers.SideBySideDense,
        {"networks": 3, "units": 4, "kernel_initializer": "he_normal"},
    ),
    "squeeze_excitation": _fields(layers.SqueezeExcitation, reduction_ratio=2),
    "star_dense": _star(),
    "star_dense-activation": _star(activation="relu"),
    "star_dense-no_bias": _star(use_bias=False),
    "star_dense-low_rank": _star(low_rank=True, rank=2),
    "star_dense-capped": _star(
        low_rank=True, temperature=1, max_adapter_params=30
    ),
    "star_dense-regularized": _star(
        kernel_initializer="he_normal",
        bias_initializer="ones",
        domain_kernel_initializer=keras.initializers.RandomNormal(1.0, 0.1),
        kernel_regularizer=keras.regularizers.L2(1e-3),
    ),
    "star_dense-blocks": _star(num_domains=domain_ops.PARTED_DOMAINS + 1),
}

DOMAIN_LAYERS = {
    name: golden
    for name, golden in LAYERS.items()
    if issubclass(golden.layer, layers.DomainLayer)
}

BACKBONE_OPTIONS: dict[str, dict[str, Any]] = {
    "autoint": {"num_layers": 2, "num_heads": 2, "head_size": 3},
    "fibinet": {"reduction_ratio": 1},
    "pnn": {"outer": True},
    "xdeepfm": {"cin_sizes": (6, 4)},
}
"""Options that make a backbone small, or more of it run."""

SEEDS = {"fibinet": 3}
"""Where seed 0 shuts a unit of the backbone's for all rows."""

TOWER_VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "mlora": {
        "": {"temperature": 4},
        "shared_adapter": {"temperature": 4, "shared_adapter": True},
    },
    "star": {
        "": {},
        "factorized": {"mlora": "factorized", "temperature": 4},
        "parallel": {"mlora": "parallel", "temperature": 4},
    },
    "mmoe": {"": {}, "experts": {"num_experts": 2}},
    "ple": {"": {}, "experts": {"num_specific": 2, "num_shared": 3}},
}
"""Options to build a tower with, by a name; a tower not here has none."""

NORMS = ("none", "partitioned")


def _models() -> dict[str, ModelGolden]:
    """Every backbone x tower x norm; variants with the MLP alone."""
    models = {}
    for backbone in BACKBONES:
        for tower in TOWERS:
            variants = TOWER_VARIANTS.get(tower, {"": {}})
            for variant, options in variants.items():
                for norm in NORMS if backbone == "mlp" or not variant else ():
                    parts = (backbone, tower, variant, NORM_NAMES.get(norm))
                    models["-".join(filter(None, parts))] = ModelGolden(
                        backbone, tower, options, norm
                    )
    for norm in ("batch", "layer", "partitioned"):
        for tower in ("shared", "star"):
            models[f"mlp-{tower}-{norm}-auxiliary"] = ModelGolden(
                "mlp", tower, {}, norm, auxiliary=True
            )
    return models


NORM_NAMES = {"partitioned": "partitioned"}

MODELS = _models()
"""All of them: the laws of those not in `COVERING` are marked `slow`."""

NORMED = ("shared", "mlora", "star")
"""The towers that meet STAR's norm in `COVERING`; the others' laws are slow."""

COVERING = tuple(
    name
    for name, golden in MODELS.items()
    if (golden.norm == "none" and golden.backbone == "mlp")
    or (golden.norm == "none" and golden.tower == "mlora")
    or name in {f"mlp-{tower}-partitioned" for tower in NORMED}
    or name
    in (
        "mlp-shared-batch-auxiliary",
        "mlp-shared-layer-auxiliary",
        "mlp-star-partitioned-auxiliary",
    )
)
"""Each backbone and each tower without a norm, and some with each norm."""


SERVED = ("mlp-mlora", "mlp-star-partitioned", "deepfm-mlora", "mlp-mmoe")
"""Those that are exported where an export of each would take long."""


def every_model(
    keep: Callable[[ModelGolden], bool] = lambda golden: True,
    fast: Callable[[str], bool] = COVERING.__contains__,
) -> pytest.MarkDecorator:
    """Runs a law on the models that it is for.

    Args:
        keep: Those that it is for.
        fast: By name, those that every run of the tests meets: the rest is
            slow.
    """
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=() if fast(name) else pytest.mark.slow)
            for name, golden in MODELS.items()
            if keep(golden)
        ],
    )


def covering_tower(name: str) -> bool:
    """Whether a law about towers is fast: on the MLP, as covering models."""
    return name in COVERING and MODELS[name].backbone == "mlp"
