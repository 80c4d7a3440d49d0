import dataclasses

import pytest

from mlora_tf.backbones import BACKBONES
from mlora_tf.presets import PRESETS
from mlora_tf.presets import RELEASE_TEMPERATURES
from mlora_tf.presets import preset
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.towers import TOWERS


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_preset_makes_a_recipe_for_any_arm(name, tower, backbone):
    recipe = preset(name, backbone, tower)
    assert (recipe.backbone, recipe.tower) == (backbone, tower)


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


# What the published configurations of MovieLens say.
@pytest.mark.parametrize(
    ("backbone", "temperature"),
    [
        ("mlp", 16),
        ("wide_deep", 16),
        ("nfm", 4),
        ("autoint", 4),
        ("pnn", 16),
        ("dcn", 16),
        ("fibinet", 32),
        ("deepfm", 32),
        ("xdeepfm", 32),
    ],
)
def test_the_release_preset_has_the_published_temperatures(
    backbone, temperature
):
    recipe = preset("release", backbone, "mlora")
    assert recipe.temperature == temperature
    assert (recipe.schedule, recipe.batches) == ("joint", "per_domain")
    assert recipe.monitor == "val_macro_auc"
    assert (recipe.patience, recipe.rollback) == (3, True)
    assert (recipe.dropout, recipe.dropout_placement) == (0.5, "shared")
    assert recipe.adam_epsilon == 1e-8


def test_every_backbone_has_a_published_temperature():
    assert set(RELEASE_TEMPERATURES) == set(BACKBONES)


@pytest.mark.parametrize(
    ("tower", "norm"), [("star", "partitioned"), ("shared", "batch")]
)
def test_the_star_preset_is_what_that_papers_section_4_1_says(tower, norm):
    recipe = preset("star", "mlp", tower)
    assert (recipe.norm, recipe.auxiliary) == (norm, True)
    # With the logit's, seven layers.
    assert len(recipe.hidden_units) == 6
    assert recipe.batch_size == 2000
    # Section 3.5: the domain is an input of the auxiliary network.
    assert not recipe.domain_field
    assert (recipe.schedule, recipe.batches) == ("joint", "mixed")
    assert recipe.optimizer == "adam"
    assert recipe.dropout == 0.0
    assert recipe.learning_rate == 1e-3


def test_the_star_preset_normalizes_all_other_towers_by_batch():
    norms = {tower: preset("star", "mlp", tower).norm for tower in TOWERS}
    assert norms.pop("star") == "partitioned"
    assert set(norms.values()) == {"batch"}


def test_the_tuned_preset_is_a_plain_recipe():
    assert preset("tuned", "mlp", "mlora") == Recipe()


def test_an_unknown_preset_is_refused_with_the_list():
    with pytest.raises(
        RecipeError, match="'paper', 'release', 'star', 'tuned'"
    ):
        preset("papr", "mlp", "mlora")
