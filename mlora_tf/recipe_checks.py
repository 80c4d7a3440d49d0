"""Which recipes can be trained: each value, and those that go together."""

import dataclasses
import inspect
import json
import math
import numbers
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

from mlora_tf import cutting
from mlora_tf.backbones import BACKBONES
from mlora_tf.fields import L2_ROWS
from mlora_tf.towers import DROPOUT_PLACEMENTS
from mlora_tf.towers import EXTENDS_SHARED
from mlora_tf.towers import NORMS
from mlora_tf.towers import TOWERS

Recipe = Any
"""A `recipes.Recipe`, whose module imports this one."""

SCHEDULES = ("joint", "two_phase")
OPTIMIZERS = ("adam", "lazy_adam")
MONITORS = ("val_wauc", "val_macro_auc", "val_auc")
CONTROLS = ("none", "shared_adapter", "bias_only", "train_on")
CONTROL_OPTIONS: dict[str, dict[str, Any]] = {
    "shared_adapter": {"shared_adapter": True},
    "bias_only": {"rank": 0, "use_lora_bias": True},
}
"""The tower's options that a control of adapters sets."""

ALLOWED: dict[str, Collection[str]] = {
    # As they are now: who has a tower of their own adds it.
    "backbone": BACKBONES,
    "tower": TOWERS,
    "norm": NORMS,
    "dropout_placement": DROPOUT_PLACEMENTS,
    "embedding_l2_rows": L2_ROWS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "control": CONTROLS,
    "batches": cutting.MODES,
    "domain_sampling": cutting.DOMAIN_SAMPLINGS,
    "monitor": MONITORS,
}
"""By field, the names that it can have."""

COUNTS = (
    "batch_size",
    "max_epochs",
    "patience",
    "embedding_dim",
    "temperature",
    "max_adapter_params",
    "epoch_steps",
)
"""Fields that are at least 1, or None where a recipe may leave them out."""


KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a name",
    int | None: "an integer or None",
    tuple[int, ...]: "integers",
    Mapping[str, Any]: "options by name",
}
"""The types that a recipe's fields have, in words."""


class RecipeError(ValueError):
    """A recipe that can't be trained: says which value, and what is allowed."""


def check_values(recipe: Recipe) -> None:
    """Checks each value by itself.

    Raises:
        RecipeError: One isn't allowed.
    """
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if not _is_a(value, field.type):
            raise RecipeError(
                f"{field.name} must be {KINDS[field.type]}. Received: {value!r}"
            )
    for name, allowed in ALLOWED.items():
        value = getattr(recipe, name)
        if value not in allowed:
            raise RecipeError(
                f"{name} must be one of {tuple(allowed)}. Received: {value!r}"
            )

    def check(name: str, rule: str, holds: Callable[[Any], bool]) -> None:
        value = getattr(recipe, name)
        if not holds(value):
            raise RecipeError(f"{name} must {rule}. Received: {value}")

    for name in COUNTS:
        check(name, "be at least 1", lambda count: count is None or count >= 1)
    for name in ("learning_rate", "adam_epsilon"):
        check(name, "be positive", lambda value: value > 0)
    # Not (x < 0), which NaN isn't either.
    for name in ("embedding_stddev", "embedding_l2", "rank_power"):
        check(name, "not be negative", lambda value: value >= 0)
    check("rank_power", "be finite", math.isfinite)
    check("seed", "be in [0, 2**32)", lambda seed: 0 <= seed < 2**32)
    check(
        "hidden_units",
        "be one width or more, each at least 1",
        lambda units: bool(units) and min(units) >= 1,
    )
    for name in ("dropout", "fresh_fraction"):
        check(name, "be in [0, 1)", lambda share: 0 <= share < 1)


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type, as JSON or NumPy may have it."""
    if kind == int | None:
        return value is None or _is_a(value, int)
    if kind == tuple[int, ...]:
        return isinstance(value, (list, tuple)) and all(
            _is_a(one, int) for one in value
        )
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind == Mapping[str, Any]:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) for name in value
        )
    return isinstance(value, kind)


def check_options(
    what: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    """Checks the options of a backbone or tower.

    Args:
        what: "backbone" or "tower".
        make: Its function; options are its keyword arguments.
        options: The options, which JSON must be able to hold.

    Raises:
        RecipeError: One isn't such an argument, or no value of JSON's.
    """
    allowed = [
        name
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in allowed:
            raise RecipeError(
                f"{what}_options of {make.__name__!r} must be among {allowed}. "
                f"Received: {name!r}"
            )
    try:
        json.dumps(dict(options))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"{what}_options must be values that JSON can hold, since a run's "
            f"folder tells its recipe ({error}). Received: {dict(options)}"
        ) from None


def check_combination(recipe: Recipe) -> None:
    """Checks what values make of one another.

    Raises:
        RecipeError: Two or more don't go together.
    """
    try:
        cutting.check(
            recipe.batches,
            recipe.domain_sampling,
            recipe.batch_size,
            recipe.window_rows,
        )
    except ValueError as error:
        raise RecipeError(str(error)) from None
    _check_control(recipe)
    _check_schedule(recipe)
    _check_adapters(recipe)


def _check_adapters(recipe: Recipe) -> None:
    """Raises at what is about adapters where there are none."""
    starred = recipe.tower == "star" and "mlora" in recipe.tower_options
    if recipe.tower in ("shared", "mlora") or starred:
        return
    for name, unset in (("max_adapter_params", None), ("rank_power", 0)):
        if getattr(recipe, name) != unset:
            raise RecipeError(
                f"{name} is about adapters: it needs "
                "tower='mlora', or tower='star' with a form of STAR + MLoRA "
                """as in tower_options={"mlora": "factorized"}. """
                f"Received: tower={recipe.tower!r}, "
                f"tower_options={dict(recipe.tower_options)}"
            )


def _check_control(recipe: Recipe) -> None:
    if recipe.control in CONTROL_OPTIONS and recipe.tower != "mlora":
        raise RecipeError(
            f"control={recipe.control!r} changes adapters and needs "
            f"tower='mlora'. Received: tower={recipe.tower!r}"
        )
    if recipe.rank_power and recipe.control in CONTROL_OPTIONS:
        raise RecipeError(
            "rank_power is about the ranks of domains' own adapters, which "
            f"control={recipe.control!r} doesn't have. "
            f"Received: rank_power={recipe.rank_power}"
        )
    for name in recipe.tower_options:
        if name in CONTROL_OPTIONS.get(recipe.control, {}):
            raise RecipeError(
                f"control={recipe.control!r} sets {name!r} itself. "
                f"Received: tower_options={dict(recipe.tower_options)}"
            )


def _check_schedule(recipe: Recipe) -> None:
    train_on = recipe.control == "train_on"
    two_phase = recipe.schedule == "two_phase"
    if train_on and not (two_phase and recipe.tower == "shared"):
        raise RecipeError(
            "control='train_on' trains the base in phase two: it needs "
            "schedule='two_phase' and tower='shared'. Received: "
            f"schedule={recipe.schedule!r}, tower={recipe.tower!r}"
        )
    if two_phase and recipe.tower == "shared" and not train_on:
        raise RecipeError(
            "tower='shared' has no adapters for a second phase: use "
            "schedule='joint', or control='train_on'."
        )
    if two_phase and recipe.tower not in ("shared", *EXTENDS_SHARED):
        raise RecipeError(
            "schedule='two_phase' needs a tower that starts as the "
            f"pretrained shared one: {EXTENDS_SHARED}. "
            f"Received: tower={recipe.tower!r}"
        )
    if recipe.stop_by_domain:
        _check_stop_by_domain(recipe)
    if recipe.fresh_fraction and not two_phase:
        raise RecipeError(
            "fresh_fraction keeps rows for a second phase and needs "
            f"schedule='two_phase'. Received: {recipe.schedule!r}"
        )


def _check_stop_by_domain(recipe: Recipe) -> None:
    if (
        recipe.schedule != "two_phase"
        or recipe.control not in ("none", "bias_only")
        or recipe.tower_options.get("shared_adapter")
    ):
        raise RecipeError(
            "stop_by_domain is about adapters on a frozen base, one a domain: "
            "it needs schedule='two_phase', control='none' or 'bias_only' and "
            "no shared adapter. "
            f"Received: schedule={recipe.schedule!r}, "
            f"control={recipe.control!r}, "
            f"tower_options={dict(recipe.tower_options)}"
        )
    if recipe.monitor != "val_wauc" or recipe.rollback:
        raise RecipeError(
            "stop_by_domain stops each domain by its own AUC and keeps its "
            "best epoch: it needs monitor='val_wauc' and rollback=False. "
            f"Received: monitor={recipe.monitor!r}, "
            f"rollback={recipe.rollback}"
        )
