"""The models of a recipe, as they are before training."""

import keras
import numpy as np

from mlora_tf.data import ClickLog
from mlora_tf.data import StreamedSplit
from mlora_tf.models import build_model
from mlora_tf.ranks import limit_ranks
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.towers import EXTENDS_SHARED
from mlora_tf.transform import adapters
from mlora_tf.transform import initialize_from


def build(
    log: ClickLog, recipe: Recipe, tower: str | None = None
) -> keras.Model:
    """Builds a recipe's model, or the same with another tower.

    Args:
        log: The data, for its features.
        recipe: What to build.
        tower: Another tower, with its default options.

    Raises:
        RecipeError: The recipe's model can't be built on these features.
    """
    try:
        return _build(log, recipe, tower)
    except (ValueError, TypeError) as error:
        raise RecipeError(str(error)) from error


def _build(log: ClickLog, recipe: Recipe, tower: str | None) -> keras.Model:
    return build_model(
        log.schema,
        recipe.backbone,
        tower or recipe.tower,
        norm=recipe.norm,
        auxiliary=recipe.auxiliary,
        hidden_units=recipe.hidden_units,
        dropout=recipe.dropout,
        dropout_placement=recipe.dropout_placement,
        embedding_dim=recipe.embedding_dim,
        embedding_initializer=(
            keras.initializers.RandomNormal(stddev=recipe.embedding_stddev)
            if recipe.embedding_stddev
            else "uniform"
        ),
        embedding_l2=recipe.embedding_l2,
        embedding_l2_rows=recipe.embedding_l2_rows,
        domain_field=recipe.domain_field,
        vectors=log.vectors,
        backbone_options=recipe.backbone_options,
        tower_options=recipe.tower_arguments if tower is None else {},
    )


def start(log: ClickLog, recipe: Recipe) -> tuple[keras.Model, keras.Model]:
    """Builds a recipe's base and its model, which starts as the base.

    What is compared starts from the same weights. Both models are made before
    anything trains: what they draw then doesn't depend on whether a phase has
    just trained or was finished before. To be called in a strategy's scope.

    Returns:
        The base, which only `schedule="two_phase"` trains, and the model:
        one and the same for a joint training of the shared tower.

    Raises:
        RecipeError: They can't be built, or the model can't start as the
            base, or phase two would have nothing to train.
    """
    base = build(log, recipe, tower="shared")
    if recipe.base_tower != "shared":
        base = _extended(base, log, recipe)
    if (recipe.schedule, recipe.tower) == ("joint", "shared"):
        return base, base
    model = build(log, recipe)
    if recipe.rank_power and recipe.tower != "shared":
        _limit_ranks(model, log, recipe.rank_power)
    _start_from(model, base, recipe)
    if recipe.schedule == "two_phase" and recipe.control != "train_on":
        _check_adapters(model, base)
    return base, model


def _extended(
    shared: keras.Model, log: ClickLog, recipe: Recipe
) -> keras.Model:
    """A base with per-domain weights of its own, from the shared model's.

    It has the weights that a joint training of it starts from: what is built
    before it is the same.
    """
    base = build(log, recipe, tower=recipe.base_tower)
    initialize_from(base, shared)
    return base


def _limit_ranks(model: keras.Model, log: ClickLog, power: float) -> None:
    """Gives each domain its share of the rank, by its training rows.

    Raises:
        RecipeError: The model has no ranks.
    """
    if isinstance(log.train, StreamedSplit):
        rows = log.train.domain_counts().sum(axis=0)
    else:
        rows = log.counts("train").sum(axis=1)
    # One without a row has its rank 1 all the same.
    shares = np.maximum((rows / rows.max()) ** power, np.finfo(float).tiny)
    try:
        limit_ranks(model, dict(zip(log.schema.domains, shares, strict=True)))
    except ValueError as error:
        raise RecipeError(f"rank_power={power}: {error}") from None


def _start_from(model: keras.Model, base: keras.Model, recipe: Recipe) -> None:
    """Gives a model its base's weights.

    Raises:
        RecipeError: They don't fit, as may be with a tower of one's own.
    """
    partly = recipe.schedule == "joint" and recipe.tower not in EXTENDS_SHARED
    try:
        initialize_from(model, base, partly=partly)
    except ValueError as error:
        raise RecipeError(
            f"tower={recipe.tower!r} starts from the shared tower's weights: "
            'a layer with a name of that one\'s, such as "hidden.0", must '
            "have its width (by hidden_units). Name layers that differ "
            f"otherwise. {error}"
        ) from error


def _check_adapters(model: keras.Model, base: keras.Model) -> None:
    """Raises unless phase two has weights to train."""
    try:
        adapters(model, base)
    except ValueError as error:
        raise RecipeError(str(error)) from error
