import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import domain_ops

FORMS = ("_masked", "_pure", "_gathered")
ROWS, WIDTH, OUT = 10, 5, 4


def arguments(num_domains, rank, domain=None, seed=0):
    """`x`, `A`, `B` and the rows' domains."""
    rng = np.random.default_rng(seed)
    if domain is None:
        domain = rng.permutation(np.arange(ROWS) % num_domains)
    return (
        rng.normal(size=(ROWS, WIDTH)).astype("float32"),
        rng.normal(size=(num_domains, WIDTH, rank)).astype("float32"),
        rng.normal(size=(num_domains, rank, OUT)).astype("float32"),
        np.broadcast_to(domain, ROWS).astype("int32"),
    )


def loop(x, a, b, domain):
    """Row by row."""
    rows = zip(x.astype("float64"), domain, strict=True)
    return np.array([row @ a[d] @ b[d] for row, d in rows])


def loop_gradients(x, a, b, domain):
    """Of `sum(y)`, row by row, with respect to x, A and B."""
    dx, da, db = (np.zeros(array.shape) for array in (x, a, b))
    ones = np.ones(OUT)
    for i, d in enumerate(domain):
        dx[i] += a[d] @ b[d] @ ones
        da[d] += np.outer(x[i], b[d] @ ones)
        db[d] += np.outer(x[i] @ a[d], ones)
    return dx, da, db


@pytest.fixture
def taken(monkeypatch):
    """Records which forms are computed, or made part of a graph."""
    forms = set()

    def record(form):
        original = getattr(domain_ops, form)

        def recorded(*tensors):
            forms.add(form)
            return original(*tensors)

        monkeypatch.setattr(domain_ops, form, recorded)

    for form in FORMS:
        record(form)
    return forms


CASES = [
    (form, num_domains, rank, domain)
    for form in FORMS
    for num_domains in (1, 3, 20)
    for rank in (1, 4)
    for domain in (None, 0, num_domains - 1)
    if form != "_pure" or domain is not None
]


@pytest.mark.parametrize(("form", "num_domains", "rank", "domain"), CASES)
def test_every_form_is_the_loop_over_rows(form, num_domains, rank, domain):
    tensors = arguments(num_domains, rank, domain)
    outputs = getattr(domain_ops, form)(*map(tf.constant, tensors))
    np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)


@pytest.mark.parametrize("num_domains", [1, 2, 40, 600])
@pytest.mark.parametrize("domain", [None, 0])
def test_low_rank_is_the_loop_over_rows(num_domains, domain):
    tensors = arguments(num_domains, 2, domain)
    outputs = domain_ops.low_rank(*map(tf.constant, tensors))
    np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)


@pytest.mark.parametrize(
    ("form", "domain"),
    [("_masked", None), ("_gathered", None), ("_masked", 2), ("_gathered", 2),
     ("_pure", 2)],
)  # fmt: skip
def test_every_form_has_the_loops_gradients(form, domain):
    tensors = arguments(4, 3, domain)
    *sources, ids = map(tf.constant, tensors)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = tf.reduce_sum(getattr(domain_ops, form)(*sources, ids))
    gradients = tape.gradient(outputs, sources)
    for actual, expected in zip(
        gradients, loop_gradients(*tensors), strict=True
    ):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(
            tf.convert_to_tensor(actual), expected, atol=1e-4
        )


ALWAYS = domain_ops.MASKED_ALWAYS_COLUMNS
MASKED = domain_ops.MASKED_DOMAINS


@pytest.mark.parametrize(
    ("num_domains", "rank", "forms"),
    [
        (1, 1, set()),
        (1, 2 * MASKED, set()),
        (2, ALWAYS // 2, {"_masked"}),
        (ALWAYS, 1, {"_masked"}),
        (ALWAYS + 1, 1, {"_masked", "_pure"}),
        (2, ALWAYS // 2 + 1, {"_masked", "_pure"}),
        (MASKED, 1, {"_masked", "_pure"}),
        (MASKED, 16, {"_masked", "_pure"}),
        (MASKED + 1, 1, {"_gathered", "_pure"}),
        (MASKED + 1, 16, {"_gathered", "_pure"}),
    ],
)
def test_domains_and_rank_choose_the_forms_of_a_graph(
    num_domains, rank, forms, taken
):
    tensors = map(tf.constant, arguments(num_domains, rank))
    tf.function(domain_ops.low_rank).get_concrete_function(*tensors)
    assert taken == forms


@pytest.mark.parametrize("num_domains", [ALWAYS + 1, MASKED + 1])
def test_a_batch_takes_the_pure_form_if_it_is_pure(num_domains, taken):
    domain_ops.low_rank(*map(tf.constant, arguments(num_domains, 1, 7)))
    assert taken == {"_pure"}
    taken.clear()
    domain_ops.low_rank(*map(tf.constant, arguments(num_domains, 1)))
    assert len(taken) == 1
    assert taken != {"_pure"}


def test_one_row_of_another_domain_makes_a_batch_mixed():
    # The first row alone decides for which domain a batch is pure.
    for other in (0, ROWS // 2, ROWS - 1):
        domain = np.full(ROWS, 5)
        domain[other] = 30
        tensors = arguments(ALWAYS + 1, 1, domain)
        outputs = domain_ops.low_rank(*map(tf.constant, tensors))
        np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)


@pytest.mark.parametrize(
    "num_domains",
    [1, 3, domain_ops.ONE_HOT_DOMAINS, domain_ops.ONE_HOT_DOMAINS + 1],
)
def test_domain_rows_are_the_rows(num_domains):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(num_domains, OUT)).astype("float32")
    domain = rng.integers(0, num_domains, ROWS)
    rows = domain_ops.domain_rows(tf.constant(table), tf.constant(domain))
    np.testing.assert_array_equal(rows, table[domain])


@pytest.mark.parametrize(
    ("more", "kind"), [(0, tf.Tensor), (1, tf.IndexedSlices)]
)
def test_few_domains_rows_have_a_dense_gradient(more, kind):
    num_domains = domain_ops.ONE_HOT_DOMAINS + more
    table = tf.Variable(tf.ones((num_domains, OUT)))
    with tf.GradientTape() as tape:
        rows = domain_ops.domain_rows(table.value(), tf.constant([3, 3, 5]))
        outputs = tf.reduce_sum(rows)
    gradient = tape.gradient(outputs, table)
    assert isinstance(gradient, kind)
    expected = np.zeros((num_domains, OUT))
    expected[[3, 5]] = [[2.0], [1.0]]
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16"])
def test_checked_ids_come_back_as_32_bits(dtype):
    ids = domain_ops.check_ids(tf.constant([0, 2, 1], dtype), 3)
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids, [0, 2, 1])


@pytest.mark.parametrize("wrong", [-1, 3, 100])
def test_an_id_out_of_range_is_named(wrong):
    ids = tf.constant([0, wrong, 2])
    check = tf.function(lambda ids: domain_ops.check_ids(ids, 3))
    for function in (lambda ids: domain_ops.check_ids(ids, 3), check):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(ids)
        assert "domain ids must be in [0, 3). Received:" in str(error.value)
        assert str(wrong) in str(error.value)
