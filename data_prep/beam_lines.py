"""Runs a step on all elements by Apache Beam, and brings back what it found."""

import json
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from absl import logging
from apache_beam.options.pipeline_options import PipelineOptions

from data_prep import beam_samples
from data_prep import beam_steps
from data_prep.layout import PreparationError
from data_prep.table_job import Job


class Lines:
    """Runs pipelines, one for each step.

    Args:
        job: What to prepare.
        arguments: The runner's flags.
        steps: Where pipelines leave what they found.
    """

    def __init__(
        self, job: Job, arguments: list[str], steps: pathlib.Path
    ) -> None:
        self._job = job
        self._arguments = arguments
        self._steps = steps

    def run(
        self,
        name: str,
        elements: Iterable[Any],
        step: Any,
        *,
        sample: bool = False,
        values: bool = False,
    ) -> dict[str, list[Any]]:
        """Runs a step on all elements.

        Returns:
            What it yielded in no order, and the sample and the counts of
            values, put together.
        """
        logging.info("Apache Beam: %s", name)
        tags = [beam_steps.ERRORS, beam_steps.SAMPLES, beam_steps.VALUES]
        with beam.Pipeline(options=PipelineOptions(self._arguments)) as line:
            parts = (
                line
                | beam.Create(list(elements))
                # Else a runner may leave all of them to one worker.
                | beam.Reshuffle()
                | beam.ParDo(step).with_outputs(*tags, main="main")
            )
            outputs = {"main": parts.main, "errors": parts[beam_steps.ERRORS]}
            if sample:
                outputs["sample"] = parts[beam_steps.SAMPLES] | (
                    beam.CombineGlobally(
                        beam_samples.MergeSamples(self._job.seed)
                    )
                )
            if values:
                outputs["values"] = (
                    parts[beam_steps.VALUES]
                    | beam.CombinePerKey(sum)
                    | beam.Filter(_Frequent(self._job.columns.min_counts))
                )
            for kind, output in outputs.items():
                _ = (
                    output
                    | f"{kind} as text" >> beam.Map(json.dumps)
                    | f"{kind} kept"
                    >> beam.io.WriteToText(str(self._steps / f"{name}.{kind}"))
                )
        results = {kind: self._read(f"{name}.{kind}") for kind in outputs}
        if results["errors"]:
            raise PreparationError(min(map(tuple, results["errors"]))[1])
        return results

    def _read(self, name: str) -> list[Any]:
        return [
            json.loads(line)
            for path in sorted(self._steps.glob(f"{name}-*"))
            for line in path.read_text("utf-8").splitlines()
        ]


class _Frequent:
    """Says which values are there often enough.

    Args:
        min_counts: By table, how often.
    """

    def __init__(self, min_counts: Mapping[str, int]) -> None:
        self._min_counts = dict(min_counts)

    def __call__(self, counted: tuple[tuple[str, Any], int]) -> bool:
        (table, _), count = counted
        return count >= self._min_counts[table]
