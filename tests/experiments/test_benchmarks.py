import json
import types

import numpy as np

from experiments.benchmarks import attention
from experiments.benchmarks import epoch
from experiments.benchmarks import harness
from experiments.benchmarks import routing
from experiments.benchmarks import tuner
from mlora_tf import data
from mlora_tf import training
from mlora_tf.layers import domain_ops
from tests import own_flags

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


def test_an_epochs_result_has_the_flags_that_were_given(tmp_path, monkeypatch):
    log = types.SimpleNamespace(fingerprint="f", train=[1] * 8, valid=[1] * 4)
    logs = {"train_seconds": 2.0, "val_seconds": 1.0}
    phase = types.SimpleNamespace(history=[logs] * 3)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(data, "load", lambda folder: log)
    monkeypatch.setattr(training, "train", lambda *_, **__: [phase])
    for given in (("--data=a",), ("--data=b", "--epochs=3")):
        with own_flags.given(epoch.define_flags, *given):
            epoch.main()
        result = json.loads((tmp_path / "epoch.json").read_text())
        command = ["python -m experiments.benchmarks.epoch", *given]
        assert result["command"] == " ".join(command)
        assert {row["epoch_seconds"] for row in result["rows"]} == {3}


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
    for number in range(3):
        starts.on_epoch_begin(number)
    starts.on_train_end()
    assert len(starts.times) == 4
    assert starts.times == sorted(starts.times)
