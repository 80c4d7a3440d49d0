r"""Prepares a log that is larger than a machine, with Apache Beam.

    python -m data_prep.table --input='logs/*.parquet' --label=click \
        --domain=shop --categorical=user,item --output=data/mine \
        --runner=FlinkRunner --beam_options='--flink_master=host:8081'

It needs `pip install -e '.[beam]'`. `--runner=DirectRunner` is this machine,
and `--beam_options` are the runner's own flags. The log's pieces, files of csv
and groups of Parquet's row groups, are read by as many workers as the runner
has. The vocabularies fit into the memory of one worker; nothing else has to.

Every file is read once to be hashed, and one of csv once more to be counted;
every piece once for its domains, once to be learned from, once more if numbers
get buckets, and once for each file of the folder that has rows of it, up to
the last of them. A piece of Parquet has rows of a file or two of each split. A
csv file of hundreds of millions of rows has rows of many: part it beforehand.

The folder has the bytes that one machine would have written, `manifest.json`
included: rows keep the log's order, draws depend on a row's number alone, and
sums are without rounding. What may differ is which of several mistakes in a
log is named.

Workers read the log and write the folder under the names that are given here,
so both must be on a file system that all of them share, and they need this
checkout on their PYTHONPATH.
"""

import contextlib
import itertools
import pathlib
import shlex
import shutil
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep import beam_pieces
from data_prep import staging
from data_prep.folder_lock import locked
from data_prep.layout import SPLITS
from data_prep.layout import PreparationError
from data_prep.table_categories import INTEGER
from data_prep.table_categories import mend
from data_prep.table_columns import Categorical
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_domains import Counts
from data_prep.table_domains import Domains
from data_prep.table_fit import Fitting
from data_prep.table_fitted import Fitted
from data_prep.table_job import Job
from data_prep.table_split import ByTime
from data_prep.table_survey import add
from data_prep.table_survey import choose

try:
    from data_prep import beam_lines
    from data_prep import beam_samples
    from data_prep import beam_shard
    from data_prep import beam_steps
except ImportError as error:
    raise PreparationError(
        f"--runner needs Apache Beam ({error}): pip install -e '.[beam]'"
    ) from None


def run(job: Job, runner: str, options: str) -> dict[str, Any]:
    """Prepares a log, and returns the content of the folder's manifest."""
    output = job.output.resolve()
    arguments = [f"--runner={runner}", *shlex.split(options)]
    with contextlib.ExitStack() as stack:
        made = staging.make_parents(output)
        stack.callback(staging.remove_empty, made)
        # The folder's own lock is its writer's, and taken much later.
        lock = output.with_name(f".{output.name}.beam.lock")
        stack.enter_context(locked(lock, output))
        staging.delete_left_behind(output, whole=True, ending="beam")
        steps = staging.sibling(output, "beam")
        steps.mkdir()
        stack.callback(shutil.rmtree, steps, ignore_errors=True)
        return _Run(job, arguments, steps).run()


class _Run:
    """The steps of a preparation, each a pipeline of its own.

    Args:
        job: What to prepare.
        arguments: The runner's flags.
        steps: Where pipelines leave what they found, and workers what they
            haven't finished.
    """

    def __init__(
        self, job: Job, arguments: list[str], steps: pathlib.Path
    ) -> None:
        self._job = job
        self._steps = steps
        self._lines = beam_lines.Lines(job, arguments, steps)

    def run(self) -> dict[str, Any]:
        """Runs all of them."""
        job, log = self._job, self._job.log
        self._prime()
        measured = sorted(
            self._lines.run(
                "measure",
                range(len(log.files)),
                beam_steps.Measure(job),
            )["main"]
        )
        pieces = beam_pieces.plan(log, [rows for _, rows, _ in measured])
        names = log.source_names()
        sources = {
            name: digest
            for name, (_, _, digest) in zip(names, measured, strict=True)
        }
        domains = self._survey(pieces)
        fitted, sizes = self._fit(pieces, domains)
        with job.writer(fitted, domains, sources) as writer:
            writer.write_schema()
            shards = beam_shard.plan(pieces, sizes, job.shard_rows)
            written = self._lines.run(
                "write",
                shards,
                beam_shard.WriteShard(
                    job, domains, writer.folder, self._steps, fitted.means
                ),
            )["main"]
            written.sort()
            counts = np.zeros((len(SPLITS), len(domains.values), 2), np.int64)
            files = {}
            for shard, (_, file, of_shard) in zip(shards, written, strict=True):
                files[shard.name] = file
                counts[shard.split] += np.array(of_shard)
            writer.adopt(files, counts)
            return writer.finish()

    def _prime(self) -> None:
        """Learns from the log's first rows how its columns are written."""
        job = self._job
        for chunk in job.log.chunks(job.names, "Reading the first rows"):
            job.splitter.prime(chunk)
            job.cells.domain(chunk, job.columns.domain)
            for column in job.columns.features:
                if isinstance(column, Categorical):
                    job.cells.one(chunk, column)
                elif isinstance(column, History):
                    job.cells.several(chunk, column)
            return

    def _survey(self, pieces: Sequence[beam_pieces.Piece]) -> Domains:
        """Finds the domains and, if rows are split by time, the points."""
        job = self._job
        found = self._lines.run(
            "survey", pieces, beam_steps.Survey(job), sample=True
        )
        counts: Counts = {}
        for _, of_piece in sorted(found["main"], key=lambda one: one[0]):
            values = [value for value, *_ in of_piece]
            both = np.array([one for _, *one in of_piece])
            add(counts, job.columns, values, both)
        domains = choose(counts, job)
        if isinstance(job.splitter, ByTime):
            job.splitter.sample.merge(*_arrays(found["sample"]))
            job.splitter.finish()
        return domains

    def _fit(
        self, pieces: Sequence[beam_pieces.Piece], domains: Domains
    ) -> tuple[Fitted, np.ndarray]:
        """Learns from the training rows; also returns each piece's sizes."""
        job = self._job
        fitting = Fitting(job, domains)
        found = self._lines.run(
            "learn", pieces, beam_steps.Learn(job, domains), values=True
        )
        summaries = sorted(found["main"], key=lambda one: one["index"])
        kinds = _agreeing(summaries)
        sizes = np.array([one["sizes"] for one in summaries])
        fitting.sizes += sizes.sum(axis=0)
        for one in summaries:
            fitting.trained += np.array(one["trained"])
            for name, moments in one["moments"].items():
                fitting.moments[name].merge(*moments)
        kinds |= job.cells.kinds()
        _count(fitting, job, kinds, found["values"])
        if fitting.bucketed:
            before = np.cumsum(sizes[:, 0]) - sizes[:, 0]
            sampled = self._lines.run(
                "draw",
                pieces,
                beam_samples.Draw(
                    job,
                    domains,
                    {
                        piece.index: int(start)
                        for piece, start in zip(pieces, before, strict=True)
                    },
                ),
                sample=True,
            )
            keys, rows = _arrays(sampled["sample"])
            fitting.sample.merge(keys, rows.astype(np.float32))
        return fitting.finish(), sizes


def _arrays(samples: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers drawn and the rows of the one sample there is."""
    ((keys, rows),) = samples
    return np.array(keys, np.uint64), np.array(rows)


def _agreeing(summaries: list[dict[str, Any]]) -> dict[str, str]:
    """What each column holds, where the first rows have not told it."""
    said: dict[str, tuple[str, str]] = {}
    for one in summaries:
        for name, (kind, where) in one["kinds"].items():
            first = said.setdefault(name, (kind, where))
            if first[0] != kind:
                raise PreparationError(
                    f"column {name!r}: {where}, and {first[1]}; {mend(name)}"
                )
    return {name: kind for name, (kind, _) in said.items()}


def _count(
    fitting: Fitting, job: Job, kinds: Mapping[str, str], values: list[Any]
) -> None:
    """Adds up the counts of values, column by column of one kind."""
    columns = {
        (feature.table, kinds[feature.name] == INTEGER): feature.name
        for feature in reversed(job.columns.features)
        if not isinstance(feature, Numeric) and feature.name in kinds
    }
    values.sort(key=lambda one: (one[0][0], isinstance(one[0][1], int)))
    for (table, integers), group in itertools.groupby(
        values, key=lambda one: (one[0][0], isinstance(one[0][1], int))
    ):
        pairs = [(value, count) for (_, value), count in group]
        found, counts = zip(*pairs, strict=True)
        fitting.vocabularies[table].add(
            columns.get((table, integers), table),
            pa.array(found, pa.int64() if integers else pa.string()),
            np.array(counts, np.int64),
        )
