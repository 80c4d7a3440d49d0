"""Towers: how domains share the weights of a fully connected network."""

from collections.abc import Callable

from mlora_tf.towers.mlora import mlora
from mlora_tf.towers.shared import shared
from mlora_tf.towers.tower import DROPOUT_PLACEMENTS
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower

TOWERS: dict[str, Callable[..., Tower]] = {"shared": shared, "mlora": mlora}

__all__ = ["DROPOUT_PLACEMENTS", "TOWERS", "Hidden", "Tower"]
