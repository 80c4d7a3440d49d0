"""Each backbone's logit, computed again by hand from the model's weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import BACKBONES
from mlora_tf import build_model
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from tests import goldens

NAMES = ("item", "shop", "domain")

# Small, so that each number of each layer counts.
OPTIONS = {
    "mlp": [{}],
    "wide_deep": [{}],
    "nfm": [{}],
    "autoint": [
        {},
        {"use_scale": True},
        {"use_residual": False},
        {"num_layers": 1, "num_heads": 3, "head_size": 2},
    ],
    "pnn": [
        {},
        {"outer": True},
        *(
            {"inner": False, "outer": True, "outer_kernel": kernel}
            for kernel in ("matrix", "vector", "scalar")
        ),
    ],
    "dcn": [{}, {"parameterization": "matrix"}, {"num_layers": 3}],
    "fibinet": [
        {},
        {"bilinear_type": "all"},
        {"bilinear_type": "each"},
        {"reduction_ratio": 1},
    ],
    "deepfm": [{}],
    "xdeepfm": [
        {"cin_sizes": (6, 4)},
        {"cin_sizes": (6, 5), "split_half": False},
        {"cin_sizes": [4, 6, 3]},
    ],
}
CASES = [
    pytest.param(name, options, id=f"{name}-{i}")
    for name, variants in OPTIONS.items()
    for i, options in enumerate(variants)
]


def make(backbone, options=None):
    """A small model of random weights on the shared tower."""
    golden = goldens.ModelGolden(backbone, "shared")
    # With this seed no ReLU of a whole layer is shut for all rows, as SENET's
    # one unit often is: every weight has a say.
    return golden.make(seed=17, backbone_options=options)


def weights_of(model):
    return {
        path: value.astype("float64")
        for path, value in goldens.arrays(model).items()
    }


def relu(x):
    return np.maximum(x, 0)


def elu(x):
    """The goldens' activation."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def pairs(v):
    return [(i, j) for i in range(len(v)) for j in range(i + 1, len(v))]


class Row:
    """One row's parts of a logit; `v` are its field embeddings."""

    def __init__(self, weights, ids):
        self.weights = weights
        self.ids = ids
        self.v = [weights[f"embedding.{n}/embeddings"][ids[n]] for n in NAMES]
        self.flat = np.concatenate(self.v)

    def first_order(self):
        tables = [self.weights[f"first_order.{n}/embeddings"] for n in NAMES]
        return sum(
            table[self.ids[n], 0]
            for n, table in zip(NAMES, tables, strict=True)
        )

    def dense(self, name, x):
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def tower(self, x):
        return elu(self.dense("hidden.1", elu(self.dense("hidden.0", x))))

    def last(self, x):
        (logit,) = self.dense("logit.deep", x)
        return logit

    def mlp(self):
        return self.last(self.tower(self.flat))

    def wide_deep(self):
        return self.first_order() + self.mlp()

    def nfm(self):
        pooled = sum(self.v[i] * self.v[j] for i, j in pairs(self.v))
        return self.first_order() + self.last(self.tower(pooled))

    def deepfm(self):
        fm = sum(self.v[i] @ self.v[j] for i, j in pairs(self.v))
        return self.first_order() + fm + self.mlp()

    def autoint(
        self,
        num_layers=3,
        num_heads=4,
        head_size=8,
        use_residual=True,
        use_scale=False,
    ):
        v = self.v
        for layer in range(num_layers):
            q, k, u, r = (
                self.weights.get(f"attention.{layer}/{name}_kernel")
                for name in ("query", "key", "value", "residual")
            )
            assert (r is not None) == use_residual
            new = []
            for field in v:
                heads = []
                for h in range(num_heads):
                    part = slice(h * head_size, (h + 1) * head_size)
                    scores = np.array(
                        [field @ q[:, part] @ (x @ k[:, part]) for x in v]
                    )
                    if use_scale:
                        scores = scores / np.sqrt(head_size)
                    a = np.exp(scores) / np.exp(scores).sum()
                    heads.append(
                        sum(a[i] * (v[i] @ u[:, part]) for i in range(len(v)))
                    )
                attended = np.concatenate(heads)
                new.append(relu(attended + (field @ r if use_residual else 0)))
            v = new
        last = np.concatenate([*v, self.tower(self.flat)])
        return self.first_order() + self.last(last)

    def pnn(self, inner=True, outer=False, outer_kernel="matrix"):
        v, products = self.v, []
        if inner:
            products += [v[i] @ v[j] for i, j in pairs(v)]
        if outer:
            kernels = self.weights["products.outer/kernel"]
            for kernel, (i, j) in zip(kernels, pairs(v), strict=True):
                matrix = {
                    "matrix": kernel,
                    "vector": np.diag(kernel[:, 0]),
                    "scalar": kernel[0, 0] * np.eye(len(v[0])),
                }[outer_kernel]
                products.append(v[i] @ matrix @ v[j])
        deep = np.concatenate([self.flat, products])
        return self.last(self.tower(deep))

    def dcn(self, num_layers=2, parameterization="vector"):
        x = self.flat
        for i in range(num_layers):
            kernel = self.weights[f"cross.network/kernel_{i}"]
            bias = self.weights[f"cross.network/bias_{i}"]
            if parameterization == "vector":
                x = self.flat * (x @ kernel) + bias + x
            else:
                x = self.flat * (x @ kernel + bias) + x
        return self.last(np.concatenate([x, self.tower(self.flat)]))

    def fibinet(self, bilinear_type="interaction", reduction_ratio=3):
        reduction = self.weights["fields.weighted/reduction_kernel"]
        expansion = self.weights["fields.weighted/expansion_kernel"]
        assert reduction.shape == (3, max(1, 3 // reduction_ratio))
        z = np.array([field.mean() for field in self.v])
        a = relu(relu(z @ reduction) @ expansion)
        weighted = [a[f] * self.v[f] for f in range(len(self.v))]
        deep = []
        for name, v in (("original", self.v), ("weighted", weighted)):
            kernel = self.weights[f"bilinear.{name}/kernel"]
            for p, (i, j) in enumerate(pairs(v)):
                which = {"interaction": p, "each": i, "all": ...}[bilinear_type]
                deep.append((v[i] @ kernel[which]) * v[j])
        deep = np.concatenate(deep)
        return self.first_order() + self.last(self.tower(deep))

    def xdeepfm(self, cin_sizes, split_half=True):
        x, pooled = self.v, []
        for layer, size in enumerate(cin_sizes):
            kernel = self.weights[f"cin.maps/kernel_{layer}"]
            kernel = kernel.reshape((len(x), len(self.v), size))
            maps = [
                relu(
                    sum(
                        kernel[i, j, h] * x[i] * self.v[j]
                        for i in range(len(x))
                        for j in range(len(self.v))
                    )
                )
                for h in range(size)
            ]
            x = out = maps
            if split_half and layer < len(cin_sizes) - 1:
                x, out = maps[: size // 2], maps[size // 2 :]
            pooled += [row.sum() for row in out]
        (cin,) = self.dense("logit.cin", np.array(pooled))
        return self.first_order() + cin + self.mlp()


# --- The wiring --------------------------------------------------------------


def test_every_backbone_is_held_to_its_equation():
    assert set(OPTIONS) == set(BACKBONES)


@pytest.mark.parametrize(("backbone", "options"), CASES)
def test_a_logit_is_the_backbones_equation(backbone, options):
    model = make(backbone, options)
    logits = keras.Model(model.input, model.get_layer("sigmoid.ctr").input)
    inputs, weights = goldens.rows_of(), weights_of(model)
    expected = []
    for row in range(goldens.ROWS):
        ids = {name: inputs[name][row] for name in NAMES}
        expected.append([getattr(Row(weights, ids), backbone)(**options)])
    outputs = logits(inputs)
    assert outputs.shape == (goldens.ROWS, 1)
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_layer_with_weights_has_a_name_that_no_feature_has(backbone):
    paths = list(goldens.arrays(make(backbone)))
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert "." in path.partition("/")[0]


@pytest.mark.parametrize(
    "backbone", ["wide_deep", "nfm", "autoint", "fibinet", "deepfm", "xdeepfm"]
)
def test_these_have_a_linear_model(backbone):
    paths = set(goldens.arrays(make(backbone)))
    assert {f"first_order.{name}/embeddings" for name in NAMES} <= paths


@pytest.mark.parametrize("backbone", ["mlp", "pnn", "dcn"])
def test_these_have_no_linear_model(backbone):
    assert not any(
        "first_order" in path for path in goldens.arrays(make(backbone))
    )


# --- Gradients ---------------------------------------------------------------


def gradients(model):
    """Each weight's gradient by path, summed over rows of every item."""
    inputs = goldens.rows_of(rows=48)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(inputs)["ctr"]))
    found = tape.gradient(loss, [w.value for w in model.trainable_variables])
    return {
        weight.path: tf.convert_to_tensor(gradient).numpy()
        for weight, gradient in zip(
            model.trainable_variables, found, strict=True
        )
    }


@pytest.mark.parametrize(("backbone", "options"), CASES)
def test_every_weight_has_a_gradient(backbone, options):
    for path, gradient in gradients(make(backbone, options)).items():
        assert gradient.any(), path


def test_xdeepfms_interactions_are_built_and_learn():
    # In MLoRA's published code they never were: DeepFM is built in their place.
    model = make("xdeepfm")
    shapes = {w.path: w.shape for w in model.trainable_variables}
    assert shapes["cin.maps/kernel_0"] == (9, 128)
    assert shapes["cin.maps/kernel_1"] == (64 * 3, 128)
    assert shapes["logit.cin/kernel"] == (64 + 128, 1)
    found = gradients(model)
    for path in ("cin.maps/kernel_0", "cin.maps/kernel_1"):
        # The maps of each layer but those whose ReLU is shut for all rows.
        assert found[path].any(axis=0).mean() > 0.9, path
    deepfm = {path for path in shapes if "cin" not in path}
    assert deepfm == set(goldens.arrays(make("deepfm")))


# --- Options that cannot be --------------------------------------------------


ONE_FIELD = Schema(
    features=(SparseFeature("item", (1, 2, 3)),),
    domain_name="country",
    domains=("fr", "it"),
)


def of_one_field(backbone, options=None):
    return build_model(
        ONE_FIELD,
        backbone,
        hidden_units=(4,),
        domain_field=False,
        backbone_options=options,
    )


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("nfm", {}),
        ("pnn", {}),
        ("pnn", {"inner": False, "outer": True}),
        ("fibinet", {}),
        ("fibinet", {"bilinear_type": "all"}),
        ("fibinet", {"bilinear_type": "each"}),
    ],
)
def test_one_field_has_no_pairs(backbone, options):
    said = r"over pairs of fields.*at least 2. Received: .*\(None, 1, 8\)"
    with pytest.raises(ValueError, match=said):
        of_one_field(backbone, options)


# Keras's: with one field alone, all attention is the field's own.
@pytest.mark.filterwarnings("ignore:You are using a softmax:UserWarning")
@pytest.mark.parametrize(
    "backbone", sorted({*BACKBONES} - {"nfm", "pnn", "fibinet"})
)
def test_the_others_take_one_field(backbone):
    inputs = {"item": np.array([0, 3]), "domain": np.array([1, 0])}
    assert of_one_field(backbone)(inputs)["ctr"].shape == (2, 1)


def test_pnn_has_products():
    said = "inner, outer or both. Received: inner=False, outer=False"
    with pytest.raises(ValueError, match=said):
        make("pnn", {"inner": False})


@pytest.mark.parametrize("wrong", [0, -1, 1.0, None, True])
def test_autoint_has_a_layer_of_attention(wrong):
    said = f"num_layers must be an integer.*Received: num_layers={wrong!r}"
    with pytest.raises(ValueError, match=said):
        make("autoint", {"num_layers": wrong})


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("pnn", {"outer": True, "outer_kernel": "mat"}),
        ("dcn", {"parameterization": "mat"}),
        ("dcn", {"num_layers": 0}),
        ("fibinet", {"bilinear_type": "both"}),
        ("fibinet", {"reduction_ratio": 0}),
        ("xdeepfm", {"cin_sizes": (5, 4)}),
        ("autoint", {"head_size": 0}),
    ],
)
def test_a_layers_error_is_the_backbones(backbone, options):
    with pytest.raises(ValueError, match="Received: "):
        make(backbone, options)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_option_that_is_none_is_named(backbone):
    with pytest.raises(TypeError, match="no_such_option"):
        make(backbone, {"no_such_option": 1})
