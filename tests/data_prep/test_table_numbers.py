import json
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from data_prep import table_numbers
from data_prep import table_vocabulary
from data_prep.table_numbers import Moments
from data_prep.table_numbers import Sample
from data_prep.table_vocabulary import Vocabulary

CHUNKS = [1, 7, 64, 1000]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_moments_in_chunks_of_any_size(chunk, monkeypatch):
    monkeypatch.setattr(table_numbers, "_BLOCK", 64)
    values = np.random.RandomState(0).lognormal(8, 3, 1000).astype("float32")
    results = []
    for size in (chunk, 1000):
        moments = Moments()
        for start in range(0, 1000, size):
            moments.add(values[start : start + size])
        assert moments.total == 1000
        results.append(moments.finish())
    assert results[0] == results[1]  # to the last bit
    np.testing.assert_allclose(
        results[0],
        (values.mean(dtype=float), values.std(dtype=float)),
        rtol=1e-12,
    )


def test_moments_of_large_numbers():
    moments = Moments()
    moments.add(np.float32([2**24 - 3, 2**24 - 1]))
    assert moments.finish() == (2**24 - 2, 1.0)


NUMBERS = np.float32([0, 1e-45, -1e-40, 2**-126, 1.5, -3e38, 3e38, 7])


def test_moments_are_rounded_once():
    exact = [Fraction(float(value)) for value in NUMBERS]
    mean = sum(exact) / len(exact)
    squares = sum((value - mean) ** 2 for value in exact) / len(exact)
    moments = Moments()
    moments.add(NUMBERS)
    assert moments.finish() == (float(mean), math.sqrt(squares))
    few = Moments()
    few.add(NUMBERS[:3])
    assert few.finish()[0] == float(sum(exact[:3]) / 3)


def test_moments_of_parts_are_those_of_the_whole():
    whole, *parts = Moments(), Moments(), Moments()
    whole.add(NUMBERS)
    parts[0].add(NUMBERS[5:])
    parts[1].add(NUMBERS[:5])
    # Beam's workers tell each other in JSON; some have no numbers at all.
    for part in (parts[1], Moments()):
        parts[0].merge(*json.loads(json.dumps([part.sums, part.ends])))
    assert parts[0].sums == whole.sums
    assert parts[0].ends == whole.ends == (NUMBERS.min(), NUMBERS.max())
    again = Moments(whole.sums, whole.ends)
    assert again.finish() == whole.finish()
    assert again.farthest() == whole.farthest()


def test_few_rows_all_stay():
    sample = Sample(3, size=100)
    sample.add(np.arange(60))
    sample.add(np.arange(60, 100))
    assert sorted(sample.finish()) == [*range(100)]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_same_rows_stay_in_chunks_of_any_size(chunk):
    sample, whole = Sample(3, size=100), Sample(3, size=100)
    rows = np.arange(2000).reshape(1000, 2)
    whole.add(rows)
    for start in range(0, 1000, chunk):
        sample.add(rows[start : start + chunk])
    stayed = sample.finish()
    assert stayed.shape == (100, 2)
    np.testing.assert_array_equal(stayed[:, 0] + 1, stayed[:, 1])
    first = np.sort(stayed[:, 0])
    np.testing.assert_array_equal(first, np.sort(whole.finish()[:, 0]))
    # From everywhere in the log, and by the seed.
    assert np.bincount(first // 500, minlength=4).min() > 10
    other = Sample(4, size=100)
    other.add(rows)
    assert sorted(other.finish()[:, 0]) != first.tolist()


def test_samples_of_parts_are_that_of_the_whole():
    rows = np.arange(1000)
    whole, second, both = (Sample(3, size=100) for _ in range(3))
    whole.add(rows)
    second.add(rows[613:], 613)
    assert both.stayed() is None
    both.merge(*second.stayed())
    both.add(rows[:613], 0)
    assert sorted(both.finish()) == sorted(whole.finish())


def vocabulary(parts, min_count=1, max_size=100):
    made = Vocabulary("item", min_count)
    for values, counts in parts:
        made.add("item", pa.array(values), np.array(counts))
    return made.finish(max_size).to_pylist()


@pytest.mark.parametrize("merged", [1, 3, 1 << 20])
def test_the_most_frequent_value_comes_first(merged, monkeypatch):
    monkeypatch.setattr(table_vocabulary, "_MERGED", merged)
    parts = [
        ([10, 9, -1], [1, 2, 1]),
        ([], []),
        ([9, 7], [1, 4]),
        ([10, -1, 3], [1, 1, 1]),
    ]
    # 7: 4, 9: 3, -1: 2, 10: 2, 3: 1
    assert vocabulary(parts) == [7, 9, -1, 10, 3]
    assert vocabulary(parts, min_count=2) == [7, 9, -1, 10]
    assert vocabulary(parts, min_count=4) == [7]
    assert vocabulary([*reversed(parts)]) == [7, 9, -1, 10, 3]
    assert vocabulary(parts, max_size=5) == [7, 9, -1, 10, 3]


def test_text_is_sorted_by_its_characters():
    parts = [(["b", "10", "9", "é", "Z", "a"], [1] * 6)]
    assert vocabulary(parts) == ["10", "9", "Z", "a", "b", "é"]
