"""Trains a recipe on a click log: joint or in two phases, resumable."""

import logging
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlora_tf.data import ClickLog
from mlora_tf.data import DataError
from mlora_tf.data import Split
from mlora_tf.data import StreamedSplit
from mlora_tf.models import build_model
from mlora_tf.phases import OPTIMIZERS
from mlora_tf.phases import STEPS_PER_EXECUTION
from mlora_tf.phases import Phase
from mlora_tf.phases import fit_phase
from mlora_tf.ranks import limit_ranks
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.stop_signals import StopSignals
from mlora_tf.towers import EXTENDS_SHARED
from mlora_tf.transform import adapters
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from mlora_tf.workers import Workers

__all__ = [
    "OPTIMIZERS",
    "STEPS_PER_EXECUTION",
    "Phase",
    "build",
    "fit_phase",
    "phase_rows",
    "train",
]

logger = logging.getLogger(__name__)


def train(
    log: ClickLog,
    recipe: Recipe,
    strategy: tf.distribute.Strategy,
    *,
    state_folder: pathlib.Path,
    phase_callbacks: Callable[
        [str, int], Sequence[keras.callbacks.Callback]
    ] = lambda phase, steps: (),
    stop: StopSignals | None = None,
) -> list[Phase]:
    """Trains a recipe; called again after a crash, it goes on.

    Under a `MultiWorkerMirroredStrategy` every worker calls it, with the same
    data and recipe, and gets the same phases; the chief alone reads and writes
    the state.

    Args:
        log: The data.
        recipe: What to train and how.
        strategy: Where to train.
        state_folder: Holds one file of state per phase.
        phase_callbacks: Makes more callbacks for a phase from its name and
            its steps per epoch.
        stop: Signals that end training once its state is saved; None leaves
            them to others.

    Returns:
        The phases, in order; the last one's model is the result.

    Raises:
        RecipeError: The batch doesn't divide by the replicas, or its kind
            needs all rows in memory.
        DataError: No domain has both labels among the validation rows, or
            streamed rows can't be used.
        TrainingError: The state is damaged or another run's, or training
            diverged.
        ClusterError: A worker was lost, or the workers have other data or
            recipes.
        Stopped: A signal came; the state is saved.

    Example:
    >>> import tempfile
    >>> rng = np.random.default_rng(0)
    >>> item, domain = rng.integers(0, 3, 200), rng.integers(0, 2, 200)
    >>> rows = Split(
    ...     {"item": item.astype("int32"), "domain": domain.astype("int32")},
    ...     label=(item == domain + 1).astype("float32"),
    ... )
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> log = ClickLog(schema, "by hand", train=rows, valid=rows, test=rows)
    >>> recipe = Recipe(hidden_units=(8,), batch_size=50, max_epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     strategy = tf.distribute.get_strategy()
    ...     state = pathlib.Path(folder)
    ...     (phase,) = train(log, recipe, strategy, state_folder=state)
    >>> phase.name, len(phase.history), "val_wauc" in phase.history[0]
    ('joint', 1, True)
    >>> phase.model.output["ctr"].shape
    (None, 1)
    """
    replicas = strategy.num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise RecipeError(
            "batch_size is the global batch and must divide by the replicas. "
            f"Received: batch_size={recipe.batch_size}, replicas={replicas}"
        )
    _check_reading(log, recipe)
    _check_validation(log)
    workers = Workers(strategy)
    workers.check_same("recipe", recipe.to_dict())
    workers.check_same("data", [log.fingerprint, log.reading])
    if workers.is_chief:
        state_folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    # All models are made before anything trains: what they draw then doesn't
    # depend on whether a phase has just trained or was finished before.
    with strategy.scope():
        base = build(log, recipe, tower="shared")
        if recipe.base_tower != "shared":
            base = _extended(base, log, recipe)
        joint_base = (recipe.schedule, recipe.tower) == ("joint", "shared")
        final = base if joint_base else build(log, recipe)
        if recipe.rank_power and recipe.tower != "shared":
            _limit_ranks(final, log, recipe.rank_power)

    def fit(
        name: str,
        model: keras.Model,
        rows: Split | StreamedSplit,
        **kwargs: Any,
    ) -> Phase:
        return fit_phase(
            name,
            model,
            rows,
            log,
            recipe,
            strategy,
            state=state_folder / f"{name}.npz",
            make_callbacks=phase_callbacks,
            stop=stop,
            **kwargs,
        )

    if recipe.schedule == "joint":
        # Both arms of a comparison start from the same weights.
        _start_from(final, base, recipe)
        del base  # Its tables may be large.
        return [fit("joint", final, log.train)]

    # Whether it can start as the base is known before that has trained.
    _start_from(final, base, recipe)
    if recipe.control != "train_on":
        _check_adapters(final, base)
    first, second = phase_rows(log.train, recipe)
    if not len(second):
        raise DataError(
            "fresh_fraction leaves no row to phase two. "
            f"Received: fresh_fraction={recipe.fresh_fraction} of "
            f"{len(log.train)} rows"
        )
    pretrained = fit("pretrain", base, first)
    initialize_from(final, base)
    if recipe.control == "train_on":
        name = "train_on"
    else:
        name = "adapters"
        freeze_backbone(final, base)
    by_domain = None
    if recipe.stop_by_domain:
        best = pretrained.history[pretrained.best_epoch]
        by_domain = {
            domain: best[f"val_auc_{domain}"]
            for domain in log.schema.domains
            if f"val_auc_{domain}" in best
        }
    adapted = fit(
        name,
        final,
        second,
        start=pretrained.best,
        start_by_domain=by_domain,
    )
    return [pretrained, adapted]


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
        size = log.schema.num_domains
        rows = np.bincount(log.train.domain, minlength=size)
    # One without a row has its rank 1 all the same.
    shares = (np.maximum(rows, 1) / rows.max()) ** power
    shares = np.maximum(shares, np.finfo(float).tiny)
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


def _check_reading(log: ClickLog, recipe: Recipe) -> None:
    """Raises unless the rows can be read in the order of the recipe."""
    sequential = (recipe.batches, recipe.domain_sampling) == (
        "per_domain",
        "sequential",
    )
    if log.reading == "stream" and sequential:
        raise RecipeError(
            "domain_sampling='sequential' needs all rows of a domain at once, "
            "which streamed rows aren't: read them with reading='memory', or "
            "use domain_sampling='proportional'."
        )


def _check_validation(log: ClickLog) -> None:
    """Raises unless there is an AUC that early stopping can read."""
    if not (log.counts("valid") > 0).all(axis=1).any():
        raise DataError(
            "no domain has both clicks and other rows in the validation "
            "split: without an AUC there, early stopping can't choose."
        )


def phase_rows(
    rows: Split | StreamedSplit, recipe: Recipe
) -> tuple[Split | StreamedSplit, Split | StreamedSplit]:
    """The rows of phase one and of phase two."""
    if not recipe.fresh_fraction:
        logger.warning(
            "Phase two trains on the rows of phase one, whose id embeddings "
            "have fitted them already: adapters rarely gain there. Train "
            "jointly, or keep fresh rows for them with fresh_fraction, which "
            "phase one then lacks."
        )
        return rows, rows
    return rows.hold_out(
        recipe.fresh_fraction,
        recipe.seed,
        in_order=recipe.batches == "sliding_window",
    )
