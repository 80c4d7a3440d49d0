import json

import numpy as np

from experiments.benchmarks import harness
from experiments.benchmarks import routing


def test_alternatives_take_turns():
    calls = []
    medians = harness.interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3
    )
    assert calls == ["a", "b"] * 4  # once untimed
    assert set(medians) == {"a", "b"}
    assert min(medians.values()) >= 0


def test_a_result_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.write_result("speed", "python -m it", {"rows": [1]})
    result = json.loads((tmp_path / "speed.json").read_text())
    assert result["command"] == "python -m it"
    assert result["rows"] == [1]
    assert {"commit", "tensorflow", "threads"} <= set(result["provenance"])


def test_routing_times_every_form(monkeypatch):
    monkeypatch.setattr(routing, "ROUNDS", 1)
    row = routing.time_forms(domains=5, rank=2)
    assert (row["domains"], row["columns"]) == (5, 10)
    forms = ("masked", "gathered", "pure", "chosen", "chosen_pure")
    assert np.all([row[form] > 0 for form in forms])
