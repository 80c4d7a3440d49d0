"""The benchmarks' structure: what is timed against what, and for which goal.

No test says how long anything takes: the clocks are fakes wherever a number
counts.
"""

import dataclasses
import importlib
import itertools
import json
import time

import keras
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from data_prep import synthetic
from experiments.benchmarks import all as suite_of_all
from experiments.benchmarks import evaluate
from experiments.benchmarks import first_step
from experiments.benchmarks import floor
from experiments.benchmarks import growth
from experiments.benchmarks import harness
from experiments.benchmarks import replicas
from experiments.benchmarks import report
from experiments.benchmarks import start
from experiments.benchmarks import steps
from experiments.benchmarks import streaming
from experiments.benchmarks import suite
from experiments.errors import RunError
from experiments.provenance import provenance
from mlora_tf import presets

TINY = {
    "num_ids": 20,
    "embedding_dim": 2,
    "hidden_units": (4,),
    "batch_size": 8,
    "execution": 2,
}

ISSUE = {
    "mlora": [[1.2, 1.3, 1.4, 1.6, 2.0]] * 3,
    "mlora_pure": [[1.15]],
    "mlora_frozen": [[1.0]],
    "star": [[1.8, 2.2, 3.0]],
    "floor": [[]] * 4,
    "partitioned_norm": [[1.3]],
    "experts": [[]],
    "vocabulary": [[1.5]] * 3,
    "evaluate": [[0.5]],
    "start": [[6.0]],
    "memory": [[2.5]],
    "batch_size": [],
    "replicas": [],
}
"""The goals of each benchmark's lines."""

GROWTH = {
    "mlora": [2, 10, 30, 100, 300, 1000, 3000, 10_000],
    "batch_size": [256, 1024, 4096, 16384],
    "vocabulary": [3000, 30_000, 300_000, 6_000_000],
    "replicas": [1, 2],
}


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(steps, "TIMED_ROWS", 64)


@pytest.fixture
def timed(monkeypatch):
    """Every workload that is timed; each takes longer than the one before."""
    workloads = []

    def trainer(workload, seconds, strategy=None):
        workloads.append(workload)
        taken = 0.001 * len(workloads)
        return lambda: taken

    monkeypatch.setattr(steps, "trainer", trainer)
    monkeypatch.setattr(steps.gc, "collect", lambda: 0)
    return workloads


@pytest.fixture
def measured(timed, monkeypatch, tmp_path):
    """A function that runs a benchmark whose clocks are fakes."""
    parts = {"imports": 3, "data": 1, "model": 0.5, "trace": 1.5, "steps": 0.2}
    taken = {"seconds": 9.0, "cpu_seconds": 12.0, "peak_rss_bytes": 3 << 30}
    monkeypatch.setattr(start, "first_step", lambda data: parts)
    monkeypatch.setattr(floor, "updater", lambda _: lambda: 0.001)
    monkeypatch.setattr(streaming, "measured", lambda *_: (taken, ""))
    monkeypatch.setattr(evaluate, "evaluation", lambda *_: lambda: 0.4)
    (tmp_path / "manifest.json").write_text('{"fingerprint": "abc"}')

    def run(name):
        module = importlib.import_module(f"experiments.benchmarks.{name}")
        settings = suite.Settings(rounds=2, seconds=0, data=str(tmp_path))
        content = module.measure(settings)
        # As it is read from a file.
        return json.loads(json.dumps(content))

    return run


# The harness.


def test_a_ratio_is_of_the_same_round():
    # The machine was twice as slow in the second round, for both.
    assert harness.ratio([3.0, 6.0, 3.3], [2.0, 4.0, 2.0]) == 1.5


def test_slow_alternatives_get_three_rounds():
    calls = []
    work = {"a": lambda: calls.append("a") or 1.0}
    assert harness.turns(work, 9, limit=0) == {"a": [1.0] * 3}
    assert harness.turns(work, 2, limit=0) == {"a": [1.0] * 2}
    assert len(harness.turns(work, 9, limit=60)["a"]) == 9
    assert len(calls) == 4 + 3 + 10  # once untimed


def test_a_result_is_written_whole(tmp_path):
    harness.write_result("it", "python -m it", {"lines": []}, tmp_path / "a")
    (path,) = (tmp_path / "a").iterdir()
    assert path.name == "it.json"
    assert json.loads(path.read_text())["lines"] == []


# The table.


def test_a_line_says_of_each_number_whether_its_goal_is_met():
    line = report.Line("star: D = 10, 30", [1.8, 2.204], [1.8, 2.2])
    assert line.met == [True, False]  # as it is, not as it is printed
    assert report.table([line]).splitlines()[2] == (
        "| star: D = 10, 30 | 1.80, 2.20 | ≤ 1.8, 2.2 | yes, **no** |"
    )


@pytest.mark.parametrize(
    ("measured", "goals", "cells"),
    [
        ([0.3, 0.4], [0.5], "0.30, 0.40 s | ≤ 0.5 s | yes"),
        ([0.7, 0.6], [0.5], "0.70, 0.60 s | ≤ 0.5 s | **no**"),
        ([0.7, 0.5], [0.5], "0.70, 0.50 s | ≤ 0.5 s | **no**, yes"),
        (
            [1, 2, 0],
            [0.5],
            "1.00, 2.00, 0.00 s | ≤ 0.5 s | **no**, **no**, yes",
        ),
        ([0.7], [], "0.70 s | as it is | —"),
    ],
)
def test_a_line_may_have_one_goal_or_none(measured, goals, cells):
    line = report.Line("it", measured, goals, unit="s", stated="as it is")
    assert report.table([line]).splitlines()[2] == f"| it | {cells} |"


def test_goals_that_are_not_for_these_numbers_are_refused():
    with pytest.raises(ValueError, match="one for each number"):
        report.Line("it", [1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_line_comes_back_from_its_file():
    line = report.Line("it", [1.0], [2.0], "s", "so")
    content = json.loads(json.dumps(line.to_dict()))
    assert content["met"] == [True]
    assert report.from_dict(content) == line


# Steps.


def test_random_rows_are_within_the_schema():
    workload = steps.Workload(num_domains=7, **TINY)
    rows = workload.rows(1000)
    assert len(rows) == 1000
    for feature in workload.schema.features:
        assert feature.num_ids == 20
        ids = rows.inputs[feature.name]
        assert (ids.min(), ids.max()) == (0, 19)
    assert set(rows.domain) == set(range(7))
    assert len(workload.rows()) == 8 * workload.steps


@pytest.mark.parametrize("pure", [False, True])
def test_batches_are_mixed_or_pure(pure, monkeypatch):
    seen = []
    fit = keras.Model.fit

    def spy(model, dataset, **kwargs):
        seen.extend(inputs["domain"].numpy() for inputs, _ in dataset)
        return fit(model, dataset, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", spy)
    workload = steps.Workload(num_domains=5, pure=pure, **TINY)
    assert steps.trainer(workload, seconds=0)() > 0
    assert len(seen) == workload.steps == 8
    assert all((len(set(domains)) == 1) == pure for domains in seen)
    assert len(set(np.concatenate(seen))) > 1


def test_workloads_train_as_they_say(monkeypatch):
    models = []
    compile_ = keras.Model.compile

    def spy(model, *arguments, **kwargs):
        models.append(model)
        compile_(model, *arguments, **kwargs)

    monkeypatch.setattr(keras.Model, "compile", spy)
    steps.trainer(
        steps.Workload("mlora", frozen=True, optimizer="lazy_adam", **TINY), 0
    )
    (model,) = models
    assert type(model.optimizer).__name__ == "LazyAdam"
    assert model.steps_per_execution == 2
    assert not model.jit_compile
    names = {variable.path for variable in model.trainable_variables}
    assert names
    assert all("lora" in name for name in names)


def test_a_turn_ends_with_its_time(monkeypatch):
    workload = steps.Workload(**TINY)
    clocks = []
    clock = steps.Clock

    def spy(seconds):
        clocks.append(clock(seconds))
        return clocks[-1]

    monkeypatch.setattr(steps, "Clock", spy)
    assert steps.trainer(workload, seconds=0)() > 0
    assert steps.trainer(workload, seconds=60)() > 0
    # One execution to start with and one timed, or all that there are.
    assert [len(one._ends) for one in clocks] == [2, 4]


def test_a_clock_counts_the_steps_after_the_first_execution(monkeypatch):
    times = iter([10.0, 11.0, 14.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    clock = steps.Clock(seconds=60)
    for last in (31, 63, 95):
        clock.on_train_batch_end(last)
    assert clock.step == 4.0 / 64


def test_all_alternatives_of_a_ratio_take_turns(monkeypatch):
    calls = []

    def trainer(workload, seconds, strategy=None):
        def train():
            calls.append(workload.tower)
            slower = 1 + len(calls)
            return slower * (1.5 if workload.tower == "star" else 1.0)

        return train

    monkeypatch.setattr(steps, "trainer", trainer)
    towers = ("shared", "star")
    found = steps.compare(
        {tower: steps.Workload(tower) for tower in towers}, 3, 0
    )
    assert calls == ["shared", "star"] * 4
    assert found["ratio"]["shared"] == 1.0
    # Of each round: 7.5 / 4, 10.5 / 6, 13.5 / 8.
    assert found["ratio"]["star"] == 10.5 / 6
    assert found["ms"] == {"shared": 6000.0, "star": 10500.0}
    assert found["rounds"] == 3


# The benchmarks.


@pytest.mark.parametrize("name", suite_of_all.BENCHMARKS)
def test_a_benchmark_has_the_goals_of_its_work(name, measured):
    content = measured(name)
    assert [line["goals"] for line in content["lines"]] == ISSUE[name]
    lines = [report.from_dict(line) for line in content["lines"]]
    assert report.table(lines).count("\n") == 1 + len(lines)
    panel = content.get("growth")
    assert (panel["x"] if panel else None) == GROWTH.get(name)
    if panel:
        assert set(map(len, panel["series"].values())) == {len(panel["x"])}
        assert any(series.startswith("shared") for series in panel["series"])


def test_every_benchmark_is_in_the_table():
    assert list(ISSUE) == list(suite_of_all.BENCHMARKS)


def test_mlora_is_held_against_the_shared_tower_of_its_size(measured, timed):
    content = measured("mlora")
    domains = GROWTH["mlora"]
    narrow = [w for w in timed if w.embedding_dim == 8]
    assert [w.num_domains for w in narrow] == list(
        itertools.chain(*[[d] * 3 for d in domains])
    )
    wide = [w for w in timed if w.embedding_dim == 128]
    assert [(w.num_domains, w.tower) for w in wide] == list(
        itertools.product((2, 10, 30, 100, 1000), ("shared", "mlora"))
    )
    few = {w.num_domains for w in timed if w.execution < 32}
    assert few == {300, 1000, 3000, 10_000}
    by_domains = {
        row["domains"]: row for row in content["rows"] if row["width"] == 24
    }
    assert content["lines"][0]["measured"] == [
        by_domains[d]["ratio"]["mlora"] for d in (2, 10, 30, 100, 1000)
    ]
    assert content["lines"][1]["measured"][0] == pytest.approx(3.0)
    assert {row["width"] for row in content["rows"]} == {24, 384}


def test_a_floor_is_the_shared_step_with_the_towers_update(timed, monkeypatch):
    updates = {"shared": lambda: 0.0002, "star": lambda: 0.0007}
    monkeypatch.setattr(floor, "updater", lambda own: updates[own.tower])
    found = floor.one("star", 10, suite.Settings(rounds=1, seconds=0))
    assert [w.tower for w in timed] == ["shared", "star"]
    assert found["ratio"] == pytest.approx(2.0)
    assert found["floor"] == pytest.approx((1 - 0.2 + 0.7) / 1)
    assert found["update_share"] == pytest.approx(0.7 / 2)


def test_an_update_moves_every_weight_and_no_other():
    workload = steps.Workload(num_domains=3, num_ids=5, hidden_units=(4,))
    model = workload.model()
    before = model.get_weights()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.Workload, "model", lambda self: model)
        update = floor.updater(dataclasses.replace(workload, execution=2))
    assert update() > 0
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old != new).any() or old.dtype != np.float32


def test_what_the_single_rows_time(measured, timed):
    measured("mlora_pure")
    assert {w.pure for w in timed} == {True}
    timed.clear()
    content = measured("mlora_frozen")
    assert [(w.tower, w.frozen) for w in timed] == [
        ("shared", False),
        ("mlora", True),
        ("mlora", False),
    ]
    assert content["lines"][0]["measured"] == [pytest.approx(2.0)]
    timed.clear()
    content = measured("partitioned_norm")
    norms = [w.options["norm"] for w in timed]
    assert norms == ["batch", "partitioned", "none"]
    assert content["lines"][0]["measured"] == [pytest.approx(2.0)]


def test_experts_state_the_work_of_a_row(measured):
    (row,) = measured("experts")["rows"]
    flops = row["flops"]
    assert row["flops_ratio"]["mmoe"] == flops["mmoe"] / flops["shared"]
    assert row["ratio_to_flops"]["ple"] == (
        row["ratio"]["ple"] / row["flops_ratio"]["ple"]
    )
    # A row of shared_bottom needs one network.
    assert row["flops_ratio"]["shared_bottom"] == 1.0


def test_vocabularies_are_held_against_the_smallest(measured, timed):
    content = measured("vocabulary")
    assert [line["work"].partition(": ")[2] for line in content["lines"]] == [
        "shared, LazyAdam",
        "shared, LazyAdam, L2 on the batch's rows",
        "mlora, LazyAdam",
    ]
    first = content["rows"][0]
    assert first["ratio"]["6000000"] == pytest.approx(4.0)
    lazy = [w for w in timed if w.num_ids == 6_000_000]
    assert [w.options["embedding_l2"] for w in lazy] == [0.0, 1e-5, 0.0]
    assert {w.optimizer for w in lazy} == {"lazy_adam"}
    assert content["growth"]["series"]["shared, Adam"][-1] is None


def test_replicas_are_two_and_one(measured, monkeypatch):
    given = {}
    compare = steps.compare

    def spy(workloads, rounds, seconds, strategies):
        given.update(strategies)
        return compare(workloads, rounds, seconds, strategies)

    monkeypatch.setattr(steps, "compare", spy)
    measured("replicas")
    assert {
        name: strategy.num_replicas_in_sync for name, strategy in given.items()
    } == {f"{t}_{n}": n for t in replicas.TOWERS for n in (1, 2)}


def test_an_evaluation_is_of_all_rows(monkeypatch):
    monkeypatch.setattr(evaluate, "ROWS", 3000)
    work = evaluate.evaluation("mlora", 3)
    assert work() > 0


def test_a_start_says_where_it_goes(tmp_path, monkeypatch):
    synthetic.prepare(tmp_path / "data", rows=3000)
    # Two executions and more: an epoch has 128 batches or so.
    small = presets.preset("tuned", "mlp", "mlora")
    small = dataclasses.replace(small, hidden_units=(4,), batch_size=14)
    monkeypatch.setattr(presets, "preset", lambda *_: small)
    began = time.time() - 5.0
    parts = first_step.start(str(tmp_path / "data"), began)
    assert list(parts) == list(start.PARTS)
    assert parts["imports"] >= 5.0
    assert all(parts[name] > 0 for name in ("data", "model", "steps"))
    # Nothing between the parts is left out.
    assert sum(parts.values()) <= time.time() - began


def test_a_starts_parts_are_noted(measured):
    content = measured("start")
    assert content["seconds"] == pytest.approx(6.2)
    assert content["lines"][0]["met"] == [False]
    (note,) = content["notes"]
    assert "imports 3.0 s" in note
    assert "the first 32 steps 0.2 s" in note


def test_memory_is_in_gib(measured, tmp_path):
    content = measured("memory")
    (line,) = content["lines"]
    assert line["measured"] == [3.0]
    assert line["work"].endswith(tmp_path.name)
    assert (content["data"], content["max_epochs"]) == ("abc", 1)


# All of them.


@pytest.fixture
def clean(monkeypatch):
    """As if no file differed from the commit."""
    values = {**provenance(), "commit": "c0ffee"}
    module = importlib.import_module("experiments.provenance")
    monkeypatch.setattr(module, "provenance", lambda: values)
    monkeypatch.setattr(harness, "provenance", lambda: values)
    return values


def write(name, content, runs, given=()):
    command = suite.command(name, given)
    harness.write_result(name, command, content, runs)


def test_what_is_there_for_the_commit_and_the_flags_is_not_run_again(
    clean, tmp_path
):
    given = ["--rounds=3"]
    assert not suite_of_all.is_finished("star", given, tmp_path)
    write("star", {"lines": []}, tmp_path, given)
    assert suite_of_all.is_finished("star", given, tmp_path)
    assert not suite_of_all.is_finished("star", [], tmp_path)
    clean["commit"] = "beef"
    assert not suite_of_all.is_finished("star", given, tmp_path)


@pytest.mark.parametrize("commit", ["c0ffee+changes", None])
def test_with_changes_everything_is_run_again(clean, commit, tmp_path):
    clean["commit"] = commit
    write("star", {"lines": []}, tmp_path)
    assert not suite_of_all.is_finished("star", [], tmp_path)


def test_a_killed_command_goes_on(clean, tmp_path, monkeypatch, capsys):
    started = []

    def child(command):
        name = command[2].rpartition(".")[2]
        started.append((name, command[3:]))
        failed = name == "star" and len(started) < 3
        if not failed:
            write(name, {"lines": []}, tmp_path, command[3:-1])
        return type("", (), {"returncode": int(failed)})

    monkeypatch.setattr(suite_of_all.subprocess, "run", child)
    commands = {"mlora": ["--rounds=1"], "star": ["--rounds=1"]}
    with pytest.raises(RunError, match="star failed"):
        suite_of_all.run(commands, tmp_path)
    suite_of_all.run(commands, tmp_path)
    flags_ = ["--rounds=1", f"--output={tmp_path}"]
    assert started == [("mlora", flags_), ("star", flags_), ("star", flags_)]
    said = capsys.readouterr().err
    assert "1/2 mlora: there already" in said
    suite_of_all.run(commands, tmp_path)
    assert len(started) == 3


def test_data_that_is_not_there_leaves_a_benchmark_out(tmp_path, capsys):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["it"])
    values = {"movielens": str(tmp_path), "amazon": str(tmp_path / "no")}
    (tmp_path / "manifest.json").write_text("{}")
    assert suite_of_all.arguments("start", values)[-1] == f"--data={tmp_path}"
    assert suite_of_all.arguments("memory", values) is None
    assert "--amazon" in capsys.readouterr().err
    assert suite_of_all.arguments("star", values) is not None


def test_the_table_is_of_the_results_of_this_commit(
    clean, measured, tmp_path, monkeypatch
):
    results = tmp_path / "results"
    monkeypatch.setattr(harness, "RESULTS", results)
    results.mkdir()
    epoch = [
        {"tower": tower, "dropout": dropout, "epoch_seconds": seconds}
        for tower, dropout, seconds in (
            ("shared", 0.0, 2.6),
            ("shared", 0.5, 4.4),
            ("mlora", 0.0, 1.0),
        )
    ]
    (results / "epoch.json").write_text(json.dumps({"rows": epoch}))
    runs = tmp_path / "runs"
    write("memory", {"lines": [], "notes": ["Of old."]}, runs)
    clean["commit"] = "beef"
    for name in ("star", "batch_size", "start"):
        write(name, measured(name), runs)
    suite_of_all.write(runs, tmp_path / "out", "python -m it")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "growth.json",
        "growth.png",
        "speed.json",
        "speed.md",
    ]
    content = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert list(content["benchmarks"]) == ["star", "start", "batch_size"]
    assert content["command"] == "python -m it"
    assert {"commit", "threads"} <= set(content["provenance"])
    text = (tmp_path / "out" / "speed.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    # In the table's order, with the fake clock's numbers; the epoch's last.
    assert rows[1] == (
        "| star over shared, mixed: D = 10, 30, 100 | 2.00, 1.33, 1.20 "
        "| ≤ 1.8, 2.2, 3 | **no**, yes, yes |"
    )
    assert rows[2].startswith("| start of a run to its first steps | 6.20 s |")
    assert rows[3] == (
        "| epoch of MovieLens-1M and its exact evaluation, shared: dropout "
        "0.0, 0.5 | 2.60, 4.40 s | ≤ 3.5 s | yes, **no** |"
    )
    assert "Not measured: mlora, " in text
    assert "A start goes to: imports 3.0 s" in text
    assert "Of old." not in text
    panels = json.loads((tmp_path / "out" / "growth.json").read_text())
    assert panels["panels"]["batch_size"]["x"] == GROWTH["batch_size"]


def test_the_picture_has_a_panel_for_each(tmp_path):
    panels = {
        name: {
            "label": name,
            "x": places,
            "series": {"shared": places, "mlora": [*places[:-1], None]},
        }
        for name, places in GROWTH.items()
    }
    growth.draw(panels, tmp_path / "growth.png")
    height, width = matplotlib.image.imread(tmp_path / "growth.png").shape[:2]
    assert (width, height) == (1440, 1152)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10, "10"),
        (300, "300"),
        (1000, "1k"),
        (1024, "1024"),
        (16384, "16384"),
        (30_000, "30k"),
        (6_000_000, "6M"),
    ],
)
def test_places_are_short(value, text):
    assert growth._short(value) == text


@pytest.mark.slow
def test_the_binary_and_the_table(tmp_path):
    given = ["--rounds=1", "--seconds=0.5", "--threads=1"]
    suite_of_all.run({"evaluate": given}, tmp_path)
    result = json.loads((tmp_path / "evaluate.json").read_text())
    assert result["command"] == suite.command("evaluate", given)
    assert result["provenance"]["threads"] == 1
    assert result["provenance"]["tensorflow"] == tf.__version__
    assert np.isfinite(result["lines"][0]["measured"]).all()
    suite_of_all.write(tmp_path, tmp_path / "out", "python -m it")
    text = (tmp_path / "out" / "speed.md").read_text()
    assert "| evaluation of 200,000 rows" in text
