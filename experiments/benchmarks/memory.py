r"""The most memory that a whole run takes.

    python -m experiments.benchmarks.memory --data=data/amazon-6

Trains the preset `tuned` with MLP and mlora as `experiments.train` does, in a
process of its own, with its evaluations and its export. An epoch has all that
others have: more of them take no more memory, and one is the default.
"""

import json
import pathlib
import tempfile
from typing import Any

from absl import flags

from experiments.benchmarks import suite

GOAL = 2.5


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "The prepared folder.", required=True)
    flags.DEFINE_integer(
        "max_epochs",
        suite.Settings.max_epochs,
        "The most epochs.",
        lower_bound=1,
    )


def measure(settings: suite.Settings) -> dict[str, Any]:
    """Trains, and reads off the peak."""
    from experiments.benchmarks.report import Line
    from experiments.benchmarks.streaming import measured

    # Relative to where the command is given, not to the checkout.
    data = pathlib.Path(settings.data).resolve()
    with tempfile.TemporaryDirectory() as folder:
        taken, _ = measured(
            "experiments.train",
            f"--data={data}",
            f"--output={folder}/run",
            f"--max_epochs={settings.max_epochs}",
        )
    manifest = json.loads((data / "manifest.json").read_text("utf-8"))
    line = Line(
        f"resident memory of a whole run on {data.name}",
        [taken["peak_rss_bytes"] / 2**30],
        [GOAL],
        unit="GiB",
    )
    return {
        "lines": [line.to_dict()],
        "data": manifest["fingerprint"],
        "max_epochs": settings.max_epochs,
        **taken,
    }


if __name__ == "__main__":
    suite.run("memory", measure, define_flags)
