"""What `experiments.search` tries, by tower, and whether it can be trained."""

import dataclasses
from collections.abc import Callable
from typing import Any

from experiments.study.recipes import STAR_MLORA
from mlora_tf.features import SparseFeature
from mlora_tf.models import build_model
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.schema import Schema

SMALLEST = Schema((SparseFeature("item", ("a",)),), "domain", ("a", "b"))
"""What a model is built on to see whether its options are any."""


@dataclasses.dataclass(frozen=True)
class Lever:
    """Something to choose.

    Args:
        name: Its name.
        values: What is tried, in turn.
        fields: The recipe's fields for a value; by default that of its name.
    """

    name: str
    values: tuple[Any, ...]
    fields: Callable[[Any], dict[str, Any]] | None = None

    def settings(self) -> list[dict[str, Any]]:
        """The recipe's fields for each value."""
        make = self.fields or (lambda value: {self.name: value})
        return [make(value) for value in self.values]


def option(name: str, *values: Any) -> Lever:
    """A lever of one of the tower's options; None leaves it out."""
    return Lever(
        name,
        values,
        lambda value: {"tower_options": {} if value is None else {name: value}},
    )


def regularizer(strength: float | None) -> dict[str, Any]:
    """Fields with an L2 penalty on the adapters' `A` and `B`, or without."""
    penalty = {"class_name": "L2", "config": {"l2": strength}}
    options = {} if strength is None else {"lora_regularizer": penalty}
    return {"tower_options": options}


SHARED_LEVERS: tuple[Lever, ...] = (
    Lever("embedding_l2", (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    Lever("dropout", (0.0, 0.2, 0.5)),
)
"""What every model has."""

LEVERS: dict[str, tuple[Lever, ...]] = {
    "shared": SHARED_LEVERS,
    "mlora": (
        *SHARED_LEVERS,
        Lever("temperature", (4, 16, 64)),
        Lever("lora_regularizer", (None, 1e-4, 1e-3), regularizer),
        option("lora_dropout", None, 0.2, 0.5),
        option("adapted_layers", None, [0], [2]),
        Lever("rank_power", (0.0, 0.5, 1.0)),
        option("lora_alpha", None, 4.0, 64.0),
        Lever("lora_bias", (True, False)),
    ),
    "star": SHARED_LEVERS,
    STAR_MLORA: SHARED_LEVERS,
}
"""By tower, in the order in which they are searched."""

ALL_LEVERS = list(
    dict.fromkeys(lever.name for levers in LEVERS.values() for lever in levers)
)


def merged(chosen: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields set anew; of the tower's options those that are named."""
    found = {**chosen, **fields}
    if "tower_options" in found:
        found["tower_options"] = {
            **chosen.get("tower_options", {}),
            **fields.get("tower_options", {}),
        }
    return found


def check(recipe: Recipe) -> None:
    """Builds a small model: a tower checks its options itself.

    Raises:
        RecipeError: It can't be built.
    """
    try:
        build_model(
            SMALLEST,
            recipe.backbone,
            recipe.tower,
            hidden_units=recipe.hidden_units,
            backbone_options=recipe.backbone_options,
            tower_options=recipe.tower_arguments,
        )
    except (ValueError, TypeError) as error:
        raise RecipeError(str(error)) from None
