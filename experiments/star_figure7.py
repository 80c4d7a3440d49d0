r"""STAR's Figure 7: predicted over true click rate, domain by domain.

    python -m experiments.star_figure7 --data=data/ml1m-occupation,data/amazon-6

PCOC of the Base and of STAR in each domain, from the runs of
`experiments.star_table2`; 1 is calibrated. In the paper STAR's dots are
closer to 1 than the Base's. By occupation here their mean distance is 0.036
with the paper's recipe, the Base's 0.039 (one seed); with `tuned` both have
0.024. Writes a figure besides the table. A seed is
2 runs: 4 minutes of two cores by occupation.
"""

import functools
import math
import statistics
from collections.abc import Sequence

from experiments import binary
from experiments.markdown_table import markdown_table
from experiments.study import figures
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import domain_table
from experiments.study.recipes import star_recipe
from experiments.study.result import Result
from experiments.study.statistics import Summary
from experiments.study.study import Study


def arms(data: DataSet, preset: str) -> list[Arm]:
    """The two models."""
    return [
        Arm(data, "mlp", "Base", star_recipe(preset, data, "shared")),
        Arm(data, "mlp", "STAR", star_recipe(preset, data, "star")),
    ]


def table(found: Sequence[Result]) -> str:
    """How far from 1 the domains are on average, then each domain's PCOC."""
    rows = []
    for one in found:
        domains = range(len(one.arm.data.domains))
        values = [one.domain(i, "pcoc") for i in domains]
        distances = [
            _distance([some[seed] for some in values])
            for seed in range(len(one.phases))
        ]
        text = Summary.of(distances).text(digits=3)
        rows.append((one.arm.data.name, one.arm.name, text))
    heading = ("data", "arm", "mean of PCOC's distance to 1")
    return f"{markdown_table(heading, rows)}\n\n{_domains(found)}"


def _distance(pcocs: Sequence[float]) -> float:
    """The mean over those domains whose rows have a click."""
    distances = [abs(one - 1) for one in pcocs if not math.isnan(one)]
    return statistics.mean(distances) if distances else math.nan


_domains = functools.partial(domain_table, metric="pcoc", digits=3)

STUDY = Study(
    "star_figure7",
    "STAR's Figure 7: predicted over true click rate",
    "Sum of predictions over clicks in each domain's test rows.",
    arms,
    table=table,
    of_domains="pcoc",
    figure=figures.pcoc,
    data=("data/amazon-6",),
    presets=("tuned", "paper"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
