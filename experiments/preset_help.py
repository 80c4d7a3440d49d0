"""What each preset sets, in the words of --help."""

import collections
import dataclasses
from typing import Any

from mlora_tf.backbones import BACKBONES
from mlora_tf.presets import PRESETS
from mlora_tf.presets import preset
from mlora_tf.recipes import Recipe
from mlora_tf.towers import TOWERS

BASE = "tuned"
"""The preset all of whose values are shown; others differ from it."""

WORDS = {
    "paper": "what the text says",
    "release": "close to what the published code does",
    "tuned": "ours",
    "star": "STAR's section 4.1",
}

BACKBONE, TOWER = "mlp", "mlora"
"""Whose values are shown; those of others follow where they differ."""

GIVEN = ("backbone", "tower", "seed")
"""Fields that flags of their own decide, not the preset."""


def preset_help() -> str:
    """A line for each preset: its flags with the values that it sets."""
    lines = []
    for name in sorted(PRESETS, key=lambda one: one != BASE):
        words = WORDS[name]
        if name != BASE:
            words += f"; where it differs from {BASE}"
        lines.append(f"- {name} ({words}): {', '.join(_values(name))}.")
    return "\n".join(lines)


def _values(name: str) -> list[str]:
    """A preset's values, of the base all and of others those that differ."""
    base = preset(BASE, BACKBONE, TOWER)
    usual = preset(name, BACKBONE, TOWER)
    others = {one: preset(name, one, TOWER) for one in BACKBONES} | {
        one: preset(name, BACKBONE, one) for one in TOWERS
    }
    shown = []
    for field in dataclasses.fields(Recipe):
        value = _text(usual, field.name)
        exceptions = collections.defaultdict(list)
        for one, recipe in others.items():
            if _text(recipe, field.name) != value:
                exceptions[_text(recipe, field.name)].append(one)
        same = not exceptions and value == _text(base, field.name)
        empty = getattr(base, field.name) in (None, {})
        if field.name in GIVEN or (same and (name != BASE or empty)):
            continue
        rest = "; ".join(f"{', '.join(m)}: {v}" for v, m in exceptions.items())
        shown.append(f"{field.name}={value}" + (f" ({rest})" if rest else ""))
    return shown


def _text(recipe: Recipe, name: str) -> str:
    """A value as its flag takes it."""
    value: Any = getattr(recipe, name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
