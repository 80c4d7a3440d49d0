"""Click prediction for many domains at once: MLoRA and STAR in Keras 3."""

from mlora_tf import preflight as preflight  # isort: split

from mlora_tf import data as data
from mlora_tf import distribution as distribution
from mlora_tf import serving as serving
from mlora_tf import training as training
from mlora_tf.adapters import load_adapters
from mlora_tf.adapters import save_adapters
from mlora_tf.adapting import adapt
from mlora_tf.backbones import BACKBONES
from mlora_tf.disabling import disable_adapters
from mlora_tf.domains import add_domain
from mlora_tf.domains import remove_domain
from mlora_tf.domains import rename_domain
from mlora_tf.fine_tuning import train_only
from mlora_tf.layers import DomainDense
from mlora_tf.layers import DomainIds
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.layers import StarDense
from mlora_tf.layers.domain_ops import pure_batches
from mlora_tf.merge import merge_domain
from mlora_tf.models import build_model
from mlora_tf.optimizers import LazyAdam
from mlora_tf.ranks import limit_ranks
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.streaming_wauc import StreamingWAUC
from mlora_tf.towers import NORMS
from mlora_tf.towers import TOWERS
from mlora_tf.transform import domain_names
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from mlora_tf.transform import unfreeze
from mlora_tf.version import __version__
from mlora_tf.vocabulary import extend_vocabulary
from mlora_tf.vocabulary import grow_vocabulary

__all__ = [
    "BACKBONES",
    "NORMS",
    "TOWERS",
    "DenseFeature",
    "DomainDense",
    "DomainIds",
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
    "adapt",
    "add_domain",
    "build_model",
    "disable_adapters",
    "domain_names",
    "extend_vocabulary",
    "freeze_backbone",
    "grow_vocabulary",
    "initialize_from",
    "limit_ranks",
    "load_adapters",
    "merge_domain",
    "pure_batches",
    "remove_domain",
    "rename_domain",
    "save_adapters",
    "train_only",
    "unfreeze",
]
