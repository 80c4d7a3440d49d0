import keras
import numpy as np
import pytest

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf.layers import MLoRADense
from mlora_tf.models import with_domain_output
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import Hidden
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


@pytest.mark.parametrize("backbone", ["mlp", "deepfm"])
@pytest.mark.parametrize("tower", ["shared", "mlora"])
@pytest.mark.parametrize("domain_field", [True, False])
def test_a_model_is_its_equations(backbone, tower, domain_field):
    options = {"rank": 2} if tower == "mlora" else {}
    model = build(
        backbone,
        tower,
        hidden_units=(5, 3),
        domain_field=domain_field,
        tower_options=options,
    )
    w = {p: v.astype("float64") for p, v in goldens.arrays(model).items()}
    inputs = goldens.rows_of()
    fields = ["item", "shop", "domain"][: 3 if domain_field else 2]
    expected = []
    for row in range(goldens.ROWS):
        ids = {name: inputs[name][row] for name in inputs}
        d = ids["domain"]
        v = [w[f"embedding.{name}/embeddings"][ids[name]] for name in fields]
        logit = 0.0
        if backbone == "deepfm":
            for name in fields:
                (weight,) = w[f"first_order.{name}/embeddings"][ids[name]]
                logit += weight
            for i in range(len(v)):
                for j in range(i + 1, len(v)):
                    logit += v[i] @ v[j]
        x = np.concatenate(v)
        for layer in ("hidden.0", "hidden.1"):
            y = x @ w[f"{layer}/kernel"] + w[f"{layer}/bias"]
            if tower == "mlora":
                a, b = w[f"{layer}/lora_kernel_a"], w[f"{layer}/lora_kernel_b"]
                y = y + x @ a[d] @ b[d] + w[f"{layer}/lora_bias"][d]
            x = np.maximum(y, 0)
        (deep,) = x @ w["logit.deep/kernel"] + w["logit.deep/bias"]
        expected.append([sigmoid(logit + deep)])
    np.testing.assert_allclose(ctr(model, inputs), expected, atol=1e-6)


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


@pytest.mark.parametrize("tower", TOWERS)
def test_arguments_reach_the_tower(tower):
    model = build(
        "mlp",
        tower,
        hidden_units=[7, 3],
        activation="sigmoid",
        kernel_initializer=keras.initializers.Constant(0.25),
    )
    fresh = build_model(
        SCHEMA,
        "mlp",
        tower,
        hidden_units=[7, 3],
        kernel_initializer=keras.initializers.Constant(0.25),
    )
    weights = goldens.arrays(fresh)
    assert weights["hidden.0/kernel"].shape[1] == 7
    assert weights["hidden.1/kernel"].shape == (7, 3)
    for path in ("hidden.0/kernel", "hidden.1/kernel"):
        np.testing.assert_array_equal(weights[path], weights[path] * 0 + 0.25)
    # Sigmoids have no zeros: a unit's kernel alone changes the outputs.
    relu = build("mlp", tower, hidden_units=[7, 3])
    assert (ctr(model) != ctr(relu)).all()


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


@pytest.mark.parametrize("tower", TOWERS)
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


@pytest.mark.parametrize("tower", TOWERS)
def test_dropout_on_the_output_is_once_and_nowhere_else(tower):
    model = build(
        "mlp",
        tower,
        hidden_units=(16,),
        activation="sigmoid",
        dropout=0.5,
        dropout_placement="output",
    )
    hidden = keras.Model(model.input, model.get_layer("logit.deep").input)
    whole = hidden(goldens.rows_of(), training=False).numpy()
    dropped = hidden(goldens.rows_of(), training=True).numpy()
    kept = dropped != 0
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_allclose(dropped, 2 * whole * kept, atol=1e-6)


@pytest.mark.parametrize("tower", TOWERS)
def test_there_is_no_dropout_unless_asked_for(tower):
    model = build("deepfm", tower)
    np.testing.assert_array_equal(
        ctr(model, training=True), ctr(model, training=False)
    )


def test_a_placement_that_is_none_raises():
    said = "dropout_placement must be one of .*Received: 'input'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, dropout_placement="input")
    with pytest.raises(ValueError, match=said):
        Hidden(dropout_placement="input")


# --- Names -------------------------------------------------------------------


def test_an_unknown_backbone_or_tower_raises_with_those_known():
    said = r"backbone must be one of \['deepfm', .*'mlp'.*\]. Received: 'fm'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, "fm")
    said = r"tower must be one of \[.*'mlora'.*'shared'.*\]. Received: 'lora'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, "mlp", "lora")
    # Never by a part of a name, or by another case.
    for name in ("ml", "MLP", "", None):
        with pytest.raises(ValueError, match=f"Received: {name!r}"):
            build_model(SCHEMA, name)


def test_a_tower_has_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        build_model(SCHEMA, hidden_units=())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_tower_may_be_any_function_of_a_tensor(backbone, monkeypatch):
    def wide(domain, num_domains, hidden):
        return lambda x: keras.layers.Dense(9, name="other")(x)

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


def test_both_towers_name_their_layers_alike():
    paths = set(goldens.arrays(build("deepfm", "shared")))
    assert paths < set(goldens.arrays(build("deepfm", "mlora")))


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
