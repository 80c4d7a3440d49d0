"""Every table's command: its rows, its runs, and that it trains and writes."""

import concurrent.futures
import dataclasses
import importlib
import io
import json
import pathlib
import re
import time

import pytest

from data_prep.folder_lock import locked
from experiments.errors import RunError
from experiments.study import lines
from experiments.study import recipes
from experiments.study import trainer
from experiments.study.arm import Arm
from experiments.study.arm import ChosenArm
from experiments.study.data_set import DataSet
from experiments.study.result import results
from experiments.study.run_log import RunLog
from experiments.study.study import Study
from experiments.study.study import named
from mlora_tf.backbones import BACKBONES
from mlora_tf.recipes import Recipe
from tests import clicks
from tests import own_flags

NAMES = (
    *("mlora_table2", "mlora_table3", "mlora_table4", "mlora_table5"),
    *("mlora_figure4", "mlora_controls"),
    *("star_table2", "star_table3", "star_figure6", "star_figure7"),
    *("star_section44", "lazy_adam", "towers"),
)
SMALL = {
    "hidden_units": (8,),
    "embedding_dim": 4,
    "batch_size": 64,
    "max_epochs": 1,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "data" / "some-clicks"
    folder.parent.mkdir()
    return DataSet.open(str(clicks.prepare(folder, rows=600)))


def small_arms(data, preset):
    """A base and its two kinds of adapters, small."""
    base = Recipe(schedule="two_phase", temperature=4, **SMALL)
    joint = Recipe(temperature=4, **SMALL)
    return [
        Arm(data, "mlp", "base", base, phase=0, paper=80.0),
        Arm(data, "mlp", "two phases", base, rival="base", paper=80.5),
        Arm(data, "mlp", "joint", joint, rival="base"),
    ]


SMALL_STUDY = Study("small", "A small study", "Three arms.", small_arms)


def flags_for(data, folder, *more):
    return (
        f"--data={data.path}",
        f"--output={folder / 'results'}",
        f"--runs={folder / 'runs'}",
        "--jobs=1",
        *more,
    )


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """The small study, trained with two seeds; its folder."""
    folder = tmp_path_factory.mktemp("trained")
    given = flags_for(prepared, folder, "--seeds=2")
    with own_flags.given(SMALL_STUDY.define_flags, *given):
        SMALL_STUDY.main()
    return folder


def test_a_study_trains_each_run_once_and_writes_its_files(trained, prepared):
    log = RunLog(trained / "results" / "runs.jsonl")
    # Base and two phases are one run.
    assert len(log.rows) == 4
    assert not list((trained / "runs").iterdir())
    content = json.loads((trained / "results" / "small.json").read_text())
    base, two_phases, joint = content["rows"]
    assert base["runs"] == two_phases["runs"] != joint["runs"]
    assert base["phase"] == "pretrain"
    assert two_phases["phase"] == "adapters"
    assert joint["phase"] == "joint"
    assert joint["seeds"] == 2
    assert len(joint["wauc"]) == len(joint["wauc_gain"]) == 2
    for one, other, gain in zip(
        joint["wauc"], base["wauc"], joint["wauc_gain"], strict=True
    ):
        assert gain == pytest.approx(one - other, abs=2e-5)
    assert "wauc_gain" not in base
    assert content["command"] == (
        f"python -m experiments.small --data={prepared.path} --seeds=2 "
        f"--preset=tuned --output={trained / 'results'}"
    )
    text = (trained / "results" / "small.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| some")]
    assert len(lines) == 3
    assert "| 80.00 | " in lines[0]
    assert lines[2].endswith("|  |  |")


@pytest.mark.slow
def test_runs_are_those_that_are_trained_alone(trained, prepared):
    """After others in its process or first in one, with adapters or none."""
    log = RunLog(trained / "results" / "runs.jsonl")
    both, _, joint = small_arms(prepared, "tuned")
    base = Arm(prepared, "mlp", "alone", Recipe(tower="shared", **SMALL))
    wanted = [joint.run(1), base.run(0)]
    other = RunLog(trained / "other.jsonl")
    trainer.train(
        other,
        wanted,
        trained / "again",
        jobs=1,
        console=trainer.Console(quiet=True),
    )
    again, alone = (other[run]["phases"] for run in wanted)
    assert timeless(again) == timeless(log[wanted[0]]["phases"])
    # The base of two phases is the base alone, to the last bit.
    pretrain = timeless(log[both.run(0)]["phases"])[0]
    assert {**pretrain, "phase": "joint"} == timeless(alone)[0]


def timeless(phases):
    return [
        {name: value for name, value in one.items() if name != "train_seconds"}
        for one in phases
    ]


def test_a_second_time_nothing_is_trained(trained, prepared, monkeypatch):
    monkeypatch.setattr(
        trainer, "_rows", lambda *_: pytest.fail("trained again")
    )
    before = (trained / "results" / "runs.jsonl").read_bytes()
    given = flags_for(prepared, trained, "--seeds=2")
    with own_flags.given(SMALL_STUDY.define_flags, *given):
        SMALL_STUDY.main()
    assert (trained / "results" / "runs.jsonl").read_bytes() == before


def test_a_command_without_a_table_says_so(trained, prepared, capsys):
    """Nothing is searched here: "tuned" has the runs of "paper"."""
    study = dataclasses.replace(SMALL_STUDY, presets=("paper", "tuned"))
    given = flags_for(prepared, trained, "--seeds=2", "--preset=tuned")
    with own_flags.given(study.define_flags, *given):
        study.main()
    said = " ".join(capsys.readouterr().err.split())
    assert "No table is written" in said
    assert "the same runs as with --preset=paper." in said
    assert not list((trained / "results").glob("small_tuned*"))


def test_more_runs_than_a_process_has_go_on(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "RUNS_PER_PROCESS", 2)
    # Five runs: two processes' and one more's.
    log = RunLog(tmp_path / "runs.jsonl")
    base, _, joint = small_arms(prepared, "tuned")
    wanted = [joint.run(seed) for seed in range(4)] + [base.run(0)]
    trainer.train(
        log,
        wanted,
        tmp_path / "runs",
        jobs=1,
        console=trainer.Console(quiet=True),
    )
    assert list(log.rows) == [run.key for run in wanted]
    assert not list((tmp_path / "runs").iterdir())


def test_studies_at_once_train_each_run_once(prepared, tmp_path):
    """What both want is the other's for one of them, which waits for it."""
    path, folder = tmp_path / "runs.jsonl", tmp_path / "runs"
    base, _, joint = small_arms(prepared, "tuned")
    first, shared, last = base.run(0), joint.run(0), joint.run(1)
    said = io.StringIO()
    console = trainer.Console(file=said)

    def study(*wanted):
        log = RunLog(path)
        trainer.train(log, wanted, folder, jobs=1, console=console)
        return list(log.rows)

    folder.mkdir()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # As a study that trains it has it.
        with locked(folder / f"{shared.key}.lock", folder / shared.key):
            one = pool.submit(study, shared, first)
            other = pool.submit(study, shared, last)
            while said.getvalue().count("waits for its end") < 2:
                assert not one.done()
                assert not other.done()
                time.sleep(0.05)
            done = {run["recipe"]["seed"] for run in lines.read(path)}
            assert done == {0, 1}
            assert len(list(lines.read(path))) == 2
        assert one.result() == [first.key, shared.key]
        assert other.result() == [last.key, shared.key]
    assert set(RunLog(path).rows) == {first.key, shared.key, last.key}
    assert len(path.read_text().splitlines()) == 3
    assert not list(folder.iterdir())


def test_a_dry_run_says_what_is_missing_and_how_long(trained, prepared, capsys):
    given = flags_for(prepared, trained, "--seeds=4", "--dry_run")
    with own_flags.given(SMALL_STUDY.define_flags, *given):
        SMALL_STUDY.main()
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 4
    assert all("some-clicks mlp/mlora" in line for line in lines)
    assert {line.split("seed=")[1][0] for line in lines} == {"2", "3"}
    assert all("about" in line for line in lines)
    assert "4 runs are missing" in said.err


def test_some_models_can_be_trained_alone(prepared, tmp_path, capsys):
    def two_models(data, preset):
        arms = small_arms(data, preset)
        return arms + [dataclasses.replace(one, group="dcn") for one in arms]

    study = dataclasses.replace(SMALL_STUDY, arms=two_models)
    for models, missing in (
        *(("dcn", 2), ("mlp,dcn", 2)),
        *(("base", 1), ("base,joint", 2)),
    ):
        given = flags_for(prepared, tmp_path, "--seeds=1", "--dry_run")
        with own_flags.given(study.define_flags, *given, f"--models={models}"):
            study.main()
        assert len(capsys.readouterr().out.splitlines()) == missing
    given = flags_for(prepared, tmp_path, "--models=dcn,wide")
    with (
        own_flags.given(study.define_flags, *given),
        pytest.raises(RunError, match=r"among mlp, dcn, base.*dcn,wide"),
    ):
        study.main()


def test_a_rows_name_with_a_comma_is_quoted(prepared):
    base, *_ = small_arms(prepared, "tuned")
    arms = [base, dataclasses.replace(base, name="Base, batch")]
    assert named(arms, ["Base, batch"]) == arms[1:]
    with pytest.raises(RunError, match='base, "Base, batch"'):
        named(arms, ["Base"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["tuned", "release", "paper"])
def test_each_tables_rows_can_be_built(name, preset, prepared):
    study = importlib.import_module(f"experiments.{name}").STUDY
    assert study.name == name
    if preset not in study.presets:
        return
    arms = study.arms(prepared, preset)
    names = {(arm.group, arm.name) for arm in arms}
    assert len(names) == len(arms) > 1
    for arm in arms:
        if arm.rival is not None:
            assert (arm.group, arm.rival) in names
    # What differs has a run of its own, but for the two phases of one.
    by_key = {}
    for arm in arms:
        if isinstance(arm, Arm):
            by_key.setdefault(arm.run(0).key, []).append(arm)
    for sharing in by_key.values():
        assert len({arm.phase for arm in sharing}) == len(sharing)


def rows_beside(path):
    """The rows of a table, as the JSON beside its Markdown has them."""
    return json.loads(path.with_suffix(".json").read_text())["rows"]


@pytest.mark.parametrize("name", NAMES)
def test_each_tables_command_is_its_docstrings(name):
    module = importlib.import_module(f"experiments.{name}")
    command = f"python -m experiments.{name} --data="
    text = " ".join(module.__doc__.replace("\\\n", " ").split())
    assert command in text
    for path in text.split(command)[1].split()[0].split(","):
        assert pathlib.Path(path).parent.name == "data"


@pytest.mark.parametrize("name", NAMES)
def test_each_table_and_figure_is_made_of_results(
    name, prepared, tmp_path, fake_log
):
    study = importlib.import_module(f"experiments.{name}").STUDY
    preset = study.presets[0]
    arms = study.arms(prepared, preset)
    log = fake_log(tmp_path / "runs.jsonl", arms, seeds=3)
    path = study.write(log, preset)
    assert path == tmp_path / f"{name}.md"
    rows = rows_beside(path)
    assert len(rows) == len(arms)
    for row, arm in zip(rows, arms, strict=True):
        needed = [arm] if isinstance(arm, Arm) else arm.among
        later = max(one.later for one in needed)
        assert row["seeds"] == 3 - later
    text = path.read_text()
    assert text.startswith(f"# {study.title}\n")
    for arm in arms:
        assert f"| {arm.name} |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {}
    for line in tables:
        widths.setdefault(line.count("|"), []).append(line)
    assert all(len(lines) > 2 for lines in widths.values())
    picture = tmp_path / f"{name}.png"
    assert picture.is_file() == (study.figure is not None)
    if picture.is_file():
        assert picture.read_bytes()[:4] == b"\x89PNG"


def test_all_ten_models_are_in_table_2(prepared):
    study = importlib.import_module("experiments.mlora_table2").STUDY
    arms = study.arms(prepared, "tuned")
    groups = {arm.group for arm in arms}
    assert groups == {*BACKBONES, "star"}
    towers = {arm.recipe.tower for arm in arms if arm.group != "star"}
    assert towers == {"mlora"}  # the base is the first of two phases
    release = study.arms(prepared, "release")
    bases = [arm for arm in release if arm.name == "base"]
    assert {arm.recipe.tower for arm in bases} == {"shared", "star"}


def test_an_arm_has_its_own_seeds_and_gains_over_the_same_ones(
    prepared, tmp_path, fake_log
):
    base, both, joint = small_arms(prepared, "tuned")
    fake_log(tmp_path / "runs.jsonl", [base, both], seeds=3)
    log = fake_log(tmp_path / "runs.jsonl", [joint], seeds=2)
    first, second, last = rows_beside(SMALL_STUDY.write(log, "tuned"))
    assert [one["seeds"] for one in (first, second, last)] == [3, 3, 2]
    assert len(first["wauc"]) == 3
    assert last["wauc_gain"] == pytest.approx(
        [
            one - other
            for one, other in zip(last["wauc"], first["wauc"], strict=False)
        ],
        abs=2e-5,
    )


def test_an_arm_has_no_more_seeds_than_its_rival(prepared, tmp_path, fake_log):
    alone = Arm(prepared, "mlp", "base", Recipe(tower="shared", **SMALL))
    joint = small_arms(prepared, "tuned")[2]
    fake_log(tmp_path / "runs.jsonl", [alone], seeds=1)
    log = fake_log(tmp_path / "runs.jsonl", [joint], seeds=3)
    assert [len(one.phases) for one in results(log, [alone, joint])] == [1, 1]
    # Without its rival it has them all; a table leaves it out.
    (found,) = results(log, [joint])
    assert len(found.phases) == 3


def test_a_rival_that_has_a_rival_is_read_with_its_seeds(
    prepared, tmp_path, fake_log
):
    """Each gain is over the seeds that all below it have, too."""
    base = Arm(prepared, "mlp", "base", Recipe(tower="shared", **SMALL))
    _, both, _ = small_arms(prepared, "tuned")
    recipe = dataclasses.replace(both.recipe, fresh_fraction=0.2)
    less = Arm(prepared, "mlp", "less", recipe, rival="base", phase=0)
    more = Arm(prepared, "mlp", "more", recipe, rival="less")
    fake_log(tmp_path / "runs.jsonl", [base], seeds=1)
    log = fake_log(tmp_path / "runs.jsonl", [less, more], seeds=3)
    study = Study("chain", "Chain", "Three.", lambda *_: [base, less, more])
    rows = rows_beside(study.write(log, "tuned"))
    assert [row["seeds"] for row in rows] == [1, 1, 1]
    assert [len(row.get("wauc_gain", ())) for row in rows] == [0, 1, 1]


def test_of_a_gap_in_the_seeds_only_what_comes_before_it_counts(
    prepared, tmp_path, fake_log
):
    base, both, joint = small_arms(prepared, "tuned")
    log = fake_log(tmp_path / "runs.jsonl", [both, joint], seeds=3)
    lines = log.path.read_text().splitlines()
    gap = json.dumps(joint.run(1).recipe.to_dict())
    left = [
        line for line in lines if json.loads(gap) != json.loads(line)["recipe"]
    ]
    assert len(left) == len(lines) - 1
    log.path.write_text("\n".join(left) + "\n")
    found = results(RunLog(log.path), [base, both, joint])
    assert [len(one.phases) for one in found] == [3, 3, 1]


def test_any_run_that_has_trained_a_base_counts_as_its(
    prepared, tmp_path, fake_log
):
    base, both, joint = small_arms(prepared, "tuned")
    alone = Arm(prepared, "mlp", "alone", Recipe(tower="shared", **SMALL))
    log = fake_log(tmp_path / "runs.jsonl", [alone, joint], seeds=2)
    (found,) = results(log, [base])
    assert found.keys == (alone.run(0).key, alone.run(1).key)
    assert [phase["phase"] for phase in found.phases] == ["joint"] * 2
    # Its own run comes first.
    fake_log(log.path, [both], seeds=1)
    (found,) = results(RunLog(log.path), [base])
    assert found.keys == (both.run(0).key, alone.run(1).key)
    assert [phase["phase"] for phase in found.phases] == ["pretrain", "joint"]


def test_a_base_below_other_adapters_counts_and_is_not_trained_again(
    prepared, tmp_path, fake_log, monkeypatch
):
    base, both, joint = small_arms(prepared, "tuned")
    hotter = dataclasses.replace(
        both.recipe, temperature=64, tower_options={"lora_dropout": 0.5}
    )
    other = dataclasses.replace(both, recipe=hotter)
    log = fake_log(tmp_path / "results" / "runs.jsonl", [other], seeds=2)
    (found,) = results(log, [base])
    assert found.keys == (other.run(0).key, other.run(1).key)
    assert [phase["phase"] for phase in found.phases] == ["pretrain"] * 2
    assert both.find(log, 0) is None
    wanted = []
    monkeypatch.setattr(
        trainer, "train", lambda log, runs, *_, **__: wanted.extend(runs)
    )
    study = Study("small", "Small", "Two.", lambda *_: [base, joint])
    with own_flags.given(
        study.define_flags, *flags_for(prepared, tmp_path, "--seeds=3")
    ):
        study.main()
    assert [run.key for run in wanted] == [
        joint.run(0).key,
        joint.run(1).key,
        both.run(2).key,
        joint.run(2).key,
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.1},
        {"embedding_l2": 0.5},
        {"fresh_fraction": 0.5},
        {"tower": "star"},
        {"tower": "star", "tower_options": {"mlora": "parallel"}},
    ],
)
def test_another_base_does_not_count(prepared, tmp_path, fake_log, changes):
    base, both, _ = small_arms(prepared, "tuned")
    recipe = dataclasses.replace(both.recipe, **changes)
    other = dataclasses.replace(both, recipe=recipe)
    log = fake_log(tmp_path / "runs.jsonl", [other], seeds=1)
    # STAR's own network, trained on the shared one, has that one for a base.
    counts = changes == {"tower": "star"}
    assert (base.find(log, 0) is not None) == counts


def test_validation_chooses_among_arms_run_by_run(prepared, tmp_path):
    base, both, joint = small_arms(prepared, "tuned")
    chosen = ChosenArm("chosen", [both, joint])
    log = RunLog(tmp_path / "runs.jsonl")

    def add(arm, seed, *waucs):
        """A run whose test WAUCs say nothing of those in validation."""
        run = arm.run(seed)
        phases = [
            {
                "phase": name,
                "parameters": 9,
                "domain_parameters": 3,
                "best_epoch": 1,
                "valid": {"wauc": valid, "macro_auc": valid},
                "test": {
                    "wauc": 1 - valid,
                    "macro_auc": 1 - valid,
                    "auc": None,
                    "user_auc": None,
                    "logloss": 0.5,
                    "intervals": {"wauc": None},
                },
            }
            for name, valid in zip(
                ("pretrain", "adapters")[-len(waucs) :], waucs, strict=True
            )
        ]
        log.append(
            {
                "data": "some",
                "fingerprint": run.data.fingerprint,
                "recipe": run.recipe.to_dict(),
                "provenance": {"commit": "abc"},
                "seconds": 1.0,
                "phases": phases,
            }
        )

    add(both, 0, 0.70, 0.72)
    add(joint, 0, 0.71)
    add(both, 1, 0.70, 0.71)
    add(joint, 1, 0.73)
    add(both, 2, 0.70, 0.71)
    assert chosen.find(log, 2) is None  # one of them has no third seed
    found = results(log, [base, both, joint, chosen])
    assert [len(one.phases) for one in found] == [3, 3, 2, 2]
    assert found[-1].valid("wauc") == pytest.approx([72, 73])
    assert found[-1].test("wauc") == pytest.approx([28, 27])
    assert found[-1].keys == (both.run(0).key, joint.run(1).key)
    row = found[-1].to_dict(found[0])
    assert row["recipe"] == ("the best in validation of 'two phases', 'joint'")
    assert row["wauc_gain"] == pytest.approx([-2.0, -3.0])
    assert [run.key for run in chosen.runs(1)] == [
        both.run(1).key,
        joint.run(1).key,
    ]


def test_a_preset_with_the_firsts_runs_has_no_table_of_its_own(
    prepared, tmp_path, fake_log
):
    """Nothing was searched for these arms, so that "tuned" is "paper"."""
    study = dataclasses.replace(SMALL_STUDY, presets=("paper", "tuned"))
    arms = small_arms(prepared, "tuned")
    log = fake_log(tmp_path / "runs.jsonl", arms, seeds=1)
    assert study.write(log, "paper") is not None
    assert study.write(log, "tuned") is None
    assert not (tmp_path / "small_tuned.md").exists()
    # One run more makes it another table.
    more = dataclasses.replace(
        study, arms=lambda data, preset: arms[: 3 if preset == "tuned" else 2]
    )
    assert more.write(log, "tuned") is not None


def test_gains_over_other_machines_arithmetic_are_named(
    prepared, tmp_path, fake_log
):
    arms = small_arms(prepared, "tuned")
    path = tmp_path / "runs.jsonl"
    fake_log(path, arms, seeds=2)
    rows = [json.loads(line) for line in path.read_text().splitlines()]

    def said(of):
        """What the table says if each run is from a machine of that kind."""
        for row in rows:
            joint = row["recipe"]["schedule"] == "joint"
            row["provenance"] = {"commit": "abc", **of(joint)}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        SMALL_STUDY.write(RunLog(path), "tuned")
        return (tmp_path / "small.md").read_text()

    known = {"cpu": "avx2", "onednn": "default"}
    assert "rounding" not in said(lambda joint: known)
    # Older lines don't say it: nobody knows.
    assert "rounding" not in said(lambda joint: known if joint else {})
    for other in ({"cpu": "avx512f"}, {"onednn": "0"}):
        text = said(lambda joint, o=other: known | o if joint else known)
        (sentence,) = re.findall(r"rounding's.*?: (.*?)\.\n", text)
        name = arms[2].name
        assert sentence == f"{prepared.name} {arms[2].group} {name}"


def train_quietly(log, arm, folder):
    console = trainer.Console(quiet=True)
    trainer.train(log, arm.runs(0), folder, jobs=1, console=console)


def test_what_cannot_be_written_is_told_before_a_run(prepared, tmp_path):
    (tmp_path / "file").touch()
    log = RunLog(tmp_path / "file" / "runs.jsonl")
    (arm, *_) = small_arms(prepared, "tuned")
    with pytest.raises(RunError, match=r"can't be written \(.*\): name"):
        train_quietly(log, arm, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "name", ["mlora_table3", "star_table2", "star_figure7"]
)
def test_what_is_undefined_has_empty_cells(name, prepared, tmp_path, fake_log):
    """A domain without a click in test, and data without users."""
    study = importlib.import_module(f"experiments.{name}").STUDY
    path = tmp_path / "runs.jsonl"
    preset = study.presets[0]
    fake_log(path, study.arms(prepared, preset), seeds=2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for phase in line["phases"]:
            phase["test"]["user_auc"] = None
            phase["test"]["domains"][0] |= dict.fromkeys(
                ("auc", "pcoc", "user_auc")
            )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = study.write(RunLog(path), preset).read_text()
    assert "nan" not in text
    first = prepared.domains[0]
    (heading, *_) = [one for one in text.splitlines() if f"| {first} " in one]
    cells = [cell.strip() for cell in heading.split("|")]
    place = cells.index(first)
    rows = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    for line in rows:
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[place] == ""
        assert cells[place + 1] != ""


@pytest.mark.parametrize("value", [0.6125, None, "absent"])
def test_stars_table_2_is_of_users_by_domain(
    value, prepared, tmp_path, fake_log
):
    """Where there are none, or older runs, it has AUC, as the cell says."""
    study = importlib.import_module("experiments.star_table2").STUDY
    path = tmp_path / "runs.jsonl"
    fake_log(path, study.arms(prepared, "tuned"), seeds=1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for domain in line["phases"][-1]["test"]["domains"]:
            domain["user_auc"] = value
            if value == "absent":
                del domain["user_auc"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = study.write(RunLog(path), "tuned").read_text()
    by_domain = text.split("Domain by domain:")[1]
    users = "| user-weighted AUC | 61.25 |" in by_domain
    assert (users, "| AUC |" in by_domain) == (value == 0.6125, not users)


def test_a_temperature_alone_is_no_figure(prepared, tmp_path, fake_log):
    study = importlib.import_module("experiments.mlora_figure4").STUDY
    arms = {(arm.group, arm.name): arm for arm in study.arms(prepared, "tuned")}
    path = tmp_path / "runs.jsonl"
    one = [arms["mlp", "base"], arms["mlp", "temperature 4"]]
    assert study.write(fake_log(path, one, seeds=1), "tuned") is None
    two = [
        arms["deepfm", name]
        for name in ("base", "temperature 4", "temperature 8")
    ]
    text = study.write(fake_log(path, two, seeds=1), "tuned").read_text()
    assert "| deepfm | temperature 8 |" in text
    assert "| mlp |" not in text


def test_a_width_alone_is_no_table(prepared, tmp_path, fake_log):
    study = importlib.import_module("experiments.mlora_table5").STUDY
    arms = study.arms(prepared, "tuned")
    path = tmp_path / "runs.jsonl"
    log = fake_log(path, [arm for arm in arms if arm.group == "1x"], seeds=1)
    assert study.write(log, "tuned") is None
    log = fake_log(path, [arm for arm in arms if arm.group == "3x"], seeds=1)
    text = study.write(log, "tuned").read_text()
    assert "| 1x | base |" in text
    assert "| 3x | + MLoRA, joint |" in text


def test_table_4_goes_from_few_domains_to_many(tmp_path, fake_log):
    study = importlib.import_module("experiments.mlora_table4").STUDY
    for letter, names in (("a", "vwxyz"), ("b", "xy"), ("c", "xyz")):
        data = DataSet(f"data/{letter}", letter * 64, tuple(names))
        log = fake_log(
            tmp_path / "runs.jsonl", study.arms(data, "tuned"), seeds=1
        )
    text = study.write(log, "tuned").read_text()
    (medians,) = re.findall(r"of how many:\n\n(.*?)\n\n", text, re.DOTALL)
    _, _, *lines = medians.splitlines()
    starts = [line.split(" | ")[:2] for line in lines]
    assert starts == [["| b", "2"], ["| c", "3"], ["| a", "5"]]
    assert "(of 4)" in lines[0]


def test_stars_base_stands_beside_the_papers(prepared):
    arms = importlib.import_module("experiments.star_table2").arms
    by_name = {arm.name: arm.paper for arm in arms(prepared, "paper")}
    assert by_name["Base"] == 63.64
    assert by_name["STAR"] == 65.06
    assert by_name["PLE"] is by_name["MLoRA"] is None


def test_an_arm_without_its_rival_is_not_shown(prepared, tmp_path, fake_log):
    _, _, joint = small_arms(prepared, "tuned")
    log = fake_log(tmp_path / "runs.jsonl", [joint], seeds=2)
    assert SMALL_STUDY.write(log, "tuned") is None
    assert not (tmp_path / "small.md").exists()


def test_one_seed_has_its_interval_and_no_p(prepared, tmp_path, fake_log):
    arms = small_arms(prepared, "tuned")
    log = fake_log(tmp_path / "runs.jsonl", arms, seeds=1)
    path = SMALL_STUDY.write(log, "tuned")
    assert rows_beside(path)[2]["wauc_p"] is None
    text = path.read_text()
    (line,) = (one for one in text.splitlines() if "| base |" in one)
    assert "| 70.00 [69.90, 70.10] |" in line
    assert "**" not in text.split("|", 1)[1]


def test_a_failed_run_says_which_and_leaves_no_row(prepared, tmp_path):
    changed = dataclasses.replace(prepared, fingerprint="0" * 64)
    arm = Arm(changed, "mlp", "base", Recipe(tower="shared", **SMALL))
    log = RunLog(tmp_path / "runs.jsonl")
    with pytest.raises(
        RunError, match=r"some-clicks mlp/shared .*: .* has changed"
    ):
        train_quietly(log, arm, tmp_path / "runs")
    assert not log.rows


def test_data_that_nobody_searched_are_named(prepared, tmp_path, capsys):
    """Else a hash that changed would make `tuned` a worse recipe unsaid."""
    study = dataclasses.replace(
        SMALL_STUDY,
        arms=lambda data, preset: [
            Arm(
                data,
                "mlp",
                "base",
                recipes.recipe(preset, data, "mlp", "mlora"),
            )
        ],
    )

    def said(preset):
        given = "--seeds=1", "--dry_run", f"--preset={preset}"
        given = flags_for(prepared, tmp_path, *given)
        with own_flags.given(study.define_flags, *given):
            study.main()
        out, err = capsys.readouterr()
        return out + " ".join(err.split())

    name = f"on {prepared.name} (fingerprint {prepared.fingerprint[:8]})"
    hint = f"experiments.search --data={prepared.path} chooses."
    assert name in said("tuned")
    assert hint in said("tuned")
    assert hint not in said("release")
    # A search that wrote to the same --output.
    arms = {"shared": {"chosen": {"embedding_l2": 0.125}}}
    content = {"data": {prepared.fingerprint: arms}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tuned.json").write_text(json.dumps(content))
    assert hint not in said("tuned")
    assert "embedding_l2=0.125" in said("tuned")


def test_the_base_has_mloras_penalty_besides_where_it_is_another(
    prepared, tmp_path, fake_log
):
    arms = importlib.import_module("experiments.mlora_controls").arms
    name = "base with MLoRA's penalty"
    chosen = {"shared": {"embedding_l2": 0.25}}
    data = dataclasses.replace(prepared, chosen=chosen)
    assert name not in [arm.name for arm in arms(data, "tuned")]
    chosen = {**chosen, "mlora": {"embedding_l2": 0.5}}
    data = dataclasses.replace(prepared, chosen=chosen)
    by_name = {arm.name: arm for arm in arms(data, "tuned")}
    # It is there once anyone has trained it, as the first phase, say.
    assert by_name["base"].recipe.embedding_l2 == 0.25
    other = dataclasses.replace(by_name["base"].recipe, embedding_l2=0.5)
    trained = dataclasses.replace(by_name["base"], recipe=other)
    log = fake_log(tmp_path / "runs.jsonl", [trained], seeds=1)
    assert by_name[name].find(log, 0) is not None
    assert by_name["base"].find(log, 0) is None


def test_the_better_of_two_bases_is_so_in_validation(
    prepared, tmp_path, fake_log
):
    arms = importlib.import_module("experiments.mlora_controls").arms
    by_name = {arm.name: arm for arm in arms(prepared, "tuned")}
    base, better = by_name["base"], by_name["better of two bases"]
    # A later seed is a better one in this log.
    log = fake_log(tmp_path / "runs.jsonl", [base], seeds=3)
    assert [better.find(log, seed) for seed in (0, 1)] == [
        base.find(log, seed) for seed in (1, 2)
    ]
    # With the last seed alone there are no two.
    assert better.find(log, 2) is None
    assert [run.recipe.seed for run in better.runs(2)] == [2, 3]
    log = fake_log(tmp_path / "runs.jsonl", [base], seeds=5)
    rival, found = results(log, [base, better])
    assert len(found.phases) == 4
    compared = found.over(rival)
    assert compared.gain.mean > 0
    # Each base is in the gains of two seeds, which no t-test is for.
    assert compared.p_text == found.domain_over(rival, 0).p_text == ""


def test_stars_study_has_the_adapters_that_were_chosen(prepared):
    options = {"lora_regularizer": "l2", "adapted_layers": [0, 2]}
    chosen = {
        "shared": {"embedding_l2": 0.25, "batch_size": 7},
        "mlora": {
            "embedding_l2": 0.5,
            "temperature": 4,
            "lora_bias": False,
            "tower_options": options,
        },
    }
    data = dataclasses.replace(prepared, chosen=chosen)
    arms = importlib.import_module("experiments.star_table2").arms
    by_name = {arm.name: arm.recipe for arm in arms(data, "tuned")}
    paper = {arm.name: arm.recipe for arm in arms(prepared, "paper")}
    assert {one.embedding_l2 for one in by_name.values()} == {0.25}
    assert {one.batch_size for one in by_name.values()} == {2000}
    mlora = by_name["MLoRA"]
    assert mlora.temperature == 4
    assert not mlora.lora_bias
    assert by_name["STAR"].lora_bias
    # Of three layers the first and the last; of six the same from the last.
    assert len(mlora.hidden_units) == 6
    assert mlora.tower_options == {**options, "adapted_layers": [3, 5]}
    assert by_name["STAR"].tower_options == paper["STAR"].tower_options
    assert paper["MLoRA"].tower_options == {}
