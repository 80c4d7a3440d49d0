"""Backbones: how the features of a click interact."""

from collections.abc import Callable
from typing import Any

from mlora_tf.backbones.autoint import autoint
from mlora_tf.backbones.dcn import dcn
from mlora_tf.backbones.deepfm import deepfm
from mlora_tf.backbones.fibinet import fibinet
from mlora_tf.backbones.mlp import mlp
from mlora_tf.backbones.nfm import nfm
from mlora_tf.backbones.pnn import pnn
from mlora_tf.backbones.wide_deep import wide_deep
from mlora_tf.backbones.xdeepfm import xdeepfm

BACKBONES: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "wide_deep": wide_deep,
    "nfm": nfm,
    "autoint": autoint,
    "pnn": pnn,
    "dcn": dcn,
    "fibinet": fibinet,
    "deepfm": deepfm,
    "xdeepfm": xdeepfm,
}

__all__ = ["BACKBONES"]
