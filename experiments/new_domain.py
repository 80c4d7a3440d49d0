"""Trains a domain that a finished model hasn't had."""

import dataclasses
import math
import pathlib

import keras
import numpy as np
import tensorflow as tf

from experiments import finished_run
from experiments.errors import RunError
from mlora_tf.data import ClickLog
from mlora_tf.data import Split
from mlora_tf.domains import add_domain
from mlora_tf.fine_tuning import train_only
from mlora_tf.phases import Phase
from mlora_tf.phases import PhaseCallbacks
from mlora_tf.phases import PhaseTrainer
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import score_split
from mlora_tf.recipes import Recipe
from mlora_tf.stop_signals import StopSignals
from mlora_tf.vocabulary import grow_vocabulary


@dataclasses.dataclass(frozen=True)
class NewDomain:
    """Adds a domain to a saved model, and trains what is its own.

    Args:
        model: The `.keras` file.
        name: The domain: the last of the log's.
    """

    model: pathlib.Path
    name: str

    def __call__(
        self,
        log: ClickLog,
        recipe: Recipe,
        strategy: tf.distribute.Strategy,
        *,
        state_folder: pathlib.Path,
        phase_callbacks: PhaseCallbacks,
        stop: StopSignals | None,
    ) -> list[Phase]:
        """Trains it; called again after a crash, it goes on.

        Returns:
            The phases "untrained" and "new_domain".

        Raises:
            RunError: The model can't get a domain, or the domain's rows can't
                be trained on.
        """
        own = self._own_rows(log)
        try:
            with strategy.scope():
                untrained = self._added(log, recipe)
                model = self._added(log, recipe)
                train_only(model, self.name)
        except ValueError as error:
            raise RunError(f"{self.model}: {error}") from None
        start = score_split(Predictor(untrained), own.valid)
        auc = start.evaluate(log.schema).auc
        if math.isnan(auc):
            raise RunError(
                f"the validation rows of {self.name!r} have no click, or "
                "nothing but clicks, so that no epoch can be judged: prepare "
                "more rows, or other --fractions."
            )
        state_folder.mkdir(parents=True, exist_ok=True)
        trainer = PhaseTrainer(
            own, recipe, strategy, state_folder, phase_callbacks, stop
        )
        trained = trainer.fit("new_domain", model, start=auc)
        return [Phase("untrained", untrained, auc, -1, []), trained]

    def _added(self, log: ClickLog, recipe: Recipe) -> keras.Model:
        # Twice the same rows for new ids.
        keras.utils.set_random_seed(recipe.seed)
        larger = add_domain(finished_run.loaded(self.model), self.name)
        return grow_vocabulary(larger, log.schema, vectors=log.vectors)

    def _own_rows(self, log: ClickLog) -> ClickLog:
        index = log.schema.domains.index(self.name)

        def own(split: object, name: str) -> Split:
            if not isinstance(split, Split):
                raise RunError("rows of a new domain are read into memory.")
            rows = split.take(np.flatnonzero(split.domain == index))
            if not len(rows):
                raise RunError(
                    f"{self.name!r} has no row in the {name} split: prepare "
                    "more of them, or other --fractions."
                )
            return rows

        return dataclasses.replace(
            log,
            train=own(log.train, "train"),
            valid=own(log.valid, "valid"),
        )
