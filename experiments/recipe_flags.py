"""The flags of a recipe, for every binary that takes one."""

import dataclasses
import json
from typing import Any

from absl import flags

from experiments.import_flag import define_import_flag
from experiments.preset_help import preset_help
from mlora_tf.backbones import BACKBONES
from mlora_tf.batches import DOMAIN_SAMPLINGS
from mlora_tf.batches import MODES
from mlora_tf.fields import L2_ROWS
from mlora_tf.presets import PRESETS
from mlora_tf.presets import preset
from mlora_tf.recipe_checks import CONTROLS
from mlora_tf.recipe_checks import MONITORS
from mlora_tf.recipe_checks import OPTIMIZERS
from mlora_tf.recipe_checks import SCHEDULES
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.towers import DROPOUT_PLACEMENTS
from mlora_tf.towers import NORMS
from mlora_tf.towers import TOWERS

# The flags count in --help as those of the binary that has them defined.
flags.disclaim_key_flags()


def define_recipe_flags() -> None:
    """Defines the flags. One that isn't given takes the preset's value."""
    define_import_flag()
    flags.DEFINE_enum(
        "preset",
        "tuned",
        PRESETS,
        "Has the values of the flags that aren't given.\n" + preset_help(),
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
    flags.DEFINE_enum(
        "norm", None, sorted(NORMS), "What normalizes the tower's input."
    )
    flags.DEFINE_bool("auxiliary", None, "Add STAR's auxiliary network.")
    flags.DEFINE_list(
        "hidden_units", None, "Widths of the hidden layers, as in 256,128,64."
    )
    flags.DEFINE_float(
        "dropout", None, "Rate in the hidden layers, from 0 to below 1."
    )
    flags.DEFINE_enum(
        "dropout_placement",
        None,
        DROPOUT_PLACEMENTS,
        "On the shared path alone, or on each layer's output.",
    )
    flags.DEFINE_integer(
        "temperature", None, "rank = max(units // temperature, 1)."
    )
    flags.DEFINE_integer(
        "max_adapter_params",
        None,
        "The most numbers of one domain's adapter in a layer, as in 1024.",
    )
    flags.DEFINE_float(
        "rank_power",
        None,
        "A domain with n rows has the share (n / most)**this of each rank.",
    )
    flags.DEFINE_bool("lora_bias", None, "A bias per domain and layer.")
    flags.DEFINE_string(
        "backbone_options", None, """As JSON: '{"num_layers": 3}'."""
    )
    flags.DEFINE_string(
        "tower_options", None, """As JSON: '{"mlora": "factorized"}'."""
    )
    flags.DEFINE_bool(
        "domain_field", None, "The domain is one of the embedded fields."
    )
    flags.DEFINE_integer("embedding_dim", None, "Width of each embedding.")
    flags.DEFINE_float(
        "embedding_stddev", None, "Of the tables at the start; 0: U(-.05,.05)."
    )
    flags.DEFINE_float("embedding_l2", None, "L2 penalty on the tables.")
    flags.DEFINE_enum(
        "embedding_l2_rows",
        None,
        L2_ROWS,
        "Of the penalty: on whole tables, or on the batch's own rows.",
    )
    flags.DEFINE_enum(
        "optimizer",
        None,
        OPTIMIZERS,
        "lazy_adam leaves alone the domains that a batch doesn't have.",
    )
    flags.DEFINE_float("learning_rate", None, "The optimizer's; above 0.")
    flags.DEFINE_float("adam_epsilon", None, "The optimizer's; above 0.")
    flags.DEFINE_integer(
        "batch_size", None, "Rows of a step, over all replicas."
    )
    flags.DEFINE_enum(
        "batches",
        None,
        MODES,
        "All rows shuffled, single-domain batches, or drawn from a buffer of "
        "the latest rows.",
    )
    flags.DEFINE_enum(
        "domain_sampling",
        None,
        DOMAIN_SAMPLINGS,
        "Of --batches=per_domain: one domain after the other; each row once, "
        "in random order of the batches; or all domains as often.",
    )
    flags.DEFINE_integer(
        "window_rows", None, "Of --batches=sliding_window: rows of its buffer."
    )
    flags.DEFINE_integer(
        "epoch_steps",
        None,
        "Batches between two evaluations; a whole pass by default.",
    )
    flags.DEFINE_enum("monitor", None, MONITORS, "Log to stop by.")
    flags.DEFINE_integer("patience", None, "Epochs without a new best.")
    flags.DEFINE_bool("rollback", None, "Undo epochs without a new best.")
    flags.DEFINE_bool(
        "stop_by_domain", None, "Each domain keeps its own best epoch."
    )
    flags.DEFINE_integer("max_epochs", None, "The most epochs of a phase.")
    flags.DEFINE_float(
        "fresh_fraction",
        None,
        "Share of the training rows kept for phase two, from 0 to below 1.",
    )
    flags.DEFINE_integer("seed", 0, "Of weights, order and dropout.")


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
    for name in ("backbone_options", "tower_options"):
        if name in given:
            given[name] = options(name, given[name])
    return dataclasses.replace(base, **given)


def _integers(name: str, values: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise RecipeError(
            f"{name} must be integers with commas between. "
            f"Received: {','.join(values)}"
        ) from None


def options(name: str, text: str) -> dict[str, Any]:
    """A flag's JSON object.

    Raises:
        RecipeError: It is none.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RecipeError(
            f"{name} must be a JSON object, such as "
            f"""'{{"num_layers": 3}}'. Received: {text}"""
        )
    return content
