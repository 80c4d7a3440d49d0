"""FiBiNET: a deep tower on pairs of fields, weighted and not."""

from typing import Any

import keras

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import BilinearInteraction
from mlora_tf.layers import SqueezeExcitation
from mlora_tf.towers import Tower


def fibinet(
    fields: Fields,
    tower: Tower,
    *,
    bilinear_type: str = "interaction",
    reduction_ratio: int = 3,
) -> Any:
    """A linear model beside a tower on bilinear pairs.

    The tower reads the pairs of the fields as they are and of the fields as
    a squeeze-and-excitation network weights them, in the paper's order; the
    two have matrices of their own.

    Args:
        fields: The embedded fields, at least 2; `embeddings`, of shape
            `(batch, fields, dim)`.
        tower: The deep tower, on inputs of shape `(batch, 2 * pairs * dim)`.
        bilinear_type: "interaction", "all" or "each"; see
            `BilinearInteraction`.
        reduction_ratio: See `SqueezeExcitation`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: There is one field alone or no such `bilinear_type`, or
            `reduction_ratio` isn't a positive integer.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "fibinet", hidden_units=[4])
    >>> model.get_layer("flat.pairs").output.shape  # one pair, twice
    (None, 16)

    Reference:
        Huang et al., "FiBiNET: Combining Feature Importance and Bilinear
        feature Interaction for Click-Through Rate Prediction", RecSys 2019.
    """
    weighted = SqueezeExcitation(reduction_ratio, name="fields.weighted")(
        fields.embeddings
    )
    pairs = [
        BilinearInteraction(bilinear_type, name=f"bilinear.{name}")(embeddings)
        for name, embeddings in (
            ("original", fields.embeddings),
            ("weighted", weighted),
        )
    ]
    pairs = keras.layers.Concatenate(axis=1, name="concat.pairs")(pairs)
    deep = keras.layers.Flatten(name="flat.pairs")(pairs)
    return add("sum.parts", first_order(fields), tower.logit(tower(deep)))
