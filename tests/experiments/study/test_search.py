"""The search: on validation, lever by lever, each on the best so far."""

import dataclasses
import json

import pytest

from experiments import search
from experiments import search_levers
from experiments.errors import RunError
from experiments.search_levers import LEVERS
from experiments.study import recipes
from experiments.study import trainer
from experiments.study.chosen import RESULTS
from experiments.study.chosen import chosen_on
from experiments.study.data_set import DataSet
from experiments.study.run_log import RunLog
from mlora_tf.presets import preset
from tests import own_flags

DATA = DataSet("data/some", "f" * 64, ("a", "b"))


def score(recipe):
    """Validation is best at a penalty of 1e-4, and dropout then at .2."""
    value = 0.8 - abs(recipe.embedding_l2 - 1e-4)
    value -= abs(recipe.dropout - (0.2 if recipe.embedding_l2 == 1e-4 else 0.5))
    if recipe.tower == "mlora":
        value += 0.01 * (recipe.temperature == 64)
        options = recipe.tower_options
        value += 0.02 * ("lora_regularizer" in options)
        value += 0.01 * (options.get("lora_dropout") == 0.5)
        value -= 0.05 * ("adapted_layers" in options)
    return value


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """Runs the search on scores that nobody trained; the recipes it tried."""
    tried = []

    def train(log, runs, folder, **_):
        for run in runs:
            tried.append(run.recipe)
            if run in log:
                continue
            phase = {
                # The test split is the other way round.
                "valid": {"wauc": score(run.recipe)},
                "test": {"wauc": -score(run.recipe)},
            }
            log.append(
                {
                    "data": run.data.name,
                    "fingerprint": run.data.fingerprint,
                    "recipe": run.recipe.to_dict(),
                    "phases": [phase],
                }
            )

    monkeypatch.setattr(trainer, "train", train)

    def opened(path, results):
        chosen = chosen_on(DATA.fingerprint, results)
        return dataclasses.replace(DATA, chosen=chosen)

    monkeypatch.setattr(DataSet, "open", opened)

    def run(*flags):
        given = ("--data=data/some", f"--output={tmp_path}", *flags)
        with own_flags.given(search.define_flags, *given):
            search.main()
        return json.loads((tmp_path / "tuned.json").read_text()), tried

    return run


def test_each_lever_is_tried_on_the_best_of_those_before(searched):
    content, tried = searched("--towers=shared")
    found = content["data"][DATA.fingerprint]["shared"]
    assert found["chosen"] == {"embedding_l2": 1e-4, "dropout": 0.2}
    after = [one for one in tried if one.dropout]
    assert {one.embedding_l2 for one in after} == {1e-4}
    chosen = [one for one in found["tried"] if one["chosen"]]
    assert [one["lever"] for one in chosen] == ["embedding_l2", "dropout"]
    assert len(found["tried"]) == 7 + 3


def test_adapters_start_from_what_the_base_chose_and_keep_each_option(searched):
    content, tried = searched("--towers=mlora,shared")
    towers = content["data"][DATA.fingerprint]
    assert list(towers) == ["shared", "mlora"]
    chosen = towers["mlora"]["chosen"]
    assert chosen["temperature"] == 64
    assert chosen["tower_options"] == {
        **search_levers.regularizer(1e-4)["tower_options"],
        "lora_dropout": 0.5,
    }
    first = next(one for one in tried if one.tower == "mlora")
    assert first.dropout == 0.2
    # What it ends with is a recipe.
    recipe = preset("tuned", "mlp", "mlora")
    assert score(
        type(recipe)(**{**recipe.to_dict(), **chosen})
    ) == pytest.approx(0.84)


def test_what_is_given_to_start_with_is_kept(searched):
    start = '{"batch_size": 4096, "embedding_l2": 0.001}'
    content, tried = searched(
        "--towers=shared", "--levers=dropout", f"--start={start}"
    )
    found = content["data"][DATA.fingerprint]["shared"]
    assert {one.batch_size for one in tried} == {4096}
    assert found["chosen"] == {
        "batch_size": 4096,
        "embedding_l2": 0.001,
        "dropout": 0.5,
    }
    assert f"--start='{start}'" in found["command"]


def test_other_values_can_be_tried(searched):
    values = '{"embedding_l2": [3e-5, 1e-4], "lora_regularizer": [null, 0.5]}'
    content, _ = searched("--towers=shared,mlora", f"--values={values}")
    found = content["data"][DATA.fingerprint]
    tried = [one["fields"] for one in found["shared"]["tried"]]
    assert tried[:2] == [{"embedding_l2": 3e-5}, {"embedding_l2": 1e-4}]
    assert [one["fields"] for one in found["mlora"]["tried"]][8:10] == [
        {"tower_options": {}},
        {
            "tower_options": {
                "lora_regularizer": {"class_name": "L2", "config": {"l2": 0.5}}
            }
        },
    ]
    assert f"--values='{values}'" in found["mlora"]["command"]


@pytest.mark.parametrize(
    "values", ['{"l2": [1]}', '{"dropout": 0.1}', '{"dropout": []}']
)
def test_values_are_lists_for_levers(values, searched):
    with pytest.raises(RunError, match=r"values must.*lora_regularizer"):
        searched(f"--values={values}")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ('values={"embedding_l2": ["1e-5"]}', "embedding_l2 can't be '1e-5'"),
        ('values={"dropout": [0.1, -0.1]}', "dropout can't be -0.1: .*0, 1"),
        ('values={"temperature": [0]}', "temperature can't be 0: .*least 1"),
        ('values={"lora_dropout": [1.5]}', "lora_dropout can't be 1.5"),
        ('values={"lora_dropout": ["a"]}', "lora_dropout can't be 'a'"),
        ('values={"lora_regularizer": [-1]}', "regularizer can't be -1"),
        ('values={"adapted_layers": [[3]]}', r"\[3\]: .*each in \[0, 3\)"),
        ('start={"learning_rate": -1}', "--start: learning_rate must be pos"),
        ('start={"tower_options": 3}', "--start: tower_options must be opt"),
    ],
)
def test_values_are_checked_before_anything_trains(searched, flag, said):
    with pytest.raises(RunError, match=said):
        searched(f"--{flag}")


def test_values_of_what_is_not_searched_do_not_matter(searched):
    content, _ = searched(
        *("--towers=shared", "--levers=dropout"),
        '--values={"lora_dropout": [7], "dropout": [0.5]}',
    )
    (tried,) = content["data"][DATA.fingerprint]["shared"]["tried"]
    assert tried["fields"] == {"dropout": 0.5}


def test_a_start_is_of_a_recipes_fields(searched):
    with pytest.raises(RunError, match=r"--start must .*: batches_size"):
        searched('--start={"batches_size": 4096}')


def test_seeds_are_averaged(searched, tmp_path):
    _, tried = searched("--towers=shared", "--levers=dropout", "--seeds=3")
    assert sorted(one.seed for one in tried) == [0] * 3 + [1] * 3 + [2] * 3
    assert len(RunLog(tmp_path / "runs.jsonl").rows) == 9


def test_all_that_was_tried_is_written_down(searched, tmp_path):
    searched("--towers=shared,mlora")
    lines = [
        line
        for line in (tmp_path / "search.md").read_text().splitlines()
        if line.startswith("| some ")
    ]
    assert len(lines) == 10 + 10 + 3 * 6 + 2
    assert "| some | shared | embedding_l2 | 0.0001 | 30.00 |  |" not in lines
    assert any("| lora_regularizer | 0.001 |" in line for line in lines)
    assert any("| adapted_layers | [2] |" in line for line in lines)
    assert any("| lora_bias | False |" in line for line in lines)
    assert sum(line.endswith("| yes |") for line in lines) == 2 + 9


def test_another_search_adds_to_what_is_there(searched):
    searched("--towers=shared", "--levers=dropout")
    content, _ = searched("--towers=star", "--levers=dropout")
    assert set(content["data"][DATA.fingerprint]) == {"shared", "star"}


def test_what_other_levers_chose_stays(searched):
    """So that one lever can be searched anew."""
    before, _ = searched("--towers=shared,mlora")
    first = before["data"][DATA.fingerprint]
    options = first["mlora"]["chosen"]["tower_options"]
    assert {"lora_regularizer", "lora_dropout"} <= set(options)
    after, tried = searched("--towers=mlora", "--levers=lora_dropout")
    second = after["data"][DATA.fingerprint]
    assert second["mlora"]["chosen"] == first["mlora"]["chosen"]
    assert second["shared"] == first["shared"]
    without, *_ = tried[-3:]
    assert set(without.tower_options) == set(options) - {"lora_dropout"}
    assert without.embedding_l2 == 1e-4
    # What --start says comes before what was chosen.
    after, _ = searched(
        *("--towers=mlora", "--levers=lora_dropout"),
        '--start={"embedding_l2": 0.5}',
    )
    third = after["data"][DATA.fingerprint]["mlora"]["chosen"]
    assert (third["embedding_l2"], third["temperature"]) == (0.5, 64)


@pytest.mark.parametrize("lever", LEVERS["mlora"], ids=lambda one: one.name)
def test_what_mlora_chooses_can_stand_beside_star(lever):
    """Table 2 gives STAR's adapters what was chosen for MLoRA."""
    for fields in lever.settings():
        chosen = {"mlora": fields}
        data = dataclasses.replace(DATA, chosen=chosen)
        options = recipes.star_mlora("tuned", data, "joint").tower_options
        assert options == {
            "mlora": "parallel",
            **fields.get("tower_options", {}),
        }


def test_star_with_adapters_can_have_a_search_of_its_own(searched, tmp_path):
    searched("--towers=shared,mlora,star")

    def star_mlora(schedule):
        chosen = chosen_on(DATA.fingerprint, tmp_path)
        data = dataclasses.replace(DATA, chosen=chosen)
        return recipes.star_mlora("tuned", data, schedule)

    before = {one: star_mlora(one) for one in ("joint", "two_phase")}
    content, tried = searched(
        *("--towers=star_mlora", "--levers=embedding_l2"),
        '--values={"embedding_l2": [0.0002, 0.001]}',
    )
    # It starts from what was chosen for STAR and for adapters.
    assert tried[-2:] == [
        dataclasses.replace(before["joint"], embedding_l2=value)
        for value in (0.0002, 0.001)
    ]
    found = content["data"][DATA.fingerprint]["star_mlora"]
    assert found["chosen"]["embedding_l2"] == 0.0002
    assert star_mlora("joint") == tried[-2]
    # Adapters beside a trained STAR have what that was trained with.
    assert star_mlora("two_phase") == before["two_phase"]


def test_one_search_of_all_gives_star_the_adapters_just_chosen(
    searched, tmp_path
):
    content, tried = searched("--towers=shared,mlora,star,star_mlora")
    arms = content["data"][DATA.fingerprint]
    options = arms["mlora"]["chosen"]["tower_options"]
    assert "lora_regularizer" in options
    assert tried[-1].tower_options == {"mlora": "parallel", **options}
    assert tried[-1].temperature == 64
    data = dataclasses.replace(
        DATA, chosen=chosen_on(DATA.fingerprint, tmp_path)
    )
    joint = recipes.star_mlora("tuned", data, "joint")
    assert joint.tower_options == tried[-1].tower_options
    assert joint.embedding_l2 == arms["star_mlora"]["chosen"]["embedding_l2"]


def test_what_was_chosen_is_the_preset_tuned(searched, tmp_path):
    searched("--towers=shared,mlora")
    chosen = chosen_on(DATA.fingerprint, tmp_path)
    data = dataclasses.replace(DATA, chosen=chosen)
    base = recipes.recipe("tuned", data, "deepfm", "shared")
    assert (base.embedding_l2, base.dropout) == (1e-4, 0.2)
    adapted = recipes.recipe("tuned", data, "deepfm", "mlora")
    assert adapted.temperature == 64
    # A tower that wasn't searched has what the shared one chose.
    star = recipes.recipe("tuned", data, "mlp", "star")
    assert (star.embedding_l2, star.temperature) == (1e-4, 16)
    phases = recipes.two_phase("tuned", data, "mlp")
    assert phases.temperature == 64
    assert phases.tower_options == adapted.tower_options


def test_each_schedule_has_all_that_was_chosen_for_adapters():
    options = {"lora_regularizer": "l2"}
    adapters = {"temperature": 4, "rank_power": 0.5, "lora_bias": False}
    chosen = {
        "shared": {"embedding_l2": 0.25},
        "mlora": {"embedding_l2": 0.5, "tower_options": options, **adapters},
    }
    data = dataclasses.replace(DATA, chosen=chosen)
    beside = {"mlora": "parallel", **options}
    for recipe, tower_options, own_epochs in (
        (recipes.two_phase("tuned", data, "mlp"), options, True),
        (recipes.star_mlora("tuned", data, "two_phase"), beside, True),
        (recipes.star_mlora("tuned", data, "joint"), beside, False),
    ):
        assert {name: getattr(recipe, name) for name in adapters} == adapters
        assert recipe.tower_options == tower_options
        assert recipe.stop_by_domain == own_epochs
        # The penalty is on the tables, and so the base's.
        assert recipe.embedding_l2 == 0.25
    assert not recipes.two_phase("release", data, "mlp").stop_by_domain


def test_a_towers_own_search_comes_before_its_backbones_base():
    chosen = {
        "fibinet/mlora": {"dropout": 0.125},
        "fibinet/shared": {"dropout": 0.5, "embedding_l2": 0.25},
    }
    data = dataclasses.replace(DATA, chosen=chosen)
    found = recipes.recipe("tuned", data, "fibinet", "mlora")
    assert (found.dropout, found.embedding_l2) == (0.125, 0.25)
    # Of the MLP's own a tower has nothing of the base's besides its own.
    chosen = {"shared": {"dropout": 0.5}, "mlora": {"embedding_l2": 0.25}}
    data = dataclasses.replace(DATA, chosen=chosen)
    found = recipes.recipe("tuned", data, "mlp", "mlora")
    assert (found.dropout, found.embedding_l2) == (0.0, 0.25)


def test_on_other_data_tuned_is_the_plain_preset(searched, tmp_path):
    searched("--towers=shared")
    assert chosen_on("e" * 64, tmp_path) == {}
    plain = recipes.recipe("tuned", DATA, "mlp", "shared")
    assert plain == preset("tuned", "mlp", "shared")


def test_a_search_of_ones_own_comes_before_ours(tmp_path):
    ours = json.loads((RESULTS / "tuned.json").read_text())["data"]
    fingerprint, arms = next(iter(ours.items()))
    ours_chose = {arm: one["chosen"] for arm, one in arms.items()}
    assert chosen_on(fingerprint, tmp_path) == ours_chose
    mine = {"shared": {"chosen": {"embedding_l2": 0.5}}}
    content = {"data": {"e" * 64: mine}}
    (tmp_path / "tuned.json").write_text(json.dumps(content))
    assert chosen_on(fingerprint, tmp_path) == ours_chose
    content["data"][fingerprint] = mine
    (tmp_path / "tuned.json").write_text(json.dumps(content))
    expected = {"shared": {"embedding_l2": 0.5}}
    assert chosen_on(fingerprint, tmp_path) == expected


def test_a_backbones_own_search_counts_for_it_alone(searched, tmp_path):
    before, _ = searched("--towers=shared,mlora")
    arms = before["data"][DATA.fingerprint]
    content, _ = searched(
        *("--towers=shared", "--levers=dropout", "--backbone=fibinet"),
        *('--values={"dropout": [0.5]}', '--start={"embedding_l2": 0.125}'),
    )
    after = content["data"][DATA.fingerprint]
    assert {name: after[name] for name in arms} == arms
    assert after["fibinet/shared"]["chosen"] == {
        "embedding_l2": 0.125,
        "dropout": 0.5,
    }
    assert (
        "| fibinet/shared | dropout |" in (tmp_path / "search.md").read_text()
    )
    chosen = chosen_on(DATA.fingerprint, tmp_path)
    data = dataclasses.replace(DATA, chosen=chosen)
    base = recipes.recipe("tuned", data, "fibinet", "shared")
    assert (base.embedding_l2, base.dropout) == (0.125, 0.5)
    # Its adapters have its penalty, and the levers chosen on the MLP.
    adapted = recipes.recipe("tuned", data, "fibinet", "mlora")
    assert (adapted.embedding_l2, adapted.temperature) == (0.125, 64)
    for tower in ("shared", "mlora"):
        deepfm = recipes.recipe("tuned", data, "deepfm", tower)
        assert (deepfm.embedding_l2, deepfm.dropout) == (1e-4, 0.2)


@pytest.mark.parametrize("flag", ["--towers=shared,nothing", "--levers=luck"])
def test_a_wrong_name_says_the_allowed_ones(searched, flag):
    with pytest.raises(RunError, match=r"must be among (shared|emb)"):
        searched(flag)
