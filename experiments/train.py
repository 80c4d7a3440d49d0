r"""Trains one model on a prepared click log and exports it.

    python -m experiments.train --data=data/ml1m-gender --tower=mlora \
        --output=runs/ml1m-gender

The folder tells everything about the run; see `experiments/runs.py`. The same
command goes on with a run that was killed, and does nothing for a finished
one; SIGTERM and Ctrl-C save the epoch under way. On MovieLens-1M by gender it
takes about a minute on two cores; expect a test WAUC of about 81.0, of 80.7 to
80.8 with `--preset=paper` or `release`, and of 81.7 with `--embedding_l2=1e-3`.
A flag below without a default has the value of `--preset` unless it is given.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import binary
from experiments import finished_run
from experiments.recipe_flags import define_recipe_flags
from experiments.recipe_flags import recipe_from_flags
from experiments.run_readme import export_command
from experiments.summary import summary
from experiments.threads import define_threads_flag
from mlora_tf.recipes import Recipe


def define_flags() -> None:
    """Defines the flags: a recipe's, and where and how to run it."""
    flags.DEFINE_string("data", None, "A prepared folder.", required=True)
    flags.DEFINE_string("output", None, "The run's folder.", required=True)
    flags.DEFINE_enum(
        "reading",
        "auto",
        ("auto", "memory", "stream"),
        "Read the rows whole, or a part at a time; by their size by default.",
    )
    define_recipe_flags()
    flags.DEFINE_integer(
        "replicas",
        None,
        "GPUs, or logical CPU devices; all GPUs by default, and of each "
        "worker that TF_CONFIG states.",
        lower_bound=1,
    )
    define_threads_flag()
    flags.DEFINE_bool(
        "deterministic", False, "The same bits on every run; slower."
    )
    flags.DEFINE_bool("export", True, "Also write a SavedModel.")


def main() -> None:
    """Trains what the flags say."""
    recipe = recipe_from_flags()
    values = flags.FLAGS.flag_values_dict()
    from rich.console import Console

    from data_prep import progress
    from experiments.runs import run
    from experiments.runs import start_tensorflow
    from mlora_tf import data
    from mlora_tf.stop_signals import StopSignals
    from mlora_tf.workers import Workers

    strategy = start_tensorflow(
        replicas=values["replicas"],
        threads=values["threads"],
        deterministic=values["deterministic"],
    )
    with progress.waiting(f"Reading {values['data']}"):
        log = data.load(values["data"], values["reading"])
    output = pathlib.Path(values["output"])
    with StopSignals() as stop:
        metrics = run(
            log,
            recipe,
            output,
            strategy=strategy,
            deterministic=values["deterministic"],
            export=values["export"],
            console=Console(stderr=True),
            stop=stop,
            imports=values["import"],
            origin=finished_run.origin(values["data"]),
        )
    if Workers(strategy).is_chief:
        print(summary(metrics["test"]))
        for line in kept(metrics["phases"], recipe):
            print(line)
        print(what_next(output, values["import"], exported=values["export"]))


def kept(phases: Sequence[dict[str, Any]], recipe: Recipe) -> list[str]:
    """Says which epoch's weights each phase has, and which may be trained on.

    Args:
        phases: Those of `metrics.json`.
        recipe: What was trained.
    """
    lines = []
    for phase in phases:
        epochs, best = phase["epochs"], phase["best_epoch"]
        line = f"Phase {phase['phase']} kept epoch {best} of {epochs}, the best"
        if recipe.stop_by_domain and phase["phase"] == "adapters":
            line = f"Phase {phase['phase']} kept each domain's best of {epochs}"
        elif not best:
            line = f"Phase {phase['phase']} kept its start: none of {epochs}"
            line += " epochs was better"
        line += " in validation."
        if epochs == recipe.max_epochs and epochs - best < recipe.patience:
            line += " --max_epochs ended it: with more it may be better."
        lines.append(line)
    return lines


def what_next(
    output: pathlib.Path, imports: Sequence[str] = (), *, exported: bool
) -> str:
    """Where a finished run is, and what can be done with it.

    Args:
        output: The run's folder.
        imports: The user's modules that it was trained with.
        exported: Whether it holds a SavedModel.
    """
    saved = f"{output}/serving has its SavedModel. " if exported else ""
    where = " elsewhere" if exported else ""
    return (
        f"\n{output} has the run: its README.md says what each file is, "
        "metrics.json has all numbers.\n"
        f"{saved}To export it{where}: {export_command(output, imports)}"
    )


if __name__ == "__main__":
    define_flags()
    binary.run(main)
