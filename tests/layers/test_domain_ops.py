import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from mlora_tf.layers import domain_blocks
from mlora_tf.layers import domain_ops
from mlora_tf.layers import domain_parts
from mlora_tf.layers import domain_tables
from mlora_tf.layers import low_rank_forms

FORMS = {
    "masked": low_rank_forms,
    "pure": low_rank_forms,
    "gathered": low_rank_forms,
    "blocked": low_rank_forms,
    "_parted": domain_ops,
    "by_parts": domain_ops,
    "by_blocks": domain_ops,
}
LOW_RANK_FORMS = tuple(FORMS)[:5]
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


def loop(x, a, b, domain, bias=None):
    """Row by row."""
    rows = zip(x.astype("float64"), domain, strict=True)
    bias = np.zeros((len(a), OUT)) if bias is None else bias
    return np.array([row @ a[d] @ b[d] + bias[d] for row, d in rows])


def biases(num_domains):
    rng = np.random.default_rng(1)
    return rng.normal(size=(num_domains, OUT)).astype("float32")


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

    def record(module, form):
        original = getattr(module, form)

        def recorded(*tensors):
            forms.add(form)
            return original(*tensors)

        monkeypatch.setattr(module, form, recorded)

    for form, module in FORMS.items():
        record(module, form)
    return forms


CASES = [
    (form, num_domains, rank, domain)
    for form in LOW_RANK_FORMS
    for num_domains in (1, 3, 20)
    for rank in (1, 4)
    for domain in (None, 0, num_domains - 1)
    if form != "pure" or domain is not None
]


@pytest.mark.parametrize(("form", "num_domains", "rank", "domain"), CASES)
def test_every_form_is_the_loop_over_rows(form, num_domains, rank, domain):
    tensors = arguments(num_domains, rank, domain)
    for bias in (None, biases(num_domains)):
        outputs = getattr(FORMS[form], form)(*map(tf.constant, tensors), bias)
        expected = loop(*tensors, bias)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("num_domains", [1, 2, 40, 200, 600])
@pytest.mark.parametrize("domain", [None, 0])
def test_low_rank_is_the_loop_over_rows(num_domains, domain):
    tensors = arguments(num_domains, 2, domain)
    for bias in (None, biases(num_domains)):
        outputs = domain_ops.low_rank(*map(tf.constant, tensors), bias=bias)
        expected = loop(*tensors, bias)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "domain"),
    [
        ("pure", 2),
        *(
            (form, domain)
            for form in ("masked", "gathered", "blocked", "_parted")
            for domain in (None, 2, np.arange(ROWS) // 3)
        ),
    ],
)
def test_every_form_has_the_loops_gradients(form, domain):
    tensors = arguments(4, 3, domain)
    *sources, ids = map(tf.constant, tensors)
    bias = tf.constant(biases(4))
    with tf.GradientTape() as tape:
        tape.watch([*sources, bias])
        outputs = tf.reduce_sum(getattr(FORMS[form], form)(*sources, ids, bias))
    gradients = tape.gradient(outputs, [*sources, bias])
    rows = np.bincount(tensors[-1], minlength=4)
    np.testing.assert_allclose(
        tf.convert_to_tensor(gradients.pop()), np.tile(rows[:, None], OUT)
    )
    for actual, expected in zip(
        gradients, loop_gradients(*tensors), strict=True
    ):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(
            tf.convert_to_tensor(actual), expected, atol=1e-4
        )


ALWAYS = domain_ops.MASKED_ALWAYS_COLUMNS


@pytest.mark.parametrize(
    ("num_domains", "rank", "forms"),
    [
        (1, 1, {"pure"}),
        (1, 2 * ALWAYS, {"pure"}),
        (2, ALWAYS // 2, {"masked"}),
        (ALWAYS, 1, {"masked"}),
        (ALWAYS + 1, 1, {"masked", "pure"}),
        (2, ALWAYS // 2 + 1, {"masked", "pure"}),
        (39, 1, {"gathered", "pure"}),
        (70, 8, {"blocked", "pure"}),
    ],
)
def test_domains_and_rank_choose_the_forms_of_a_graph(
    num_domains, rank, forms, taken
):
    tensors = map(tf.constant, arguments(num_domains, rank))
    tf.function(domain_ops.low_rank).get_concrete_function(*tensors)
    assert taken == forms


@pytest.mark.parametrize(
    ("num_domains", "rank", "widths", "form"),
    [
        # A layer from 256 to 128 at temperature 32.
        (2, 4, 384, "masked"),
        (10, 4, 384, "_parted"),
        (50, 4, 384, "_parted"),
        (100, 4, 384, "blocked"),
        (300, 4, 384, "blocked"),
        (1000, 4, 384, "gathered"),
        # A small layer, a wide one.
        (10, 2, 192, "masked"),
        (30, 8, 640, "_parted"),
        (domain_ops.PARTED_DOMAINS + 1, 8, 640, "blocked"),
    ],
)
def test_the_cost_decides_the_form(num_domains, rank, widths, form):
    chosen = domain_ops.low_rank_form(num_domains, rank, widths)
    assert chosen is getattr(FORMS[form], form)


def test_no_small_products_on_a_gpu(monkeypatch):
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["a GPU"]
    )
    chosen = domain_ops.low_rank_form(30, 8, 640)
    assert chosen is low_rank_forms.masked
    assert domain_ops.low_rank_form(100, 8, 640) is low_rank_forms.gathered


@pytest.mark.parametrize("num_domains", [ALWAYS + 1, 60])
def test_a_batch_takes_the_pure_form_if_it_is_pure(num_domains, taken):
    domain_ops.low_rank(*map(tf.constant, arguments(num_domains, 1, 7)))
    assert taken == {"pure"}
    taken.clear()
    domain_ops.low_rank(*map(tf.constant, arguments(num_domains, 1)))
    assert len(taken) == 1
    assert taken != {"pure"}


def test_one_row_of_another_domain_makes_a_batch_mixed():
    # The first row alone decides for which domain a batch is pure.
    for other in (0, ROWS // 2, ROWS - 1):
        domain = np.full(ROWS, 5)
        domain[other] = 30
        tensors = arguments(ALWAYS + 1, 1, domain)
        outputs = domain_ops.low_rank(*map(tf.constant, tensors))
        np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)


# --- Full rank ---------------------------------------------------------------

PARTED = domain_ops.PARTED_DOMAINS
BLOCK = domain_blocks.BLOCK_ROWS


def parted(x, kernels, domain):
    return domain_parts.by_parts(x, domain, [kernels], tf.matmul)


def blocks(x, kernels, domain):
    return domain_blocks.by_blocks(x, kernels, domain, lambda kernel: kernel)


FULL_RANK_FORMS = {
    "full_rank": domain_ops.full_rank,
    "parted": parted,
    "blocks": blocks,
}
MANY = (1, 2, 3, 20, 127, 128, 129, PARTED, PARTED + 1, 600)

every_full_form = pytest.mark.parametrize(
    "form", FULL_RANK_FORMS.values(), ids=FULL_RANK_FORMS
)


def full_arguments(num_domains, domain, seed=0):
    """`x`, the kernels and the rows' domains."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(len(domain), WIDTH)).astype("float32"),
        rng.normal(size=(num_domains, WIDTH, OUT)).astype("float32"),
        np.asarray(domain, "int32"),
    )


def full_loop(x, kernels, domain):
    """Outputs row by row, and gradients of the sum of their squares."""
    outputs = np.zeros((len(x), OUT))
    dx, dkernels = np.zeros(x.shape), np.zeros(kernels.shape)
    for i, d in enumerate(domain):
        outputs[i] = x[i].astype("float64") @ kernels[d]
        dx[i] = kernels[d] @ (2 * outputs[i])
        dkernels[d] += np.outer(x[i], 2 * outputs[i])
    return outputs, dx, dkernels


def outputs_and_gradients(form, tensors):
    """As `full_loop` has them."""
    x, kernels, domain = map(tf.constant, tensors)
    with tf.GradientTape() as tape:
        tape.watch([x, kernels])
        outputs = form(x, kernels, domain)
        loss = tf.reduce_sum(tf.square(outputs))
    gradients = tape.gradient(loss, [x, kernels])
    return outputs, *map(tf.convert_to_tensor, gradients)


def assert_it_is_the_loop(form, tensors):
    actual = outputs_and_gradients(form, tensors)
    for result, expected in zip(actual, full_loop(*tensors), strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    _, kernels, domain = tensors
    absent = np.setdiff1d(np.arange(len(kernels)), domain)
    assert not actual[2].numpy()[absent].any()


@every_full_form
@pytest.mark.parametrize("num_domains", MANY)
def test_every_full_form_is_the_loop_over_rows(form, num_domains):
    rng = np.random.default_rng(1)
    rows = 3 * BLOCK + 5
    for domain in (
        [],
        [num_domains - 1],
        rng.integers(0, num_domains, BLOCK),
        rng.integers(0, num_domains, rows),
        np.minimum(rng.zipf(1.5, rows), num_domains) - 1,
        np.full(rows, num_domains - 1),
    ):
        assert_it_is_the_loop(form, full_arguments(num_domains, domain))


@every_full_form
@pytest.mark.parametrize("num_domains", [1, 3, PARTED + 1])
def test_a_full_form_takes_any_number_of_rows_in_one_graph(form, num_domains):
    traced = tf.function(form)
    function = traced.get_concrete_function(
        tf.TensorSpec((None, WIDTH)),
        tf.TensorSpec((num_domains, WIDTH, OUT)),
        tf.TensorSpec((None,), tf.int32),
    )
    assert function.structured_outputs.shape.as_list() == [None, OUT]
    rng = np.random.default_rng(2)
    for rows in (0, 1, BLOCK + 3):
        for most in (1, num_domains):
            tensors = full_arguments(num_domains, rng.integers(0, most, rows))
            expected, _, _ = full_loop(*tensors)
            outputs = function(*map(tf.constant, tensors))
            np.testing.assert_allclose(outputs, expected, atol=1e-5)


@every_full_form
@pytest.mark.parametrize("num_domains", [1, 3, PARTED + 1])
def test_a_full_form_keeps_the_static_shape(form, num_domains):
    function = tf.function(form).get_concrete_function(
        *map(tf.constant, full_arguments(num_domains, [0] * 7))
    )
    assert function.structured_outputs.shape == (7, OUT)


def test_where_there_is_a_gpu_all_compiles(monkeypatch):
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["a GPU"]
    )
    domain = [2, 0, 1, 1, 2, 0, 2]
    compiled = tf.function(domain_ops.full_rank, jit_compile=True)
    assert_it_is_the_loop(compiled, full_arguments(3, domain))
    for num_domains in (3, 60):
        tensors = arguments(num_domains, 4)
        compiled = tf.function(domain_ops.low_rank, jit_compile=True)
        outputs = compiled(*map(tf.constant, tensors))
        np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)


@every_full_form
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_full_form_keeps_the_dtype(form, dtype):
    for num_domains in (1, 3, PARTED + 1):
        x, kernels, domain = full_arguments(num_domains, [0] * 5)
        outputs = form(
            tf.cast(x, dtype), tf.cast(kernels, dtype), tf.constant(domain)
        )
        assert outputs.dtype == dtype
        np.testing.assert_allclose(
            tf.cast(outputs, "float32"), x @ kernels[0], atol=0.1
        )


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(0, 2 * BLOCK + 1), min_size=1, max_size=12))
def test_there_are_blocks_enough_whatever_the_mix(counts):
    domain = np.repeat(np.arange(len(counts)), counts)
    domain = np.random.default_rng(0).permutation(domain)
    tensors = full_arguments(len(counts), domain)
    outputs = blocks(*map(tf.constant, tensors))
    expected, _, _ = full_loop(*tensors)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("used", [1, 2, 5])
def test_there_are_blocks_enough_when_each_domain_wastes_most(used):
    # One row more than whole blocks: all the other rows of a block are empty.
    domain = np.repeat(np.arange(used), BLOCK + 1)
    assert_it_is_the_loop(blocks, full_arguments(5, domain))


def test_empty_rows_of_a_block_and_idle_blocks_have_no_influence():
    # Zeros times infinity would be no number.
    x, kernels, domain = full_arguments(4, [0, 2, 0, 2, 2])
    expected, _, _ = full_loop(x, kernels, domain)
    kernels[[1, 3]] = np.inf
    for form in (blocks, parted):
        outputs = form(*map(tf.constant, (x, kernels, domain)))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("num_domains", "forms"),
    [
        (1, set()),
        (2, {"by_parts"}),
        (PARTED, {"by_parts"}),
        (PARTED + 1, {"by_blocks"}),
    ],
)
def test_domains_choose_the_full_form_of_a_graph(num_domains, forms, taken):
    tensors = map(tf.constant, full_arguments(num_domains, [0, 0]))
    tf.function(domain_ops.full_rank).get_concrete_function(*tensors)
    assert taken == forms


def test_a_pure_batch_takes_no_blocks(taken):
    tensors = full_arguments(PARTED + 1, [7] * 5)
    assert_it_is_the_loop(domain_ops.full_rank, tensors)
    assert taken == set()
    for other in (0, 2, 4):
        domain = np.full(5, 7)
        domain[other] = 3
        tensors = full_arguments(PARTED + 1, domain)
        assert_it_is_the_loop(domain_ops.full_rank, tensors)
        assert taken == {"by_blocks"}
        taken.clear()


def test_other_backends_take_the_blocks(taken, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "other")
    assert_it_is_the_loop(
        domain_ops.full_rank, full_arguments(3, [2, 0, 1, 1, 2])
    )
    assert taken == {"by_blocks"}


@pytest.mark.parametrize("num_domains", [1, 3, PARTED + 1])
@pytest.mark.parametrize("domain", [[0] * 5, [0, 2, 1, 2, 0], [0, 0, 1, 2, 2]])
def test_full_rank_multiplies_shared_weights_and_adds_a_bias(
    num_domains, domain
):
    domain = np.minimum(domain, num_domains - 1)
    x, kernels, domain = full_arguments(num_domains, domain)
    shared = np.random.default_rng(3).normal(size=(WIDTH, OUT))
    shared, bias = shared.astype("float32"), biases(num_domains)
    expected, _, _ = full_loop(x, shared * kernels, domain)
    outputs = domain_ops.full_rank(
        *map(tf.constant, (x, kernels, domain)), shared=shared, bias=bias
    )
    np.testing.assert_allclose(outputs, expected + bias[domain], atol=1e-5)


def test_rows_that_are_sorted_are_not_sorted_again(monkeypatch):
    moved = []
    original = tf.dynamic_stitch
    monkeypatch.setattr(
        *(tf, "dynamic_stitch"),
        lambda *given: moved.append(1) or original(*given),
    )
    for domain, times in (([0, 0, 1, 2, 2], 0), ([0, 1, 0, 2, 2], 2)):
        moved.clear()
        tensors = full_arguments(3, domain)
        outputs = parted(*map(tf.constant, tensors))
        expected, _, _ = full_loop(*tensors)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
        assert len(moved) == times


# --- Merged ------------------------------------------------------------------


def merged_arguments(num_domains, domain, rank=2):
    """`x`, `W`, `A`, `B`, the biases and the rows' domains."""
    rng = np.random.default_rng(4)
    x, a, b, domain = arguments(num_domains, rank, domain)
    kernel = rng.normal(size=(WIDTH, OUT)).astype("float32")
    return x, kernel, a, b, biases(num_domains), domain


def merged_loop(x, kernel, a, b, bias, domain):
    """Row by row."""
    rows = zip(x.astype("float64"), domain, strict=True)
    outputs = [row @ (kernel + a[d] @ b[d]) + bias[d] for row, d in rows]
    return np.maximum(np.array(outputs), 0)


def merged(x, kernel, a, b, bias, domain):
    return domain_ops.merged(
        x, kernel, a, b, domain, bias=bias, activation=keras.ops.relu
    )


@pytest.mark.parametrize("num_domains", [1, 2, 7, 40])
@pytest.mark.parametrize("mix", ["any", "sorted", "pure", "one row apart"])
def test_merged_is_the_loop_over_rows(num_domains, mix):
    last = num_domains - 1
    domain = {
        "any": None,
        "sorted": np.arange(ROWS) * num_domains // ROWS,
        "pure": last,
        "one row apart": [last] * (ROWS - 1) + [0],
    }[mix]
    tensors = merged_arguments(num_domains, domain)
    outputs = merged(*map(tf.constant, tensors))
    np.testing.assert_allclose(outputs, merged_loop(*tensors), atol=1e-5)
    x, kernel, a, b, _, ids = map(tf.constant, tensors)
    zero = np.zeros((num_domains, OUT))
    np.testing.assert_allclose(
        keras.ops.relu(domain_ops.merged(x, kernel, a, b, ids)),
        merged_loop(*tensors[:4], zero, tensors[-1]),
        atol=1e-5,
    )


@pytest.mark.parametrize("domain", [None, 2, np.arange(ROWS) // 3])
def test_merged_has_the_gradients_of_the_sum_of_its_parts(domain):
    *sources, ids = map(tf.constant, merged_arguments(4, domain))

    def apart(x, kernel, a, b, bias, domain):
        adapted = domain_ops.low_rank(x, a, b, domain, bias=bias)
        return tf.nn.relu(tf.matmul(x, kernel) + adapted)

    found = []
    for form in (merged, apart):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            loss = tf.reduce_sum(tf.square(form(*sources, ids)))
        found.append(tape.gradient(loss, sources))
    for actual, expected in zip(*found, strict=True):
        expected = tf.convert_to_tensor(expected)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def tower(x, kernel, a, b, bias, domain, between=lambda x: x):
    """Two layers, one behind the other."""
    hidden = between(merged(x, kernel, a, b, bias, domain))
    back = tf.transpose(kernel), tf.transpose(b, (0, 2, 1))
    return domain_ops.merged(hidden, *back, tf.transpose(a, (0, 2, 1)), domain)


@pytest.mark.parametrize("domain", [None, np.arange(ROWS) // 3])
def test_rows_stay_apart_from_layer_to_layer(domain, monkeypatch):
    splits = []
    original = tf.split
    monkeypatch.setattr(
        tf,
        "split",
        lambda *a, **kw: splits.append(1) or original(*a, **kw),
    )
    *sources, ids = map(tf.constant, merged_arguments(4, domain))
    results = []
    for between, times in ((lambda x: x, 1), (tf.identity, 2)):
        splits.clear()
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = tower(*sources, ids, between)
            loss = tf.reduce_sum(tf.square(outputs))
        assert len(splits) == times
        results.append([outputs, *tape.gradient(loss, sources)])
    for kept, parted_again in zip(*results, strict=True):
        np.testing.assert_allclose(kept, parted_again, rtol=1e-5, atol=1e-4)


def test_a_graph_never_makes_what_only_the_next_layer_reads():
    # The tensor between the layers is the batch's rows put together again.
    tensors = [*map(tf.constant, merged_arguments(3, None))]
    function = tf.function(tower).get_concrete_function(*tensors)
    joins = [
        operation
        for operation in function.graph.get_operations()
        if operation.type == "ConcatV2"
    ]
    needed, queue = set(), [function.outputs[0].op]
    while queue:
        operation = queue.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            queue += [tensor.op for tensor in operation.inputs]
    assert len(joins) == 2
    assert sum(join.name in needed for join in joins) == 1


def test_parts_of_other_domains_are_not_taken():
    *sources, ids = map(tf.constant, merged_arguments(3, None))
    x, kernel, a, b, bias, _ = merged_arguments(3, None)
    others = (np.asarray(ids) + 1) % 3
    first = merged(*sources, ids)
    back = (
        tf.transpose(sources[1]),
        tf.transpose(sources[3], (0, 2, 1)),
        tf.transpose(sources[2], (0, 2, 1)),
    )
    outputs = domain_ops.merged(first, *back, tf.constant(others))
    hidden = merged_loop(x, kernel, a, b, bias, np.asarray(ids))
    expected = [
        row @ (kernel + a[d] @ b[d]).T
        for row, d in zip(hidden, others, strict=True)
    ]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_merging_pays_for_few_domains_on_a_cpu(monkeypatch):
    most = domain_ops.MERGED_DOMAINS
    assert domain_ops.merging_pays(2)
    assert domain_ops.merging_pays(most)
    assert not domain_ops.merging_pays(most + 1)
    with domain_ops.pure_batches():
        assert domain_ops.merging_pays(most + 1)
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["a GPU"]
    )
    assert domain_ops.merging_pays(1)
    assert not domain_ops.merging_pays(2)


# --- Pure batches ------------------------------------------------------------


def merged_of(x, a, b, domain):
    return domain_ops.merged(x, tf.zeros((WIDTH, OUT)), a, b, domain)


PURE = {
    "low_rank": lambda *tensors: domain_ops.low_rank(*tensors),
    "full_rank": lambda x, a, b, domain: domain_ops.full_rank(
        x, tf.matmul(a, b), domain
    ),
    "merged": merged_of,
}


@pytest.mark.parametrize("function", PURE.values(), ids=PURE)
@pytest.mark.parametrize("num_domains", [1, 2, 20, 40, PARTED + 1])
def test_who_says_that_batches_are_pure_gets_the_pure_form_alone(
    function, num_domains, taken
):
    signature = [
        tf.TensorSpec((None, WIDTH)),
        tf.TensorSpec((num_domains, WIDTH, 2)),
        tf.TensorSpec((num_domains, 2, OUT)),
        tf.TensorSpec((None,), tf.int32),
    ]
    with domain_ops.pure_batches():
        traced = tf.function(function).get_concrete_function(*signature)
    assert taken <= {"pure"}
    for domain in (0, num_domains - 1):
        tensors = arguments(num_domains, 2, domain)
        outputs = traced(*map(tf.constant, tensors))
        np.testing.assert_allclose(outputs, loop(*tensors), atol=1e-5)
    tensors = arguments(num_domains, 2, 0)
    empty = traced(tensors[0][:0], *tensors[1:3], tensors[3][:0])
    assert empty.shape == (0, OUT)
    if num_domains > 1:
        mixed = map(tf.constant, arguments(num_domains, 2, [0] * 9 + [1]))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="trace it outside"
        ):
            traced(*mixed)


def test_the_word_for_pure_batches_ends_and_can_be_taken_back():
    tensors = arguments(3, 2)
    expected = loop(*tensors)
    tensors = [*map(tf.constant, tensors)]
    with domain_ops.pure_batches():
        with domain_ops.pure_batches(False):
            outputs = domain_ops.low_rank(*tensors)
            np.testing.assert_allclose(outputs, expected, atol=1e-5)
        with pytest.raises(tf.errors.InvalidArgumentError, match="outside"):
            domain_ops.low_rank(*tensors)
    with pytest.raises(KeyError), domain_ops.pure_batches():
        raise KeyError
    outputs = domain_ops.low_rank(*tensors)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


# --- Rows and sums -----------------------------------------------------------


@pytest.mark.parametrize(
    "num_domains",
    [1, 3, domain_tables.ONE_HOT_DOMAINS, domain_tables.ONE_HOT_DOMAINS + 1],
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
    num_domains = domain_tables.ONE_HOT_DOMAINS + more
    table = tf.Variable(tf.ones((num_domains, OUT)))
    with tf.GradientTape() as tape:
        rows = domain_ops.domain_rows(table.value(), tf.constant([3, 3, 5]))
        outputs = tf.reduce_sum(rows)
    gradient = tape.gradient(outputs, table)
    assert isinstance(gradient, kind)
    expected = np.zeros((num_domains, OUT))
    expected[[3, 5]] = [[2.0], [1.0]]
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


@pytest.mark.parametrize(
    "num_domains",
    [1, 3, domain_tables.ONE_HOT_DOMAINS, domain_tables.ONE_HOT_DOMAINS + 1],
)
@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_domain_sums_are_sums_over_each_domains_rows(num_domains, rows):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, OUT)).astype("float32")
    domain = rng.integers(0, (num_domains + 1) // 2, rows).astype("int32")
    expected = np.zeros((num_domains, OUT))
    for row, d in zip(values, domain, strict=True):
        expected[d] += row
    weights = rng.normal(size=(num_domains, OUT)).astype("float32")
    tensor = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        sums = domain_ops.domain_sums(tensor, tf.constant(domain), num_domains)
        loss = tf.reduce_sum(sums * weights)
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    assert not sums.numpy()[(num_domains + 1) // 2 :].any()
    gradient = tape.gradient(loss, tensor)
    np.testing.assert_allclose(gradient, weights[domain], atol=1e-6)


def test_domain_sums_of_any_number_of_rows_are_one_graph():
    for num_domains in (3, domain_tables.ONE_HOT_DOMAINS + 1):
        function = tf.function(
            lambda values, domain, num_domains=num_domains: (
                domain_ops.domain_sums(values, domain, num_domains)
            )
        ).get_concrete_function(
            tf.TensorSpec((None, OUT)), tf.TensorSpec((None,), tf.int32)
        )
        for rows in (0, 2):
            sums = function(tf.ones((rows, OUT)), tf.ones(rows, tf.int32))
            assert sums.shape == (num_domains, OUT)
            np.testing.assert_array_equal(sums[1], np.full(OUT, rows))


# --- Checked ids -------------------------------------------------------------


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


def test_padding_may_be_let_through():
    padded = tf.constant([[0, 2], [-1, -1]])
    ids = domain_ops.check_ids(padded, 3, "item", lowest=-1)
    np.testing.assert_array_equal(ids, padded)
    for wrong in (-2, 3):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"item ids must be in \[-1, 3\). Received:",
        ):
            domain_ops.check_ids(tf.constant([wrong]), 3, "item", lowest=-1)


def test_other_backends_cast_ids_alone(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "other")
    ids = domain_ops.check_ids(tf.constant([5], tf.int64), 3)
    assert ids.dtype == tf.int32


def test_ids_are_checked_once_for_a_range():
    graph_of = tf.function(
        lambda ids: domain_ops.check_ids(domain_ops.check_ids(ids, 3), 3)
    ).get_concrete_function(tf.TensorSpec((None,), tf.int32))
    kinds = [one.type for one in graph_of.graph.get_operations()]
    assert kinds.count("Assert") + kinds.count("If") == 1
    checked = domain_ops.check_ids(tf.constant([2]), 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 2\)"):
        domain_ops.check_ids(checked, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[3, 4\)"):
        domain_ops.check_ids(checked, 4, lowest=3)
