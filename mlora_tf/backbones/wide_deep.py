"""Wide & Deep: a linear model beside a deep tower."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.towers import Tower


def wide_deep(fields: Fields, tower: Tower) -> Any:
    """A linear model beside a deep tower.

    The wide part has the fields alone, as in MLoRA's published code. The
    paper's also has crosses of them that are chosen by hand: give the schema
    a feature for each.

    Args:
        fields: The embedded fields: their `columns`, and `flat` of shape
            `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "wide_deep", "mlora", hidden_units=[4])
    >>> [part.name for part in model.layers if part.name.startswith("sum.")]
    ['sum.first_order', 'sum.parts']
    >>> model.get_layer("sum.parts").output.shape
    (None, 1)

    Reference:
        Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS
        2016.
    """
    deep = tower.logit(tower(fields.flat))
    return add("sum.parts", first_order(fields), deep)
