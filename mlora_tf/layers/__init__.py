"""Keras layers, written in `keras.ops`: they know no schema and no file."""

from mlora_tf.layers.bi_interaction import BiInteraction
from mlora_tf.layers.checked_ids import CheckedIds
from mlora_tf.layers.domain_layer import DomainLayer
from mlora_tf.layers.mlora_dense import MLoRADense
from mlora_tf.layers.per_domain import PerDomain

__all__ = [
    "BiInteraction",
    "CheckedIds",
    "DomainLayer",
    "MLoRADense",
    "PerDomain",
]
