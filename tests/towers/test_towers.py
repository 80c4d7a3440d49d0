"""Each tower's logit, computed again by hand from the model's weights."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf.towers import NORMS
from mlora_tf.towers import Hidden
from tests import goldens

D = goldens.NUM_DOMAINS
WIDTHS = {"one": (5,), "two": (6, 5), "three": (6, 5, 4)}

OPTIONS = {
    "shared": [{}],
    "mlora": [
        {},
        {"rank": 2},
        {"rank": 2, "lora_alpha": 3.0},
        {"use_lora_bias": False},
        {"shared_adapter": True},
        {"rank": 2, "adapted_layers": [0]},
    ],
    "star": [
        {},
        {"mlora": "factorized", "rank": 2},
        {"mlora": "parallel", "rank": 2},
        {"mlora": "parallel", "temperature": 2, "max_adapter_params": 30},
        {"mlora": "parallel", "rank": 2, "adapted_layers": [0]},
    ],
    "shared_bottom": [{}],
    "mmoe": [{}, {"num_experts": 2}, {"num_experts": 5}],
    "ple": [
        {},
        {"num_specific": 2},
        {"num_shared": 3},
        {"num_specific": 3, "num_shared": 2},
    ],
    "cross_stitch": [{}],
    "mulann": [{}, {"loss_weight": 2.0, "discriminator_units": 3}],
}
every_tower = pytest.mark.parametrize(
    ("tower", "options"),
    [
        pytest.param(name, options, id=f"{name}-{i}")
        for name, variants in OPTIONS.items()
        for i, options in enumerate(variants)
    ],
)


def make(tower, options=None, widths=WIDTHS["two"], norm="none", **changes):
    """A small model of random weights: the towers' input is 12 wide."""
    golden = goldens.ModelGolden("mlp", tower, options or {}, norm)
    return golden.make(
        **{"hidden_units": widths, "activation": "tanh", **changes}
    )


def logits_of(model):
    inside = keras.Model(model.input, model.get_layer("sigmoid.ctr").input)
    return np.array(inside(goldens.rows_of())).astype("float64")


def inputs_of(model):
    """What the tower reads: the embeddings."""
    flat = keras.Model(model.input, model.get_layer("flat.embeddings").output)
    return np.array(flat(goldens.rows_of())).astype("float64")


def weights_of(model):
    return {
        path: value.astype("float64")
        for path, value in goldens.arrays(model).items()
    }


def softmax(z):
    return np.exp(z) / sum(np.exp(z))


def dense(x, kernel, bias):
    """`b + sum_j x_j W_j`, number by number."""
    outputs = bias.copy()
    for j in range(len(x)):
        for k in range(len(bias)):
            outputs[k] += x[j] * kernel[j, k]
    return outputs


def own_logit(x, w, d):
    kernel = w["logit.deep/domain_kernel"][d]
    return dense(x, kernel, w["logit.deep/domain_bias"][d])


def shared(x, w, d, options, depth):
    for i in range(depth):
        x = np.tanh(dense(x, w[f"hidden.{i}/kernel"], w[f"hidden.{i}/bias"]))
    return dense(x, w["logit.deep/kernel"], w["logit.deep/bias"])


def adapter(x, w, d, name, alpha=None):
    """`s x A_d B_d + b_d`."""
    a, b = w[f"{name}/lora_kernel_a"][d], w[f"{name}/lora_kernel_b"][d]
    scale = alpha / a.shape[1] if alpha else 1.0
    low = dense(x, a, np.zeros(a.shape[1]))
    outputs = scale * dense(low, b, np.zeros(b.shape[1]))
    bias = w.get(f"{name}/lora_bias")
    return outputs if bias is None else outputs + bias[d]


def mlora(x, w, d, options, depth):
    """MLoRA, eq. 9."""
    if options.get("shared_adapter"):
        d = 0
    for i in range(depth):
        z = dense(x, w[f"hidden.{i}/kernel"], w[f"hidden.{i}/bias"])
        alpha = options.get("lora_alpha")
        if i in options.get("adapted_layers", range(depth)):
            z = z + adapter(x, w, d, f"hidden.{i}", alpha)
        x = np.tanh(z)
    return dense(x, w["logit.deep/kernel"], w["logit.deep/bias"])


def star(x, w, d, options, depth):
    """STAR, eqs. 5 and 6, in all layers."""
    form = options.get("mlora")
    for i in range(depth + 1):
        name = f"hidden.{i}" if i < depth else "logit.deep"
        if form == "factorized" and i < depth:
            a, b = (w[f"{name}/domain_kernel_{one}"][d] for one in "ab")
            own = 1.0 + sum(np.outer(a[:, r], b[r]) for r in range(len(b)))
        else:
            own = w[f"{name}/domain_kernel"][d]
        kernel = own * w[f"{name}/kernel"]
        bias = w[f"{name}/domain_bias"][d] + w[f"{name}/bias"]
        z = dense(x, kernel, bias)
        adapted = options.get("adapted_layers", range(depth))
        if form == "parallel" and i in adapted:
            z = z + adapter(x, w, d, f"adapter.{i}")
        x = np.tanh(z) if i < depth else z
    return x


def shared_bottom(x, w, d, options, depth):
    for i in range(depth):
        kernel = w[f"hidden.{i}/domain_kernel"][d]
        x = np.tanh(dense(x, kernel, w[f"hidden.{i}/domain_bias"][d]))
    return own_logit(x, w, d)


def mmoe(x, w, d, options, depth):
    """`sum_e g_d(x)_e f_e(x)`, each expert a whole network."""
    experts = options.get("num_experts", D)
    gate = softmax(
        dense(
            x,
            w["gate.experts/domain_kernel"][d],
            w["gate.experts/domain_bias"][d],
        )
    )
    assert len(gate) == experts
    mixed = 0.0
    for e in range(experts):
        h = x
        for i in range(depth):
            kernel, bias = w[f"experts.{i}/kernel"], w[f"experts.{i}/bias"]
            h = np.tanh(dense(h, kernel[e], bias[e]))
        mixed = mixed + gate[e] * h
    return own_logit(mixed, w, d)


def ple(x, w, d, options, depth):
    """Level by level, for all domains but in the last."""
    specific = options.get("num_specific", 1)
    common = options.get("num_shared", 1)
    own, all_shared = [x] * D, x
    for i in range(depth - 1):
        now = {
            name.split("/", 1)[1]: value
            for name, value in w.items()
            if name.startswith(f"extraction.{i}/")
        }
        kernel, bias = now["specific/kernel"], now["specific/bias"]
        of_domain = [
            [
                np.tanh(
                    dense(
                        own[n], kernel[n * specific + k], bias[n * specific + k]
                    )
                )
                for k in range(specific)
            ]
            for n in range(D)
        ]
        of_all = [
            np.tanh(
                dense(
                    all_shared, now["shared/kernel"][k], now["shared/bias"][k]
                )
            )
            for k in range(common)
        ]
        gates = [
            softmax(dense(own[n], now["gates/kernel"][n], now["gates/bias"][n]))
            for n in range(D)
        ]
        gate = softmax(
            dense(
                all_shared, now["shared_gate/kernel"], now["shared_gate/bias"]
            )
        )
        own = [mixture(gates[n], of_domain[n] + of_all) for n in range(D)]
        everyone = [expert for experts in of_domain for expert in experts]
        all_shared = mixture(gate, everyone + of_all)
    experts = [
        np.tanh(
            dense(
                own[d],
                w[f"specific.last.{k}/domain_kernel"][d],
                w[f"specific.last.{k}/domain_bias"][d],
            )
        )
        for k in range(specific)
    ]
    for k in range(common):
        kernel, bias = w["shared.last/kernel"][k], w["shared.last/bias"][k]
        experts.append(np.tanh(dense(all_shared, kernel, bias)))
    kernel, bias = w["gate.last/domain_kernel"], w["gate.last/domain_bias"]
    gate = softmax(dense(own[d], kernel[d], bias[d]))
    return own_logit(mixture(gate, experts), w, d)


def mixture(gate, experts):
    assert len(gate) == len(experts)
    return sum(g * expert for g, expert in zip(gate, experts, strict=True))


def cross_stitch(x, w, d, options, depth):
    """A network for each domain, mixed after each layer."""
    networks = [x] * D
    for i in range(depth):
        kernel, bias = w[f"networks.{i}/kernel"], w[f"networks.{i}/bias"]
        h = [np.tanh(dense(networks[n], kernel[n], bias[n])) for n in range(D)]
        stitch = w[f"stitch.{i}/stitch"]
        networks = [
            sum(stitch[m, n] * h[n] for n in range(D)) for m in range(D)
        ]
    return own_logit(networks[d], w, d)


REFERENCES = {
    "shared": shared,
    "mlora": mlora,
    "star": star,
    "shared_bottom": shared_bottom,
    "mmoe": mmoe,
    "ple": ple,
    "cross_stitch": cross_stitch,
    "mulann": shared,  # The discriminator has no part in a prediction.
}


def test_every_tower_has_a_reference():
    assert set(REFERENCES) == set(OPTIONS) == set(TOWERS)


@every_tower
@pytest.mark.parametrize("depth", ["one", "three"])
def test_it_is_the_papers_equations(tower, options, depth):
    widths = WIDTHS[depth]
    model = make(tower, options, widths)
    w = weights_of(model)
    logits = logits_of(model)
    assert logits.std() > 0.01
    for x, d, logit in zip(
        inputs_of(model), goldens.rows_of()["domain"], logits, strict=True
    ):
        expected = REFERENCES[tower](x, w, d, options, len(widths))
        np.testing.assert_allclose(logit, expected, atol=1e-5)


def batch_normalized(x, w, d):
    """STAR, eqs. 1 and 2, with the moving statistics."""
    centred = x - w["norm.deep/moving_mean"]
    scaled = centred / np.sqrt(w["norm.deep/moving_variance"] + 1e-3)
    return w["norm.deep/gamma"] * scaled + w["norm.deep/beta"]


def layer_normalized(x, w, d):
    scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-3)
    return w["norm.deep/gamma"] * scaled + w["norm.deep/beta"]


def partition_normalized(x, w, d):
    """STAR, eqs. 3 and 4, with the domain's moving statistics."""
    own = {path: value[d] for path, value in w.items() if "/domain_" in path}
    gamma = w["norm.deep/gamma"] * own["norm.deep/domain_gamma"]
    beta = w["norm.deep/beta"] + own["norm.deep/domain_beta"]
    centred = x - w["norm.deep/moving_mean"][d]
    variance = w["norm.deep/moving_variance"][d]
    return gamma * centred / np.sqrt(variance + 1e-3) + beta


NORMALIZED = {
    "none": lambda x, w, d: x,
    "batch": batch_normalized,
    "layer": layer_normalized,
    "partitioned": partition_normalized,
}


@pytest.mark.parametrize("norm", NORMS)
def test_what_a_tower_reads_is_normalized_first(norm):
    model = make("mmoe", norm=norm)
    w = weights_of(model)
    for x, d, logit in zip(
        inputs_of(model),
        goldens.rows_of()["domain"],
        logits_of(model),
        strict=True,
    ):
        x = NORMALIZED[norm](x, w, d)
        expected = mmoe(x, w, d, {}, len(WIDTHS["two"]))
        np.testing.assert_allclose(logit, expected, atol=1e-4)


@pytest.mark.parametrize("placement", ["shared", "output"])
@every_tower
def test_each_hidden_layer_is_dropped_once(tower, options, placement):
    model = make(
        tower,
        options,
        WIDTHS["three"],
        dropout=0.25,
        dropout_placement=placement,
    )
    found = [
        layer.name.rpartition(".")[2]
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout)
        or getattr(layer, "shared_dropout", 0)
    ]
    expected = ["0", "0", "1", "1", "last"] if tower == "ple" else list("012")
    assert sorted(found) == expected
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            assert layer.rate == 0.25


@every_tower
def test_without_dropout_there_is_no_layer_of_it(tower, options):
    for layer in make(tower, options).layers:
        assert not isinstance(layer, keras.layers.Dropout)


KERNELS = {
    "shared": ["hidden.{}/kernel"],
    "mlora": ["hidden.{}/kernel", "hidden.{}/lora_kernel_a"],
    "star": ["hidden.{}/kernel"],
    "shared_bottom": ["hidden.{}/domain_kernel"],
    "mmoe": ["experts.{}/kernel"],
    "ple": [
        "extraction.0/specific/kernel",
        "extraction.0/shared/kernel",
        "specific.last.0/domain_kernel",
        "specific.last.1/domain_kernel",
        "shared.last/kernel",
    ],
    "cross_stitch": ["networks.{}/kernel"],
    "mulann": ["hidden.{}/kernel"],
}


def test_a_layer_without_adapters_is_the_shared_towers():
    model = make("mlora", {"adapted_layers": [1]}, WIDTHS["two"], dropout=0.25)
    base = make("shared", {}, WIDTHS["two"], dropout=0.25)
    adapted = [path for path in goldens.arrays(model) if "lora" in path]
    assert adapted
    assert all(path.startswith("hidden.1/") for path in adapted)
    paths = set(goldens.arrays(model)) - set(adapted)
    assert {path for path in paths if "seed" not in path} == {
        path for path in goldens.arrays(base) if "seed" not in path
    }


@pytest.mark.parametrize("tower", TOWERS)
def test_each_networks_kernels_are_drawn_as_if_alone(tower):
    options = {
        "ple": {"num_specific": 2, "num_shared": 2},
        "mlora": {"rank": 60},
    }.get(tower, {})
    keras.utils.set_random_seed(0)
    model = goldens.ModelGolden("mlp", tower, options).fresh(
        hidden_units=(120, 90), embedding_dim=20
    )
    drawn = goldens.arrays(model)
    seen = []
    for name in KERNELS[tower]:
        for i in range(2 if "{}" in name else 1):
            kernel = drawn[name.format(i)]
            seen += list(kernel if kernel.ndim == 3 else kernel[None])
    for kernel in seen:
        assert kernel.ndim == 2
        assert kernel.std() == pytest.approx(
            np.sqrt(2 / sum(kernel.shape)), rel=0.06
        )
    # No two networks and no two layers draw alike.
    assert len({kernel.flat[0] for kernel in seen}) == len(seen)


@pytest.mark.parametrize("form", [None, "factorized", "parallel"])
def test_star_starts_as_its_shared_network(form):
    options = {"mlora": form, "rank": 2} if form else {}
    drawn = goldens.arrays(goldens.ModelGolden("mlp", "star", options).fresh())
    for path, value in drawn.items():
        name = path.rpartition("/")[2]
        if name == "domain_kernel":
            assert (value == 1).all()
        elif name.endswith(("bias", "kernel_b")):
            assert (value == 0).all()
    full = {path for path in drawn if path.endswith("/domain_kernel")}
    hidden = {f"hidden.{i}/domain_kernel" for i in range(2)}
    assert full == {"logit.deep/domain_kernel"} | (
        set() if form == "factorized" else hidden
    )


@pytest.mark.parametrize("form", ["factorized", "parallel"])
@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        ({"rank": 4}, {4}),
        ({"temperature": 2}, {3, 2}),
        ({"temperature": 2, "max_adapter_params": 20}, {1}),
    ],
)
def test_stars_adapters_follow_the_rule_and_its_cap(form, options, ranks):
    model = make("star", {"mlora": form, **options})
    assert ranks == {
        value.shape[2]
        for path, value in goldens.arrays(model).items()
        if path.endswith("kernel_a")
    }


def test_cross_stitch_starts_near_the_identity():
    for given, kept in (({}, 0.9), ({"self_weight": 0.6}, 0.6)):
        golden = goldens.ModelGolden("mlp", "cross_stitch", given)
        drawn = goldens.arrays(golden.fresh())
        expected = np.full((D, D), (1 - kept) / (D - 1))
        np.fill_diagonal(expected, kept)
        for i in range(2):
            stitch = drawn[f"stitch.{i}/stitch"]
            np.testing.assert_allclose(stitch, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("tower", "options", "said"),
    [
        ("mmoe", {"num_experts": 1}, "integer of at least 2.*num_experts=1"),
        ("mmoe", {"num_experts": 2.0}, "num_experts must be.*=2.0"),
        ("ple", {"num_specific": 0}, "num_specific must be.*=0"),
        ("ple", {"num_shared": "2"}, "num_shared must be.*='2'"),
        ("star", {"mlora": "serial"}, "'factorized', 'parallel'.*='serial'"),
        ("star", {"lora_dropout": 0.5}, 'for mlora="parallel".*=0.5'),
        ("star", {"lora_alpha": 2.0}, 'for mlora="parallel".*lora_alpha=2.0'),
        (
            "star",
            {"mlora": "factorized", "adapted_layers": [0]},
            r"for mlora=\"parallel\".*adapted_layers=\[0\]",
        ),
        (
            "star",
            {"mlora": "parallel", "adapted_layers": [5]},
            r"adapted_layers must be hidden layers.*\[5\]",
        ),
        ("star", {"rank": 4}, "say which form with mlora.*rank=4"),
        ("star", {"max_adapter_params": 9}, "Received: .*params=9"),
        ("star", {"mlora": "factorized", "rank": 0}, "rank must be.*=0"),
        ("cross_stitch", {"self_weight": 2}, "Received: self_weight=2"),
        ("mulann", {"loss_weight": -1}, "Received: weight=-1"),
        ("mulann", {"reversal_weight": -1}, "Received: weight=-1"),
        ("mulann", {"discriminator_units": 0}, "Received: units=0"),
        ("mlora", {"rank": -1}, "rank must be.*Received: rank=-1"),
        ("mlora", {"lora_dropout": 2}, "Received: rate=2"),
        ("mlora", {"adapted_layers": []}, r"Received: \[\]"),
        ("mlora", {"adapted_layers": [0, 2]}, r"Received: \[0, 2\]"),
        ("mlora", {"adapted_layers": [-1]}, r"Received: \[-1\]"),
    ],
)
@pytest.mark.parametrize("depth", ["one", "two"])
def test_options_that_cannot_be_are_named(tower, options, said, depth):
    with pytest.raises(ValueError, match=said):
        make(tower, options, WIDTHS[depth])


@pytest.mark.parametrize("tower", TOWERS)
def test_an_option_that_a_tower_lacks_raises(tower):
    with pytest.raises(TypeError, match="no_such"):
        make(tower, {"no_such": 1})


def test_one_domain_has_two_experts_to_mix():
    schema = dataclasses.replace(goldens.SCHEMA, domains=("fr",))
    model = build_model(schema, "mlp", "mmoe", hidden_units=(4,))
    assert model.get_layer("gate.experts").units == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"units": ()}, r"one hidden layer. Received: hidden_units=\(\)"),
        ({"units": (8, 0)}, r"units\[1\] must be.*units\[1\]=0"),
        ({"units": (8.0,)}, r"units\[0\] must be.*units\[0\]=8.0"),
        ({"dropout_placement": "input"}, "'shared', 'output'.*: 'input'"),
    ],
)
def test_hidden_layers_that_cannot_be_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        Hidden(**given)


def losses(w, rows, labels):
    """A tower's click loss, and its discriminator's, from the weights."""
    clicks = domains = 0.0
    for r, d in enumerate(rows["domain"]):
        x = np.concatenate(
            [
                w[f"embedding.{name}/embeddings"][rows[name][r]]
                for name in ("item", "shop", "domain")
            ]
        )
        for i in range(2):
            x = np.tanh(x @ w[f"hidden.{i}/kernel"] + w[f"hidden.{i}/bias"])
        z = x @ w["logit.deep/kernel"] + w["logit.deep/bias"]
        clicks += np.log(1 + np.exp(z[0])) - labels[r, 0] * z[0]
        told = x @ w["discriminator.0/kernel"] + w["discriminator.0/bias"]
        told = np.maximum(told, 0) @ w["discriminator.logits/kernel"]
        told = told + w["discriminator.logits/bias"]
        domains -= np.log(softmax(told)[d])
    return np.array([clicks, domains]) / len(labels)


def slopes(w, path, rows, labels):
    """Of both losses in each number of a weight, by differences."""
    found = np.zeros((2, *w[path].shape))
    for index in np.ndindex(w[path].shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = w[path].copy()
            moved[index] += step
            ends.append(losses({**w, path: moved}, rows, labels))
        found[(slice(None), *index)] = (ends[0] - ends[1]) / 2e-5
    return found


def test_mulanns_discriminator_learns_what_its_tower_hides():
    weight, reversal = 0.7, 1.5
    model = make(
        "mulann",
        {
            "loss_weight": weight,
            "reversal_weight": reversal,
            "discriminator_units": 3,
        },
        (4, 3),
        embedding_l2=0.0,
        embedding_dim=2,
    )
    rows, labels = goldens.rows_of(), goldens.labels()
    with tf.GradientTape() as tape:
        ctr = model(rows, training=True)["ctr"]
        clicks = keras.losses.BinaryCrossentropy()(labels, ctr)
        total = clicks + sum(model.losses)
    w = weights_of(model)
    np.testing.assert_allclose(
        total, losses(w, rows, labels) @ [1.0, weight], rtol=1e-5
    )
    gradients = tape.gradient(total, [v.value for v in model.trainable_weights])
    for weights, gradient in zip(
        model.trainable_weights, gradients, strict=True
    ):
        click, domain = slopes(w, weights.path, rows, labels)
        if weights.path.startswith("discriminator"):
            expected = weight * domain
        elif weights.path.startswith("logit"):
            expected = click
        else:
            expected = click - reversal * weight * domain
            assert abs(domain).max() > 1e-3
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), expected, atol=1e-6
        )
