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
    """A linear model, compressed interactions and a deep tower.

    The sum of the three is the paper's eq. 9. MLoRA's published code means
    the same with the same sizes, but builds DeepFM under this name.

    Args:
        fields: The embedded fields: `embeddings` of shape `(batch, fields,
            dim)`, and `flat` of shape `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.
        cin_sizes: How many feature maps each layer of interactions has.
        split_half: Whether half of them go on to the next layer and half to
            the output; see `CompressedInteraction`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: `cin_sizes` aren't positive integers, or one but the last
            can't be split in halves and must be.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> options = {"cin_sizes": (6, 4)}
    >>> model = build_model(schema, "xdeepfm", backbone_options=options)
    >>> model.get_layer("cin.maps").output.shape
    (None, 7)

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
