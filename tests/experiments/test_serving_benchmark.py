import collections
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from experiments.benchmarks import serving
from experiments.benchmarks import serving_requests
from tests import own_flags

TINY = serving.Settings(
    domains=(2, 3),
    candidates=(4, 6),
    calls=2,
    num_ids=9,
    hidden_units=(4,),
    most_signatures=2,
)
ALTERNATIVES = [
    "plain",
    "domain",
    "domain_bfloat16",
    "mixed",
    "mixed_all",
    "raw",
    "unmerged",
]


@pytest.fixture(scope="module")
def content():
    """As it is read from a file."""
    return json.loads(json.dumps(serving.measure(TINY)))


@pytest.mark.slow
def test_every_alternative_is_timed_at_every_size(content):
    found = [
        (row["domains"], row["candidates"], row["alternative"])
        for row in content["rows"]
    ]
    assert found == [
        (domains, candidates, name)
        for domains in (2, 3)
        for candidates in (4, 6)
        for name in ALTERNATIVES
    ]
    for row in content["rows"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["rows_per_second"] == pytest.approx(
            1000 * row["candidates"] / row["p50_ms"]
        )
        assert (row["ratio"] == 1) == (row["alternative"] == "plain")


def test_the_goal_is_of_the_folded_domain(content):
    for line, domains in zip(content["lines"], (2, 3), strict=True):
        assert line["goals"] == [1.05]
        assert line["measured"] == [
            row["ratio"]
            for row in content["rows"]
            if (row["domains"], row["alternative"]) == (domains, "domain")
        ]


def test_sizes_are_beside_those_of_separate_models(content):
    two, three = content["sizes"]
    assert (two["signatures_of_domains"], three["signatures_of_domains"]) == (
        2,
        1,
    )
    for size in (two, three):
        parts = size["bytes"]
        assert parts["mlora_without_signatures"] < parts["mlora"]
        assert size["bytes_of_separate_models"] == (
            size["domains"] * parts["plain"]
        )


def test_turns_are_interleaved_and_each_follows_every_other():
    called = []
    alternatives = {n: lambda n=n: called.append(n) for n in ("a", "b", "c")}
    seconds = serving.times(alternatives, 60)
    assert called[:60] == ["a", "b", "c"] * 20
    timed = called[60:]
    turns = [timed[i : i + 3] for i in range(0, 180, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert [len(taken) for taken in seconds.values()] == [60, 60, 60]
    follows = collections.Counter(
        pair for turn in turns for pair in itertools.pairwise(turn)
    )
    assert len(follows) == 6
    # 20 each, give or take.
    assert all(10 <= count <= 30 for count in follows.values())


def test_the_calls_that_are_compared_are_asked_alike():
    asked = {}

    class Signatures:
        def __init__(self, export):
            self.export = export

        def __getitem__(self, name):
            def answer(**inputs):
                asked[self.export, name] = sorted(inputs)
                return {"ctr": tf.zeros(1)}

            return answer

    models = serving_requests.models(2, 9, (4,))
    exports = ("plain", "mlora", "mlora_bfloat16")
    alternatives = serving_requests.alternatives(
        {export: Signatures(export) for export in exports},
        "domain_a",
        models,
        serving_requests.request(3, 2, 9),
    )
    for name in ("plain", "domain"):
        alternatives[name]()
    assert asked == {
        ("plain", "domain_a"): ["item", "user"],
        ("mlora", "domain_a"): ["item", "user"],
    }
    graph = serving_requests._graph(models.mlora)
    assert isinstance(graph, tf.types.experimental.ConcreteFunction)


def test_a_summary_is_of_its_own_turns():
    seconds = [0.002] * 98 + [0.004] * 2
    plain = [0.001] * 98 + [0.004] * 2
    found = serving.summary(seconds, plain, 100)
    assert found["p50_ms"] == pytest.approx(2)
    assert found["p99_ms"] == pytest.approx(1000 * np.percentile(seconds, 99))
    assert found["rows_per_second"] == pytest.approx(50_000)
    assert found["ratio"] == pytest.approx(2)


def test_all_alternatives_answer_the_same(monkeypatch):
    answers = {}

    def once(alternatives, calls):
        answers.update({name: work() for name, work in alternatives.items()})
        return {name: [1.0] for name in alternatives}

    monkeypatch.setattr(serving, "times", once)
    serving.measure(serving.Settings((2,), (5,), 1, 9, hidden_units=(4,)))
    for name in ("domain", "raw", "unmerged"):
        np.testing.assert_allclose(answers[name], answers["mixed"], atol=1e-6)
    assert np.abs(answers["domain_bfloat16"] - answers["mixed"]).max() < 0.01
    # Of two domains, every other row is of the first one.
    other = np.abs(answers["mixed_all"] - answers["mixed"])[:, 0] > 1e-7
    assert not other[::2].any()
    assert other[1::2].any()


def test_the_result_and_the_table_are_written(content, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "measure", lambda settings: content)
    arguments = f"--output={tmp_path}", "--calls=7"
    with own_flags.given(serving.define_flags, *arguments):
        serving.main()
    result = json.loads((tmp_path / "serving.json").read_text())
    assert result["rows"] == content["rows"]
    command = "python -m experiments.benchmarks.serving --calls=7"
    assert result["command"] == command
    assert "commit" in result["provenance"]
    text = (tmp_path / "serving.md").read_text()
    assert text.count("\n| 2 |") == 2 * 7 + 1
    assert "D = 3: requests of 4, 6 candidates" in text
