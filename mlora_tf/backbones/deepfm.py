"""DeepFM: a factorization machine and a deep tower on the same embeddings."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import FactorizationMachine
from mlora_tf.towers import Tower


def deepfm(fields: Fields, tower: Tower) -> Any:
    """A factorization machine beside a deep tower; logits `(batch, 1)`.

    Reference:
        Guo et al., "DeepFM: A Factorization-Machine based Neural Network for
        CTR Prediction", IJCAI 2017.
    """
    pairs = FactorizationMachine(name="fm.pairs")(fields.embeddings)
    deep = tower.logit(tower(fields.flat))
    return add("sum.parts", first_order(fields), pairs, deep)
