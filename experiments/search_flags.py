"""The flags of `experiments.search`, checked before it trains."""

import dataclasses
import os
from typing import Any

from absl import flags

from experiments.errors import RunError
from experiments.recipe_flags import options
from experiments.search_levers import ALL_LEVERS
from experiments.search_levers import LEVERS
from experiments.search_levers import Lever
from experiments.search_levers import check
from experiments.search_levers import merged
from experiments.study.chosen import RESULTS
from experiments.study.recipes import plain
from mlora_tf.backbones import BACKBONES
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError

# The flags count in --help as those of the binary that has them defined.
flags.disclaim_key_flags()


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list("data", None, "Prepared folders.", required=True)
    flags.DEFINE_list(
        "towers",
        ["shared", "mlora", "star"],
        "What to search; shared comes first.",
    )
    flags.DEFINE_list("levers", ALL_LEVERS, "What is searched.")
    flags.DEFINE_string(
        "values",
        "{}",
        "JSON object: what to try of a lever in place of ours, as in "
        """{"temperature": [8, 32]}.""",
    )
    flags.DEFINE_string(
        "start", "{}", "Fields of all recipes, as JSON; they are kept."
    )
    flags.DEFINE_enum("backbone", "mlp", sorted(BACKBONES), "Of all models.")
    flags.DEFINE_integer("seeds", 1, "Runs of each value.", lower_bound=1)
    flags.DEFINE_string(
        "output", str(RESULTS), "Where runs.jsonl and tuned.json are."
    )
    flags.DEFINE_string("runs", "runs/studies", "Where runs are trained.")
    flags.DEFINE_integer("jobs", os.cpu_count(), "Runs at a time.", 1)


def checked() -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The fields of --start, and the values by lever of --values.

    Raises:
        RunError: A flag has something that can't be searched or trained.
    """
    given = flags.FLAGS
    for name, names, allowed in (
        ("towers", given.towers, list(LEVERS)),
        ("levers", given.levers, ALL_LEVERS),
    ):
        if not set(names) <= set(allowed):
            raise RunError(
                f"--{name} must be among {', '.join(allowed)}. "
                f"Received: {','.join(names)}"
            )
    start = options("--start", given.start)
    values = options("--values", given.values)
    fields = {one.name for one in dataclasses.fields(Recipe)}
    if not set(start) <= fields:
        raise RunError(
            "--start must have a recipe's fields alone. Received: "
            f"{', '.join(sorted(set(start) - fields))}"
        )
    for name, tried in values.items():
        if name not in ALL_LEVERS or not (isinstance(tried, list) and tried):
            raise RunError(
                "--values must give lists of values to levers, which are "
                f"{', '.join(ALL_LEVERS)}. Received: {given.values}"
            )
    for tower in given.towers:
        if start:
            _check("--start", given.backbone, tower, start)
        for lever in LEVERS[tower]:
            if lever.name in given.levers:
                tried = tuple(values.get(lever.name, ()))
                _check_values(lever, tried, given.backbone, tower, start)
    return start, values


def _check_values(
    lever: Lever,
    values: tuple[Any, ...],
    backbone: str,
    tower: str,
    start: dict[str, Any],
) -> None:
    settings = dataclasses.replace(lever, values=values).settings()
    for value, fields in zip(values, settings, strict=True):
        what = f"--values: {lever.name} can't be {value!r}"
        _check(what, backbone, tower, merged(start, fields))


def _check(
    what: str, backbone: str, tower: str, fields: dict[str, Any]
) -> None:
    """Builds the recipe that would be trained."""
    try:
        check(dataclasses.replace(plain(backbone, tower), **fields))
    except RecipeError as error:
        raise RunError(f"{what}: {error}") from None
