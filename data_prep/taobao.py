r"""Prepares Taobao's cloud themes as in Table 1 of the MLoRA paper.

A domain is a theme of Taobao's "cloud theme" pages, a click a row of its log.
What wasn't clicked is drawn.

    python -m data_prep.taobao --raw=cloud_theme.zip --themes=10 \
        --output=data/taobao-10

`--raw` is the folder, or the archive as it is fetched from
https://tianchi.aliyun.com/dataset/9716, of `theme_click_log.csv`,
`user_embedding.csv` and `item_embedding.csv`. The rules are the published
code's, with its flaws in drawing mended:

- Clicks stay whose user and item both have a vector. Themes are numbered in
  the order in which the whole log names them. `--choose=first` takes the first
  `--themes` of them that have clicks left, so that Taobao-10 is a part of
  Taobao-20; `--choose=random`, which is what the paper says, draws that many.
- A user's second click on an item in a theme is dropped. For each user of a
  theme, `int(clicks / ctr)` items that others have clicked there are drawn;
  `data_prep.implicit` says how. `--negatives=per_user`, the default, splits
  them as published, which gives the paper's odd sizes of splits;
  `per_domain` gives 60/20/20, and each split the same share of clicks.
- Users and items have ids in the order in which the themes name them, and
  the pretrained vectors of the files, `vectors.user.npy` and
  `vectors.item.npy`. The bucket of unknown ids has the mean of all.

Vectors are frozen in training. With `--embedding_dim=128` they are the users'
and items' embeddings themselves, and the domain's is as wide, as published;
with another width, a trained matrix projects them to it.

The files of vectors have gigabytes. They are read in blocks: the memory is
that of the log and of the vectors of its users and items.
"""

import pathlib
import time
from typing import Any

import numpy as np
from absl import flags
from absl import logging

from data_prep import binary
from data_prep import domains
from data_prep import folder
from data_prep import implicit
from data_prep import staging
from data_prep import vector_texts
from data_prep.archive import opened
from data_prep.features import sparse
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError
from data_prep.splits import check_split
from data_prep.taobao_files import ITEMS
from data_prep.taobao_files import LOG
from data_prep.taobao_files import USERS
from data_prep.taobao_files import Embeddings
from data_prep.taobao_files import read_clicks
from data_prep.taobao_files import read_embeddings
from data_prep.taobao_themes import CHOICES
from data_prep.taobao_themes import choose_themes


def prepare(
    raw: str | pathlib.Path,
    output: str | pathlib.Path,
    themes: int = 10,
    choose: str = "first",
    negatives: str = "per_user",
    drop_one_class_domains: bool = False,
    seed: int = 123,
    overwrite: bool = False,
) -> None:
    """Reads the raw files and writes the prepared folder.

    Args:
        raw: The folder or the archive of the three files.
        output: The prepared folder to write.
        themes: How many themes become domains.
        choose: `"first"` or `"random"`: which themes.
        negatives: `"per_user"` or `"per_domain"`: how what wasn't clicked is
            split.
        drop_one_class_domains: Whether a theme whose users have clicked all
            of its items is dropped.
        seed: Seed of the choice of themes, of what is drawn, and of the split.
        overwrite: Whether a prepared folder of that name is replaced.
    """
    started = time.monotonic()
    staging.check_output(output, overwrite)
    sources: dict[str, Any] = {}
    with opened(raw, f"the folder or the archive of {LOG}") as source:
        clicks, sources[LOG] = read_clicks(source)
        users, sources[USERS] = read_embeddings(
            source, USERS, np.unique(clicks.user)
        )
        items, sources[ITEMS] = read_embeddings(
            source, ITEMS, np.unique(clicks.item)
        )
    _check_dimensions(users, items)
    log = choose_themes(clicks, users, items, themes, choose, seed)
    logging.info(
        "Took %s clicks on %s themes", f"{log.domain.size:,}", len(log.themes)
    )
    ctrs = implicit.ctrs(len(log.themes), seed)
    names = [f"theme_{theme}" for theme in log.themes.tolist()]
    rows = implicit.with_negatives(log.domain, log.user, log.item, ctrs, seed)
    kept = domains.kept(
        names,
        np.bincount(rows.domain, minlength=len(names)),
        np.bincount(rows.domain[rows.label == 1], minlength=len(names)),
        drop_one_class=drop_one_class_domains,
    )
    rows = _only(rows, kept)
    user_ids, user = _numbered(log.users, rows.user)
    item_ids, item = _numbered(log.items, rows.item)
    split = implicit.split_rows(rows, seed=seed, negatives=negatives)
    check_split(split)
    dim = users.vectors.shape[1]
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="taobao",
            options={
                "themes": themes,
                "choose": choose,
                "negatives": negatives,
                "drop_one_class_domains": drop_one_class_domains,
                "ctrs": ctrs,
            },
            seed=seed,
            sources=sources,
            features=[
                sparse("user", user_ids.tolist(), vectors=dim),
                sparse("item", item_ids.tolist(), vectors=dim),
            ],
            domain_name="theme",
            domains=[names[index] for index in np.flatnonzero(kept)],
            columns={
                "user": user + 1,
                "item": item + 1,
                DOMAIN: rows.domain,
                LABEL: rows.label,
            },
            split=split,
            vectors={
                "user": vector_texts.with_mean(users.of(user_ids)),
                "item": vector_texts.with_mean(items.of(item_ids)),
            },
        ),
        overwrite,
    )
    binary.log_counts(manifest)
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)


def _check_dimensions(users: Embeddings, items: Embeddings) -> None:
    dims = users.vectors.shape[1], items.vectors.shape[1]
    if dims[0] != dims[1]:
        raise PreparationError(
            f"{USERS} has vectors of {dims[0]} numbers, and {ITEMS} of "
            f"{dims[1]}: both must have as many; fetch them again."
        )


def _only(rows: implicit.Rows, kept: np.ndarray) -> implicit.Rows:
    """The rows of the domains that are kept, numbered anew."""
    stay = kept[rows.domain]
    return implicit.Rows(
        (np.cumsum(kept) - 1)[rows.domain[stay]],
        rows.user[stay],
        rows.item[stay],
        rows.label[stay],
    )


def _numbered(
    raw: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The raw ids that occur, in their order, and each row's index into them.

    They are all of them, unless a domain was dropped.
    """
    used, index = np.unique(index, return_inverse=True)
    return raw[used], index


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    domains.define_flag()
    flags.DEFINE_string(
        "raw", None, "The folder or the archive of the files.", required=True
    )
    flags.DEFINE_integer(
        "themes", 10, "How many themes become domains.", lower_bound=1
    )
    flags.DEFINE_enum(
        "choose",
        "first",
        CHOICES,
        "The first themes of the log, as published, or random ones.",
    )
    flags.DEFINE_enum(
        "negatives",
        "per_user",
        implicit.NEGATIVES,
        "How what wasn't clicked is split.",
    )
    binary.run(
        prepare,
        "raw",
        "themes",
        "choose",
        "negatives",
        "drop_one_class_domains",
    )


if __name__ == "__main__":
    main()
