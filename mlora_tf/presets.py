"""The papers' recipes, and ours, by name."""

import dataclasses

from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError

PRESETS = ("paper", "release", "tuned", "star")

RELEASE_TEMPERATURES = {
    "mlp": 16,
    "wide_deep": 16,
    "nfm": 4,
    "autoint": 4,
    "pnn": 16,
    "dcn": 16,
    "fibinet": 32,
    "deepfm": 32,
    "xdeepfm": 32,
}
"""The published code's temperatures on MovieLens, by backbone."""

STAR_HIDDEN_UNITS = (512, 256, 128, 64, 32, 16)
"""With the logit's, the seven layers of STAR's networks.

The paper doesn't state their widths: these are ours.
"""


def preset(name: str, backbone: str, tower: str) -> Recipe:
    """A recipe by name, for a backbone and a tower.

    - "paper" is what MLoRA's text says (section 4.3): dropout .5, temperature
      32, two phases for the tower "mlora", adapters of A and B alone.
      Neither initialization nor patience is in the text that we have: Keras's
      default tables without L2, `glorot_normal` kernels, 5.
    - "release" is close to what the published code does on MovieLens (BUILD.md
      says what differs): joint training in single-domain batches, one domain
      after the other, its temperatures, dropout .5 on the shared path, early
      stopping on the unweighted mean of the domains' AUC with patience 3 and
      rollback. Both arms have the base arm's initialization, which in that
      code they don't.
    - "tuned" is ours: joint training in mixed batches, temperature 16.
    - "star" is STAR's section 4.1: seven layers, batches of 2,000, the
      auxiliary network for every model, which alone has the domain for an
      input (section 3.5), and partitioned normalization for the tower
      "star", batch normalization for all others; with "mlp" and "shared" it
      is that paper's Base. Batches are mixed; the paper draws a domain, then
      a batch of it. The tables' width, first values and penalty are ours, as
      is early stopping: the text has none of them.

    Raises:
        RecipeError: There is no such preset.
    """
    recipes = {
        "paper": Recipe(
            dropout=0.5,
            dropout_placement="output",
            temperature=32,
            lora_bias=False,
            schedule="two_phase" if tower == "mlora" else "joint",
            embedding_stddev=0.0,
            embedding_l2=0.0,
        ),
        "release": Recipe(
            dropout=0.5,
            temperature=RELEASE_TEMPERATURES.get(backbone, 16),
            batches="per_domain",
            adam_epsilon=1e-8,
            monitor="val_macro_auc",
            patience=3,
            rollback=True,
        ),
        "tuned": Recipe(),
        "star": Recipe(
            norm="partitioned" if tower == "star" else "batch",
            auxiliary=True,
            # Normalized within its domain, the domain's own embedding is zero
            # in training, and in inference how far the moving mean lags.
            domain_field=False,
            hidden_units=STAR_HIDDEN_UNITS,
            batch_size=2000,
        ),
    }
    if name not in recipes:
        raise RecipeError(
            f"preset must be one of {sorted(recipes)}. Received: {name!r}"
        )
    return dataclasses.replace(recipes[name], backbone=backbone, tower=tower)
