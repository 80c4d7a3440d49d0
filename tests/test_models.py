import keras
import numpy as np
import pytest

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.models import with_domain_output
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import NORMS
from mlora_tf.towers import Hidden
from mlora_tf.towers import Tower
from mlora_tf.towers.tower import shared_logit
from mlora_tf.transform import initialize_from
from tests import goldens

SCHEMA = goldens.SCHEMA


def build(*names, **changes):
    """A small model of random weights."""
    arguments = {"hidden_units": (5,), "embedding_dim": 4, **changes}
    model = build_model(SCHEMA, *names, **arguments)
    goldens.randomize(model)
    return model


def ctr(model, inputs=None, **kwargs):
    inputs = goldens.rows_of() if inputs is None else inputs
    return model(inputs, **kwargs)["ctr"].numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- Whole models by hand ----------------------------------------------------


# What makes each tower, and what it is called in `hidden_layer`.
ARMS = {
    "shared": ("shared", {}),
    "mlora": ("mlora", {"rank": 2}),
    "star": ("star", {}),
    "factorized": ("star", {"mlora": "factorized", "rank": 2}),
    "parallel": ("star", {"mlora": "parallel", "rank": 2}),
    "shared_bottom": ("shared_bottom", {}),
}


def dense(w, layer, x, d, arm):
    """One row of a tower's layer before its activation."""
    if arm == "shared_bottom":
        kernel = w[f"{layer}/domain_kernel"][d]
        return x @ kernel + w[f"{layer}/domain_bias"][d]
    kernel, bias = w[f"{layer}/kernel"], w[f"{layer}/bias"]
    if arm in ("shared", "mlora"):
        return x @ kernel + bias
    if arm == "factorized" and layer != "logit.deep":
        a, b = w[f"{layer}/domain_kernel_a"], w[f"{layer}/domain_kernel_b"]
        kernel = kernel * (1 + a[d] @ b[d])
    else:
        kernel = kernel * w[f"{layer}/domain_kernel"][d]
    return x @ kernel + bias + w[f"{layer}/domain_bias"][d]


def hidden_layer(w, i, x, d, arm):
    """One row of a tower's hidden layer."""
    y = dense(w, f"hidden.{i}", x, d, arm)
    if arm in ("mlora", "parallel"):
        layer = {"mlora": "hidden", "parallel": "adapter"}[arm]
        a, b, bias = (
            w[f"{layer}.{i}/lora_{name}"][d]
            for name in ("kernel_a", "kernel_b", "bias")
        )
        y = y + x @ a @ b + bias
    return np.maximum(y, 0)


def normalized(w, x, d, norm):
    """One row of the tower's input, as in inference."""
    if norm == "none":
        return x
    gamma, beta = w["norm.deep/gamma"], w["norm.deep/beta"]
    if norm == "layer":
        mean, variance = x.mean(), x.var()
    else:
        mean = w["norm.deep/moving_mean"]
        variance = w["norm.deep/moving_variance"]
    if norm == "partitioned":
        mean, variance = mean[d], variance[d]
        gamma = gamma * w["norm.deep/domain_gamma"][d]
        beta = beta + w["norm.deep/domain_beta"][d]
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def auxiliary(w, x, d):
    """STAR's auxiliary logit, of the fields as they are."""
    if "auxiliary.domain/embeddings" in w:
        x = np.concatenate([x, w["auxiliary.domain/embeddings"][d]])
    y = np.maximum(x @ w["auxiliary.0/kernel"] + w["auxiliary.0/bias"], 0)
    (logit,) = y @ w["logit.auxiliary/kernel"] + w["logit.auxiliary/bias"]
    return logit


def by_hand(model, inputs, fields, backbone, arm, norm):
    """A model's outputs from its weights, row by row."""
    w = {p: v.astype("float64") for p, v in goldens.arrays(model).items()}
    expected = []
    for row in range(goldens.ROWS):
        ids = {name: inputs[name][row] for name in inputs}
        d = ids["domain"]
        v = [w[f"embedding.{name}/embeddings"][ids[name]] for name in fields]
        flat = np.concatenate(v)
        logit = 0.0
        if backbone == "deepfm":
            for name in fields:
                (weight,) = w[f"first_order.{name}/embeddings"][ids[name]]
                logit += weight
            for i in range(len(v)):
                for j in range(i + 1, len(v)):
                    logit += v[i] @ v[j]
        x = normalized(w, flat, d, norm)
        for i in range(2):
            x = hidden_layer(w, i, x, d, arm)
        (deep,) = dense(w, "logit.deep", x, d, arm.replace("mlora", "shared"))
        logit += deep
        if "auxiliary.0/kernel" in w:
            logit += auxiliary(w, flat, d)
        expected.append([sigmoid(logit)])
    return np.array(expected)


@pytest.mark.parametrize("backbone", ["mlp", "deepfm"])
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("domain_field", [True, False])
def test_a_model_is_its_equations(backbone, arm, domain_field):
    tower, options = ARMS[arm]
    model = build(
        backbone,
        tower,
        hidden_units=(5, 3),
        domain_field=domain_field,
        tower_options=options,
    )
    inputs = goldens.rows_of()
    fields = ["item", "shop", "domain"][: 3 if domain_field else 2]
    expected = by_hand(model, inputs, fields, backbone, arm, "none")
    np.testing.assert_allclose(ctr(model, inputs), expected, atol=1e-6)


# --- Normalization and the auxiliary network ---------------------------------


@pytest.mark.parametrize("backbone", ["mlp", "deepfm"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("domain_field", [True, False])
def test_the_towers_input_alone_is_normalized(backbone, norm, domain_field):
    # Neither the auxiliary network's input nor the machine's: STAR, eq. 7.
    model = build(
        backbone,
        "star",
        norm=norm,
        auxiliary=True,
        auxiliary_units=7,
        hidden_units=(5, 3),
        domain_field=domain_field,
    )
    inputs = goldens.rows_of()
    fields = ["item", "shop", "domain"][: 3 if domain_field else 2]
    expected = by_hand(model, inputs, fields, backbone, "star", norm)
    np.testing.assert_allclose(ctr(model, inputs), expected, atol=1e-6)
    assert model.get_layer("auxiliary.0").units == 7


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("norm", sorted(set(NORMS) - {"none"}))
def test_a_norm_is_between_the_fields_and_the_tower(backbone, norm):
    plain = build(backbone, "shared", hidden_units=(5, 3))
    model = build(backbone, "shared", norm=norm, hidden_units=(5, 3))
    deep = plain.get_layer("hidden.0").input
    source = deep._keras_history.operation.name
    first = model.get_layer("norm.deep")
    read = keras.tree.flatten(first.input)[0]
    assert read._keras_history.operation.name == source
    assert model.get_layer("hidden.0").input is first.output
    readers = [
        operation.name
        for operation in model.operations
        if any(tensor is first.output for tensor in inputs_of(operation))
    ]
    assert readers == ["hidden.0"]
    others = {path for path in goldens.arrays(model) if "norm" in path}
    assert others == {weight.path for weight in first.weights}


def inputs_of(operation):
    return [t for node in operation._inbound_nodes for t in node.input_tensors]


def test_each_norm_is_the_layer_of_its_name():
    kinds = {
        "batch": keras.layers.BatchNormalization,
        "layer": keras.layers.LayerNormalization,
        "partitioned": PartitionedNormalization,
    }
    for norm, kind in kinds.items():
        assert type(build("mlp", norm=norm).get_layer("norm.deep")) is kind
    # Else each replica has statistics of its own, and one's are saved.
    assert build("mlp", norm="batch").get_layer("norm.deep").synchronized


def test_an_auxiliary_network_needs_the_domain_once():
    weights = goldens.arrays(build("mlp", auxiliary=True))
    assert "auxiliary.domain/embeddings" not in weights
    assert weights["auxiliary.0/kernel"].shape == (3 * 4, 64)
    weights = goldens.arrays(build("mlp", auxiliary=True, domain_field=False))
    assert weights["auxiliary.domain/embeddings"].shape == (3, 4)
    assert weights["auxiliary.0/kernel"].shape == (2 * 4 + 4, 64)


def test_without_an_auxiliary_network_there_is_none():
    for path in goldens.arrays(build("deepfm", "star", norm="partitioned")):
        assert "auxiliary" not in path


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("form", [None, "factorized", "parallel"])
def test_star_starts_as_its_base(norm, form):
    changes = {"norm": norm, "auxiliary": True, "hidden_units": (5, 3)}
    base = build("mlp", "shared", **changes)
    star = build_model(
        SCHEMA,
        "mlp",
        "star",
        embedding_dim=4,
        tower_options={"mlora": form},
        **changes,
    )
    initialize_from(star, base)
    np.testing.assert_allclose(ctr(star), ctr(base), atol=1e-6)
    moved = np.abs(ctr(build("mlp", "star", **changes)) - ctr(base))
    assert (moved > 1e-4).all()


def test_a_form_of_star_and_mlora_that_is_none_raises():
    said = r"None or one of \('factorized', 'parallel'\).*'both'"
    with pytest.raises(ValueError, match=said):
        build("mlp", "star", tower_options={"mlora": "both"})


def test_stars_adapters_take_the_place_of_its_own_kernels():
    w = goldens.arrays(build("mlp", "star", tower_options={"mlora": None}))
    assert w["hidden.0/domain_kernel"].shape == (3, 12, 5)
    options = {"mlora": "factorized", "rank": 2}
    w = goldens.arrays(build("mlp", "star", tower_options=options))
    assert w["hidden.0/domain_kernel_a"].shape == (3, 12, 2)
    assert "hidden.0/domain_kernel" not in w
    assert w["logit.deep/domain_kernel"].shape == (3, 5, 1)
    options = {"mlora": "parallel", "rank": 2}
    w = goldens.arrays(build("mlp", "star", tower_options=options))
    assert w["hidden.0/domain_kernel"].shape == (3, 12, 5)
    assert w["adapter.0/lora_kernel_b"].shape == (3, 2, 5)


# --- Without domains, with one for all ---------------------------------------


def test_a_shared_model_without_a_domain_field_knows_no_domain():
    model = build("deepfm", "shared", domain_field=False)
    np.testing.assert_array_equal(
        ctr(model, goldens.rows_of(0)), ctr(model, goldens.rows_of(2))
    )
    assert not [path for path in goldens.arrays(model) if "domain" in path]
    model = build("deepfm", "shared")
    differ = ctr(model, goldens.rows_of(0)) != ctr(model, goldens.rows_of(2))
    assert differ.all()


def test_one_adapter_for_all_is_no_domains_own():
    options = {"shared_adapter": True, "rank": 2}
    model = build("mlp", "mlora", domain_field=False, tower_options=options)
    np.testing.assert_array_equal(
        ctr(model, goldens.rows_of(0)), ctr(model, goldens.rows_of(2))
    )
    weights = goldens.arrays(model)
    assert weights["hidden.0/lora_kernel_a"].shape == (1, 8, 2)
    assert weights["hidden.0/lora_bias"].shape == (1, 5)


def test_a_new_models_embeddings_are_small():
    model = build_model(SCHEMA, embedding_dim=64)
    table = goldens.arrays(model)["embedding.item/embeddings"]
    assert table.std() == pytest.approx(1e-4, rel=0.2)
    wide = keras.initializers.Constant(0.5)
    model = build_model(SCHEMA, embedding_initializer=wide)
    table = goldens.arrays(model)["embedding.item/embeddings"]
    np.testing.assert_array_equal(table, np.full((8, 8), 0.5))


# --- What is alike in every tower --------------------------------------------

HIDDEN_KERNELS = {
    "shared_bottom": ["hidden.{}/domain_kernel"],
    "mmoe": ["experts.{}/kernel"],
    "cross_stitch": ["networks.{}/kernel"],
}


def hidden_kernels(model, tower):
    """The kernels of both hidden layers, each `(networks, in, units)`."""
    w = goldens.arrays(model)
    names = HIDDEN_KERNELS.get(tower, ["hidden.{}/kernel"])
    paths = [[name.format(i) for name in names] for i in range(2)]
    if tower == "ple":
        paths = [
            ["extraction.0/specific/kernel", "extraction.0/shared/kernel"],
            ["specific.last.0/domain_kernel", "shared.last/kernel"],
        ]
    return [
        np.concatenate([w[p].reshape(-1, *w[p].shape[-2:]) for p in layer])
        for layer in paths
    ]


@pytest.mark.parametrize("tower", TOWERS)
def test_arguments_reach_the_tower(tower):
    changes = {
        "hidden_units": [7, 3],
        "kernel_initializer": keras.initializers.Constant(0.25),
    }
    fresh = build_model(SCHEMA, "mlp", tower, **changes)
    first, second = hidden_kernels(fresh, tower)
    assert first.shape[1:] == (3 * 8, 7)
    assert second.shape[1:] == (7, 3)
    for kernels in (first, second):
        np.testing.assert_array_equal(kernels, kernels * 0 + 0.25)
    # Sigmoids have no zeros: a unit's kernel alone changes the outputs.
    model = build("mlp", tower, activation="sigmoid", **changes)
    relu = build("mlp", tower, **changes)
    assert (ctr(model) != ctr(relu)).all()


@pytest.mark.parametrize("tower", TOWERS)
def test_every_kernel_starts_glorot_normal_as_if_it_were_alone(tower):
    keras.utils.set_random_seed(0)
    model = build_model(
        SCHEMA, "mlp", tower, hidden_units=(64, 48), embedding_dim=24
    )
    for kernels in hidden_kernels(model, tower):
        _, width, units = kernels.shape
        expected = np.sqrt(2 / (width + units))
        np.testing.assert_allclose(
            kernels.std(axis=(1, 2)), expected, rtol=0.08
        )
        # Normal and cut off at two deviations, not uniform.
        assert np.abs(kernels).max() > 1.8 * expected


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize(
    "initializer", ["he_normal", keras.initializers.RandomNormal(0.0, 0.3)]
)
def test_no_two_kernels_start_alike(tower, initializer):
    # All are of one shape: those of layers, of domains and of experts.
    model = build_model(
        SCHEMA,
        "mlp",
        tower,
        hidden_units=(12, 12),
        embedding_dim=4,
        kernel_initializer=initializer,
    )
    kernels = np.concatenate(hidden_kernels(model, tower))
    for i in range(len(kernels)):
        for j in range(i):
            assert (kernels[i] != kernels[j]).all()


# --- Dropout -----------------------------------------------------------------


def only_adapters(placement):
    """A model whose shared path is zero, in training and not."""
    model = build(
        "mlp",
        "mlora",
        hidden_units=(32,),
        dropout=0.5,
        dropout_placement=placement,
        tower_options={"rank": 4},
    )
    layer = model.get_layer("hidden.0")
    layer.kernel.assign(layer.kernel * 0)
    layer.bias.assign(layer.bias * 0)
    return ctr(model, training=False), ctr(model, training=True)


def test_dropout_on_the_shared_path_spares_adapters():
    whole, dropped = only_adapters("shared")
    np.testing.assert_array_equal(whole, dropped)
    assert np.ptp(whole) > 0.01


def test_dropout_on_the_output_drops_adapters_too():
    whole, dropped = only_adapters("output")
    assert (whole != dropped).all()


@pytest.mark.parametrize("tower", ["shared", "mlora", "mulann"])
@pytest.mark.parametrize(
    ("placement", "kept"), [("shared", 0.5), ("output", 0.0)]
)
def test_dropout_is_before_or_after_the_activation(tower, placement, kept):
    # All dropped, a sigmoid unit is sigmoid(0) before it and 0 after it.
    keras.utils.set_random_seed(0)
    model = build(
        "mlp",
        tower,
        hidden_units=(3,),
        activation="sigmoid",
        dropout=0.99999,
        dropout_placement=placement,
    )
    for variable in model.get_layer("hidden.0").weights:
        if "lora" in variable.name:
            variable.assign(variable * 0)
    weights = goldens.arrays(model)
    hidden = np.full((goldens.ROWS, 3), kept)
    expected = (
        hidden @ weights["logit.deep/kernel"] + weights["logit.deep/bias"]
    )
    np.testing.assert_allclose(
        ctr(model, training=True), sigmoid(expected), atol=1e-6
    )
    assert (np.abs(ctr(model) - sigmoid(expected)) > 1e-4).all()


def last_hidden(model, tower):
    """The model up to what its last hidden layer gives, as it is dropped."""
    reader = {"mmoe": "mixture.experts", "cross_stitch": "stitch.0"}
    tensors = model.get_layer(reader.get(tower, "logit.deep")).input
    tensors = keras.tree.flatten(tensors)
    return keras.Model(model.input, tensors[1 if tower == "mmoe" else 0])


@pytest.mark.parametrize(
    ("tower", "placement"),
    [
        *((tower, "output") for tower in TOWERS),
        # In those without a shared path to spare, the same.
        *((t, "shared") for t in TOWERS if t not in ("shared", "mlora")),
    ],
)
def test_dropout_on_the_output_is_once_and_nowhere_else(tower, placement):
    model = build(
        "mlp",
        tower,
        hidden_units=(16,),
        # Where mulann drops before the activation, it leaves 0 at 0.
        activation="sigmoid" if placement == "output" else "tanh",
        dropout=0.5,
        dropout_placement=placement,
    )
    hidden = last_hidden(model, tower)
    whole = hidden(goldens.rows_of(), training=False).numpy()
    dropped = hidden(goldens.rows_of(), training=True).numpy()
    kept = dropped != 0
    assert 0.3 < kept.mean() < 0.7
    if (tower, placement) != ("mulann", "shared"):
        np.testing.assert_allclose(dropped, 2 * whole * kept, atol=1e-6)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("placement", ["shared", "output"])
def test_each_hidden_layer_has_its_dropout_once(tower, placement):
    model = build(
        "mlp",
        tower,
        hidden_units=(16, 7),
        dropout=0.25,
        dropout_placement=placement,
    )
    widths = [
        layer.output.shape[-1]
        for layer in model.layers
        if getattr(layer, "shared_dropout", 0.0) == 0.25
        or isinstance(layer, keras.layers.Dropout)
    ]
    # A level of extraction has two outputs: the domains' and the shared one.
    assert widths == ([16, 16, 7] if tower == "ple" else [16, 7])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            assert layer.rate == 0.25


@pytest.mark.parametrize("tower", TOWERS)
def test_there_is_no_dropout_unless_asked_for(tower):
    model = build("deepfm", tower)
    # Not to the last bit: oneDNN may compute the two by other kernels.
    np.testing.assert_allclose(
        ctr(model, training=True), ctr(model, training=False), rtol=1e-6
    )


def test_a_placement_that_is_none_raises():
    said = "dropout_placement must be one of .*Received: 'input'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, dropout_placement="input")
    with pytest.raises(ValueError, match=said):
        Hidden(dropout_placement="input")


# --- Names -------------------------------------------------------------------


def test_an_unknown_backbone_tower_or_norm_raises_with_those_known():
    said = r"backbone must be one of \['autoint', .*'mlp'.*\]. Received: 'fm'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, "fm")
    said = r"tower must be one of \[.*'mlora'.*'shared'.*\]. Received: 'lora'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, "mlp", "lora")
    said = r"norm must be one of \['batch', 'layer', .*\]. Received: 'pn'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, "mlp", "star", norm="pn")
    # Never by a part of a name, or by another case.
    for name in ("ml", "MLP", "", None):
        with pytest.raises(ValueError, match=f"Received: {name!r}"):
            build_model(SCHEMA, name)


def test_a_tower_has_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        build_model(SCHEMA, hidden_units=())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_tower_may_be_any_two_functions_of_a_tensor(backbone, monkeypatch):
    def wide(domain, num_domains, hidden):
        return Tower(keras.layers.Dense(9, name="other"), shared_logit)

    monkeypatch.setitem(TOWERS, "wide", wide)
    model = build_model(SCHEMA, backbone, "wide")
    assert ctr(model).shape == (goldens.ROWS, 1)
    assert model.get_layer("other").units == 9


@pytest.mark.parametrize(
    "name",
    ["ctr", "flatten", "fm", "first_order", "first_order_shop", "hidden_0",
     "logit", "embedding_shop", "embedding_domain"],
)  # fmt: skip
def test_a_feature_may_bear_any_name_that_a_schema_allows(name):
    schema = Schema(
        features=(SparseFeature(name, (1, 2)), SparseFeature("shop", (1, 2))),
        domain_name="country",
        domains=("fr", "it"),
    )
    model = build_model(schema, "deepfm", "mlora", hidden_units=(4,))
    inputs = {name: [1, 2], "shop": [0, 1], "domain": [1, 0]}
    inputs = {key: np.array(ids) for key, ids in inputs.items()}
    assert ctr(model, inputs).shape == (2, 1)


def test_towers_name_what_they_share_alike():
    shared = goldens.arrays(build("deepfm", "shared"))
    for tower in ("mlora", "star", "mulann"):
        assert set(shared) < set(goldens.arrays(build("deepfm", tower)))
    # Where a path is in two towers, it is of one shape: weights can move.
    for tower in TOWERS:
        paths = goldens.arrays(build("deepfm", tower))
        assert set(paths) >= {p for p in shared if "order" in p or "emb" in p}
        for path in set(paths) & set(shared):
            assert paths[path].shape == shared[path].shape


@pytest.mark.parametrize("what", ["backbone", "tower"])
def test_an_option_that_there_is_not_raises(what):
    with pytest.raises(TypeError, match="no_such_option"):
        build("mlp", "star", **{f"{what}_options": {"no_such_option": 1}})


def test_the_backbone_gets_its_options():
    cross = build("dcn", backbone_options={"num_layers": 5})
    kernels = [p for p in goldens.arrays(cross) if "cross.network/kernel" in p]
    assert len(kernels) == 5
    heads = build("autoint", backbone_options={"num_layers": 1})
    assert [w.name for w in heads.layers if "attention." in w.name] == [
        "attention.0"
    ]


def test_the_tower_hands_its_options_on():
    options = {
        "temperature": 2,
        "max_adapter_params": 30,
        "lora_alpha": 3.0,
        "use_lora_bias": False,
        "lora_regularizer": "l2",
    }
    model = build("mlp", "mlora", hidden_units=(8,), tower_options=options)
    layer = model.get_layer("hidden.0")
    assert isinstance(layer, MLoRADense)
    assert layer.temperature == 2
    assert layer.max_adapter_params == 30
    assert layer.lora_alpha == 3.0
    assert layer.lora_kernel_a.shape == (3, 12, 1)
    assert layer.lora_bias is None
    assert layer.lora_regularizer is not None


# --- The domain beside the prediction ----------------------------------------


def test_the_domain_is_carried_beside_the_prediction():
    model = build("deepfm", "mlora")
    both = with_domain_output(model)
    inputs = goldens.rows_of()
    outputs = both(inputs)
    assert set(outputs) == {"ctr", "ctr_domain"}
    expected = np.stack([ctr(model, inputs)[:, 0], inputs["domain"]], axis=1)
    np.testing.assert_array_equal(outputs["ctr_domain"], expected)
    np.testing.assert_array_equal(outputs["ctr"], ctr(model, inputs))
    assert {id(v) for v in both.weights} == {id(v) for v in model.weights}


def test_beside_a_prediction_of_half_precision_the_domain_is_whole():
    """Half precision would make 2,049 of domain 2,050."""
    names = tuple(map(str, range(3000)))
    schema = Schema((SparseFeature("item", ("a",)),), "domain", names)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_model(schema, "mlp", "shared", hidden_units=(4,))
    finally:
        keras.config.set_dtype_policy("float32")
    inputs = {"item": np.array([1, 0]), "domain": np.array([2049, 2051])}
    outputs = with_domain_output(model)(inputs)
    assert outputs["ctr_domain"].dtype == "float32"
    np.testing.assert_array_equal(outputs["ctr_domain"][:, 1], [2049, 2051])
    np.testing.assert_array_equal(
        outputs["ctr_domain"][:, :1], ctr(model, inputs).astype("float32")
    )


@pytest.mark.parametrize("schema", [{"user": 50}, None, "schema.json"])
def test_a_schema_is_a_schema(schema):
    with pytest.raises(ValueError, match=r"schema must be a Schema.*Received"):
        build_model(schema)
