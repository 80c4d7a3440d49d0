r"""Adds a domain to a finished run: its adapters, and its new ids.

    python -m data_prep.table --input=tomorrow.csv --like=data/mine \
        --new_domain=jp --output=data/tomorrow
    python -m experiments.add_domain --run=runs/mine --data=data/tomorrow \
        --output=runs/tomorrow

All that the run's model has is kept as it is: on ids that it knows, the other
domains' predictions don't change. What trains, on the new domain's rows alone,
are its own weights and the rows of its new ids, with the run's own recipe,
unless a flag says otherwise; each epoch is judged by the new domain's
validation rows, and if none is better than the domain untrained, that is what
is kept. It takes seconds to minutes. The same command goes on with a run that
was killed.

The folder is a run's, as `experiments.train` writes it. `metrics.json` has two
phases: `untrained`, the domain added and nothing trained, and `new_domain`.
Export it, score with it, add another domain to it as to any other run.
"""

import dataclasses
import hashlib
import pathlib
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from experiments import binary
from experiments import finished_run
from experiments.errors import RunError
from experiments.import_flag import define_import_flag
from experiments.threads import define_threads_flag

if TYPE_CHECKING:
    from mlora_tf.features import Feature
    from mlora_tf.recipes import Recipe
    from mlora_tf.schema import Schema

CHANGED = ("batch_size", "learning_rate", "max_epochs", "patience", "seed")
"""The recipe's fields that have a flag here."""


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("run", None, "A finished run's folder.", required=True)
    flags.DEFINE_string(
        "data",
        None,
        "What data_prep.table made of a later log with a --new_domain, --like "
        "the data that the run was trained on.",
        required=True,
    )
    flags.DEFINE_string("output", None, "The new run's folder.", required=True)
    for name, what in (
        ("batch_size", "Rows per step"),
        ("max_epochs", "The most epochs"),
        ("patience", "Epochs without a new best before it stops"),
    ):
        flags.DEFINE_integer(
            name, None, f"{what}; the run's, unless given.", lower_bound=1
        )
    flags.DEFINE_integer(
        "seed",
        None,
        "Of new rows of tables, and of the order; the run's, unless given.",
    )
    flags.DEFINE_float(
        "learning_rate", None, "The optimizer's; the run's, unless given."
    )
    define_threads_flag()
    flags.DEFINE_bool("export", True, "Also write a SavedModel.")
    define_import_flag()


def main() -> None:
    """Adds the domain that the flags say."""
    values = flags.FLAGS.flag_values_dict()
    run = pathlib.Path(values["run"])
    finished_run.check(run, values["import"])
    from rich.console import Console

    from data_prep import progress
    from experiments import runs
    from experiments.new_domain import NewDomain
    from experiments.summary import summary
    from experiments.train import kept
    from experiments.train import what_next
    from mlora_tf import data
    from mlora_tf.schema import Schema
    from mlora_tf.stop_signals import StopSignals

    output = pathlib.Path(values["output"])
    if output.resolve() == run.resolve():
        raise RunError(
            f"--output={output} is --run, which stays as it is: name another "
            "folder."
        )
    recipe = recipe_of(run, {name: values[name] for name in CHANGED})
    strategy = runs.start_tensorflow(replicas=1, threads=values["threads"])
    with progress.waiting(f"Reading {values['data']}"):
        log = data.load(values["data"], "memory")
    before = Schema.load(run / "schema.json")
    name = new_domain(log.schema, before, values["data"], run)
    model = run / "model.keras"
    with StopSignals() as stop:
        metrics = runs.run(
            log,
            recipe,
            output,
            strategy=strategy,
            export=values["export"],
            console=Console(stderr=True),
            stop=stop,
            imports=values["import"],
            train=NewDomain(model, name),
            about={
                "run": str(run),
                "model": hashlib.sha256(model.read_bytes()).hexdigest(),
                "new_domain": name,
            },
            origin=finished_run.origin(values["data"], run),
        )
    print(summary(metrics["test"]))
    print(f"\n{gain(metrics, name)}")
    for line in kept(metrics["phases"][1:], recipe):
        print(line)
    print(what_next(output, values["import"], exported=values["export"]))


def recipe_of(run: pathlib.Path, changed: dict[str, Any]) -> "Recipe":
    """The recipe of a run, for a new domain's rows.

    Args:
        run: The run's folder.
        changed: Values in place of the run's; None leaves one.

    Raises:
        RunError: The run's `config.json` has none.
    """
    from mlora_tf.recipes import DEFAULTS
    from mlora_tf.recipes import Recipe
    from mlora_tf.recipes import RecipeError

    # Batches of one domain's rows are all of one kind.
    simple = {
        "batches": "mixed",
        "window_rows": None,
        "epoch_steps": None,
        "domain_sampling": DEFAULTS["domain_sampling"],
        "monitor": "val_auc",
        "schedule": "joint",
        "control": "none",
        "stop_by_domain": False,
        "fresh_fraction": 0.0,
    }
    given = {name: one for name, one in changed.items() if one is not None}
    try:
        saved = finished_run.config(run)["recipe"]
        return Recipe(**{**DEFAULTS, **saved, **simple, **given})
    except RecipeError as error:
        raise RunError(str(error)) from None
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{run / 'config.json'} has no recipe that can be read ({error}): "
            "name a folder that experiments.train wrote."
        ) from None


def new_domain(
    schema: "Schema", before: "Schema", data: str, run: pathlib.Path
) -> str:
    """The one domain that a folder has and a run hasn't.

    Args:
        schema: The folder's.
        before: The run's.
        data: The folder.
        run: The run's folder.

    Raises:
        RunError: It isn't one, or ids don't mean what they do for the run.
    """
    new = schema.domains[before.num_domains :]
    if len(new) != 1 or schema.domains[:-1] != before.domains:
        there = ", ".join(map(repr, new)) or "none"
        raise RunError(
            f"--data={data} must have the domains of {run} and one more, its "
            f"last. New in it: {there}. Prepare it by data_prep.table with "
            "--like, the folder that the run was trained on, and --new_domain."
        )
    features = schema.features
    if len(features) == len(before.features):
        features = tuple(map(_cut, features, before.features))
    found = dataclasses.replace(
        schema, domains=before.domains, features=features
    )
    finished_run.check_schema(found, before, data, run, "Prepare it --like")
    return new[0]


def _cut(feature: "Feature", old: "Feature") -> "Feature":
    """The feature with as many values as it had."""
    from mlora_tf.features import DenseFeature

    if isinstance(feature, DenseFeature) or isinstance(old, DenseFeature):
        return feature
    values = feature.vocabulary[: len(old.vocabulary)]
    return dataclasses.replace(feature, vocabulary=values)


def gain(metrics: dict[str, Any], name: str) -> str:
    """What training has brought the new domain, in words."""
    aucs = [
        next(
            domain["auc"]
            for domain in phase["test"]["domains"]
            if domain["name"] == name
        )
        for phase in metrics["phases"]
    ]
    if None in aucs:
        return f"{name}: its test rows have no AUC (one class alone, or none)."
    before, after = (f"{100 * one:.2f}" for one in aucs)
    return f"{name}: test AUC {after}; {before} before training."


if __name__ == "__main__":
    define_flags()
    binary.run(main)
