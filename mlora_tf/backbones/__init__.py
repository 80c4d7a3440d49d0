"""Backbones: how the features of a click interact."""

from collections.abc import Callable
from typing import Any

from mlora_tf.backbones.deepfm import deepfm
from mlora_tf.backbones.mlp import mlp

BACKBONES: dict[str, Callable[..., Any]] = {"mlp": mlp, "deepfm": deepfm}

__all__ = ["BACKBONES"]
