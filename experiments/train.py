r"""Trains one model on a prepared click log and exports it.

    python -m experiments.train --data=data/ml1m-gender --tower=mlora \
        --output=runs/ml1m-gender

The folder tells everything about the run; see `experiments/runs.py`. The same
command goes on with a run that was killed, and does nothing for a finished
one. On MovieLens-1M by gender it takes about a minute on two cores; expect a
test WAUC of 80.2 to 81.2, by recipe (README has the table).
"""

import dataclasses
import pathlib
from typing import Any

from absl import flags

from experiments import binary
from mlora_tf.backbones import BACKBONES
from mlora_tf.data import BATCH_MODES
from mlora_tf.recipes import CONTROLS
from mlora_tf.recipes import MONITORS
from mlora_tf.recipes import PRESETS
from mlora_tf.recipes import SCHEDULES
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.recipes import preset
from mlora_tf.towers import DROPOUT_PLACEMENTS
from mlora_tf.towers import TOWERS


def define_flags() -> None:
    """Defines the flags. One that isn't given takes the preset's value."""
    flags.DEFINE_string("data", None, "A prepared folder.", required=True)
    flags.DEFINE_string("output", None, "The run's folder.", required=True)
    flags.DEFINE_enum(
        "preset",
        "tuned",
        PRESETS,
        "paper: what the text says. release: "
        "what the published code does. tuned: ours.",
    )
    flags.DEFINE_enum(
        "backbone", "mlp", sorted(BACKBONES), "How features interact."
    )
    flags.DEFINE_enum(
        "tower", "mlora", sorted(TOWERS), "How domains share weights."
    )
    flags.DEFINE_enum(
        "schedule", None, SCHEDULES, "Train at once, or base then adapters."
    )
    flags.DEFINE_enum(
        "control", None, CONTROLS, "What to hold the adapters' gain against."
    )
    flags.DEFINE_list("hidden_units", None, "Widths, as in 256,128,64.")
    flags.DEFINE_float("dropout", None, "Rate in the hidden layers.")
    flags.DEFINE_enum(
        "dropout_placement",
        None,
        DROPOUT_PLACEMENTS,
        "On the shared path alone, or on each layer's output.",
    )
    flags.DEFINE_integer("temperature", None, "rank = units // temperature.")
    flags.DEFINE_bool("lora_bias", None, "A bias per domain and layer.")
    flags.DEFINE_integer("embedding_dim", None, "Width of each embedding.")
    flags.DEFINE_float(
        "embedding_stddev", None, "Of the tables at the start; 0: U(-.05,.05)."
    )
    flags.DEFINE_float("embedding_l2", None, "L2 penalty on whole tables.")
    flags.DEFINE_float("learning_rate", None, "Adam's.")
    flags.DEFINE_float("adam_epsilon", None, "Adam's.")
    flags.DEFINE_integer("batch_size", None, "Over all replicas.")
    flags.DEFINE_enum(
        "batches", None, BATCH_MODES, "Mixed, or one domain after the other."
    )
    flags.DEFINE_enum("monitor", None, MONITORS, "Log to stop by.")
    flags.DEFINE_integer("patience", None, "Epochs without a new best.")
    flags.DEFINE_bool("rollback", None, "Undo epochs without a new best.")
    flags.DEFINE_integer("max_epochs", None, "The most epochs of a phase.")
    flags.DEFINE_float(
        "fresh_fraction", None, "Share of the rows kept for phase two."
    )
    flags.DEFINE_integer("seed", 0, "Of weights, order and dropout.")
    flags.DEFINE_integer(
        "replicas", None, "GPUs, or logical CPU devices; all GPUs by default."
    )
    flags.DEFINE_integer("threads", None, "TensorFlow's; all by default.")
    flags.DEFINE_bool(
        "deterministic", False, "The same bits on every run; slower."
    )
    flags.DEFINE_bool("export", True, "Also write a SavedModel.")


def recipe_from_flags() -> Recipe:
    """The preset's recipe, with the flags that were given in place of its."""
    values = flags.FLAGS.flag_values_dict()
    base = preset(values["preset"], values["backbone"], values["tower"])
    names = [field.name for field in dataclasses.fields(Recipe)]
    given: dict[str, Any] = {
        name: values[name] for name in names if values[name] is not None
    }
    if "hidden_units" in given:
        given["hidden_units"] = _integers("hidden_units", given["hidden_units"])
    return dataclasses.replace(base, **given)


def main() -> None:
    """Trains what the flags say."""
    recipe = recipe_from_flags()
    values = flags.FLAGS.flag_values_dict()
    from rich.console import Console

    from experiments.runs import run
    from experiments.runs import start_tensorflow
    from mlora_tf import data

    strategy = start_tensorflow(
        replicas=values["replicas"],
        threads=values["threads"],
        deterministic=values["deterministic"],
    )
    log = data.load(values["data"])
    metrics = run(
        log,
        recipe,
        pathlib.Path(values["output"]),
        strategy=strategy,
        deterministic=values["deterministic"],
        export=values["export"],
        console=Console(stderr=True),
    )
    print(summary(metrics))


def summary(metrics: dict[str, Any]) -> str:
    """A few lines of a run's result."""
    lines = [f"{'test':<12}{'rows':>9}{'CTR':>8}{'AUC':>8}{'PCOC':>7}"]
    for domain in metrics["test"]["domains"]:
        lines.append(
            f"{domain['name']:<12}{domain['rows']:>9,}{domain['ctr']:>8.2%}"
            f"{_percent(domain['auc']):>8}{_number(domain['pcoc']):>7}"
        )
    overall = metrics["test"]
    lines.append(
        f"WAUC {_percent(overall['wauc'])}, macro AUC "
        f"{_percent(overall['macro_auc'])}, AUC {_percent(overall['auc'])}, "
        f"logloss {overall['logloss']:.4f}"
    )
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _integers(name: str, values: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise RecipeError(
            f"{name} must be integers with commas between. "
            f"Received: {','.join(values)}"
        ) from None


if __name__ == "__main__":
    define_flags()
    binary.run(main)
