"""The plain deep model."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.towers import Tower


def mlp(fields: Fields, tower: Tower) -> Any:
    """A deep tower on the fields' embeddings; returns logits `(batch, 1)`."""
    return tower.logit(tower(fields.flat))
