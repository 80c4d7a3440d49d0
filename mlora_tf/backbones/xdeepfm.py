"""xDeepFM: a compressed interaction network beside a deep tower."""

from collections.abc import Sequence
from typing import Any

import keras

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import CompressedInteraction
from mlora_tf.towers import Tower


def xdeepfm(
    fields: Fields,
    tower: Tower,
    *,
    cin_sizes: Sequence[int] = (128, 128),
    split_half: bool = True,
) -> Any:
    """Linear model, compressed interactions and tower; logits `(batch, 1)`.

    The sum of the three is the paper's eq. 9. MLoRA's published code means
    the same with the same sizes, but builds DeepFM under this name.

    Args:
        fields: The embedded fields.
        tower: The deep tower.
        cin_sizes: How many feature maps each layer of interactions has.
        split_half: Whether half of them go on to the next layer and half to
            the output; see `CompressedInteraction`.

    Reference:
        Lian et al., "xDeepFM: Combining Explicit and Implicit Feature
        Interactions for Recommender Systems", KDD 2018.
    """
    cin = CompressedInteraction(
        cin_sizes, split_half=split_half, name="cin.maps"
    )
    compressed = keras.layers.Dense(
        1, kernel_initializer="glorot_normal", name="logit.cin"
    )(cin(fields.embeddings))
    deep = tower.logit(tower(fields.flat))
    return add("sum.parts", first_order(fields), compressed, deep)
