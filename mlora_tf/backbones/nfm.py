"""NFM: a deep tower on the pooled products of all pairs of fields."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import BiInteraction
from mlora_tf.towers import Tower


def nfm(fields: Fields, tower: Tower) -> Any:
    """A linear model beside a tower on all pairs.

    The tower's input is as wide as one embedding. The paper's dropout and
    batch normalization of the pooled pairs are left out, as in MLoRA's
    published code.

    Args:
        fields: The embedded fields, at least 2; `embeddings`, of shape
            `(batch, fields, dim)`.
        tower: The deep tower, on inputs of shape `(batch, dim)`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Raises:
        ValueError: There is one field alone.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "nfm", hidden_units=[4])
    >>> model.get_layer("pairs.pooled").output.shape
    (None, 8)

    Reference:
        He and Chua, "Neural Factorization Machines for Sparse Predictive
        Analytics", SIGIR 2017.
    """
    pairs = BiInteraction(name="pairs.pooled")(fields.embeddings)
    deep = tower.logit(tower(pairs))
    return add("sum.parts", first_order(fields), deep)
