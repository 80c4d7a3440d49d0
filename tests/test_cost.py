import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tensorflow.python.framework import convert_to_constants

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf.cost import RULES
from mlora_tf.cost import CostError
from mlora_tf.cost import cost
from mlora_tf.domains import add_domain
from mlora_tf.layers import AttentionPooling
from mlora_tf.layers import BilinearInteraction
from mlora_tf.layers import DomainDense
from mlora_tf.layers import DomainLoss
from mlora_tf.layers import InterestEvolution
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import field_attention
from mlora_tf.models import with_domain_output
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import NORMS

# Three fields of 4 numbers: the towers read 12, and are 12 -> 6 -> 4 -> 1.
# The tables of ids have 8 + 4 rows.
SCHEMA = Schema(
    features=(
        SparseFeature("item", tuple(range(7))),
        SparseFeature("shop", ("corner", "market", "mall")),
    ),
    domain_name="country",
    domains=("fr", "it", "pl"),
)
TABLES = 12 * 4
DOMAIN_ROW = 4
FIRST = 12 * 6 + 6
SECOND = 6 * 4 + 4
LAST = 4 + 1
TOWER = FIRST + SECOND + LAST

# A product is 2 for each weight; a bias and relu are 1 for each number.
FIRST_WORK = 2 * 12 * 6 + 6 + 6
SECOND_WORK = 2 * 6 * 4 + 4 + 4
LAST_WORK = 2 * 4 + 1
SIGMOID = 1
WORK = FIRST_WORK + SECOND_WORK + LAST_WORK + SIGMOID


def small(backbone="mlp", tower="shared", schema=SCHEMA, **options):
    return build_model(
        schema,
        backbone,
        tower,
        embedding_dim=4,
        hidden_units=(6, 4),
        **options,
    )


def numbers(counted):
    return counted.shared, counted.per_domain, counted.flops


def layers(model):
    return {layer.name: layer for layer in cost(model).layers}


def hold(counted, model):
    """Asserts that what is counted adds up."""
    assert counted.total == model.count_params()
    of_layers = sum(
        layer.shared
        + layer.embeddings
        + layer.pretrained
        + counted.domains * layer.per_domain
        for layer in counted.layers
    )
    assert of_layers == counted.total
    assert sum(layer.flops for layer in counted.layers) == counted.flops
    names = [layer.name for layer in counted.layers]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("tower", "options", "shared", "per_domain", "flops"),
    [
        ("shared", {}, TOWER, 0, WORK),
        (
            # Ranks 6 // 3 and 4 // 3, with a bias for each layer.
            "mlora",
            {"temperature": 3},
            TOWER,
            (12 * 2 + 2 * 6 + 6) + (6 + 4 + 4),
            # Both products of an adapter, and adding it.
            WORK + (2 * 2 * (12 + 6) + 6) + (2 * 1 * (6 + 4) + 4),
        ),
        ("star", {}, TOWER, TOWER, WORK),
        (
            # A kernel of its own would be 12 x 6; A and B are less.
            "star",
            {"mlora": "factorized", "temperature": 3},
            TOWER,
            (12 * 2 + 2 * 6 + 6) + (6 + 4 + 4) + LAST,
            WORK,
        ),
        (
            "star",
            {"mlora": "parallel", "temperature": 3},
            TOWER,
            TOWER + (12 * 2 + 2 * 6 + 6) + (6 + 4 + 4),
            # An adapter's two products and bias, and the sum with the star.
            WORK + (2 * 2 * (12 + 6) + 2 * 6) + (2 * (6 + 4) + 2 * 4),
        ),
        ("shared_bottom", {}, 0, TOWER, WORK),
        (
            "mmoe",
            {},
            3 * (FIRST + SECOND),
            (12 * 3 + 3) + LAST,
            # All experts, a gate of 3 with softmax, and the mixture.
            3 * (FIRST_WORK + SECOND_WORK)
            + (2 * 12 * 3 + 3 + 3)
            + 2 * 3 * 4
            + LAST_WORK
            + SIGMOID,
        ),
        (
            # One level for all domains, then each one's own.
            "ple",
            {},
            (3 * FIRST + FIRST)
            + (3 * (12 * 2 + 2) + 12 * 4 + 4)  # gates of 2, and of 4
            + SECOND,
            SECOND + (6 * 2 + 2) + LAST,
            (3 * FIRST_WORK + FIRST_WORK)
            + (3 * (2 * 12 * 2 + 2 + 2) + 2 * 12 * 4 + 4 + 4)
            + 3 * (2 * 2 * 6 + 6)  # a domain's experts, then the shared one
            + 2 * 4 * 6
            + 2 * SECOND_WORK
            + (2 * 6 * 2 + 2 + 2)
            + 2 * 2 * 4
            + LAST_WORK
            + SIGMOID,
        ),
        (
            "cross_stitch",
            {},
            3 * FIRST + 3 * 3 + 3 * SECOND + 3 * 3,
            LAST,
            3 * (FIRST_WORK + SECOND_WORK)
            + 2 * 9 * 6
            + 2 * 9 * 4
            + LAST_WORK
            + SIGMOID,
        ),
        (
            # Nothing that is predicted needs the discriminator.
            "mulann",
            {"discriminator_units": 5},
            TOWER + (4 * 5 + 5) + (5 * 3 + 3),
            0,
            WORK,
        ),
    ],
)
def test_towers_cost_what_a_hand_counts(
    tower, options, shared, per_domain, flops
):
    model = small(tower=tower, tower_options=options)
    counted = cost(model)
    assert counted.embeddings == TABLES
    assert numbers(counted) == (shared, DOMAIN_ROW + per_domain, flops)
    assert counted.domains == 3
    hold(counted, model)


# A number for each id, and their sum with that of the other parts.
LINEAR = {"embeddings": TABLES + 12, "per_domain": DOMAIN_ROW + 1}
LINEAR_WORK = 1 + 1


@pytest.mark.parametrize(
    ("backbone", "options", "shared", "tables", "flops"),
    [
        ("mlp", {}, TOWER, {}, WORK),
        ("wide_deep", {}, TOWER, LINEAR, WORK + LINEAR_WORK),
        (
            # The pooled pairs are 4 numbers.
            "nfm",
            {},
            TOWER - 8 * 6,
            LINEAR,
            WORK - 2 * 8 * 6 + LINEAR_WORK + (3 * 12 + 3 * 4),
        ),
        (
            # Two heads of 3 make 6 numbers of each field.
            "autoint",
            {"num_layers": 1, "num_heads": 2, "head_size": 3},
            TOWER + 4 * (4 * 6) + 3 * 6,
            LINEAR,
            WORK
            + LINEAR_WORK
            + 4 * (2 * 3 * 4 * 6)  # query, key, value, residual
            + 2 * (2 * 2 * 3 * 3 * 3)  # scores, and the sums they weigh
            + 2 * 3 * 3  # softmax
            + 2 * 3 * 6  # the residual's sum, and relu
            + 2 * 3 * 6,  # the last layer is wider
        ),
        (
            "autoint",
            {
                "num_layers": 1,
                "num_heads": 2,
                "head_size": 3,
                "use_residual": False,
                "use_scale": True,
            },
            TOWER + 3 * (4 * 6) + 3 * 6,
            LINEAR,
            WORK
            + LINEAR_WORK
            + 3 * (2 * 3 * 4 * 6)
            + 2 * (2 * 2 * 3 * 3 * 3)
            + 2 * (2 * 3 * 3)
            + 3 * 6
            + 2 * 3 * 6,
        ),
        # Three products more for the tower to read.
        (
            "pnn",
            {},
            TOWER + 3 * 6,
            {},
            WORK + 2 * 3 * 6 + 3 * (2 * 4),
        ),
        (
            "pnn",
            {"inner": False, "outer": True},
            TOWER + 3 * 6 + 3 * 16,
            {},
            WORK + 2 * 3 * 6 + 3 * (2 * 16 + 2 * 4),
        ),
        (
            "pnn",
            {"inner": False, "outer": True, "outer_kernel": "vector"},
            TOWER + 3 * 6 + 3 * 4,
            {},
            WORK + 2 * 3 * 6 + 3 * (4 + 2 * 4),
        ),
        (
            "pnn",
            {"inner": False, "outer": True, "outer_kernel": "scalar"},
            TOWER + 3 * 6 + 3,
            {},
            WORK + 2 * 3 * 6 + 3 * (1 + 2 * 4),
        ),
        (
            # A kernel and a bias of 12; the last layer reads 12 more.
            "dcn",
            {},
            TOWER + 2 * (12 + 12) + 12,
            {},
            WORK + 2 * (2 * 12 + 3 * 12) + 2 * 12,
        ),
        (
            "dcn",
            {"num_layers": 1, "parameterization": "matrix"},
            TOWER + (144 + 12) + 12,
            {},
            WORK + (2 * 144 + 3 * 12) + 2 * 12,
        ),
        (
            # 2 x 3 pairs of 4 numbers; fields are squeezed to one number.
            "fibinet",
            {},
            TOWER + 12 * 6 + 2 * 3 + 2 * (3 * 16),
            LINEAR,
            WORK
            + 2 * 12 * 6
            + LINEAR_WORK
            + (12 + 2 * 3 + 1 + 2 * 3 + 3 + 12)
            + 2 * (3 * 2 * 16 + 12),
        ),
        (
            "fibinet",
            {"bilinear_type": "all"},
            TOWER + 12 * 6 + 2 * 3 + 2 * 16,
            LINEAR,
            WORK
            + 2 * 12 * 6
            + LINEAR_WORK
            + (12 + 2 * 3 + 1 + 2 * 3 + 3 + 12)
            + 2 * (2 * 2 * 16 + 12),
        ),
        (
            "fibinet",
            {"bilinear_type": "each"},
            TOWER + 12 * 6 + 2 * 3 + 2 * (2 * 16),
            LINEAR,
            WORK
            + 2 * 12 * 6
            + LINEAR_WORK
            + (12 + 2 * 3 + 1 + 2 * 3 + 3 + 12)
            + 2 * (2 * 2 * 16 + 12),
        ),
        ("deepfm", {}, TOWER, LINEAR, WORK + LINEAR_WORK + 3 * 12 + 3 * 4 + 1),
        (
            # 3 x 3 products to 4 maps, 2 x 3 to 2; 2 + 2 maps go out.
            "xdeepfm",
            {"cin_sizes": (4, 2)},
            TOWER + 9 * 4 + 6 * 2 + (4 + 1),
            LINEAR,
            WORK
            + LINEAR_WORK
            + 4 * (9 + 2 * 9 * 4 + 4)
            + 4 * (6 + 2 * 6 * 2 + 2)
            + 4 * 4
            + (2 * 4 + 1),
        ),
        (
            "xdeepfm",
            {"cin_sizes": (4, 2), "split_half": False},
            TOWER + 9 * 4 + 12 * 2 + (6 + 1),
            LINEAR,
            WORK
            + LINEAR_WORK
            + 4 * (9 + 2 * 9 * 4 + 4)
            + 4 * (12 + 2 * 12 * 2 + 2)
            + 4 * 6
            + (2 * 6 + 1),
        ),
    ],
)
def test_backbones_cost_what_a_hand_counts(
    backbone, options, shared, tables, flops
):
    model = small(backbone, backbone_options=options)
    counted = cost(model)
    assert counted.embeddings == tables.get("embeddings", TABLES)
    of_domain = tables.get("per_domain", DOMAIN_ROW)
    assert numbers(counted) == (shared, of_domain, flops)
    hold(counted, model)


@pytest.mark.parametrize(
    ("options", "shared", "per_domain", "flops"),
    [
        # Scale and shift, and the statistics, of 12 numbers each.
        ({"norm": "batch"}, 4 * 12, 0, 12),
        ({"norm": "layer"}, 2 * 12, 0, 12),
        # A domain has all four, and counts its updates.
        ({"norm": "partitioned"}, 2 * 12, 4 * 12 + 1, 12),
        (
            {"auxiliary": True, "auxiliary_units": 5},
            (12 * 5 + 5) + (5 + 1),
            0,
            (2 * 12 * 5 + 5 + 5) + (2 * 5 + 1) + 1,
        ),
        (
            # The domain's table for the auxiliary network alone; the tower
            # reads two fields, the network three.
            {
                "auxiliary": True,
                "auxiliary_units": 5,
                "domain_field": False,
            },
            (12 * 5 + 5) + (5 + 1) - 4 * 6,
            0,
            (2 * 12 * 5 + 5 + 5) + (2 * 5 + 1) + 1 - 2 * 4 * 6,
        ),
        # No table of domains at all.
        ({"domain_field": False}, -4 * 6, -DOMAIN_ROW, -2 * 4 * 6),
        # Dropout works in training only.
        ({"dropout": 0.5}, 0, 0, 0),
    ],
)
def test_norms_and_the_auxiliary_network_add_theirs(
    options, shared, per_domain, flops
):
    model = small(**options)
    if options.get("dropout"):
        # Activations stand alone behind dropout: no other work.
        assert "shared_dropout.0" in layers(model)
    assert numbers(cost(model)) == (
        TOWER + shared,
        DOMAIN_ROW + per_domain,
        WORK + flops,
    )
    hold(cost(model), model)


@pytest.mark.parametrize(
    ("width", "temperature", "added", "dense"),
    [
        (384, 16, 14_528, 139_712),
        (384, 32, 7_488, 139_712),
        (384, 256, 1_664, 139_712),
        (24, 16, 8_768, 47_552),
        (24, 32, 4_608, 47_552),
        (24, 256, 1_304, 47_552),
    ],
)
def test_mlora_adds_what_its_published_code_adds(
    width, temperature, added, dense
):
    # Three fields; A, B and bias of the layers of 256, 128 and 64 units.
    model = build_model(
        SCHEMA,
        "mlp",
        "mlora",
        embedding_dim=width // 3,
        tower_options={"temperature": temperature},
    )
    counted = layers(model)
    hidden = [counted[f"hidden.{i}"] for i in range(3)]
    assert sum(layer.per_domain for layer in hidden) == added
    assert sum(layer.shared for layer in hidden) == dense
    assert [layer.rank for layer in hidden] == [
        max(units // temperature, 1) for units in (256, 128, 64)
    ]
    assert cost(model).per_domain == added + width // 3
    assert cost(model).shared == dense + 64 + 1


def test_star_adds_as_much_as_is_shared():
    counted = cost(build_model(SCHEMA, "mlp", "star", embedding_dim=128))
    assert counted.shared == 139_712 + 65
    assert counted.per_domain == 139_712 + 65 + 128
    assert counted.added_to_shared == pytest.approx(1 + 128 / 139_777)


def test_the_production_cap_bounds_each_adapter():
    model = build_model(
        SCHEMA,
        "mlp",
        "mlora",
        tower_options={"temperature": 16, "max_adapter_params": 1024},
    )
    counted = layers(model)
    # 24 -> 256 has 280 for each rank, 256 -> 128 has 384, 128 -> 64 has 192:
    # 1024 has room for 3, 2 and 5, of which 16 asks for 4.
    for name, rank, adapter, units in (
        ("hidden.0", 3, 840, 256),
        ("hidden.1", 2, 768, 128),
        ("hidden.2", 4, 768, 64),
    ):
        assert counted[name].rank == rank
        assert counted[name].per_domain == adapter + units


def test_ranks_are_those_of_adapters_alone():
    options = {"mlora": "factorized", "temperature": 3}
    counted = layers(small(tower="star", tower_options=options))
    assert [counted[f"hidden.{i}"].rank for i in range(2)] == [2, 1]
    assert counted["logit.deep"].rank is None
    assert layers(small(tower="star"))["hidden.0"].rank is None
    assert layers(small())["hidden.0"].rank is None


def test_an_adapter_for_all_domains_is_shared():
    plain = cost(small(tower="mlora"))
    control = cost(small(tower="mlora", tower_options={"shared_adapter": True}))
    assert control.domains == 3
    assert control.per_domain == DOMAIN_ROW
    assert control.shared == plain.shared + plain.per_domain - DOMAIN_ROW


def test_a_bias_alone_is_an_adapter_of_rank_0():
    model = small(tower="mlora", tower_options={"rank": 0})
    assert layers(model)["hidden.0"].rank == 0
    # One bias for each domain, made of two, is as much work as one for all.
    assert numbers(cost(model)) == (TOWER, DOMAIN_ROW + 6 + 4, WORK)


def test_relations_are_to_the_shared_weights_and_to_all():
    counted = cost(small(tower="mlora", tower_options={"temperature": 3}))
    of_domain = DOMAIN_ROW + 42 + 14
    total = TOWER + TABLES + 3 * of_domain
    assert counted.all_domains == 3 * of_domain
    assert counted.added_to_shared == pytest.approx(of_domain / TOWER)
    assert counted.added_to_total == pytest.approx(of_domain / total)
    # Its networks are all the domains' own.
    assert cost(small(tower="shared_bottom")).added_to_shared is None


@pytest.mark.parametrize(
    ("bilinear_type", "products"), [("interaction", 6), ("all", 3), ("each", 3)]
)
def test_bilinear_products_are_of_pairs_or_of_first_fields(
    bilinear_type, products
):
    # Four fields have six pairs, and three fields are the first of one.
    x = keras.Input((4, 5))
    model = keras.Model(x, BilinearInteraction(bilinear_type)(x))
    assert cost(model).flops == products * 2 * 5 * 5 + 6 * 5


def sequence(pooling, target=None, **options):
    return Schema(
        features=(
            SparseFeature("item", tuple(range(7)), **options),
            SequenceFeature(
                "history",
                tuple(range(7)),
                max_length=5,
                pooling=pooling,
                target=target,
                table="item",
                **options,
            ),
        ),
        domain_name="country",
        domains=("fr", "it", "pl"),
    )


def test_a_pooled_sequence_counts_each_position():
    model = small(schema=sequence("mean"))
    assert numbers(cost(model)) == (TOWER, DOMAIN_ROW, WORK + 5 * 4)
    assert cost(model).embeddings == 8 * 4
    hold(cost(model), model)


def test_attention_counts_its_unit_at_each_position():
    model = small(schema=sequence("din", "item"))
    unit = (16 * 80 + 80) + (80 * 40 + 40) + (40 + 1)
    work = 2 * 5 * 4  # q - k and q * k
    work += 5 * (2 * 16 * 80 + 80 + 80)
    work += 5 * (2 * 80 * 40 + 40 + 40)
    work += 5 * (2 * 40 + 1)
    work += 2 * 5 * 4  # the weighted sum
    assert numbers(cost(model)) == (TOWER + unit, DOMAIN_ROW, WORK + work)
    hold(cost(model), model)


def of_pooling(layer):
    query, keys = keras.Input((4,)), keras.Input((5, 4))
    mask = keras.Input((5,), dtype="bool")
    return keras.Model([query, keys, mask], layer(query, keys, mask))


def test_softmax_and_scale_of_attention_count():
    plain = cost(of_pooling(AttentionPooling((3,)))).flops
    soft = cost(of_pooling(AttentionPooling((3,), use_softmax=True))).flops
    assert soft == plain + 2 * 5


def test_interest_evolution_counts_both_grus():
    model = of_pooling(InterestEvolution(3))
    counted = cost(model)
    # Three gates; Keras's GRU has two biases, that with attention one.
    gru = 4 * 9 + 3 * 9 + 2 * 9
    augru = 3 * 9 + 3 * 9 + 9
    assert counted.shared == gru + 3 * 4 + augru
    # A gate is a sum and a sigmoid, the candidate a product, a sum and tanh,
    # the mixture four steps; attention multiplies the update gate.
    steps = 2 * (1 + 1) + (1 + 1 + 1) + 4
    work = 5 * (2 * 4 * 9 + 2 * 3 * 9 + 2 * 9 + steps * 3)
    work += 2 * 3 * 4 + 5 * 2 * 3 + 5
    work += 5 * (2 * 3 * 9 + 2 * 3 * 9 + 9 + (steps + 1) * 3)
    assert counted.flops == work
    hold(counted, model)


def test_pretrained_vectors_are_reported_apart_and_each_call_counts():
    schema = sequence("mean", vectors=6)
    model = small(schema=schema, vectors={"item": np.ones((8, 6))})
    counted = cost(model)
    assert (counted.pretrained, counted.embeddings) == (8 * 6, 0)
    # One projection 6 -> 4, of the item and of each item of the history.
    assert counted.shared == TOWER + 6 * 4
    assert layers(model)["projection.item"].flops == 2 * 6 * 4 * (1 + 5)
    hold(counted, model)


def test_numbers_are_scaled_and_buckets_are_embedded():
    schema = Schema(
        features=(
            DenseFeature("price", mean=2.0, stddev=3.0),
            DenseFeature("age", boundaries=(18.0, 65.0)),
        ),
        domain_name="country",
        domains=("fr", "it", "pl"),
    )
    model = small(schema=schema)
    counted = cost(model)
    assert counted.embeddings == 3 * 4
    assert counted.shared == TOWER + 4  # a number times a vector
    # Both checked, scaled, sorted into a bucket, and the product.
    assert counted.flops == WORK + 2 + 1 + 1 + 2 * 4
    hold(counted, model)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_model_is_counted_whole(tower):
    for backbone in BACKBONES:
        model = small(backbone, tower)
        hold(cost(model), model)


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_is_counted_whole(norm):
    model = small("deepfm", "star", norm=norm, auxiliary=True)
    hold(cost(model), model)


def test_a_loaded_model_costs_the_same(tmp_path):
    model = small("autoint", "ple", norm="partitioned", auxiliary=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert cost(loaded) == cost(model)


def test_one_domain_more_adds_one_domains_own():
    model = small("deepfm", "mlora", norm="partitioned")
    before, after = cost(model), cost(add_domain(model, "new"))
    assert after.domains == before.domains + 1
    assert after.per_domain == before.per_domain
    assert after.total == before.total + before.per_domain


def test_operations_between_layers_count_what_they_make():
    model = small()
    # The domain beside the prediction: cast, expanded and joined.
    both = cost(with_domain_output(model))
    assert both.flops == WORK + 1 + 1 + 2
    assert both.shared == TOWER


def test_plain_models_are_counted_call_by_call():
    x = keras.Input((5, 4))
    dense = keras.layers.Dense(4)
    once = keras.Model(x, dense(x))
    twice = keras.Model(x, dense(dense(x)))
    assert numbers(cost(once)) == (20, 0, 5 * (2 * 4 * 4 + 4))
    assert numbers(cost(twice)) == (20, 0, 2 * cost(once).flops)
    assert cost(twice).domains == 1
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    y = keras.Input((4,))
    nested = keras.Model(y, inner(inner(y)[:, :1] * y))
    hold(cost(nested), nested)
    work = {layer.layer: layer.flops for layer in cost(nested).layers}
    assert work["Dense"] == 2 * (2 * 4 * 3 + 3)
    assert cost(inner).flops == 2 * 4 * 3 + 3


def test_a_model_that_only_a_loss_reads_is_no_work():
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    critic = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras.Model([x, domain], DomainLoss(3)(x, critic(x), domain))
    assert numbers(cost(model)) == (4 * 3 + 3, 0, 0)


@pytest.mark.parametrize(
    ("equation", "shape", "output", "made"),
    [
        ("abc,cd->abd", (5, 4), (5, 3), 15),
        ("...c,cd->...d", (5, 4), (3,), 15),
        ("abc,bcd->ad", (5, 4), (3,), 3),
        ("ac,ncd->and", (4,), (5, 3), 15),
        ("anc,ncd->and", (5, 4), (5, 3), 15),
    ],
)
def test_einsum_counts_all_axes(equation, shape, output, made):
    x = keras.Input(shape)
    y = keras.layers.EinsumDense(equation, output, bias_axes="d")(x)
    relu = keras.layers.EinsumDense(equation, output, activation="relu")(x)
    product = 2 * 5 * 4 * 3
    assert cost(keras.Model(x, y)).flops == product + made
    assert cost(keras.Model(x, relu)).flops == product + made


@pytest.mark.parametrize("axes", [1, (1, 2), (-2, -1)])
def test_dot_counts_the_axis_it_sums(axes):
    x = keras.Input((5, 4))
    y = keras.Input((5, 3) if axes == 1 else (3, 5))
    model = keras.Model([x, y], keras.layers.Dot(axes)([x, y]))
    assert cost(model).flops == 2 * 5 * 4 * 3


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_has_the_weights_that_its_work_says(reset_after):
    x = keras.Input((5, 4))
    gru = keras.layers.GRU(3, reset_after=reset_after)
    counted = cost(keras.Model(x, gru(x)))
    # A weight is a multiply-add and a bias an addition, at each step.
    biases = (6 if reset_after else 3) * 3
    assert counted.flops == 5 * (2 * (counted.shared - biases) + biases + 33)


def test_a_layer_counts_only_what_it_has():
    x, domain = keras.Input((5,)), keras.Input((), dtype="int32")

    def work(layer):
        return cost(keras.Model([x, domain], layer(x, domain))).flops

    assert work(DomainDense(3, 2, use_bias=False)) == 2 * 5 * 3
    assert work(DomainDense(3, 2, activation="relu")) == 2 * 5 * 3 + 3 + 3
    adapter = {"rank": 2, "use_kernel": False, "use_bias": False}
    products = 2 * 2 * (5 + 3)
    assert work(MLoRADense(3, 2, **adapter)) == products + 3
    assert work(MLoRADense(3, 2, use_lora_bias=False, **adapter)) == products


class Scaled(keras.layers.Layer):
    """A user's own layer."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return x * self.scale


def test_a_layer_of_ones_own_needs_a_rule(monkeypatch):
    x = keras.Input((4,))
    model = keras.Model(x, Scaled(name="own")(x))
    with pytest.raises(CostError, match=r"'own' has .*RULES.*Received: Scaled"):
        cost(model)
    monkeypatch.setitem(RULES, Scaled, lambda layer, given, made: made[0][0])
    assert numbers(cost(model)) == (4, 0, 4)


def test_what_has_no_graph_or_no_length_is_said():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(CostError, match=r"no graph.*Received: Subclassed"):
        cost(Subclassed())
    with pytest.raises(CostError, match=r"no graph.*Received: Sequential"):
        cost(keras.Sequential([keras.layers.Dense(3)]))
    x = keras.Input((None, 4))
    model = keras.Model(x, ops.sum(x, axis=1))
    with pytest.raises(CostError, match=r"'sum'.*\(None, None, 4\)"):
        cost(model)


def profiled(model):
    """The work of one row in TensorFlow's own count of the frozen graph."""
    signature = [
        tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.name)
        for x in model.inputs
    ]
    names = [x.name for x in model.inputs]
    traced = tf.function(
        lambda *rows: (
            model(dict(zip(names, rows, strict=True)))
            if len(rows) > 1
            else model(*rows)
        )
    ).get_concrete_function(*signature)
    frozen = convert_to_constants.convert_variables_to_constants_v2(traced)
    profiler = tf.compat.v1.profiler
    builder = profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return profiler.profile(frozen.graph, options=options).total_float_ops


def test_tensorflow_counts_the_same_of_a_plain_model():
    x = keras.Input((12,))
    hidden = keras.layers.Dense(7)(x)
    model = keras.Model(x, keras.layers.Dense(3)(hidden))
    assert cost(model).flops == profiled(model) == 2 * 105 + 7 + 3


@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"fibinet"}))
def test_tensorflow_counts_about_the_same_of_backbones(backbone, monkeypatch):
    # It counts the checks of ids too, and doesn't count relu; pnn multiplies
    # fields in both orders. FiBiNET's einsum it can't count. Pair by pair,
    # AutoInt's attention sums a head's numbers by longer products.
    monkeypatch.setattr(field_attention, "FEW_FIELDS", 0)
    model = build_model(SCHEMA, backbone, "shared")
    assert cost(model).flops == pytest.approx(profiled(model), rel=0.02)


def test_every_kind_of_sequence_counts_in_a_built_model():
    schema = Schema(
        features=(
            SparseFeature("item", (1, 2, 3)),
            *(
                SequenceFeature(
                    pooling, (1, 2, 3), 4, pooling, "item", table="item"
                )
                for pooling in ("din", "dien")
            ),
        ),
        domain_name="country",
        domains=("fr", "it"),
    )
    model = small(schema=schema)
    hold(cost(model), model)
