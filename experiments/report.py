r"""Every table and figure again, from the runs that are there, and one page.

    python -m experiments.report

Reads `runs.jsonl` and `new_domain.jsonl` in `experiments/results` and trains
nothing. Rewrites the Markdown, JSON and PNG of every study that has a
comparison to show, each row with all of its seeds, `coverage.md`, which says
what has run and what hasn't, and `report.html`: these
tables and those that other commands write there, sortable, with a filter by
data set, model, tower and arm, and the figures, in one file that needs no
network. Takes seconds. What a table lacks is trained by its own command.
"""

import pathlib

from absl import flags
from rich.console import Console

from data_prep import progress
from experiments import binary
from experiments import lazy_adam
from experiments import mlora_controls
from experiments import mlora_figure4
from experiments import mlora_new_domain
from experiments import mlora_table2
from experiments import mlora_table3
from experiments import mlora_table4
from experiments import mlora_table5
from experiments import runs
from experiments import star_figure6
from experiments import star_figure7
from experiments import star_section44
from experiments import star_table2
from experiments import star_table3
from experiments import towers
from experiments.errors import RunError
from experiments.study import coverage
from experiments.study import page
from experiments.study.chosen import RESULTS
from experiments.study.run_log import RunLog
from experiments.study.study import Study

STUDIES: tuple[Study, ...] = (
    mlora_table2.STUDY,
    mlora_table3.STUDY,
    mlora_table4.STUDY,
    mlora_table5.STUDY,
    mlora_figure4.STUDY,
    mlora_controls.STUDY,
    star_table2.STUDY,
    star_table3.STUDY,
    star_figure6.STUDY,
    star_figure7.STUDY,
    star_section44.STUDY,
    towers.STUDY,
    lazy_adam.STUDY,
)

OTHERS = (
    "table1",
    "mlora_parameters",
    "search",
    "speed",
    "step_profile",
    "serving",
)
"""Tables that other commands write."""

FIGURES = {"speed": "growth"}
"""By table, its figure, where that has another name."""


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "output", str(RESULTS), "Where runs.jsonl is and files are written."
    )


def main() -> None:
    """Writes all that the runs allow."""
    output = pathlib.Path(flags.FLAGS.output)
    log = RunLog(output / "runs.jsonl")
    if not log.rows:
        raise RunError(
            f"{log.path} has no runs: train some, for instance with "
            "python -m experiments.mlora_table2 --data=data/ml1m-gender."
        )
    for pair in log.differing:
        Console(stderr=True).print(
            f"Two runs' bases have one recipe and seed and differ: "
            f"{', '.join(pair)}. Delete the lines of one machine from "
            f"{log.path}, and train them again on the other's.",
            soft_wrap=True,
        )
    written = [
        study.write(log, preset)
        for study in progress.track(STUDIES, "Writing tables")
        for preset in study.presets
    ]
    written.append(mlora_new_domain.write(output / "new_domain.jsonl"))
    written.append(output / "coverage.md")
    runs.write(output / "coverage.md", coverage.markdown(log, STUDIES))
    others = (output / f"{name}.md" for name in OTHERS)
    sections = [
        _section(path)
        for path in (*filter(None, written), *others)
        if path.is_file()
    ]
    runs.write(output / "report.html", page.html(sections))
    print(f"{output / 'report.html'}: {len(sections)} tables")


def _section(path: pathlib.Path) -> page.Section:
    figure = FIGURES.get(path.stem, path.stem)
    return page.Section.read(path, path.with_name(f"{figure}.png"))


if __name__ == "__main__":
    define_flags()
    binary.run(main)
