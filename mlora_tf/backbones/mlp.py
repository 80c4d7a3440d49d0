"""The plain deep model."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.towers import Tower


def mlp(fields: Fields, tower: Tower) -> Any:
    """A deep tower on the fields' embeddings.

    With the shared tower it is the MLP that MLoRA's paper adapts, and the
    Base of STAR's.

    Args:
        fields: The embedded fields; `flat`, of shape `(batch, fields * dim)`.
        tower: The deep tower, on inputs of shape `(batch, fields * dim)`.

    Returns:
        The logits, a tensor of shape `(batch, 1)`.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, "mlp", "star", hidden_units=[4])
    >>> model.get_layer("hidden.0").input[0].shape
    (None, 16)

    Reference:
        Yang et al., "MLoRA: Multi-Domain Low-Rank Adaptive Network for
        Click-Through Rate Prediction", RecSys 2024, section 4.2; Sheng et
        al., "One Model to Serve All: Star Topology Adaptive Recommender for
        Multi-Domain CTR Prediction", CIKM 2021, section 4.1.
    """
    return tower.logit(tower(fields.flat))
