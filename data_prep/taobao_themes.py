"""Chooses the themes of Taobao's log that become domains, and their clicks."""

import dataclasses

import numpy as np
import pandas as pd
from absl import logging

from data_prep.layout import PreparationError
from data_prep.taobao_files import Clicks
from data_prep.taobao_files import Embeddings

CHOICES = ("first", "random")
"""Which themes are chosen: the first ones of the log, or random ones."""


@dataclasses.dataclass(frozen=True)
class Log:
    """The clicks that are kept, theme by theme, each one once.

    Attributes:
        themes: The raw ids of the domains.
        users: The raw ids of the users, in the order of their first click.
        items: Those of the items.
        domain: The domain of each click.
        user: Its user, an index into `users`.
        item: Its item, an index into `items`.
    """

    themes: np.ndarray
    users: np.ndarray
    items: np.ndarray
    domain: np.ndarray
    user: np.ndarray
    item: np.ndarray


def choose_themes(
    clicks: Clicks,
    users: Embeddings,
    items: Embeddings,
    themes: int,
    choose: str,
    seed: int,
) -> Log:
    """Chooses themes, and keeps their clicks with a user and item known.

    Args:
        clicks: The whole log.
        users: The vectors of its users.
        items: The vectors of its items.
        themes: How many to choose.
        choose: One of `CHOICES`.
        seed: Seed of the choice.
    """
    theme, raw_themes = pd.factorize(clicks.theme)
    known = users.has(clicks.user) & items.has(clicks.item)
    counts = np.bincount(theme[known], minlength=raw_themes.size)
    left = np.flatnonzero(counts)
    if left.size < themes:
        raise PreparationError(
            f"{clicks.path}: {left.size} of its {raw_themes.size} themes have "
            f"clicks whose user and item have vectors, and --themes={themes} "
            "are too many; ask for fewer."
        )
    if choose == "random":
        # RandomState's stream is frozen for good.
        left = np.random.RandomState(seed).permutation(left)
    chosen = np.sort(left[:themes])
    for index in np.flatnonzero(counts[: chosen[-1]] == 0):
        logging.warning(
            "theme %s is left out: none of its clicks has a user and an item "
            "with vectors.",
            raw_themes[index],
        )
    rows = np.flatnonzero(known & np.isin(theme, chosen))
    rows = rows[np.argsort(theme[rows], kind="stable")]
    domain = np.searchsorted(chosen, theme[rows])
    user, raw_users = pd.factorize(clicks.user[rows])
    item, raw_items = pd.factorize(clicks.item[rows])
    pair = (domain * raw_users.size + user) * raw_items.size + item
    first = np.unique(pair, return_index=True)[1]
    return Log(
        raw_themes[chosen],
        raw_users,
        raw_items,
        domain[first],
        user[first],
        item[first],
    )
