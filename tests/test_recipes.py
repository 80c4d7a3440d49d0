import dataclasses
import json

import pytest

from mlora_tf.backbones import BACKBONES
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.towers import EXTENDS_SHARED
from mlora_tf.towers import NORMS
from mlora_tf.towers import TOWERS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "three_phase"}, "schedule must be one of"),
        ({"control": "placebo"}, "control must be one of"),
        ({"batches": "sorted"}, "batches must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"epoch_steps": 0}, "epoch_steps must be at least 1"),
        (
            {"batches": "per_domain", "domain_sampling": "random"},
            "domain_sampling must be one of .*'uniform'.*'random'",
        ),
        ({"domain_sampling": "uniform"}, "it needs batches='per_domain'"),
        ({"batches": "sliding_window"}, "needs window_rows"),
        (
            {"batches": "sliding_window", "window_rows": 1000},
            "window_rows must be at least a batch",
        ),
        ({"window_rows": 1000}, "is the buffer of batches='sliding_window'"),
        ({"max_epochs": 0}, "max_epochs must be at least 1"),
        ({"tower": "shared", "control": "bias_only"}, "needs tower='mlora'"),
        ({"control": "train_on"}, "schedule='two_phase' and tower='shared'"),
        ({"tower": "shared", "schedule": "two_phase"}, "no adapters"),
        ({"fresh_fraction": 0.5}, "needs schedule='two_phase'"),
        ({"stop_by_domain": True}, "needs schedule='two_phase'"),
        (
            {
                "stop_by_domain": True,
                "schedule": "two_phase",
                "control": "shared_adapter",
            },
            "one a domain.*control='shared_adapter'",
        ),
        ({"fresh_fraction": 1.0, "schedule": "two_phase"}, r"\[0, 1\)"),
        ({"monitor": "val_wuac"}, "monitor must be one of"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"temperature": 0}, "temperature must be at least 1"),
        ({"hidden_units": ()}, "hidden_units"),
        ({"seed": -1}, "seed must be in"),
        ({"embedding_l2": -1.0}, "embedding_l2 must not be negative"),
        (
            {"embedding_l2_rows": "table"},
            r"embedding_l2_rows must be one of \('all', 'batch'\).*'table'",
        ),
        ({"embedding_stddev": -1.0}, "embedding_stddev must not be negative"),
        ({"hidden_units": (8, 0)}, "hidden_units"),
        ({"embedding_l2": "1e-5"}, "embedding_l2 must be a number.*'1e-5'"),
        ({"dropout": [0.1]}, "dropout must be a number"),
        ({"batch_size": 64.5}, "batch_size must be an integer"),
        ({"patience": True}, "patience must be an integer"),
        ({"epoch_steps": "9"}, "epoch_steps must be an integer or None"),
        ({"hidden_units": 64}, "hidden_units must be integers"),
        ({"hidden_units": (64, "32")}, "hidden_units must be integers"),
        ({"rollback": "no"}, "rollback must be true or false"),
        ({"tower": ["mlora"]}, "tower must be a name"),
        ({"tower_options": [1]}, "tower_options must be options by name"),
        ({"backbone": "fm"}, r"backbone must be one of .*'xdeepfm'\).*'fm'"),
        ({"tower": "lora"}, r"tower must be one of .*'mulann'\).*'lora'"),
        ({"norm": "pn"}, r"norm must be one of .*'partitioned'\).*'pn'"),
        ({"optimizer": "sgd"}, r"one of \('adam', 'lazy_adam'\).*'sgd'"),
        ({"max_adapter_params": 0}, "max_adapter_params must be at least 1"),
        ({"rank_power": -0.5}, "rank_power must not be negative"),
        ({"rank_power": float("inf")}, "rank_power must be finite"),
        (
            {"tower": "star", "rank_power": 0.5},
            "rank_power is about adapters.*tower='star'",
        ),
        (
            {"control": "bias_only", "rank_power": 0.5},
            "control='bias_only' doesn't have. Received: rank_power=0.5",
        ),
        ({"tower": "star", "control": "bias_only"}, "needs tower='mlora'"),
        (
            {
                "schedule": "two_phase",
                "stop_by_domain": True,
                "tower_options": {"shared_adapter": True},
            },
            "stop_by_domain is about adapters.*no shared adapter",
        ),
        (
            {
                "schedule": "two_phase",
                "stop_by_domain": True,
                "monitor": "val_auc",
            },
            "stop_by_domain.* needs monitor='val_wauc'.*monitor='val_auc'",
        ),
        (
            {"schedule": "two_phase", "stop_by_domain": True, "rollback": True},
            "stop_by_domain.* rollback=False.*rollback=True",
        ),
        (
            {"control": "bias_only", "tower_options": {"rank": 4}},
            "control='bias_only' sets 'rank' itself",
        ),
        (
            {
                "control": "shared_adapter",
                "tower_options": {"shared_adapter": False},
            },
            "control='shared_adapter' sets 'shared_adapter' itself",
        ),
        (
            {"tower": "star", "max_adapter_params": 1024},
            "max_adapter_params is about adapters.*tower='star'",
        ),
        (
            {"tower": "mmoe", "max_adapter_params": 1024},
            "max_adapter_params is about adapters.*tower='mmoe'",
        ),
        (
            {"tower_options": {"lora_regularizer": object()}},
            r"tower_options must be values that JSON can hold.*\(Object of",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**values)


@pytest.mark.parametrize("tower", TOWERS)
def test_two_phases_need_a_tower_that_extends_the_shared_one(tower):
    if tower in EXTENDS_SHARED:
        assert Recipe(tower=tower, schedule="two_phase").tower == tower
        return
    said = (
        "no adapters for a second phase"
        if tower == "shared"
        else rf"\('mlora', 'star'\). Received: tower='{tower}'"
    )
    with pytest.raises(RecipeError, match=said):
        Recipe(tower=tower, schedule="two_phase")


def test_controls_reach_the_tower():
    for bias in (True, False):  # the paper's preset has none
        recipe = Recipe(control="bias_only", lora_bias=bias)
        arguments = recipe.tower_arguments
        assert (arguments["rank"], arguments["use_lora_bias"]) == (0, True)
    recipe = Recipe(control="shared_adapter")
    assert recipe.tower_arguments["shared_adapter"]
    assert Recipe(tower="shared").tower_arguments == {}


def test_a_tower_gets_what_it_takes_and_its_own_options_last():
    recipe = Recipe(temperature=8, max_adapter_params=1024, lora_bias=False)
    assert recipe.tower_arguments == {
        "temperature": 8,
        "max_adapter_params": 1024,
        "use_lora_bias": False,
    }
    star = dataclasses.replace(
        recipe, tower="star", tower_options={"mlora": "parallel", "rank": 2}
    )
    assert star.tower_arguments == {
        "temperature": 8,
        "max_adapter_params": 1024,
        "use_lora_bias": False,
        "mlora": "parallel",
        "rank": 2,
    }
    mmoe = Recipe(tower="mmoe", tower_options={"num_experts": 2})
    assert mmoe.tower_arguments == {"num_experts": 2}
    own = dataclasses.replace(recipe, tower_options={"temperature": 4})
    assert own.tower_arguments["temperature"] == 4


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        (
            {"backbone": "dcn", "backbone_options": {"layers": 3}},
            r"backbone_options of 'dcn' must be among "
            r"\['num_layers', 'parameterization'\]. Received: 'layers'",
        ),
        (
            {"backbone": "mlp", "backbone_options": {"fields": 3}},
            r"backbone_options of 'mlp' must be among \[\]",
        ),
        (
            {"tower": "mmoe", "tower_options": {"experts": 3}},
            r"tower_options of 'mmoe' must be among \['num_experts'\]",
        ),
        # What every tower is given by position is no option.
        (
            {"tower": "mmoe", "tower_options": {"num_domains": 3}},
            r"\['num_experts'\]. Received: 'num_domains'",
        ),
        ({"tower_options": {"hidden": 1}}, r"\[.*'rank'.*\].*'hidden'"),
    ],
)
def test_an_unknown_option_is_refused_with_those_allowed(values, allowed):
    with pytest.raises(RecipeError, match=allowed):
        Recipe(**values)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("auxiliary", [True, False])
def test_every_backbone_meets_every_tower_in_a_recipe(norm, auxiliary):
    for backbone in BACKBONES:
        for tower in TOWERS:
            recipe = Recipe(
                backbone=backbone, tower=tower, norm=norm, auxiliary=auxiliary
            )
            content = json.loads(json.dumps(recipe.to_dict()))
            assert content["norm"] == norm
            assert content["auxiliary"] == auxiliary


def test_a_recipe_is_what_a_file_of_it_gives_back():
    # What is compared when a run goes on, and has been in a file before.
    recipe = Recipe(
        backbone="xdeepfm",
        backbone_options={"cin_sizes": (6, 4)},
        tower_options={"rank": 2},
        max_adapter_params=1024,
        optimizer="lazy_adam",
    )
    content = recipe.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["backbone_options"] == {"cin_sizes": [6, 4]}
    assert content["hidden_units"] == [256, 128, 64]
    fields = [field.name for field in dataclasses.fields(Recipe)]
    assert list(content) == fields


@pytest.mark.parametrize(
    "name",
    [one.name for one in dataclasses.fields(Recipe) if one.type is str],
)
def test_every_name_is_one_of_a_list(name):
    with pytest.raises(RecipeError, match=f"{name} must be one of .*nonsense"):
        Recipe(**{name: "nonsense"})
