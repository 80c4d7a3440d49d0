import dataclasses

import pytest

from mlora_tf.presets import PRESETS
from mlora_tf.presets import preset
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("tower", ["shared", "mlora"])
def test_every_preset_makes_a_recipe_for_either_arm(name, tower):
    recipe = preset(name, "deepfm", tower)
    assert (recipe.backbone, recipe.tower) == ("deepfm", tower)


def test_arms_of_a_preset_differ_in_tower_and_schedule_alone():
    for name in PRESETS:
        base, mlora = (
            preset(name, "mlp", "shared"),
            preset(name, "mlp", "mlora"),
        )
        changed = dataclasses.replace(
            mlora, tower=base.tower, schedule=base.schedule
        )
        assert changed == base


def test_the_paper_preset_is_what_section_4_3_says():
    recipe = preset("paper", "mlp", "mlora")
    assert recipe.schedule == "two_phase"
    assert recipe.hidden_units == (256, 128, 64)
    assert (recipe.dropout, recipe.temperature) == (0.5, 32)
    assert (recipe.embedding_dim, recipe.batch_size) == (8, 1024)
    assert recipe.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("backbone", "temperature"), [("mlp", 16), ("deepfm", 32)]
)
def test_the_release_preset_has_the_published_temperatures(
    backbone, temperature
):
    recipe = preset("release", backbone, "mlora")
    assert recipe.temperature == temperature
    assert (recipe.schedule, recipe.batches) == ("joint", "per_domain")
    assert recipe.monitor == "val_macro_auc"
    assert recipe.rollback


def test_an_unknown_preset_is_refused_with_the_list():
    with pytest.raises(RecipeError, match="'paper', 'release', 'tuned'"):
        preset("papr", "mlp", "mlora")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "three_phase"}, "schedule must be one of"),
        ({"control": "placebo"}, "control must be one of"),
        ({"batches": "sorted"}, "batches must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_epochs": 0}, "max_epochs must be at least 1"),
        ({"tower": "shared", "control": "bias_only"}, "needs tower='mlora'"),
        ({"control": "train_on"}, "schedule='two_phase' and tower='shared'"),
        ({"tower": "shared", "schedule": "two_phase"}, "no adapters"),
        ({"fresh_fraction": 0.5}, "needs schedule='two_phase'"),
        ({"fresh_fraction": 1.0, "schedule": "two_phase"}, r"\[0, 1\)"),
        ({"monitor": "val_wuac"}, "monitor must be one of"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"temperature": 0}, "temperature must be at least 1"),
        ({"hidden_units": ()}, "hidden_units"),
        ({"seed": -1}, "seed must be in"),
        ({"embedding_l2": -1.0}, "embedding_l2 must not be negative"),
        ({"embedding_stddev": -1.0}, "embedding_stddev must not be negative"),
        ({"hidden_units": (8, 0)}, "hidden_units"),
    ],
)
def test_what_does_not_go_together_is_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**values)


def test_controls_reach_the_tower():
    for bias in (True, False):  # the paper's preset has none
        bias_only = Recipe(control="bias_only", lora_bias=bias).tower_options
        assert (bias_only["rank"], bias_only["use_lora_bias"]) == (0, True)
    assert Recipe(control="shared_adapter").tower_options["shared_adapter"]
    assert Recipe(tower="shared").tower_options == {}
