import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from mlora_tf import cutting
from mlora_tf import data
from mlora_tf.batches import Batches
from mlora_tf.columns import DataError
from mlora_tf.cutting import cutter
from mlora_tf.memory_order import MemoryOrder
from mlora_tf.split import Split
from mlora_tf.streamed_batches import BLOCK
from mlora_tf.streamed_batches import StreamedBatches
from mlora_tf.streamed_batches import deal
from mlora_tf.streaming import RowGroup
from mlora_tf.streaming import StreamedSplit
from tests import streams

SEQUENTIAL = {"mode": "per_domain"}
PROPORTIONAL = {"mode": "per_domain", "domain_sampling": "proportional"}
UNIFORM = {"mode": "per_domain", "domain_sampling": "uniform"}
MIXED = {"mode": "mixed"}
SLIDING = {"mode": "sliding_window", "window_rows": 10}
ALL = (MIXED, SEQUENTIAL, PROPORTIONAL, UNIFORM, SLIDING)
STREAMED = (MIXED, PROPORTIONAL, UNIFORM, SLIDING)


def name(mode):
    return mode.get("domain_sampling", mode["mode"])


MODES = pytest.mark.parametrize("mode", [MIXED, SEQUENTIAL], ids=name)
EVERY = pytest.mark.parametrize("mode", ALL, ids=name)
STREAMS = pytest.mark.parametrize("mode", STREAMED, ids=name)

DOMAIN = np.repeat([2, 0, 3], [9, 2, 12])[
    np.random.default_rng(0).permutation(23)
]


def numbered():
    """23 rows that tell their number; domain 1 has none, domain 0 only two."""
    row = np.arange(23, dtype="int32")
    return Split({"row": row, "domain": DOMAIN.astype("int32")}, row / 100)


def batches(mode, batch_size=4, seed=5, **options):
    return Batches(numbered(), batch_size, **mode, seed=seed, **options)


# --- In memory ---------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_every_row_is_in_every_epoch_and_batches_are_full(mode, batch_size):
    made = batches(mode, batch_size)
    for epoch in range(3):
        order = made.order(epoch)
        assert order.shape == (made.steps, batch_size)
        if mode is not UNIFORM:
            assert set(order.ravel()) == set(range(23))


@MODES
@pytest.mark.parametrize("batch_size", [23, 40])
def test_a_batch_may_have_all_rows_and_more(mode, batch_size):
    order = batches(mode, batch_size).order(0)
    assert set(order.ravel()) == set(range(23))


@EVERY
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_there_are_no_more_batches_than_needed(mode, batch_size):
    groups = [9, 2, 12] if mode in (SEQUENTIAL, PROPORTIONAL) else [23]
    needed = sum(-(-rows // batch_size) for rows in groups)
    assert batches(mode, batch_size).steps == needed


def test_rows_come_once_but_for_the_last_batchs_top_up():
    counts = np.bincount(batches(MIXED).order(0).ravel())
    assert sorted(counts) == [1] * 22 + [2]
    order = batches(MIXED).order(0).ravel()
    assert order[23] == order[0]


def test_the_orders_of_the_first_release_are_kept():
    # Resumed runs, and results that name a seed, depend on them.
    np.testing.assert_array_equal(batches(MIXED, 8).order(1)[0], MIXED_ORDER)
    np.testing.assert_array_equal(
        batches(SEQUENTIAL, 8).order(1)[0], SEQUENTIAL_ORDER
    )


MIXED_ORDER = [2, 4, 6, 20, 5, 18, 14, 19]
SEQUENTIAL_ORDER = [3, 20, 3, 20, 3, 20, 3, 20]


@EVERY
def test_the_order_follows_from_seed_and_epoch_alone(mode):
    made = batches(mode)
    first = made.order(3)
    made.order(4)
    made.epoch = 7
    np.testing.assert_array_equal(made.order(3), first)
    np.testing.assert_array_equal(batches(mode).order(3), first)


@EVERY
def test_epochs_and_seeds_differ(mode):
    orders = [batches(mode).order(epoch) for epoch in range(3)]
    orders += [batches(mode, seed=6).order(epoch) for epoch in range(3)]
    assert len({order.tobytes() for order in orders}) == 6


def test_rows_are_shuffled():
    order = batches(MIXED).order(0).ravel()
    assert np.mean(order[:23] == np.arange(23)) < 0.3


def test_mixed_batches_are_mixed():
    order = batches(MIXED).order(0)
    assert any(len(set(DOMAIN[rows])) > 1 for rows in order)


def test_batches_per_domain_are_pure_and_cover_all_rows():
    made = batches(SEQUENTIAL)
    sequences = set()
    for epoch in range(10):
        order = made.order(epoch)
        assert set(order.ravel()) == set(range(23))
        domains = [set(DOMAIN[rows]) for rows in order]
        assert all(len(one) == 1 for one in domains)
        # One domain after the other: 3, 1 and 3 batches in a row.
        sequence = [one.pop() for one in domains]
        changes = sum(a != b for a, b in itertools.pairwise(sequence))
        assert changes == 2
        sequences.add(tuple(sequence))
    assert len(sequences) > 1


@pytest.mark.parametrize("mode", [SEQUENTIAL, PROPORTIONAL], ids=name)
def test_a_domain_smaller_than_a_batch_fills_one_by_itself(mode):
    order = batches(mode).order(0)
    (small,) = [rows for rows in order if set(DOMAIN[rows]) == {0}]
    assert set(small) == set(np.flatnonzero(DOMAIN == 0))
    assert len(small) == 4


def test_proportional_batches_come_in_any_order_of_the_domains():
    sequences = set()
    for epoch in range(10):
        order = batches(PROPORTIONAL).order(epoch)
        domains = DOMAIN[order]
        assert (domains == domains[:, :1]).all()
        sequences.add(tuple(domains[:, 0]))
        for domain, rows in zip(*np.unique(DOMAIN, return_counts=True),
                                strict=True):  # fmt: skip
            own = order[domains == domain]
            assert len(own) == -(-rows // 4) * 4
            top_up = len(own) - rows
            # Two rows may fill a batch twice.
            assert len(set(own)) == rows
            assert np.bincount(own).max() <= 1 + -(-top_up // rows)
    changes = [
        sum(a != b for a, b in itertools.pairwise(sequence))
        for sequence in sequences
    ]
    assert len(sequences) > 5
    assert max(changes) > 2


def test_uniform_batches_are_of_all_domains_as_often():
    domain = np.repeat([0, 1, 3], [2, 98, 900]).astype("int32")
    order = MemoryOrder(domain, 10, cutter("per_domain", "uniform", 10, None),
                        seed=0)  # fmt: skip
    assert order.pass_steps == 100
    drawn = domain[order.between(0, 3000)]
    assert (drawn == drawn[:, :1]).all()
    counts = np.bincount(drawn[:, 0])
    assert counts[2] == 0
    # 1000 each; the standard deviation of a binomial is 26.
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 130


def test_uniform_rows_come_again_once_all_of_the_domain_were_used():
    domain = np.repeat([0, 1], [15, 985]).astype("int32")
    order = MemoryOrder(domain, 10, cutter("per_domain", "uniform", 10, None),
                        seed=0)  # fmt: skip
    rows = order.between(0, 100).ravel()
    small, large = rows[domain[rows] == 0], rows[domain[rows] == 1]
    for start in range(0, len(small) - 15, 15):
        assert set(small[start : start + 15]) == set(range(15))
    assert len(set(large)) == len(large) < 985
    first, second = small[:15], small[15:30]
    assert (first != second).any()


def test_a_sliding_window_has_the_latest_rows():
    rows, window, size = 1000, 60, 7
    domain = np.zeros(rows, np.int32)
    order = MemoryOrder(
        domain, size, cutter("sliding_window", "sequential", size, window), 0
    )
    made = order.between(0, order.pass_steps)
    buffer, arrived = set(range(window)), window
    waits = []
    for step, batch in enumerate(made[:-1]):
        # No row before it has arrived, and none twice.
        assert set(batch) <= buffer
        assert len(set(batch)) == size
        buffer -= set(batch)
        new = range(arrived, min(arrived + size, rows))
        buffer |= set(new)
        arrived += len(new)
        waits += [step - max(row - window, 0) / size for row in batch]
    assert buffer <= set(made[-1])
    assert len(buffer) == rows - size * (len(made) - 1)
    # The last batch is topped up with what was drawn just before.
    assert set(made[-1]) - buffer <= set(made[-2])
    # A row leaves with the probability 7/60 a step: after 60/7 on average.
    assert 6 < np.mean(waits[: 80 * size]) < 12


def test_rows_of_a_sliding_window_are_shuffled():
    order = MemoryOrder(
        np.zeros(400, np.int32),
        10,
        cutter("sliding_window", "sequential", 10, 100),
        0,
    )
    first = order.between(0, 1)[0]
    assert first.max() > 50
    assert (np.sort(first) != first).any()
    assert sorted(order.between(0, 40).ravel()) == list(range(400))


def test_no_row_waits_for_a_window_that_never_fills():
    order = MemoryOrder(
        np.zeros(23, np.int32),
        4,
        cutter("sliding_window", "sequential", 4, 100),
        0,
    )
    counts = np.bincount(order.between(0, 6).ravel())
    assert sorted(counts) == [1] * 22 + [2]


@EVERY
def test_the_dataset_yields_the_order_of_its_epoch(mode):
    made = batches(mode)
    for epoch in (0, 2, 2, 1):
        made.epoch = epoch
        yielded = list(made.dataset)
        assert len(yielded) == made.steps
        for rows, (inputs, targets) in zip(
            made.order(epoch), yielded, strict=True
        ):
            # Those of a domain side by side, in their order.
            rows = rows[np.argsort(DOMAIN[rows], kind="stable")]
            np.testing.assert_array_equal(inputs["row"], rows)
            np.testing.assert_array_equal(inputs["domain"], DOMAIN[rows])
            np.testing.assert_array_equal(targets["ctr"], (rows[:, None] / 100))


@EVERY
def test_the_dataset_knows_its_shapes(mode):
    made = batches(mode, epoch_steps=3)
    inputs, targets = made.dataset.element_spec
    assert inputs["row"].shape == (4,)
    assert inputs["row"].dtype == "int32"
    assert targets["ctr"].shape == (4, 1)
    assert made.dataset.cardinality() == made.steps == 3


@EVERY
def test_no_epochs_end_waits_for_tensorflows_tuner(mode):
    made = batches(mode)
    for dataset in (made.dataset, made.rest(2)):
        assert dataset.options().autotune.enabled is False


@EVERY
@pytest.mark.parametrize("steps", [1, 4, 6, 17])
def test_an_epoch_may_be_any_part_of_passes(mode, steps):
    made = batches(mode)
    passes = np.concatenate([made.order(number) for number in range(20)])
    parts = batches(mode, epoch_steps=steps)
    assert (parts.steps, parts.pass_steps) == (steps, made.steps)
    for epoch in (0, 1, 5, 2, 3):
        np.testing.assert_array_equal(
            parts.order(epoch), passes[epoch * steps : (epoch + 1) * steps]
        )


@EVERY
def test_workers_in_memory_have_parts_of_the_same_batches(mode):
    made = batches(mode, 6)
    shards = [batches(mode, 6, shard=(i, 3)) for i in range(3)]
    for epoch in (0, 1):
        yielded = []
        for shard in shards:
            shard.epoch = epoch
            yielded.append([inputs["row"].numpy() for inputs, _ in
                            shard.dataset])  # fmt: skip
        # Each worker's own are sorted by domain.
        parts = np.split(made.order(epoch), 3, axis=1)
        for own, part in zip(yielded, parts, strict=True):
            np.testing.assert_array_equal(np.sort(own), np.sort(part))
            assert (np.diff(DOMAIN[np.array(own)], axis=1) >= 0).all()


@pytest.mark.parametrize("domains", [1, 3, 300, 70_000])
def test_rows_of_a_domain_come_side_by_side(domains):
    rng = np.random.default_rng(0)
    domain = rng.integers(0, domains, 500)
    before = rng.permutation(500).reshape(10, 50)
    after = cutting.sorted_by_domain(before, domain)
    for old, new in zip(before, after, strict=True):
        expected = sorted(old, key=lambda row: domain[row])
        np.testing.assert_array_equal(new, expected)


# --- Mistakes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "pure"}, r"mixed.*per_domain.*sliding.*Received: 'pure'"),
        (
            {"mode": "per_domain", "domain_sampling": "random"},
            r"sequential.*proportional.*uniform.*Received: 'random'",
        ),
        ({"domain_sampling": "uniform"}, "needs batches='per_domain'. Rec"),
        ({"mode": "sliding_window"}, "needs window_rows"),
        (
            {"mode": "sliding_window", "window_rows": 3},
            "at least a batch. Received: window_rows=3, batch_size=4",
        ),
        ({"window_rows": 100}, "buffer of batches='sliding_window'"),
        ({"epoch_steps": 0}, "epoch_steps must be at least 1"),
        ({"shard": (2, 2)}, r"shard must be.*shard=\(2, 2\)"),
        ({"shard": (-1, 2)}, r"shard must be.*shard=\(-1, 2\)"),
        ({"shard": (0, 3)}, "the batch divides.*batch_size=4"),
    ],
)
def test_arguments_that_do_not_go_together_raise(arguments, said):
    with pytest.raises(ValueError, match=said):
        Batches(numbered(), 4, seed=0, **arguments)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_rows(batch_size):
    with pytest.raises(ValueError, match="batch_size must be positive"):
        batches(MIXED, batch_size)


@MODES
def test_no_rows_no_batches(mode):
    nothing = numbered().take(np.arange(0))
    with pytest.raises(DataError, match="no row to train on"):
        Batches(nothing, 4, **mode, seed=0)


@EVERY
@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_domain_that_the_schema_lacks_is_named(mode, wrong):
    rows = numbered()
    rows.domain[17] = wrong
    said = rf"'domain', row 17: ids must be in \[0, 4\). Received: {wrong}"
    with pytest.raises(DataError, match=said):
        Batches(rows, 4, **mode, seed=0, num_domains=4)


# --- Streamed: without files -------------------------------------------------


class Groups(StreamedSplit):
    """Rows that are in memory, but read as row groups; tells what is read."""

    @classmethod
    def of(cls, split, sizes, num_domains=4):
        made = cls(
            streams.schema(len(split), num_domains),
            tuple(
                RowGroup(start, None, index, start, size)
                for index, (start, size) in enumerate(
                    zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False)
                )
            ),
        )
        object.__setattr__(made, "rows", split)
        object.__setattr__(made, "reads", [])
        return made

    def subset(self, indices):
        made = Groups(self.schema, tuple(self.groups[i] for i in indices))
        object.__setattr__(made, "rows", self.rows)
        object.__setattr__(made, "reads", self.reads)
        return made

    def numbers(self, index):
        group = self.groups[index]
        return np.arange(group.first_row, group.first_row + group.rows)

    def domains_of(self, index):
        return self.rows.domain[self.numbers(index)]

    def read(self, index, extra=()):
        self.reads.append(self.groups[index].index)
        return self.rows.take(self.numbers(index))


def streamed(split, sizes, mode, size, *, shard=(0, 1), buffer_rows=30, seed=1):
    count = shard[1]
    window = mode.get("window_rows")
    cut = cutter(
        mode["mode"],
        mode.get("domain_sampling", "sequential"),
        size // count,
        None if window is None else max(window, size) // count,
    )
    return StreamedBatches(
        Groups.of(split, sizes),
        size // count,
        cut,
        seed=seed,
        buffer_rows=buffer_rows,
        shard=shard,
    )


def rows_of(stream, position, steps):
    """The row numbers of the batches from a position on."""
    blocks, found = stream.stream(position), []
    while sum(map(len, found)) < steps:
        block = next(blocks)
        assert block.inputs["row"].shape[1:] == block.domain.shape[1:]
        assert len(block) <= BLOCK
        found.append(block.inputs["row"])
    blocks.close()
    return np.concatenate(found)[:steps]


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8)
GIVEN = given(
    sizes=SIZES,
    size=st.integers(1, 24),
    buffer_rows=st.integers(1, 80),
    seed=st.integers(0, 2**32 - 1),
)


@STREAMS
@GIVEN
@settings(max_examples=40, deadline=None)
def test_each_row_is_streamed_once_a_pass(mode, sizes, size, buffer_rows, seed):
    split = streams.numbered(sum(sizes), seed=seed)
    made = streamed(
        split, sizes, mode, size, buffer_rows=buffer_rows, seed=seed
    )
    for number in (0, 3):
        found = rows_of(made, number * made.pass_steps, made.pass_steps)
        assert found.shape == (made.pass_steps, size)
        if mode is UNIFORM:
            domains = split.domain[found]
            assert (domains == domains[:, :1]).all()
            assert made.pass_steps == -(-sum(sizes) // size)
            continue
        counts = np.bincount(found.ravel(), minlength=sum(sizes))
        assert counts.min() >= 1
        if mode is PROPORTIONAL:
            domains = split.domain[found]
            assert (domains == domains[:, :1]).all()
            needed = -(-np.bincount(split.domain) // size)
            assert made.pass_steps == needed.sum()
            # No more repeated rows than a domain's last batch lacks.
            cells = np.bincount(domains[:, 0])
            np.testing.assert_array_equal(cells, needed)
        else:
            assert made.pass_steps == -(-sum(sizes) // size)
            # All repeated rows are in the last batch.
            before = found[:-1].ravel()
            assert len(set(before)) == len(before)
        if mode is SLIDING:
            window = max(mode["window_rows"], size)
            for step, batch in enumerate(found):
                assert batch.max() < window + step * size


@STREAMS
@GIVEN
@settings(max_examples=40, deadline=None)
def test_a_stream_can_start_anywhere(mode, sizes, size, buffer_rows, seed):
    split = streams.numbered(sum(sizes), seed=seed)
    made = streamed(
        split, sizes, mode, size, buffer_rows=buffer_rows, seed=seed
    )
    steps = 2 * made.pass_steps
    whole = rows_of(made, 0, steps)
    rng = np.random.default_rng(seed)
    for start in rng.integers(0, steps, 3).tolist():
        found = rows_of(made, start, steps - start)
        np.testing.assert_array_equal(found, whole[start:])


@STREAMS
@GIVEN
@settings(max_examples=30, deadline=None)
def test_each_row_is_one_workers(mode, sizes, size, buffer_rows, seed):
    workers = min(len(sizes), 3)
    split = streams.numbered(sum(sizes), seed=seed)
    shards = [
        streamed(
            split,
            sizes,
            mode,
            size * workers,
            shard=(index, workers),
            buffer_rows=buffer_rows,
            seed=seed,
        )
        for index in range(workers)
    ]
    (steps,) = {shard.pass_steps for shard in shards}
    for shard in shards:
        whole = rows_of(shard, 0, steps + 1)
        np.testing.assert_array_equal(rows_of(shard, steps - 1, 2), whole[-2:])
    found = [set(rows_of(shard, 0, steps).ravel()) for shard in shards]
    assert sum(map(len, found)) == len(set().union(*found))
    if mode is not UNIFORM:
        assert set().union(*found) == set(range(sum(sizes)))


def test_passes_workers_and_seeds_differ_and_runs_do_not():
    split = streams.numbered(200)
    for mode in STREAMED:
        made = streamed(split, [50] * 4, mode, 20)
        first = rows_of(made, 0, made.pass_steps)
        again = streamed(split, [50] * 4, mode, 20)
        np.testing.assert_array_equal(rows_of(again, 0, made.pass_steps), first)
        other = streamed(split, [50] * 4, mode, 20, seed=2)
        second = rows_of(made, made.pass_steps, made.pass_steps)
        assert (second != first).any()
        assert (rows_of(other, 0, made.pass_steps) != first).any()


def test_workers_and_windows_have_orders_of_their_own():
    # With one order for all, a batch would have the same places of each
    # worker's rows: neighbours in the log would meet in every epoch.
    split = streams.numbered(400)
    one, other = (
        streamed(split, [10] * 40, MIXED, 20, shard=(index, 2))
        for index in (0, 1)
    )
    assert one._windows(0) != other._windows(0)
    assert one._rng(0, 0).random() != other._rng(0, 0).random()
    # Nor is a window's order another's, or that of the row groups.
    assert one._rng(0, 0).random() != one._rng(0, 1).random()
    groups = [group for window in one._windows(0) for group in window]
    assert groups != one._rng(0, 0).permutation(len(groups)).tolist()


def test_streamed_rows_are_shuffled_on_both_levels():
    split = streams.numbered(1000)
    made = streamed(split, [50] * 20, MIXED, 10, buffer_rows=200)
    found = rows_of(made, 0, 100)
    windows = found.reshape(5, 200) // 50
    starts = [tuple(np.unique(window)) for window in windows]
    assert all(len(groups) == 4 for groups in starts)
    assert starts[0] != (0, 1, 2, 3)
    # Every batch has rows of several groups.
    assert np.mean([len(set(batch // 50)) for batch in found]) > 2.5


def test_streamed_proportional_batches_mix_their_domains():
    split = streams.numbered(2000)
    made = streamed(split, [100] * 20, PROPORTIONAL, 10, buffer_rows=500)
    domains = split.domain[rows_of(made, 0, made.pass_steps)[:, 0]]
    changes = np.mean(domains[1:] != domains[:-1])
    assert changes > 0.3


def test_streamed_uniform_batches_are_of_all_domains_as_often():
    rng = np.random.default_rng(0)
    domain = rng.permutation(np.repeat([0, 1, 3], [30, 970, 9000]))
    split = Split(
        {
            "row": np.arange(10_000, dtype="int32"),
            "domain": domain.astype("int32"),
        },
        np.zeros(10_000, "float32"),
    )
    made = streamed(split, [500] * 20, UNIFORM, 10, buffer_rows=2000)
    found = rows_of(made, 0, 3000)
    counts = np.bincount(domain[found[:, 0]])
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 130
    small = found[domain[found[:, 0]] == 0]
    assert set(small.ravel()) == set(np.flatnonzero(domain == 0))


def test_a_domain_that_a_window_lacks_is_drawn_from_its_latest_rows():
    domain = np.repeat([0, 1, 1, 1], 20).astype("int32")
    split = Split(
        {"row": np.arange(80, dtype="int32"), "domain": domain},
        np.zeros(80, "float32"),
    )
    for seed in range(5):
        made = streamed(split, [20] * 4, UNIFORM, 5, buffer_rows=20, seed=seed)
        found = rows_of(made, 0, 16)
        seen = np.flatnonzero(domain[found[:, 0]] == 0)
        if not len(seen):
            continue
        # Four batches a window: all its rows in the first, 5 of them later.
        window = seen[0] // 4
        later = found[[step for step in seen if step // 4 > window]]
        assert len(set(later.ravel())) <= 5


def test_a_domain_of_few_rows_in_a_window_is_drawn_from_its_latest_rows():
    # Two rows of domain 0 in each window; three windows have a batch of five.
    domain = np.tile(np.repeat([0, 1], [2, 18]), 4).astype("int32")
    split = Split(
        {"row": np.arange(80, dtype="int32"), "domain": domain},
        np.zeros(80, "float32"),
    )
    drawn = []
    for seed in range(5):
        made = streamed(split, [20] * 4, UNIFORM, 5, buffer_rows=20, seed=seed)
        later = rows_of(made, 0, 16)[8:]
        drawn += [set(batch) for batch in later if domain[batch[0]] == 0]
    assert {len(rows) for rows in drawn} == {5}


def test_a_start_in_the_middle_reads_little():
    split = streams.numbered(2000)
    reads = {}
    for mode in (MIXED, SLIDING):
        made = streamed(split, [100] * 20, mode, 10, buffer_rows=200)
        rows_of(made, 155, 1)
        reads[name(mode)] = len(set(made.split.reads))
    # The window, the one before and the one that comes; not the 14 before.
    assert reads["mixed"] <= 6
    assert reads["sliding_window"] <= 5


def test_rows_in_memory_do_not_grow_with_the_data(monkeypatch):
    held, peak = [0], [0]

    class Counted(np.ndarray):
        def __del__(self):
            held[0] -= len(self)

    def counted(self, index, extra=()):
        split = self.rows.take(self.numbers(index))
        label = split.label.view(Counted)
        held[0] += len(label)
        peak[0] = max(peak[0], held[0])
        return Split(split.inputs, label)

    monkeypatch.setattr(Groups, "read", counted)
    peaks = []
    for groups in (20, 80):
        peak[0] = 0
        split = streams.numbered(groups * 100)
        for mode in STREAMED:
            made = streamed(split, [100] * groups, mode, 10, buffer_rows=400)
            rows_of(made, 0, made.pass_steps)
        peaks.append(peak[0])
    # As read: two windows, and a group's start.
    assert peaks[1] <= max(peaks[0], 900)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_groups_are_dealt_evenly(workers):
    rows = np.random.default_rng(0).integers(1, 100, 40).tolist()
    hands = deal(rows, workers)
    assert sorted(itertools.chain(*hands)) == list(range(40))
    loads = [sum(rows[group] for group in hand) for hand in hands]
    assert max(loads) - min(loads) <= 100
    assert all(hand == sorted(hand) for hand in hands)


def test_every_worker_needs_a_row_group():
    split = streams.numbered(100)
    with pytest.raises(DataError, match=r"2 row group\(s\) for 3 workers"):
        streamed(split, [50, 50], MIXED, 9, shard=(0, 3))


# --- Streamed: from files ----------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = streams.numbered(1000)
    return streams.write(
        tmp_path_factory.mktemp("data") / "rows", rows, [100] * 10, [3, 3, 4]
    )


def yielded(made, epoch):
    made.epoch = epoch
    found = list(made.dataset)
    assert len(found) == made.steps
    for inputs, targets in found:
        assert targets["ctr"].shape == (32, 1)
        assert inputs["row"].shape == (32,)
    return np.array([inputs["row"] for inputs, _ in found])


@STREAMS
def test_streamed_epochs_go_on_in_any_order(folder, mode):
    mode = {**mode, "window_rows": 150} if mode is SLIDING else mode
    train = data.load(folder, "stream").train
    options = {"seed": 1, "buffer_rows": 250}
    whole = np.concatenate(
        [yielded(Batches(train, 32, **mode, **options), i) for i in range(2)]
    )
    made = Batches(train, 32, **mode, epoch_steps=7, **options)
    # 1 goes on after 0; 5 starts anew; 2, after 6, is given up.
    for epoch in (0, 1, 5, 6, 3):
        expected = whole[7 * epoch : 7 * epoch + 7]
        np.testing.assert_array_equal(yielded(made, epoch), expected)
        if epoch == 6:
            made.epoch = 2
            next(iter(made.dataset))
    assert made.error is None


def test_labels_and_domains_stay_with_their_rows(folder):
    rows = streams.numbered(1000)
    made = Batches(data.load(folder, "stream").train, 32, seed=0)
    for inputs, targets in made.dataset:
        numbers = inputs["row"].numpy()
        np.testing.assert_array_equal(inputs["domain"], rows.domain[numbers])
        np.testing.assert_array_equal(targets["ctr"][:, 0], rows.label[numbers])


def test_one_domain_after_the_other_cannot_be_streamed(folder):
    train = data.load(folder, "stream").train
    said = "reading='memory', or use domain_sampling='proportional'"
    with pytest.raises(ValueError, match=said):
        Batches(train, 32, mode="per_domain", seed=0)


def test_streamed_rows_have_no_order_in_memory(folder):
    made = Batches(data.load(folder, "stream").train, 32, seed=0)
    with pytest.raises(ValueError, match="no numbers"):
        made.order(0)


def test_streamed_workers_share_the_steps(folder):
    train = data.load(folder, "stream").train
    shards = [
        Batches(train, 64, seed=0, shard=(i, 2), buffer_rows=250)
        for i in range(2)
    ]
    assert shards[0].steps == shards[1].steps == 16
    rows = [set(yielded(shard, 0).ravel()) for shard in shards]
    assert not rows[0] & rows[1]
    assert collections.Counter(rows[0] | rows[1]) == dict.fromkeys(
        range(1000), 1
    )


def test_what_a_generator_meets_is_kept(tmp_path):
    rows = streams.numbered(100)
    folder = streams.write(tmp_path / "rows", rows, [50, 50])
    made = Batches(data.load(folder, "stream").train, 10, seed=0)
    (folder / "train.parquet").write_bytes(b"0" * 5000)
    with pytest.raises(Exception, match="can't be read as Parquet"):
        list(made.dataset)
    assert isinstance(made.error, DataError)
