"""Early stopping that keeps each domain's own best epoch."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlora_tf import metrics
from mlora_tf.callbacks import EarlyStopping
from mlora_tf.domain_slices import sliced_layers
from mlora_tf.domain_slices import slices


class DomainEarlyStopping(EarlyStopping):
    """Stops when no domain gets better, and keeps the best epoch of each.

    For a second phase, whose shared weights are frozen: then a domain's
    outputs depend on its own weights alone, and the best weights of all
    domains together are a model whose every domain is at its best. None of
    them is worse in validation than at the start.

    Args:
        domains: The domains' names, in their order.
        rows: The validation rows of each, its weight in `best`, a WAUC.
        start: By domain, the AUC that it has at the start; domains without
            one keep their weights of the start.
        patience: How many epochs may pass in which no domain gets better.

    Raises:
        ValueError: At the start of training, if a weight trains that isn't a
            domain's own.
    """

    def __init__(
        self,
        domains: Sequence[str],
        rows: Sequence[int],
        start: Mapping[str, float],
        patience: int,
    ) -> None:
        super().__init__("val_wauc", patience)
        self.domains = tuple(domains)
        self.rows = tuple(rows)
        self.best_by_domain = dict(start)

    def remember(self, history: Sequence[Mapping[str, float]]) -> None:
        """Takes note of the epochs before, where training goes on."""
        for logs in history:
            for name in self._better(logs):
                self.best_by_domain[name] = logs[f"val_auc_{name}"]

    def on_train_begin(self, logs: Any = None) -> None:
        """Keeps the weights of the start."""
        super().on_train_begin(logs)
        self._places = self._own_weights()
        self.best = self._wauc()
        self.best_weights = [np.array(one) for one in self.model.get_weights()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the weights of the domains that are better than ever."""
        better = self._better(logs)
        self.wait += 1
        if better:
            self.wait = 0
            self.best_epoch = epoch
            weights = self.model.get_weights()
            for name in better:
                self.best_by_domain[name] = logs[f"val_auc_{name}"]
                index = self.domains.index(name)
                for place in self._places:
                    self.best_weights[place][index] = weights[place][index]
            self.best = self._wauc()
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _better(self, logs: Mapping[str, float]) -> list[str]:
        return [
            name
            for name, best in self.best_by_domain.items()
            if logs.get(f"val_auc_{name}", -1.0) > best
        ]

    def _wauc(self) -> float:
        values = [
            self.best_by_domain.get(name, np.nan) for name in self.domains
        ]
        return metrics.wauc(values, self.rows)

    def _own_weights(self) -> list[int]:
        """The places of the domains' own weights in `get_weights()`."""
        own = {
            id(variable)
            for layer in sliced_layers(self.model)
            for variable in slices(layer)
        }
        shared = [
            variable.path
            for variable in self.model.trainable_variables
            if id(variable) not in own
        ]
        if shared:
            raise ValueError(
                "each domain can have an epoch of its own where the shared "
                "weights are frozen: call freeze_backbone first. "
                f"Received: {shared[0]!r} trains."
            )
        return [
            place
            for place, variable in enumerate(self.model.weights)
            if id(variable) in own
        ]
