"""Answers an unknown flag with the one that its user has in mind."""

import sys
from collections.abc import Sequence

from absl import flags

from data_prep import flag_errors

SYNONYMS: dict[str, tuple[str, ...]] = {
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "data_dir": ("data",),
    "dataset": ("data",),
    "dropout_rate": ("dropout",),
    "emb_dim": ("embedding_dim",),
    "embedding_size": ("embedding_dim",),
    "epochs": ("max_epochs",),
    "epsilon": ("adam_epsilon",),
    "eps": ("adam_epsilon",),
    "gpus": ("replicas",),
    "hidden": ("hidden_units",),
    "l2": ("embedding_l2",),
    "layers": ("hidden_units",),
    "lr": ("learning_rate",),
    "model": ("backbone", "models"),
    "n_epochs": ("max_epochs",),
    "num_domains": ("domains",),
    "num_epochs": ("max_epochs",),
    "num_gpus": ("replicas",),
    "num_threads": ("threads", "jobs"),
    "num_workers": ("jobs",),
    "out": ("output",),
    "out_dir": ("output",),
    "output_dir": ("output",),
    "random_seed": ("seed", "seeds"),
    "recipe": ("preset",),
    "reg": ("embedding_l2",),
    "seed": ("seeds",),
    "steps_per_epoch": ("epoch_steps",),
    "units": ("hidden_units",),
    "weight_decay": ("embedding_l2",),
}
"""By what other programs call a flag: its names here, by preference."""


def parse(argv: Sequence[str]) -> list[str]:
    """Parses a command line, or ends in a line on stderr for each mistake.

    Args:
        argv: The program's name and its arguments.

    Returns:
        The program's name and the arguments that are no flags.
    """
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        right = meant(error.flagname)
        if right is not None:
            sys.exit(
                f"error: --{error.flagname} is no flag of this program: it is "
                f"--{right} here.\n--helpshort lists the flags."
            )
    except flags.Error:
        pass
    return flag_errors.parse(argv)


def meant(name: str) -> str | None:
    """The flag of this program that goes by another name elsewhere."""
    name = name.replace("-", "_")
    for right in (name, *SYNONYMS.get(name, ())):
        if right in flags.FLAGS:
            return right
    return None
