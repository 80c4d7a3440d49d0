"""Wide & Deep: a linear model beside a deep tower."""

from typing import Any

from mlora_tf.fields import Fields
from mlora_tf.fields import add
from mlora_tf.fields import first_order
from mlora_tf.towers import Tower


def wide_deep(fields: Fields, tower: Tower) -> Any:
    """A linear model beside a deep tower; returns logits `(batch, 1)`.

    The wide part has the fields alone, as in MLoRA's published code. The
    paper's also has crosses of them that are chosen by hand: give the schema
    a feature for each.

    Reference:
        Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS
        2016.
    """
    deep = tower.logit(tower(fields.flat))
    return add("sum.parts", first_order(fields), deep)
