"""PNN: a deep tower on the fields and on the products of all their pairs."""

from typing import Any

import keras

from mlora_tf.fields import Fields
from mlora_tf.layers import InnerProduct
from mlora_tf.layers import OuterProduct
from mlora_tf.towers import Tower


def pnn(
    fields: Fields,
    tower: Tower,
    *,
    inner: bool = True,
    outer: bool = False,
    outer_kernel: str = "matrix",
) -> Any:
    """A deep tower on fields and their products.

    With the inner products it is IPNN, as MLoRA's published code builds it;
    with the outer ones, in their kernel form, KPNN; with both PNN*.

    Args:
        fields: The embedded fields, at least 2: `embeddings` of shape
            `(batch, fields, dim)`, and `flat` of shape
            `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim +
            pairs)`, or with twice the pairs for both kinds of products.
        inner: Whether the tower reads the inner products.
        outer: Whether it reads the outer products.
        outer_kernel: How these are weighted: "matrix", "vector" or "scalar";
            see `OuterProduct`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: There are no products to read, one field alone, or no such
            `outer_kernel`.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> options = {"inner": True, "outer": True}
    >>> model = build_model(schema, "pnn", backbone_options=options)
    >>> model.get_layer("concat.deep").output.shape
    (None, 18)

    Reference:
        Qu et al., "Product-based Neural Networks for User Response
        Prediction", ICDM 2016; "Product-based Neural Networks for User
        Response Prediction over Multi-field Categorical Data", TOIS 2018.
    """
    if not (inner or outer):
        raise ValueError(
            "pnn is a tower on products: inner, outer or both. "
            f"Received: inner={inner!r}, outer={outer!r}"
        )
    parts = [fields.flat]
    if inner:
        products = InnerProduct(name="products.inner")
        parts.append(products(fields.embeddings))
    if outer:
        products = OuterProduct(outer_kernel, name="products.outer")
        parts.append(products(fields.embeddings))
    deep = keras.layers.Concatenate(name="concat.deep")(parts)
    return tower.logit(tower(deep))
