"""Recipes by preset, on a data set: `tuned` has what validation chose."""

import dataclasses
from typing import Any

from experiments.study.data_set import DataSet
from mlora_tf.presets import preset
from mlora_tf.recipes import Recipe

SEARCHED = "mlp"
"""The backbone whose search counts for all others, too."""

STAR_MLORA = "star_mlora"
"""A search's name for STAR with adapters, which no tower is called."""

ADAPTERS = ("temperature", "rank_power", "lora_bias")
"""The fields of adapters that aren't options of a tower."""


def recipe(
    name: str, data: DataSet, backbone: str, tower: str, **changes: Any
) -> Recipe:
    """A preset's recipe for a backbone and a tower on a data set.

    Args:
        name: The preset. "tuned" takes what `experiments.search` chose on
            this data for this tower, or for the shared one; what it never
            searched stays the preset's.
        data: The data set.
        backbone: See `Recipe`.
        tower: See `Recipe`.
        **changes: More of the recipe's fields.
    """
    chosen = preset(name, backbone, tower)
    if name == "tuned":
        chosen = dataclasses.replace(chosen, **tuned(data, tower, backbone))
    return dataclasses.replace(chosen, **changes)


def tuned(
    data: DataSet, tower: str, backbone: str = SEARCHED
) -> dict[str, Any]:
    """The recipe's fields that a search chose for a tower on this data.

    What was chosen on the MLP is for all backbones, but for those fields that
    a backbone's own search has chosen, of the shared tower and then of this.
    STAR with adapters has what was chosen for STAR and for adapters, until it
    has a search of its own.
    """
    if tower == STAR_MLORA:
        adapters = tuned(data, "mlora", backbone)
        options = adapters.get("tower_options", {})
        return {
            **tuned(data, "star", backbone),
            **data.chosen.get(arm_name(backbone, tower), {}),
            **{name: adapters[name] for name in ADAPTERS if name in adapters},
            "tower_options": {"mlora": "parallel", **options},
        }
    chosen = dict(data.chosen.get(tower, data.chosen.get("shared", {})))
    if backbone != SEARCHED:
        for arm in ("shared", tower):
            chosen |= data.chosen.get(arm_name(backbone, arm), {})
    return chosen


def plain(backbone: str, tower: str) -> Recipe:
    """What a search starts from where nothing has been chosen.

    Args:
        backbone: See `Recipe`.
        tower: See `Recipe`, or `STAR_MLORA`.
    """
    if tower == STAR_MLORA:
        star = preset("tuned", backbone, "star")
        return dataclasses.replace(star, tower_options={"mlora": "parallel"})
    return preset("tuned", backbone, tower)


def arm_name(backbone: str, tower: str) -> str:
    """What a search's arm is called in `tuned.json`.

    Example:
        >>> arm_name("mlp", "mlora"), arm_name("fibinet", "mlora")
        ('mlora', 'fibinet/mlora')
    """
    return tower if backbone == SEARCHED else f"{backbone}/{tower}"


def two_phase(
    name: str, data: DataSet, backbone: str, **changes: Any
) -> Recipe:
    """Adapters on a frozen base: the base is the one that tables report.

    All that the base has, the first phase has too: its weights, order,
    dropout and stopping are those of the base alone, to the last bit. With
    "tuned" each domain keeps its own best epoch, so that none is worse than
    the base in validation.
    """
    adapters = recipe(name, data, backbone, "mlora")
    return dataclasses.replace(
        recipe(name, data, backbone, "shared"),
        tower="mlora",
        schedule="two_phase",
        temperature=adapters.temperature,
        lora_bias=adapters.lora_bias,
        rank_power=adapters.rank_power,
        tower_options=adapters.tower_options,
        stop_by_domain=name == "tuned",
        **changes,
    )


def star_mlora(name: str, data: DataSet, schedule: str) -> Recipe:
    """MLoRA's adapters beside STAR's own networks, as on any other base.

    Args:
        name: The preset.
        data: The data set.
        schedule: "joint", or "two_phase": on a trained STAR, all of whose
            weights are frozen.
    """
    if (name, schedule) == ("tuned", "joint"):
        chosen = tuned(data, STAR_MLORA)
        return dataclasses.replace(plain(SEARCHED, STAR_MLORA), **chosen)
    adapters = recipe(name, data, "mlp", "mlora")
    return recipe(
        name,
        data,
        "mlp",
        "star",
        schedule=schedule,
        temperature=adapters.temperature,
        rank_power=adapters.rank_power,
        lora_bias=adapters.lora_bias,
        tower_options={"mlora": "parallel", **adapters.tower_options},
        stop_by_domain=name == "tuned",
    )


def star_recipe(name: str, data: DataSet, tower: str, **changes: Any) -> Recipe:
    """A model of the STAR paper: seven layers, its batches, auxiliary network.

    Args:
        name: "paper" is the preset `star`; "tuned" adds the penalty and the
            dropout that a search chose for the base, the same to all, and to
            MLoRA what it chose for the adapters on the MLP.
        data: The data set.
        tower: See `Recipe`.
        **changes: More of the recipe's fields.
    """
    chosen = preset("star", "mlp", tower)
    if name == "tuned":
        found = tuned(data, "shared")
        chosen = dataclasses.replace(
            chosen,
            **{
                field: found[field]
                for field in ("embedding_l2", "dropout")
                if field in found
            },
        )
    if name == "tuned" and tower == "mlora":
        chosen = dataclasses.replace(chosen, **_adapters(data, chosen))
    return dataclasses.replace(chosen, **changes)


def _adapters(data: DataSet, deep: Recipe) -> dict[str, Any]:
    """What was chosen for MLoRA's adapters, in a network of more layers.

    Args:
        data: The data set.
        deep: The recipe of the network, whose layers have the search's last
            ones' role counted from the last.
    """
    found = tuned(data, "mlora")
    options = dict(found.get("tower_options", {}))
    if options.get("adapted_layers") is not None:
        searched = preset("tuned", SEARCHED, "mlora").hidden_units
        more = len(deep.hidden_units) - len(searched)
        options["adapted_layers"] = [
            layer + more for layer in options["adapted_layers"]
        ]
    chosen = {field: found[field] for field in ADAPTERS if field in found}
    return {**chosen, "tower_options": {**deep.tower_options, **options}}
