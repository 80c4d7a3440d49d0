"""Click prediction for many domains at once: MLoRA in Keras 3."""

from mlora_tf.backbones import BACKBONES
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import MLoRADense
from mlora_tf.models import build_model
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from mlora_tf.streaming_wauc import StreamingWAUC
from mlora_tf.towers import TOWERS
from mlora_tf.version import __version__

__all__ = [
    "BACKBONES",
    "TOWERS",
    "DomainLayer",
    "MLoRADense",
    "Schema",
    "SparseFeature",
    "StreamingWAUC",
    "__version__",
    "build_model",
]
