"""NFM: a deep tower on the pooled products of all pairs of fields."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import BiInteraction
from mlora_tf.towers import Tower


def nfm(fields: Fields, tower: Tower) -> Any:
    """A linear model beside a tower on all pairs; logits `(batch, 1)`.

    The tower's input is as wide as one embedding. The paper's dropout on the
    pooled pairs is left out, as in MLoRA's published code.

    Reference:
        He and Chua, "Neural Factorization Machines for Sparse Predictive
        Analytics", SIGIR 2017.
    """
    pairs = BiInteraction(name="pairs.pooled")(fields.embeddings)
    deep = tower.logit(tower(pairs))
    return add("sum.parts", first_order(fields), deep)
