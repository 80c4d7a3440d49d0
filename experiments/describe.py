r"""Says what a model costs, without training it.

    python -m experiments.describe --backbone=deepfm --tower=mlora --domains=10

Prints how many weights all domains share and one domain has of its own, how
much work a row is, both beside the shared tower's, and the same layer by
layer with the adapters' ranks. Takes the flags of `experiments.train` that
make a recipe; MLoRA's production cap is `--max_adapter_params=1024`. Without
`--data` it assumes two sparse features, `user` and `item`. It takes five
to ten seconds, most of them TensorFlow's start. For the command above expect
8,777 numbers of a domain's own, 18.4 % of what all share, and 1.18 times the
shared tower's work; `mlora_tf/cost.py` says how work is counted.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from data_prep import progress
from experiments import binary
from experiments.errors import RunError
from experiments.recipe_flags import define_recipe_flags
from experiments.recipe_flags import recipe_from_flags

if TYPE_CHECKING:
    import keras
    from rich.console import Console
    from rich.table import Table

    from mlora_tf.cost import Cost
    from mlora_tf.data import ClickLog
    from mlora_tf.recipes import Recipe
    from mlora_tf.schema import Schema

IDS = 10_000
FEATURES = ("user", "item")


def define_flags() -> None:
    """Defines the flags: a recipe's, and of what data."""
    flags.DEFINE_string(
        "data", None, "A folder with a schema.json, as prepared ones have."
    )
    flags.DEFINE_integer("domains", None, "How many; --data knows.")
    flags.DEFINE_integer(
        "ids",
        None,
        f"Ids of each of the features that are assumed without --data: {IDS:,} "
        "unless said.",
    )
    flags.DEFINE_bool("summary", False, "Also print Keras's summary.")
    define_recipe_flags()


def main() -> None:
    """Builds what the flags say and prints what it costs."""
    recipe = recipe_from_flags()
    values = flags.FLAGS.flag_values_dict()
    from rich.console import Console

    schema = make_schema(values["data"], values["domains"], values["ids"])
    describe(recipe, schema, Console(), summary=values["summary"])


def describe(
    recipe: "Recipe",
    schema: "Schema",
    console: "Console",
    *,
    summary: bool = False,
) -> None:
    """Builds a recipe's model and prints what it costs.

    Args:
        recipe: What to build.
        schema: The features and the domains.
        console: Where to print.
        summary: Whether to print Keras's summary too.

    Raises:
        RunError: The recipe's values don't make a model.
    """
    from mlora_tf.cost import cost

    log = without_rows(schema)
    with progress.waiting("Building the model"):
        model = base = _build(log, recipe)
        if recipe.tower != "shared":
            base = _build(log, recipe, "shared")
        described = cost(model)
    print_plainly = functools.partial(console.print, highlight=False)
    print_plainly(_title(recipe, schema), markup=False)
    print_plainly(totals(described, cost(base), recipe.tower))
    print_plainly(by_layer(described))
    if summary:
        model.summary(
            line_length=console.width,
            print_fn=functools.partial(print_plainly, markup=False),
        )


def make_schema(
    folder: str | None, domains: int | None, ids: int | None
) -> "Schema":
    """The schema of a folder, or one of two features.

    Args:
        folder: Holds `schema.json`; None assumes two sparse features.
        domains: How many domains there are; a folder knows it.
        ids: How many ids each of the two features has.

    Raises:
        RunError: The arguments don't go together, or are too small.
        SchemaError: The folder's schema is damaged.
    """
    from mlora_tf.schema import Schema
    from mlora_tf.schema import SparseFeature

    if folder is None:
        _check_least("domains", domains, 1, "say how many, or give --data.")
        ids = IDS if ids is None else ids
        # One of them is the out-of-vocabulary bucket's.
        _check_least("ids", ids, 2, "a feature needs a value.")
        assert domains is not None
        return Schema(
            features=tuple(
                SparseFeature(name, tuple(range(ids - 1))) for name in FEATURES
            ),
            domain_name="domain",
            domains=tuple(str(domain) for domain in range(domains)),
        )
    if ids is not None:
        raise RunError(f"--data={folder} knows its ids: leave out --ids.")
    path = pathlib.Path(folder) / "schema.json"
    if not path.is_file():
        raise RunError(f"{folder} is no prepared folder: it has no {path.name}")
    schema = Schema.load(path)
    if domains not in (None, schema.num_domains):
        raise RunError(
            f"--data={folder} has {schema.num_domains} domains: leave out "
            f"--domains. Received: --domains={domains}"
        )
    return schema


def totals(cost: "Cost", shared: "Cost", tower: str) -> "Table":
    """A model's weights and work beside those of the shared tower's.

    Args:
        cost: The model's.
        shared: That of the same model with the tower "shared".
        tower: The model's tower.
    """
    table = _table(["weights"], [tower, "shared", "ratio"])

    def add(name: str, value: Callable[["Cost"], str], ratio: str = "") -> None:
        table.add_row(name, value(cost), value(shared), ratio)

    add("shared by all domains", lambda of: f"{of.shared:,}")
    add("embedding tables", lambda of: f"{of.embeddings:,}")
    if cost.pretrained:
        add("pretrained vectors", lambda of: f"{of.pretrained:,}")
    add("one domain's own", lambda of: f"{of.per_domain:,}")
    add(f"all {cost.domains} domains' own", lambda of: f"{of.all_domains:,}")
    add(
        "in all", lambda of: f"{of.total:,}", f"{cost.total / shared.total:.2f}"
    )
    add(
        "one domain's own, % of shared", lambda of: _percent(of.added_to_shared)
    )
    add("one domain's own, % of all", lambda of: _percent(of.added_to_total))
    table.add_section()
    add(
        "FLOPs per row",
        lambda of: f"{of.flops:,}",
        f"{cost.flops / shared.flops:.2f}",
    )
    return table


def by_layer(cost: "Cost") -> "Table":
    """The layers that have weights or work, in order."""
    table = _table(
        ["layer", "class"], ["for all", "per domain", "rank", "FLOPs"]
    )
    for layer in cost.layers:
        of_all = layer.shared + layer.embeddings + layer.pretrained
        if not (of_all or layer.per_domain or layer.flops):
            continue
        table.add_row(
            layer.name,
            layer.layer,
            f"{of_all:,}" if of_all else "",
            f"{layer.per_domain:,}" if layer.per_domain else "",
            "" if layer.rank is None else str(layer.rank),
            f"{layer.flops:,}" if layer.flops else "",
        )
    return table


def _build(
    log: "ClickLog", recipe: "Recipe", tower: str | None = None
) -> "keras.Model":
    """A recipe's model with a tower; what doesn't fit is the user's mistake."""
    from mlora_tf import training

    try:
        return training.build(log, recipe, tower)
    except (TypeError, ValueError) as error:
        raise RunError(" ".join(str(error).split())) from None


def without_rows(schema: "Schema") -> "ClickLog":
    """A click log of a schema: what a vector holds costs nothing."""
    import numpy as np

    from mlora_tf.data import ClickLog
    from mlora_tf.data import Split

    none = Split({}, np.empty(0, np.float32))
    vectors = {
        table: np.zeros((schema.tables[table], dim), np.float32)
        for table, dim in schema.vectors.items()
    }
    return ClickLog(schema, "", none, none, none, vectors)


def _title(recipe: "Recipe", schema: "Schema") -> str:
    parts = [
        f"{recipe.backbone} with the tower {recipe.tower}",
        *([f"{recipe.norm} norm"] if recipe.norm != "none" else []),
        *(["auxiliary network"] if recipe.auxiliary else []),
    ]
    features = ", ".join(feature.name for feature in schema.features)
    count = schema.num_domains
    domains = f"{count} domain{'s' if count > 1 else ''}"
    return f"{', '.join(parts)}; {domains}; features: {features}"


def _table(texts: list[str], numbers: list[str]) -> "Table":
    """An empty table with columns of texts and of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _check_least(name: str, value: int | None, least: int, why: str) -> None:

    if value is None or value < least:
        raise RunError(
            f"--{name} must be at least {least}: {why} Received: {value}"
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


if __name__ == "__main__":
    define_flags()
    binary.run(main)
