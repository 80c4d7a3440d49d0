"""Trains a recipe on a click log: joint or in two phases, resumable."""

import logging
import pathlib

import keras
import tensorflow as tf

from mlora_tf.data import ClickLog
from mlora_tf.data import DataError
from mlora_tf.data import Split
from mlora_tf.data import StreamedSplit
from mlora_tf.phases import Phase
from mlora_tf.phases import PhaseCallbacks
from mlora_tf.phases import PhaseTrainer
from mlora_tf.phases import no_callbacks
from mlora_tf.recipe_models import build
from mlora_tf.recipe_models import start
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.schema import Schema
from mlora_tf.stop_signals import StopSignals
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from mlora_tf.workers import Workers

__all__ = ["Phase", "PhaseTrainer", "build", "phase_rows", "train"]

logger = logging.getLogger(__name__)


def train(
    log: ClickLog,
    recipe: Recipe,
    strategy: tf.distribute.Strategy,
    *,
    state_folder: pathlib.Path,
    phase_callbacks: PhaseCallbacks = no_callbacks,
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
    with strategy.scope():
        base, model = start(log, recipe)
    trainer = PhaseTrainer(
        log, recipe, strategy, state_folder, phase_callbacks, stop
    )
    if recipe.schedule == "joint":
        del base  # Its tables may be large.
        return [trainer.fit("joint", model)]

    first, second = phase_rows(log.train, recipe)
    if not len(second):
        raise DataError(
            "fresh_fraction leaves no row to phase two. "
            f"Received: fresh_fraction={recipe.fresh_fraction} of "
            f"{len(log.train)} rows"
        )
    pretrained = trainer.fit("pretrain", base, first)
    initialize_from(model, base)
    if recipe.control == "train_on":
        name = "train_on"
    else:
        name = "adapters"
        freeze_backbone(model, base)
    adapted = trainer.fit(
        name,
        model,
        second,
        start=pretrained.best,
        start_by_domain=(
            _aucs(pretrained, log.schema) if recipe.stop_by_domain else None
        ),
    )
    return [pretrained, adapted]


def _aucs(phase: Phase, schema: Schema) -> dict[str, float]:
    """The validation AUC of each domain that has one, in the best epoch."""
    best = phase.history[phase.best_epoch]
    aucs = {domain: best.get(f"val_auc_{domain}") for domain in schema.domains}
    return {domain: auc for domain, auc in aucs.items() if auc is not None}


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
