"""Smaller ranks for some domains: zeros that training leaves where they are."""

import keras
import numpy as np
import pytest

from mlora_tf import add_domain
from mlora_tf import limit_ranks
from mlora_tf.layers import domain_ops
from mlora_tf.optimizers import Adam
from mlora_tf.optimizers import LazyAdam
from mlora_tf.transform import domain_variables
from tests import goldens

SHARES = {"it": 0.5, "pl": 0.01}
RANKS = {"fr": 4, "it": 2, "pl": 1}
"""What is left to each domain of the adapters of rank 4."""

TOWERS = {
    "mlora": {"rank": 4},
    "star": {"mlora": "factorized", "rank": 4},
    "star beside": {"mlora": "parallel", "rank": 4},
}


def make(tower="mlora", **options):
    golden = goldens.ModelGolden(
        "mlp", tower.split()[0], {**TOWERS[tower], **options}
    )
    return golden.make()


def factors(model):
    """Each adapter's `A` and `B`, `(D, in, rank)` and `(D, rank, units)`."""
    own = domain_variables(model)
    return list(
        zip(
            (one.numpy() for one in own if one.name.endswith("kernel_a")),
            (one.numpy() for one in own if one.name.endswith("kernel_b")),
            strict=True,
        )
    )


def check_limited(model):
    found = factors(model)
    assert len(found) == 2
    for a, b in found:
        for domain, rank in enumerate(RANKS.values()):
            assert a[domain, :, :rank].all()
            assert b[domain, :rank].all()
            assert not a[domain, :, rank:].any()
            assert not b[domain, rank:].any()


def fit(model, optimizer, rows=64):
    rng = np.random.default_rng(0)
    inputs = {
        "item": rng.integers(0, 8, rows),
        "shop": rng.integers(0, 4, rows),
        "domain": rng.integers(0, 3, rows),
    }
    model.compile(optimizer, loss={"ctr": "binary_crossentropy"})
    model.fit(
        inputs,
        {"ctr": rng.integers(0, 2, rows).astype("float32")},
        batch_size=16,
        epochs=3,
        verbose=0,
    )


@pytest.mark.parametrize("tower", TOWERS)
def test_a_domain_keeps_its_share_of_each_rank(tower):
    model = make(tower)
    before = factors(model)
    limit_ranks(model, SHARES)
    check_limited(model)
    for old, new in zip(before, factors(model), strict=True):
        for one, other in zip(old, new, strict=True):
            np.testing.assert_array_equal(other[0], one[0])
            kept = other != 0
            np.testing.assert_array_equal(other[kept], one[kept])


def test_a_share_is_of_the_nearest_rank_and_may_be_the_whole():
    model = make()
    limit_ranks(model, {"fr": 1, "it": 0.7, "pl": 0.6})
    for a, _ in factors(model):
        assert [np.linalg.matrix_rank(one) for one in a] == [4, 3, 2]


OPTIMIZERS = {
    "adam": lambda: Adam(1e-2),
    "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
    "lazy_adam": lambda: LazyAdam(1e-2),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-2, momentum=0.9),
}


@pytest.mark.parametrize(
    ("tower", "optimizer"),
    [
        *(("mlora", name) for name in OPTIMIZERS),
        *((name, "adam") for name in TOWERS if name != "mlora"),
    ],
)
def test_training_leaves_the_zeros(tower, optimizer):
    options = {} if tower != "mlora" else {"lora_regularizer": "l1l2"}
    model = make(tower, **options)
    limit_ranks(model, SHARES)
    before = factors(model)
    fit(model, OPTIMIZERS[optimizer]())
    check_limited(model)
    for old, new in zip(before, factors(model), strict=True):
        for domain, rank in enumerate(RANKS.values()):
            # What is left of each adapter has trained.
            assert (old[0][domain, :, :rank] != new[0][domain, :, :rank]).any()
            assert (old[1][domain, :rank] != new[1][domain, :rank]).any()


def test_the_forms_for_many_domains_leave_them_too(monkeypatch):
    monkeypatch.setattr(domain_ops, "merging_pays", lambda num_domains: False)
    model = make()
    limit_ranks(model, SHARES)
    fit(model, Adam(1e-2))
    check_limited(model)


def test_it_is_the_model_with_such_adapters():
    model = make()
    limit_ranks(model, SHARES)
    a, b = factors(model)[0]
    layer = model.get_layer("hidden.0")
    x = np.random.default_rng(1).normal(size=(3, a.shape[1])).astype("float32")
    outputs = layer(x, np.arange(3)).numpy()
    for domain, rank in enumerate(RANKS.values()):
        dense = x[domain] @ layer.kernel.numpy() + layer.bias.numpy()
        low = x[domain] @ a[domain, :, :rank] @ b[domain, :rank]
        sums = dense + low + layer.lora_bias.numpy()[domain]
        np.testing.assert_allclose(
            outputs[domain], keras.ops.elu(sums), rtol=1e-4, atol=1e-5
        )


def test_a_new_domain_has_the_whole_rank():
    model = make()
    limit_ranks(model, SHARES)
    larger = add_domain(model, "pt")
    for a, _ in factors(larger):
        assert [np.linalg.matrix_rank(one) for one in a][:3] == [4, 2, 1]
        assert a[3].all()


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"de": 0.5}, r"must be one of \['fr', 'it', 'pl'\].*'de'"),
        ({"it": 0.0}, r"in \(0, 1\]. Received: 0.0 for 'it'"),
        ({"it": 1.5}, r"in \(0, 1\]. Received: 1.5 for 'it'"),
        ({"it": float("nan")}, "Received: nan for 'it'"),
        ({"it": "half"}, "Received: 'half' for 'it'"),
    ],
)
def test_what_is_no_share_is_refused_and_nothing_changes(shares, message):
    model = make()
    before = factors(model)
    with pytest.raises(ValueError, match=message):
        limit_ranks(model, {"pl": 0.5, **shares})
    for old, new in zip(before, factors(model), strict=True):
        np.testing.assert_array_equal(old[0], new[0])
        np.testing.assert_array_equal(old[1], new[1])


@pytest.mark.parametrize(
    ("tower", "options"),
    [
        ("shared", {}),
        ("star", {}),
        ("mlora", {"rank": 0}),
        ("mlora", {"shared_adapter": True}),
    ],
)
def test_a_model_without_ranks_is_refused(tower, options):
    model = goldens.ModelGolden("mlp", tower, options).make()
    with pytest.raises(ValueError, match="no low-rank adapters per domain"):
        limit_ranks(model, {"it": 0.5})
