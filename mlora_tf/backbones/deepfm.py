"""DeepFM: a factorization machine and a deep tower on the same embeddings."""

from typing import Any

from keras import ops

from mlora_tf.fields import Fields
from mlora_tf.fields import first_order
from mlora_tf.fields import flatten
from mlora_tf.fields import logit
from mlora_tf.layers import BiInteraction
from mlora_tf.towers import Tower


def deepfm(fields: Fields, tower: Tower) -> Any:
    """A factorization machine beside a deep tower; logits `(batch, 1)`.

    Reference:
        Guo et al., "DeepFM: A Factorization-Machine based Neural Network for
        CTR Prediction", IJCAI 2017.
    """
    return first_order(fields) + fm(fields) + logit(tower(flatten(fields)))


def fm(fields: Fields) -> Any:
    """The sum over all pairs of fields of `<v_i, v_j>`: `(batch, 1)`."""
    pairs = BiInteraction(name="fm.pairs")(fields.embeddings)
    return ops.sum(pairs, axis=1, keepdims=True)
