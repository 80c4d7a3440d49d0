"""AutoInt: fields that attend to one another, beside a deep tower."""

from typing import Any

import keras

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import FieldAttention
from mlora_tf.layers.arguments import check_integer
from mlora_tf.towers import Tower


def autoint(
    fields: Fields,
    tower: Tower,
    *,
    num_layers: int = 3,
    num_heads: int = 4,
    head_size: int = 8,
    use_residual: bool = True,
    use_scale: bool = False,
) -> Any:
    """Attention over fields beside a deep tower.

    It is the paper's AutoInt+, and joined as in MLoRA's published code: the
    last layer reads the attended fields and the tower side by side (eq. 9,
    the tower's part added to it), and the linear model, which the paper
    doesn't have, is added.

    Args:
        fields: The embedded fields: `embeddings` of shape `(batch, fields,
            dim)`, and `flat` of shape `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.
        num_layers: How many layers of attention, one on the other.
        num_heads: See `FieldAttention`, as for all that follow.
        head_size: Width of each head.
        use_residual: Whether a layer adds a projection of its input.
        use_scale: Whether scores are divided by `sqrt(head_size)`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: `num_layers`, `num_heads` or `head_size` isn't a positive
            integer.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> options = {"num_layers": 2, "num_heads": 2, "head_size": 5}
    >>> model = build_model(schema, "autoint", backbone_options=options)
    >>> model.get_layer("attention.1").output.shape
    (None, 2, 10)

    Reference:
        Song et al., "AutoInt: Automatic Feature Interaction Learning via
        Self-Attentive Neural Networks", CIKM 2019.
    """
    check_integer("num_layers", num_layers, 1)
    attended = fields.embeddings
    for i in range(num_layers):
        attended = FieldAttention(
            num_heads,
            head_size,
            use_residual=use_residual,
            use_scale=use_scale,
            name=f"attention.{i}",
        )(attended)
    attended = keras.layers.Flatten(name="flat.attention")(attended)
    last = keras.layers.Concatenate(name="concat.last")(
        [attended, tower(fields.flat)]
    )
    return add("sum.parts", first_order(fields), tower.logit(last))
