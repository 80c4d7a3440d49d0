r"""MLoRA's section 4.6: what a domain adds to a model.

    python -m experiments.mlora_parameters

Builds every backbone with adapters of temperature 16, as in the paper's
deployment, with and without its limit of 1024 numbers for a layer's `A` and
`B`, and the MLP with the towers that give each domain a network of its own.
Nothing is trained; it takes a minute. Writes
`experiments/results/mlora_parameters.{json,md,png}`. The paper's share of
added parameters was lost with its formulas; its domains are ten. Expect 14% to
20% of a dense network for a domain, 4% to 6% with the limit, and all of it for
STAR.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from data_prep import progress
from experiments import binary
from experiments import runs
from experiments.describe import make_schema
from experiments.describe import without_rows
from experiments.markdown_table import markdown_table
from experiments.provenance import provenance
from experiments.study import figures
from experiments.study.chosen import RESULTS
from mlora_tf.backbones import BACKBONES
from mlora_tf.recipes import Recipe

if TYPE_CHECKING:
    from mlora_tf.cost import Cost

COMMAND = "python -m experiments.mlora_parameters"
DOMAINS = (1, 10, 100, 1000)
LIMIT = 1024
"""MLoRA's production: the most numbers of a layer's `A` and `B`."""

OWN_NETWORKS = ("star", "shared_bottom")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("output", str(RESULTS), "Where files are written.")


def main() -> None:
    """Counts and writes."""
    output = pathlib.Path(flags.FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = [counted(recipe) for recipe in progress.track(recipes(), "Building")]
    content = {"command": COMMAND, "provenance": provenance(), "rows": rows}
    path = output / "mlora_parameters.json"
    runs.write(path, json.dumps(content, indent=1) + "\n")
    runs.write(path.with_suffix(".md"), markdown(rows))
    figures.growth(
        {
            one["name"]: one["parameters"]
            for one in rows
            if one["backbone"] == "mlp"
        },
        DOMAINS,
        path.with_suffix(".png"),
    )


def recipes() -> list[Recipe]:
    """What is counted: a temperature of 16 throughout."""
    mlora = [
        Recipe(
            backbone=backbone,
            tower="mlora",
            temperature=16,
            max_adapter_params=limit,
        )
        for backbone in BACKBONES
        for limit in (None, LIMIT)
    ]
    return [
        *mlora,
        *(Recipe(backbone="mlp", tower=tower) for tower in OWN_NETWORKS),
    ]


def counted(recipe: Recipe) -> dict[str, Any]:
    """What a recipe's model has, without tables of ids."""
    cost, base = (
        _cost(recipe),
        _cost(Recipe(backbone=recipe.backbone, tower="shared")),
    )
    limited = "" if recipe.max_adapter_params is None else f", at most {LIMIT}"
    dense = base.shared
    return {
        "name": f"{recipe.tower}{limited}",
        "backbone": recipe.backbone,
        "dense": dense,
        "per_domain": cost.per_domain,
        "share": cost.per_domain / dense,
        "flops_ratio": cost.flops / base.flops,
        "parameters": [
            cost.shared + domains * cost.per_domain for domains in DOMAINS
        ],
    }


def _cost(recipe: Recipe) -> "Cost":
    from mlora_tf import training
    from mlora_tf.cost import cost

    log = without_rows(make_schema(None, 10, None))
    # The domain's embedding would count as a domain's own in any model.
    return cost(
        training.build(log, dataclasses.replace(recipe, domain_field=False))
    )


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    heading = [
        "backbone",
        "tower",
        "dense parameters",
        "one domain's own",
        "of the dense, %",
        "FLOPs, times the base's",
        *(f"all, {domains:,} domains" for domains in DOMAINS),
    ]
    lines = [
        (
            one["backbone"],
            one["name"],
            f"{one['dense']:,}",
            f"{one['per_domain']:,}",
            f"{100 * one['share']:.1f}",
            f"{one['flops_ratio']:.2f}",
            *(f"{count:,}" for count in one["parameters"]),
        )
        for one in rows
    ]
    return (
        "# MLoRA's section 4.6: what a domain adds\n\nTwo fields of width 8, "
        "hidden layers of 256, 128 and 64, tables of ids left out. "
        f"Temperature 16; `at most {LIMIT}` raises it until a layer's `A` and "
        f"`B` are no larger. Written by `{COMMAND}`.\n\n"
        f"{markdown_table(heading, lines)}\n"
    )


if __name__ == "__main__":
    define_flags()
    binary.run(main)
