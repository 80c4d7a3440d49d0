"""One training run of a study, and the key that tells it from all others."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from experiments.study.data_set import DataSet
from mlora_tf.recipes import DEFAULTS
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.recipes import changes

_OF_ADAPTERS = (
    "schedule",
    "control",
    "tower_options",
    "stop_by_domain",
    "temperature",
    "max_adapter_params",
    "rank_power",
    "lora_bias",
)
"""Fields that a base doesn't read."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe on a data set.

    Args:
        data: The data set.
        recipe: What to train and how; its seed is the run's.
    """

    data: DataSet
    recipe: Recipe

    @functools.cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits: the same for the same run alone."""
        return key(self.data.fingerprint, self.recipe.to_dict())

    @property
    def label(self) -> str:
        """The run in a line, for people."""
        recipe = self.recipe
        changed = [
            f"{name}={_short(value)}"
            for name, value in recipe.changes().items()
            if name not in ("backbone", "tower", "seed")
        ]
        return " ".join(
            (
                f"{self.data.name} {recipe.backbone}/{recipe.tower}",
                *changed,
                f"seed={recipe.seed}",
            )
        )


def key(fingerprint: str, recipe: Mapping[str, Any]) -> str:
    """The key of a recipe's values on data of a fingerprint.

    Values that a recipe has by default don't count, so that a new field leaves
    the keys of older runs as they are.
    """
    content = {"data": fingerprint, "recipe": changes(recipe)}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def base_key(fingerprint: str, recipe: Mapping[str, Any]) -> str | None:
    """The key of the base that a run trains by itself, to the last bit.

    It is what the first of two phases trains, or a run without adapters: two
    runs with the same key of this kind have the same base, whatever the
    adapters on it are.

    Returns:
        The key; None if nothing of the run is trained without adapters, or on
        a part of the rows alone.
    """
    if not set(recipe) <= set(DEFAULTS):  # a later version's
        return None
    try:
        whole = Recipe(**{**DEFAULTS, **recipe})
    except RecipeError:  # of a tower of one's own, which isn't imported
        return None
    if whole.fresh_fraction:
        return None
    if whole.schedule == "two_phase":
        tower = whole.base_tower
    elif whole.tower in ("shared", "star") and not whole.tower_options:
        tower = whole.tower
    else:
        return None
    unset = {name: DEFAULTS[name] for name in _OF_ADAPTERS}
    return key(fingerprint, {**whole.to_dict(), **unset, "tower": tower})


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_rounded(value))


def _rounded(value: Any) -> Any:
    """A value with numbers of twelve digits: 3e-07 that was computed too."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value
