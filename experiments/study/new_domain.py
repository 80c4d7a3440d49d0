"""What a new domain needs: trained step by step on a base that never saw it."""

import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.study.held_out import HeldOut
from mlora_tf import training
from mlora_tf.data import ClickLog
from mlora_tf.domain_slices import is_domain_table
from mlora_tf.domains import add_domain
from mlora_tf.fine_tuning import train_only
from mlora_tf.layers import EmbeddingTable
from mlora_tf.metrics import auc
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import score_split
from mlora_tf.recipes import Recipe
from mlora_tf.transform import freeze_all_but
from mlora_tf.transform import unfreeze
from mlora_tf.vocabulary import grow_vocabulary

ARMS = (
    "zero-shot",
    "adapters",
    "new ids",
    "adapters and new ids",
    "everything",
    "from scratch",
)
"""In the order in which they are trained."""


def arms(
    parts: HeldOut,
    recipe: Recipe,
    strategy: tf.distribute.Strategy,
    folder: pathlib.Path,
) -> dict[str, dict[str, Any]]:
    """Trains a base on all other domains, then the new one in each way.

    "zero-shot" adds the domain and trains nothing; "adapters" trains what is
    the new domain's own, its new ids unknown; "new ids" trains rows for these
    alone, "adapters and new ids" both, and all other weights stay as they are;
    "everything" trains all weights on the new domain's rows; "from scratch" has
    never seen another domain.

    Args:
        parts: The rows.
        recipe: Of the base and of all that follows, with adapters, jointly.
        strategy: Where to train.
        folder: Holds the state: killed and called again, it goes on.

    Returns:
        By arm: "auc", of the new domain's test rows; "change", the largest
        difference in another domain's test predictions to the base's (None
        where there is no base); "trained", how many numbers were.
    """
    (base,) = training.train(
        parts.before, recipe, strategy, state_folder=folder / "before"
    )
    name = parts.unknown.schema.domains[-1]
    base_scores = _others(base.model, parts.before)
    reports: dict[str, dict[str, Any]] = {}

    def report(
        arm: str, model: keras.Model, log: ClickLog, trained: int
    ) -> None:
        scored = score_split(Predictor(model), log.test)
        change = None
        if arm != ARMS[-1]:
            scores = _others(model, parts.before)
            change = float(np.abs(scores - base_scores).max())
        reports[arm] = {
            "auc": auc(scored.label, scored.score),
            "change": change,
            "trained": trained,
        }

    def tuned(arm: str, model: keras.Model, log: ClickLog) -> keras.Model:
        trainer = training.PhaseTrainer(log, recipe, strategy, folder)
        phase = trainer.fit(arm.replace(" ", "-"), model)
        report(arm, phase.model, log, _trainable(phase.model))
        return phase.model

    with strategy.scope():
        larger = add_domain(base.model, name)
        report(ARMS[0], larger, parts.unknown, 0)
        train_only(larger, name)
    tuned(ARMS[1], larger, parts.unknown)
    with strategy.scope():
        rows = _grown(base.model, name, parts)
        _train_new_ids(rows, name)
    if rows.trainable_weights:
        tuned(ARMS[2], rows, parts.known)
    else:  # It has no new ids.
        report(ARMS[2], rows, parts.known, 0)
    with strategy.scope():
        grown = _grown(base.model, name, parts)
        train_only(grown, name)
    tuned(ARMS[3], grown, parts.known)
    with strategy.scope():
        everything = _grown(base.model, name, parts)
        unfreeze(everything)
    tuned(ARMS[4], everything, parts.known)
    keras.utils.set_random_seed(recipe.seed)
    with strategy.scope():
        scratch = training.build(parts.known, recipe, tower="shared")
    tuned(ARMS[5], scratch, parts.known)
    return reports


def _grown(base: keras.Model, name: str, parts: HeldOut) -> keras.Model:
    return grow_vocabulary(add_domain(base, name), parts.known.schema)


def _train_new_ids(model: keras.Model, name: str) -> None:
    """Leaves the new ids' rows as the only weights that train."""
    train_only(model, name)
    freeze_all_but(
        model,
        {
            id(layer.embeddings)
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, EmbeddingTable) and not is_domain_table(layer)
        },
    )


def _others(model: keras.Model, before: ClickLog) -> np.ndarray:
    """Predictions of the other domains' test rows."""
    return score_split(Predictor(model), before.test).score


def _trainable(model: keras.Model) -> int:
    return sum(
        int(np.prod(variable.shape)) for variable in model.trainable_variables
    )
