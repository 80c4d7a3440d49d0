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
import math
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from data_prep import synthetic
from data_prep.layout import PreparationError
from experiments import command_line
from experiments.errors import RunError
from experiments.provenance import provenance

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mlora_tf.data import ClickLog
    from mlora_tf.evaluation import Evaluation
    from mlora_tf.recipes import Recipe

REPLICAS_ON_CPU = 2
REQUEST_ROWS = 4
SCHEDULES = ("two_phase", "joint")
TOLERANCE = 1e-6
"""The most by which a served probability may differ from Keras's."""

CLIENT = """
import json
import sys

import tensorflow as tf

request = json.load(sys.stdin)
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
inputs = {name: tf.constant(ids, tf.int32) for name, ids in request.items()}
ctr = serve(**inputs)["ctr"].numpy()[:, 0]
assert "mlora_tf" not in sys.modules
json.dump(ctr.tolist(), sys.stdout)
"""
"""All that a server needs: TensorFlow, and the exported folder."""

AT_ONCE = (
    "Makes a click log, trains a base model and MLoRA on it and serves the "
    "result: one to three minutes. Starting TensorFlow ..."
)
"""What stderr says while TensorFlow starts."""

BLUE, ORANGE, GREY, INK = "#2f6db5", "#e8833a", "#e4e7eb", "#2b2f36"
MUTED = "#7a828c"


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
    for schedule in SCHEDULES:
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
    result = compare(log, metrics)
    runs.write(
        output / "quickstart.json",
        json.dumps({"provenance": provenance(), **result}, indent=1) + "\n",
    )
    console.print(table(result))
    console.print(_sentence(result))
    picture = output / "quickstart.png"
    draw(result, picture)
    console.print(f"\nPicture: {picture}", soft_wrap=True)
    serve(log, output / "joint", console)


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


def compare(log: "ClickLog", metrics: dict[str, Any]) -> dict[str, Any]:
    """Sets the test AUCs of all models beside the best possible ones.

    Args:
        log: The data, with the rows' true probabilities.
        metrics: By schedule, the content of the run's `metrics.json`.

    Returns:
        `domains`, a list of a dictionary each, and `all`, another one. They
        hold `name`, `rows` (of all splits), `ctr`, and the AUCs (of `all`:
        WAUCs) `base`, `two_phase`, `joint` and `best`; None where a domain's
        test rows have one label alone.
    """
    base, two_phase = (
        phase["test"] for phase in metrics["two_phase"]["phases"]
    )
    scored = {
        "base": base,
        "two_phase": two_phase,
        "joint": metrics["joint"]["test"],
        "best": _best_possible(log).to_dict(),
    }
    splits = (log.train, log.valid, log.test)
    domains = []
    for index, name in enumerate(log.schema.domains):
        labels = [split.label[split.domain == index] for split in splits]
        rows = sum(map(len, labels))
        clicks = sum(float(label.sum()) for label in labels)
        domains.append(
            {
                "name": name,
                "rows": rows,
                "ctr": clicks / rows,
                **{
                    key: test["domains"][index]["auc"]
                    for key, test in scored.items()
                },
            }
        )
    rows = sum(domain["rows"] for domain in domains)
    clicks = sum(domain["ctr"] * domain["rows"] for domain in domains)
    return {
        "domains": domains,
        "all": {
            "name": "WAUC",
            "rows": rows,
            "ctr": clicks / rows,
            **{key: test["wauc"] for key, test in scored.items()},
        },
    }


def table(result: dict[str, Any]) -> "Table":
    """The comparison as a table, in percent."""
    from rich import box
    from rich.table import Table

    grid = Table(
        title="Test AUC in percent", box=box.SIMPLE_HEAD, title_justify="left"
    )
    grid.add_column("shop", no_wrap=True)
    for name in (
        "rows",
        "CTR",
        "base",
        "+MLoRA,\ntwo-phase",
        "+MLoRA,\njoint",
        "best\npossible",
    ):
        grid.add_column(name, justify="right", no_wrap=True)
    rows = [*result["domains"], result["all"]]
    for row in rows:
        last_domain = row is rows[-2]
        grid.add_row(
            row["name"],
            f"{row['rows']:,}",
            f"{row['ctr']:.1%}",
            *(
                _percent(row[key])
                for key in ("base", "two_phase", "joint", "best")
            ),
            end_section=last_domain,
            style="bold" if row is rows[-1] else None,
        )
    return grid


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws each domain's gains within the room that the base leaves."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = [*result["domains"], result["all"]]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(9, 0.62 * len(rows) + 1.9), layout=layout)
    axes = figure.subplots()
    # The WAUC stands a little apart.
    places = [*range(len(rows) - 1), len(rows) - 0.6]
    room = [_gain(row, "best") for row in rows]
    axes.barh(places, room, height=0.74, color=GREY, label="best possible")
    for row, place, gain in zip(rows, places, room, strict=True):
        _label(axes, gain, place, _percent(row["best"]), MUTED)
    for key, offset, color, label in (
        ("two_phase", -0.17, ORANGE, "+MLoRA, two-phase"),
        ("joint", 0.17, BLUE, "+MLoRA, joint"),
    ):
        gains = [_gain(row, key) for row in rows]
        spots = [place + offset for place in places]
        axes.barh(spots, gains, height=0.3, color=color, label=label, zorder=2)
        for spot, gain in zip(spots, gains, strict=True):
            _label(axes, gain, spot, f"{gain:+.1f}", INK)
    axes.axvline(0, color=INK, linewidth=1, zorder=3)
    axes.axhline(len(rows) - 1.3, color=MUTED, linewidth=0.6)
    beside = axes.get_yaxis_transform()
    for row, place in zip(rows, places, strict=True):
        text: dict[str, Any] = {"x": -0.012, "transform": beside, "ha": "right"}
        axes.text(
            y=place - 0.06,
            s=row["name"],
            va="bottom",
            fontsize=10.5,
            fontweight="bold",
            color=INK,
            **text,
        )
        axes.text(
            y=place,
            s=f"base {_percent(row['base'])}\n{row['rows']:,} rows, "
            f"CTR {row['ctr']:.1%}",
            va="top",
            fontsize=7.5,
            color=MUTED,
            **text,
        )
    axes.set_yticks([])
    axes.tick_params(bottom=False, colors=INK)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    losses = [min(_gain(row, key), 0) for row in rows for key in SCHEDULES]
    axes.set_xlim(left=np.nanmin(losses) - 0.05)
    axes.set_xlabel("points of test AUC above the base", color=INK)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.xaxis.grid(True, color="white", linewidth=1)
    axes.set_axisbelow("line")
    figure.suptitle(
        "What MLoRA gains in each shop, of all there is to gain",
        x=0.02,
        ha="left",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    figure.legend(
        loc="outside lower center", ncols=3, frameon=False, fontsize=9.5
    )
    figure.savefig(path, dpi=160, facecolor="white")


def serve(log: "ClickLog", run: pathlib.Path, console: "Console") -> None:
    """Scores a request in a process without mlora_tf and compares.

    Args:
        log: The data, whose test split has the request's rows.
        run: A finished run with an export.
        console: Shows the request and its answer.

    Raises:
        RuntimeError: The served model fails or differs from the Keras model.
    """
    import keras
    import numpy as np
    from rich import box
    from rich.table import Table

    from mlora_tf import serving
    from mlora_tf.predictor import Predictor
    from mlora_tf.schema import SparseFeature
    from mlora_tf.split import Split

    shops = np.linspace(0, log.schema.num_domains - 1, REQUEST_ROWS)
    chosen = [
        int(np.flatnonzero(log.test.domain == shop)[0])
        for shop in sorted(set(shops.astype(int)))
    ]
    assert isinstance(log.test, Split)  # main reads all into memory
    rows = log.test.take(np.array(chosen))
    request = {name: ids.tolist() for name, ids in rows.inputs.items()}
    exported = run / "serving" / str(serving.versions(run / "serving")[-1])
    console.print(f"Request to {exported}:", soft_wrap=True)
    console.print_json(json.dumps(request), indent=None)
    finished = subprocess.run(
        [sys.executable, "-c", CLIENT, str(exported)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        raise RuntimeError(f"{exported} isn't served:\n{finished.stderr}")
    served = np.array(json.loads(finished.stdout), np.float32)
    model = keras.models.load_model(run / "model.keras", safe_mode=True)
    expected = Predictor(model)(rows.inputs)

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("shop", "user and item"):
        grid.add_column(name, no_wrap=True)
    for name in ("served", "Keras", "truth"):
        grid.add_column(name, justify="right", no_wrap=True)
    for i in range(len(rows)):
        words = [
            feature.vocabulary[rows.inputs[feature.name][i] - 1]
            for feature in log.schema.features
            if isinstance(feature, SparseFeature)
        ]
        grid.add_row(
            log.schema.domains[rows.domain[i]],
            " ".join(map(str, words)),
            f"{served[i]:.4f}",
            f"{expected[i]:.4f}",
            f"{rows.extra['true_ctr'][i]:.4f}",
        )
    console.print(grid)
    difference = float(np.abs(served - expected).max())
    if difference > TOLERANCE:
        raise RuntimeError(
            f"{exported} and the Keras model differ by {difference:.1e}."
        )
    console.print(
        "Served by TensorFlow alone, mlora_tf not imported: "
        f"equal to the Keras model within {TOLERANCE:g}."
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


def _best_possible(log: "ClickLog") -> "Evaluation":
    import numpy as np

    from mlora_tf.evaluation import evaluate

    test = log.test
    true_ctr = [block.extra["true_ctr"] for block in test.blocks(["true_ctr"])]
    return evaluate(
        test.label,
        np.concatenate(true_ctr),
        test.domain,
        log.schema.domains,
    )


def _sentence(result: dict[str, Any]) -> str:
    two_phase, joint, best = (
        _gain(result["all"], key) for key in ("two_phase", "joint", "best")
    )
    return (
        f"Points of WAUC above the base: {two_phase:+.2f} in two phases, "
        f"{joint:+.2f} jointly, of {best:+.2f} possible."
    )


def _gain(row: dict[str, Any], key: str) -> float:
    """Points of AUC above the base; nan where there is no AUC."""
    if row[key] is None or row["base"] is None:
        return float("nan")
    return 100 * (row[key] - row["base"])


def _label(axes: Any, x: float, y: float, text: str, color: str) -> None:
    """Writes a text beside the end of a bar."""
    if math.isfinite(x):
        axes.annotate(
            text,
            (max(x, 0.0), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=color,
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


if __name__ == "__main__":
    define_flags()
    command_line.run(main, AT_ONCE)
