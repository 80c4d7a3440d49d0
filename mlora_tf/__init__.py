"""Click prediction for many domains at once: MLoRA and STAR in Keras 3."""

from mlora_tf.backbones import BACKBONES
from mlora_tf.layers import DomainDense
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.layers import StarDense
from mlora_tf.models import build_model
from mlora_tf.optimizers import LazyAdam
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.streaming_wauc import StreamingWAUC
from mlora_tf.towers import NORMS
from mlora_tf.towers import TOWERS
from mlora_tf.transform import add_domain
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from mlora_tf.version import __version__

__all__ = [
    "BACKBONES",
    "NORMS",
    "TOWERS",
    "DenseFeature",
    "DomainDense",
    "DomainLayer",
    "LazyAdam",
    "MLoRADense",
    "PartitionedNormalization",
    "Schema",
    "SequenceFeature",
    "SparseFeature",
    "StarDense",
    "StreamingWAUC",
    "__version__",
    "add_domain",
    "build_model",
    "freeze_backbone",
    "initialize_from",
]
