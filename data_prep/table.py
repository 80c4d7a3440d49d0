r"""Prepares your own click log: csv or Parquet files of any size.

    python -m data_prep.table --input='logs/*.parquet' --label=click \
        --domain=shop --categorical=user,item,brand --numeric=price,age \
        --sequence=history:50 --output=data/mine

`--input` is a file, a folder or a pattern in quotes; files are read in the
order of their names, and rows keep their order. A row is a view, `--label`
says if it was clicked (0 or 1), and `--domain` which domain it is from:
a model has weights of its own for each. A csv file has a line of names first,
is in UTF-8 and may be gzipped. In place of flags, `--config` names a JSON:

    {"label": "click", "domain": "shop",
     "categorical": {"user": {"min_count": 5}, "item": {}, "brand": {}},
     "numeric": {"price": {"buckets": 20}, "age": {"missing": "fill"}},
     "sequence": {"history": {"max_length": 50, "target": "item"}}}

- Categorical columns hold integers or text, never both. Each value that the
  training rows have at least `--min_count` times has an id, the most frequent
  first; all others have the id 0. Each kept item of a list counts, and columns
  that share a table of ids are counted together. The default is 1: no value of
  a training row is lost, but none has the id 0, whose embedding then stays as
  it was drawn. A column of text like "7.0" alone is warned of: so pandas writes
  integers if a cell is empty.
- Numeric columns are scaled by mean and standard deviation, or with
  `--buckets` sorted into so many buckets of about as many rows each. A number
  over 20 standard deviations from the mean is warned of: scaled, all others
  are about the same beside it.
- Sequences hold lists, the oldest first, of which the last `max_length` items
  are kept. In text, `--separator` parts the items; no text is no item.
- An empty cell is an error, and so is a number that is NaN; the text "NaN" is
  a category like others. With `--missing=fill` an empty cell is the id 0, the
  training rows' mean, or an empty list. An empty item of a list is the id 0
  then, too, unless all after it are empty: those at the end are left out, as
  an exported model leaves them out of its requests.
- `"vectors": "items.parquet"` among the options of a column of categories
  gives its values pretrained vectors: see `data_prep.table_vectors`.
- Rows are split at random (80/10/10), by time, or as a column says.
  Vocabularies, buckets and means are fitted to training rows alone.

The log is read three times, and memory is bounded by the vocabularies: first
labels, domains and times, then the features to fit, then all to write. With
three categorical columns, 5 million rows take about 5 seconds of a core from
Parquet and 7 from csv.

Domains are sorted, integers as integers and text by its characters, or in the
order of `--domain_values`, and then the only ones. There may be 100,000. A
column that mixes integers and text is an error, unless `--strings` says that
all is text.

A later log of the same columns, for a model that is trained already, is
prepared with `--like=data/mine`: it gets that folder's vocabularies, domains,
buckets and means in place of its own, and no flag for columns. A value that
the folder doesn't know has the id 0; rows of other domains are left out. An
empty cell is an error unless that folder was prepared with `--missing=fill`.
Rows without clicks need no folder: `experiments.score` scores them.

    python -m data_prep.table --input=tomorrow.parquet --like=data/mine \
        --output=data/tomorrow

`--new_domain=jp` takes the rows of a domain in that the folder doesn't have:
it becomes the last one, and the new values of its training rows follow those
that there are, so that all ids stay what they were. `experiments.add_domain`
trains it then. A table with pretrained vectors gets no new values.

With `--runner` the log is prepared by Apache Beam, on as many machines as
there are: see `data_prep.beam_table`. The folder has the same bytes.

Quantiles and points in time are exact up to a million rows, and those of a
random sample of as many rows beyond.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl import logging

from data_prep import binary
from data_prep import domains as domain_rules
from data_prep import staging
from data_prep import table_columns
from data_prep import table_config
from data_prep import table_grown
from data_prep import table_like
from data_prep import table_split
from data_prep import table_vectors
from data_prep.layout import PreparationError
from data_prep.table_categories import Categories
from data_prep.table_columns import Columns
from data_prep.table_domains import Domains
from data_prep.table_files import FILL
from data_prep.table_files import Log
from data_prep.table_fit import fit
from data_prep.table_fitted import Fitted
from data_prep.table_job import Job
from data_prep.table_job import chunk_rows
from data_prep.table_like import Like
from data_prep.table_survey import check_splits
from data_prep.table_survey import counted
from data_prep.table_survey import survey
from data_prep.table_transform import transform
from data_prep.table_unknown import Unknown
from data_prep.writer import SHARD_ROWS

MAX_VOCABULARY = 50_000_000


def prepare(
    input: str | pathlib.Path,
    output: str | pathlib.Path,
    label: str | None = None,
    domain: str | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    sequence: Sequence[str] = (),
    strings: Sequence[str] = (),
    domain_values: Sequence[str] = (),
    config: str | pathlib.Path | None = None,
    min_count: int = 1,
    buckets: int = 0,
    separator: str = "|",
    missing: str = "error",
    split: str = "random",
    split_column: str | None = None,
    fractions: Sequence[float | str] = table_split.FRACTIONS,
    drop_one_class_domains: bool = False,
    max_vocabulary: int = MAX_VOCABULARY,
    shard_rows: int = SHARD_ROWS,
    seed: int = 123,
    overwrite: bool = False,
    runner: str | None = None,
    beam_options: str = "",
    like: str | pathlib.Path | None = None,
    new_domain: str | None = None,
) -> dict[str, Any]:
    """Reads a click log and writes the prepared folder.

    Args:
        input: A file, a folder or a glob pattern.
        output: The prepared folder to write.
        label: The column of the clicks.
        domain: The column of the domains.
        categorical: Columns of one category a row.
        numeric: Columns of one number a row.
        sequence: Columns of lists of categories: `"history:50"`.
        strings: Columns that are text even if they look like integers.
        domain_values: The domains to keep, in order; all of them, if empty.
        config: A JSON file in place of the column names above.
        min_count: How often a value must be there to have an id.
        buckets: The most buckets of a numeric column; 0 for none.
        separator: What parts the items of a sequence in text.
        missing: `"error"` or `"fill"`.
        split: `"random"`, `"time"` or `"given"`.
        split_column: The column of the times or of the given splits.
        fractions: The shares of train, valid and test.
        drop_one_class_domains: Whether domains of one class are dropped.
        max_vocabulary: The most values of a column.
        shard_rows: The most rows of a file of the folder.
        seed: Seed of the random split and of samples.
        overwrite: Whether a prepared folder of that name is replaced.
        runner: Apache Beam's runner; None is this process.
        beam_options: The runner's own options, as its command line has them.
        like: A prepared folder whose columns, vocabularies, domains, buckets
            and means it gets, in place of all arguments that say them.
        new_domain: A domain that `like` doesn't have: it is added as the last,
            and the new values of its training rows to the vocabularies.

    Returns:
        The content of the folder's manifest.

    Raises:
        PreparationError: The folder exists, or the log can't be used.
    """
    started = time.monotonic()
    _check(output, overwrite, runner, beam_options, like, new_domain)
    named = {
        "label": label,
        "domain": domain,
        "categorical": list(categorical),
        "numeric": list(numeric),
        "sequence": list(sequence),
        "strings": list(strings),
        "domain_values": list(domain_values),
    }
    defaults = table_config.Defaults(min_count, buckets, separator, missing)
    earlier = None
    if like is None:
        columns = _columns(config, named, defaults)
    else:
        said = {
            **named,
            **dataclasses.asdict(defaults),
            "config": config,
            "drop_one_class_domains": drop_one_class_domains,
            "runner": runner,
            "max_vocabulary": max_vocabulary if new_domain is None else None,
        }
        earlier = _earlier(like, output, said)
        columns = earlier.columns
    shares = _numbers(fractions)
    splitter = table_split.make(split, split_column, shares, seed)
    job = Job(
        output=pathlib.Path(output),
        log=Log(input, earlier.fill if earlier else FILL),
        columns=columns,
        cells=earlier.cells() if earlier else Categories(columns.strings),
        splitter=splitter,
        options={
            **table_config.options(columns),
            "split": split,
            "split_column": split_column,
            "fractions": None if split == "given" else shares,
            "drop_one_class_domains": drop_one_class_domains,
            **({"like": earlier.fingerprint} if earlier else {}),
            **({"new_domain": new_domain} if new_domain else {}),
        },
        drop_one_class_domains=drop_one_class_domains,
        max_vocabulary=max_vocabulary,
        shard_rows=shard_rows,
        seed=seed,
        overwrite=overwrite,
        like=earlier,
        new_domain=new_domain,
    )
    _check_columns(job)
    if runner is None:
        manifest = _run(job)
    else:
        # An optional install, and slow to import.
        from data_prep import beam_table

        manifest = beam_table.run(job, runner, beam_options)
    binary.log_counts(manifest)
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)
    return manifest


def _check(
    output: str | pathlib.Path,
    overwrite: bool,
    runner: str | None,
    beam_options: str,
    like: str | pathlib.Path | None,
    new_domain: str | None,
) -> None:
    """Raises if the folder can't be written, or flags lack another."""
    if beam_options and runner is None:
        raise PreparationError(
            f"--beam_options={beam_options} are a runner's own; name one by "
            "--runner, such as DirectRunner."
        )
    staging.check_output(output, overwrite)
    if new_domain is not None and like is None:
        raise PreparationError(
            f"--new_domain={new_domain} is new to a folder that is there; name "
            "that as --like."
        )


def _check_columns(job: Job) -> None:
    """Raises if the log or a file of vectors lacks a column."""
    columns = job.columns
    if columns.domain in columns.names:
        logging.warning(
            "column %r is the domain, and a feature besides: models have the "
            "domain as a field of its own already.",
            columns.domain,
        )
    job.log.check_columns(
        job.names,
        {columns.label: "Rows without clicks are scored by experiments.score."}
        if job.like
        else None,
    )
    table_vectors.files(columns)


def _run(job: Job) -> dict[str, Any]:
    """Prepares in this process, chunk by chunk."""
    if job.like is None:
        domains = survey(job)
        return _write(job, domains, fit(job, domains))
    domains, fitted = _learned(job, job.like)
    # What a new domain brings isn't in the earlier folder.
    folder = job.like.folder if job.new_domain is None else job.output
    unknown = Unknown(dataclasses.replace(job.like, folder=folder))
    manifest = _write(job, domains, fitted, unknown)
    unknown.say()
    return manifest


def _learned(job: Job, like: Like) -> tuple[Domains, Fitted]:
    """What the earlier folder knows, with the new domain if there is one."""
    wanted = (*like.domains, *filter(None, [job.new_domain]))
    columns = dataclasses.replace(job.columns, domain_values=wanted)
    counts = counted(dataclasses.replace(job, columns=columns))
    if job.new_domain is not None:
        like = table_grown.grown(job, like, job.new_domain, counts)
    domains, known = like.choose(counts)
    check_splits(job, domains)
    return domains, like.fitted(known)


def _write(
    job: Job, domains: Domains, fitted: Fitted, unknown: Unknown | None = None
) -> dict[str, Any]:
    """Writes the folder; counts what an earlier one doesn't know."""
    rows = chunk_rows(map(len, fitted.vocabularies.values()))
    written = 0
    with job.writer(fitted, domains, job.log.sources()) as writer:
        for chunk in job.log.chunks(job.names, "Writing", rows):
            encoded, splits = transform(chunk, job, domains, fitted)
            if unknown is not None:
                unknown.add(encoded)
            writer.add(encoded, splits)
            written += splits.size
        job.check_rows(fitted.rows, written)
        return writer.finish()


def _columns(
    config: str | pathlib.Path | None,
    values: dict[str, Any],
    defaults: table_config.Defaults,
) -> Columns:
    if config is None:
        return table_config.from_flags(values, defaults)
    for key, value in values.items():
        if value:
            raise PreparationError(
                f"--{key} and --config both name columns; choose one."
            )
    return table_config.from_json(config, defaults)


def _earlier(
    like: str | pathlib.Path,
    output: str | pathlib.Path,
    values: dict[str, Any],
) -> Like:
    """Reads a folder to prepare like.

    Args:
        like: The folder.
        output: The one to write, which must be another.
        values: By flag, those that the folder says in place of its user.
    """
    usual = {
        **dataclasses.asdict(table_config.Defaults()),
        "max_vocabulary": MAX_VOCABULARY,
    }
    reasons = {
        "runner": "prepares in this process",
        "max_vocabulary": "adds no value without --new_domain",
    }
    for flag, value in values.items():
        if value and value != usual.get(flag):
            why = reasons.get(flag, "takes what columns are from that folder")
            raise PreparationError(f"--like {why}: leave out --{flag}.")
    if pathlib.Path(like).resolve() == pathlib.Path(output).resolve():
        raise PreparationError(
            f"--like={like} is --output too, and would be lost; name "
            "another folder as --output."
        )
    return table_like.read(like)


def _numbers(fractions: Sequence[float | str]) -> list[float]:
    try:
        return [*map(float, fractions)]
    except ValueError as error:
        raise PreparationError(
            f"--fractions: {error}; write numbers."
        ) from None


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    domain_rules.define_flag()
    flags.DEFINE_string(
        "input", None, "A file, a folder or a pattern.", required=True
    )
    flags.DEFINE_string("config", None, "A JSON in place of column flags.")
    flags.DEFINE_string(
        "like", None, "A prepared folder whose columns and ids are used."
    )
    flags.DEFINE_string(
        "new_domain", None, "A domain that --like gets besides, as its last."
    )
    flags.DEFINE_string("label", None, "The column of the clicks.")
    flags.DEFINE_string("domain", None, "The column of the domains.")
    for name, what in (
        ("categorical", "Columns of one category a row."),
        ("numeric", "Columns of one number a row."),
        ("sequence", "Columns of lists, as name or name:max_length."),
        ("strings", "Columns that are text, whatever they look like."),
        ("domain_values", "The domains to keep, in order; all if empty."),
    ):
        flags.DEFINE_list(name, [], what)
    flags.DEFINE_string("separator", "|", "Parts the items of a sequence.")
    flags.DEFINE_integer("min_count", 1, "Rarer values have the id 0.")
    flags.DEFINE_integer(
        "buckets", 0, "Of numeric columns; 0: they are scaled."
    )
    flags.DEFINE_enum(
        "missing", "error", table_columns.MISSING, "What an empty cell is."
    )
    flags.DEFINE_enum(
        "split", "random", table_split.KINDS, "How rows are split."
    )
    flags.DEFINE_string(
        "split_column", None, "The times, or train, valid and test."
    )
    flags.DEFINE_list(
        "fractions",
        [*map(str, table_split.FRACTIONS)],
        "Train's, valid's and test's; not with --split=given.",
    )
    flags.DEFINE_integer(
        "max_vocabulary",
        MAX_VOCABULARY,
        "The most values of a column; with --like a new domain's alone.",
    )
    flags.DEFINE_string(
        "runner", None, "Apache Beam's runner; this process, unless given."
    )
    flags.DEFINE_string("beam_options", "", "The runner's own flags, quoted.")
    flags.DEFINE_integer(
        "shard_rows", SHARD_ROWS, "The most rows of a file.", lower_bound=1
    )
    binary.run(
        prepare,
        "input",
        *table_config.KEYS,
        "config",
        "like",
        "new_domain",
        "min_count",
        "buckets",
        "separator",
        "missing",
        "split",
        "split_column",
        "fractions",
        "drop_one_class_domains",
        "max_vocabulary",
        "shard_rows",
        "runner",
        "beam_options",
    )


if __name__ == "__main__":
    main()
