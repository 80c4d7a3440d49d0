r"""MLoRA in minutes: data of known best AUC, two schedules, a served model.

    python -m experiments.quickstart --output=runs/quickstart

Makes a click log of eight shops with planted low-rank effects, trains a base
model and base+MLoRA on it in two phases, and base+MLoRA jointly, on two
replicas (all GPUs, where there are any). Prints each shop's test AUC beside
the best possible one, writes and draws them (`quickstart.json` and `.png`),
exports a SavedModel and scores a request in a process that has TensorFlow
alone.

It takes one to three minutes on two cores. Killed, the same command goes on;
finished, it prints again in seconds. Expect a test WAUC of 78.2 for the base,
79.4 in two phases and 81.3 jointly (seed 0), and some tenths more or less on
another kind of processor, which rounds otherwise; the best possible is 85.0.
The data were chosen to have room for adapters; how much of it they use is
measured.
"""

import dataclasses
import json
import logging
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from data_prep import synthetic
from data_prep.layout import PreparationError
from experiments import command_line
from experiments import quickstart_gains
from experiments import quickstart_service
from experiments.errors import RunError
from experiments.provenance import provenance

if TYPE_CHECKING:
    from mlora_tf.recipes import Recipe

REPLICAS_ON_CPU = 2

AT_ONCE = (
    "Makes a click log, trains a base model and MLoRA on it and serves the "
    "result: one to three minutes. Starting TensorFlow ..."
)
"""What stderr says while TensorFlow starts."""


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "output", "runs/quickstart", "Folder of the data and the runs."
    )
    flags.DEFINE_integer(
        "replicas",
        None,
        "GPUs, or logical CPU devices; all GPUs, or 2 on a CPU, by default.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "seed",
        0,
        "Of weights, order and dropout.",
        lower_bound=0,
        upper_bound=2**32 - 1,
    )
    flags.DEFINE_integer("rows", 150_000, "Rows of the click log.")
    flags.DEFINE_integer(
        "max_epochs", 40, "The most epochs of a phase.", lower_bound=1
    )


def main() -> None:
    """Makes the data, trains, prints, draws, exports and serves."""
    values = flags.FLAGS.flag_values_dict()
    output = pathlib.Path(values["output"])
    from rich.console import Console

    from experiments import runs
    from mlora_tf import data

    console, progress = Console(), Console(stderr=True)
    strategy = runs.start_tensorflow(replicas=_replicas(values["replicas"]))
    made = _make_data(output / "data", values["rows"])
    log = data.load(made, "memory")
    # Phase two trains on phase one's rows. The warning that ids have learned
    # these by heart is for larger vocabularies: here an id has hundreds.
    logging.getLogger("mlora_tf.training").setLevel(logging.ERROR)
    metrics = {}
    for schedule in quickstart_gains.SCHEDULES:
        metrics[schedule] = runs.run(
            log,
            recipe(
                schedule,
                values["seed"],
                values["max_epochs"],
                strategy.num_replicas_in_sync,
            ),
            output / schedule,
            strategy=strategy,
            export=schedule == "joint",
            console=progress,
        )
    result = quickstart_gains.compare(log, metrics)
    runs.write(
        output / "quickstart.json",
        json.dumps({"provenance": provenance(), **result}, indent=1) + "\n",
    )
    console.print(quickstart_gains.table(result))
    console.print(quickstart_gains.sentence(result))
    picture = output / "quickstart.png"
    quickstart_gains.draw(result, picture)
    console.print(f"\nPicture: {picture}", soft_wrap=True)
    quickstart_service.serve(log, output / "joint", console)


def recipe(
    schedule: str, seed: int, max_epochs: int, replicas: int
) -> "Recipe":
    """The `tuned` recipe, made smaller and quicker to suit these data.

    Base and MLoRA differ in nothing but the adapters: the base is phase one
    of the two.
    """
    from mlora_tf.presets import preset

    tuned = preset("tuned", "mlp", "mlora")
    return dataclasses.replace(
        tuned,
        schedule=schedule,
        hidden_units=(128, 64),
        dropout=0.1,
        learning_rate=8e-3,
        # The global batch must divide by the replicas.
        batch_size=2048 // replicas * replicas,
        patience=3,
        max_epochs=max_epochs,
        seed=seed,
    )


def _make_data(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """Makes the data, unless that folder has them already."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        try:
            synthetic.prepare(folder, rows=rows)
        except PreparationError as error:
            raise RunError(str(error)) from None
    there = json.loads(manifest.read_text("utf-8"))["options"]["rows"]
    if there != rows:
        raise RunError(
            f"{folder} has {there:,} rows, not {rows:,}: choose another "
            "--output, or delete that folder."
        )
    return folder


def _replicas(asked: int | None) -> int | None:
    import tensorflow as tf

    if asked is None and not tf.config.list_physical_devices("GPU"):
        return REPLICAS_ON_CPU
    return asked


if __name__ == "__main__":
    define_flags()
    command_line.run(main, AT_ONCE)
