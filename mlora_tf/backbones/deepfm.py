"""DeepFM: a factorization machine and a deep tower on the same embeddings."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.layers import FactorizationMachine
from mlora_tf.towers import Tower


def deepfm(fields: Fields, tower: Tower) -> Any:
    """A factorization machine beside a deep tower.

    The sum of a linear model, of the inner products of all pairs of fields
    and of the tower. The last two read the same embeddings.

    Args:
        fields: The embedded fields: `embeddings` of shape `(batch, fields,
            dim)`, and `flat` of shape `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "deepfm", "mlora", hidden_units=[4])
    >>> [part.shape for part in model.get_layer("sum.parts").input]
    [(None, 1), (None, 1), (None, 1)]

    Reference:
        Guo et al., "DeepFM: A Factorization-Machine based Neural Network for
        CTR Prediction", IJCAI 2017.
    """
    pairs = FactorizationMachine(name="fm.pairs")(fields.embeddings)
    deep = tower.logit(tower(fields.flat))
    return add("sum.parts", first_order(fields), pairs, deep)
