"""DCN: a cross network beside a deep tower."""

from typing import Any

import keras

from mlora_tf.fields import Fields
from mlora_tf.layers import CrossNetwork
from mlora_tf.towers import Tower


def dcn(
    fields: Fields,
    tower: Tower,
    *,
    num_layers: int = 2,
    parameterization: str = "vector",
) -> Any:
    """A cross network beside a deep tower.

    The last layer reads both side by side, as in the paper (eq. 5). MLoRA's
    published code adds a linear model to it, and an L2 penalty on the
    crosses' kernels.

    Args:
        fields: The embedded fields; `flat`, of shape `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.
        num_layers: How many crosses.
        parameterization: "vector" is DCN, "matrix" DCN-V2 in its parallel
            form; see `CrossNetwork`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: `num_layers` isn't a positive integer, or there is no such
            `parameterization`.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "dcn", hidden_units=[4])
    >>> model.get_layer("cross.network").output.shape
    (None, 16)
    >>> model.get_layer("concat.last").output.shape
    (None, 20)

    Reference:
        Wang et al., "Deep & Cross Network for Ad Click Predictions", ADKDD
        2017; Wang et al., "DCN V2: Improved Deep & Cross Network and
        Practical Lessons for Web-scale Learning to Rank Systems", WWW 2021.
    """
    cross = CrossNetwork(num_layers, parameterization, name="cross.network")
    last = keras.layers.Concatenate(name="concat.last")(
        [cross(fields.flat), tower(fields.flat)]
    )
    return tower.logit(last)
