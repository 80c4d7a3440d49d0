"""Towers: how domains share the weights of a fully connected network."""

from collections.abc import Callable

from mlora_tf.towers.cross_stitch import cross_stitch
from mlora_tf.towers.mlora import mlora
from mlora_tf.towers.mmoe import mmoe
from mlora_tf.towers.mulann import mulann
from mlora_tf.towers.normalization import NORMS
from mlora_tf.towers.normalization import normalized
from mlora_tf.towers.ple import ple
from mlora_tf.towers.shared import shared
from mlora_tf.towers.shared_bottom import shared_bottom
from mlora_tf.towers.star import star
from mlora_tf.towers.tower import DROPOUT_PLACEMENTS
from mlora_tf.towers.tower import Hidden
from mlora_tf.towers.tower import Tower
from mlora_tf.towers.tower import shared_logit

TOWERS: dict[str, Callable[..., Tower]] = {
    "shared": shared,
    "mlora": mlora,
    "star": star,
    "shared_bottom": shared_bottom,
    "mmoe": mmoe,
    "ple": ple,
    "cross_stitch": cross_stitch,
    "mulann": mulann,
}

EXTENDS_SHARED = ("mlora", "star")
"""The towers that hold the shared one's weights and start as it."""

__all__ = [
    "DROPOUT_PLACEMENTS",
    "EXTENDS_SHARED",
    "NORMS",
    "TOWERS",
    "Hidden",
    "Tower",
    "normalized",
    "shared_logit",
]
