"""What the benchmarks of the suite share: flags, and how a result is written.

A benchmark is a function from `Settings` to a result with these keys, all but
the first optional: `lines`, the table's; `notes`, sentences below the table;
`growth`, a panel of the picture; and whatever else was measured.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from absl import flags

from experiments import binary
from experiments.errors import RunError
from experiments.threads import define_threads_flag
from experiments.threads import limit_threads

RUNS = "runs/speed"
PACKAGE = "experiments.benchmarks"
FLAGS = ("rounds", "seconds", "threads", "data", "max_epochs")
"""What can be in a benchmark's command."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long to measure.

    Args:
        rounds: How many times each alternative is timed, at the most.
        seconds: How long a turn of steps takes, about.
        data: A prepared folder, where one is measured.
        max_epochs: Epochs of a whole run, where one is measured.
    """

    rounds: int = 5
    seconds: float = 0.3
    data: str = ""
    max_epochs: int = 1


def define_flags() -> None:
    """Defines the flags that all benchmarks share."""
    default = Settings()
    flags.DEFINE_integer(
        "rounds", default.rounds, "Times each is timed.", lower_bound=1
    )
    flags.DEFINE_float(
        "seconds",
        default.seconds,
        "How long a turn of steps takes, about.",
        lower_bound=0,
    )
    define_threads_flag()


def arguments(names: Iterable[str] = FLAGS) -> list[str]:
    """Those flags that were given, as they were."""
    values = flags.FLAGS
    return [
        f"--{name}={values[name].value}"
        for name in names
        if name in values and values[name].present
    ]


def command(name: str, given: Iterable[str]) -> str:
    """The command of a benchmark."""
    return " ".join(["python -m", f"{PACKAGE}.{name}", *given])


def run(
    name: str,
    measure: Callable[[Settings], dict[str, Any]],
    define: Callable[[], None] = lambda: None,
) -> None:
    """Runs a benchmark's binary.

    Args:
        name: The benchmark's name, and its module's.
        measure: The benchmark.
        define: Defines more flags, of `Settings`.
    """
    define_flags()
    flags.DEFINE_string("output", RUNS, "Folder of the result.")
    define()
    binary.run(lambda: _main(name, measure))


def _main(name: str, measure: Callable[[Settings], dict[str, Any]]) -> None:
    from experiments.benchmarks.harness import write_result
    from experiments.benchmarks.report import from_dict
    from experiments.benchmarks.report import table

    values = flags.FLAGS.flag_values_dict()
    _set_up(values["threads"])
    fields = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(
        **{field: values[field] for field in fields if field in values}
    )
    if (
        settings.data
        and not pathlib.Path(settings.data, "manifest.json").is_file()
    ):
        raise RunError(
            f"--data={settings.data} is no prepared folder: it has no "
            "manifest.json. Make one with a binary of data_prep."
        )
    if sys.stderr.isatty():
        # No bar, whose thread would take its part of what is measured.
        print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    content = measure(settings)
    folder = pathlib.Path(values["output"])
    write_result(name, command(name, arguments()), content, folder)
    if content["lines"]:
        print(table(map(from_dict, content["lines"])), file=sys.stderr)


def _set_up(threads: int | None) -> None:
    from experiments.benchmarks.harness import quiet_tracing

    quiet_tracing()
    if threads is not None:
        limit_threads(threads)
