import json

import numpy as np

from experiments.benchmarks import attention
from experiments.benchmarks import harness
from experiments.benchmarks import routing
from experiments.benchmarks import tuner
from mlora_tf.layers import domain_ops

FORMS = (
    "masked",
    "gathered",
    "blocked",
    "parted",
    "pure",
    "chosen",
    "chosen_pure",
    "shared",
    "merged",
    "padded",
)


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
    assert np.all([row[form] > 0 for form in FORMS])


def test_routing_leaves_out_a_form_that_is_never_taken(monkeypatch):
    monkeypatch.setattr(routing, "ROUNDS", 1)
    monkeypatch.setattr(domain_ops, "PARTED_DOMAINS", 4)
    row = routing.time_forms(domains=5, rank=2)
    assert row["parted"] is row["merged"] is row["padded"] is None
    assert list(row)[3:] == list(FORMS)


def test_attention_times_both_forms(monkeypatch):
    monkeypatch.setattr(attention, "ROUNDS", 1)
    row = attention.time_forms(batch=64, fields=3)
    assert (row["batch"], row["fields"]) == (64, 3)
    assert min(row["by_pair"], row["by_row"]) > 0


def test_an_epoch_is_timed_with_the_tuner_and_without(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(tuner, "STEPS", (2, 32))
    monkeypatch.setattr(tuner, "EPOCHS", 3)
    monkeypatch.setattr(tuner, "ROUNDS", 1)
    tuner.main()
    result = json.loads((tmp_path / "tuner.json").read_text())
    assert [row["steps"] for row in result["rows"]] == [2, 32]
    assert all(min(row.values()) > 0 for row in result["rows"])


def test_an_epochs_seconds_have_what_lies_between_epochs():
    starts = tuner.EpochStarts()
    for epoch in range(3):
        starts.on_epoch_begin(epoch)
    starts.on_train_end()
    assert len(starts.times) == 4
    assert starts.times == sorted(starts.times)
