"""Checks an installation, a prepared folder and a run's folder.

    python -m mlora_tf.doctor --data=data/mine --run=runs/mine

Each line says OK, warning or problem, and what to do about it. The exit
status is 1 if there is a problem.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence

import tensorflow as tf

from mlora_tf import doctor_folders
from mlora_tf import environment
from mlora_tf import user_modules
from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from mlora_tf.environment import OK
from mlora_tf.environment import PROBLEM
from mlora_tf.environment import WARNING
from mlora_tf.environment import Finding
from mlora_tf.memory import available_memory

MEMORY = 2 << 30
"""Bytes that a run on a small log takes, TensorFlow included."""

DISK = 1 << 30
"""Bytes that a run's folder may take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is found.

    Args:
        arguments: The command line's, by default this process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mlora_tf.doctor",
        description="Checks this installation, and folders.",
    )
    parser.add_argument(
        "--helpshort", action="help", help="As -h, as of our other programs."
    )
    parser.add_argument("--data", type=pathlib.Path, help="A prepared folder.")
    parser.add_argument("--run", type=pathlib.Path, help="A run's folder.")
    parser.add_argument(
        "--import",
        dest="modules",
        default="",
        metavar="MODULE,MODULE",
        help="Your modules that --run was trained with.",
    )
    options = parser.parse_args(arguments)
    modules = options.modules.split(",") if options.modules else []
    try:
        user_modules.import_all(modules)
    except user_modules.UserModuleError as error:
        parser.error(str(error))
    levels = []
    for finding in findings(options.data, options.run, modules):
        _say(str(finding))
        levels.append(finding.level)
    problems, warnings = levels.count(PROBLEM), levels.count(WARNING)
    _say(f"{problems} problem(s), {warnings} warning(s)")
    return 1 if problems else 0


def findings(
    data: pathlib.Path | None = None,
    run: pathlib.Path | None = None,
    modules: Sequence[str] = (),
) -> Iterator[Finding]:
    """All that is found, in order.

    Args:
        data: A prepared folder to check.
        run: A run's folder to check.
        modules: The user's, which have been imported.
    """
    yield from environment.findings()
    yield from _devices()
    yield from _workers()
    yield from _memory()
    yield from _places(run)
    log = None
    if data is not None:
        log = yield from doctor_folders.data_findings(data)
    if run is not None:
        yield from doctor_folders.run_findings(run, log, modules)


def _devices() -> Iterator[Finding]:
    """The devices there are, and whether TensorFlow computes on them."""
    gpus = tf.config.list_physical_devices("GPU")
    cores = len(os.sched_getaffinity(0))
    if gpus:
        yield Finding(
            OK,
            f"{len(gpus)} GPU(s), {cores} core(s): training takes all GPUs, "
            "or as many as --replicas says",
        )
    elif shutil.which("nvidia-smi") or pathlib.Path("/dev/nvidia0").exists():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        yield Finding(
            WARNING,
            "this machine seems to have a GPU, and TensorFlow sees none: "
            + (
                "pip install 'tensorflow[and-cuda]'"
                if hidden is None
                else f"CUDA_VISIBLE_DEVICES={hidden} may hide it"
            ),
        )
    else:
        yield Finding(
            OK,
            f"no GPU, {cores} core(s): training takes one replica; "
            "--replicas=2 parts the CPU into two",
        )
    for device in ("CPU:0", *(f"GPU:{i}" for i in range(len(gpus)))):
        try:
            with tf.device(device):
                total = float(tf.reduce_sum(tf.matmul(*[tf.ones((8, 8))] * 2)))
        except tf.errors.OpError as error:
            yield Finding(
                PROBLEM,
                f"{device} doesn't compute: {_line(error)}; see that driver, "
                "CUDA and TensorFlow go together",
            )
            continue
        if total != 512:
            yield Finding(
                PROBLEM, f"{device} computes 8 * 8 * 8 = {total}: replace it"
            )
        else:
            yield Finding(OK, f"{device} computes")


def _workers() -> Iterator[Finding]:
    """The workers that TF_CONFIG states."""
    try:
        cluster = Cluster.from_environment()
    except ClusterError as error:
        yield Finding(PROBLEM, str(error))
        return
    if cluster is None:
        yield Finding(OK, "no TF_CONFIG: this machine trains alone")
    else:
        yield Finding(
            OK,
            f"TF_CONFIG states {len(cluster.addresses)} worker(s): this is "
            f"the {cluster.name()}; all need the same versions and data",
        )


def _memory() -> Iterator[Finding]:
    memory = available_memory()
    if memory is None:
        return
    size = f"{memory / (1 << 30):.1f} GiB of memory"
    if memory < MEMORY:
        yield Finding(
            WARNING,
            f"{size} are available, and a run takes {MEMORY >> 30} GiB or "
            "more: end other processes, or train with --reading=stream and "
            "smaller batches",
        )
    else:
        yield Finding(OK, f"{size} are available")


def _places(run: pathlib.Path | None) -> Iterator[Finding]:
    """Whether there is a place to write to, for temporary files and runs."""
    try:
        temporary = pathlib.Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield Finding(
            PROBLEM,
            f"no temporary folder can be written to ({error.strerror}): set "
            "TMPDIR to one that can",
        )
        return
    yield _place(temporary, "for temporary files")
    if run is not None:
        yield _place(run if run.exists() else run.parent, "for the run")


def _place(folder: pathlib.Path, purpose: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(
            PROBLEM,
            f"{folder} ({purpose}) can't be written to: {error.strerror}; "
            "change its permissions, or choose another",
        )
    size = f"{free / (1 << 30):.1f} GiB"
    if free < DISK:
        return Finding(
            WARNING,
            f"{folder} ({purpose}) has {size} left: make room, a run's folder "
            "may take more",
        )
    return Finding(OK, f"{folder} ({purpose}) can be written to, {size} free")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _line(error: tf.errors.OpError) -> str:
    return (error.message or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
