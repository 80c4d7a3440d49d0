"""Scores whole splits and evaluates them exactly."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlora_tf.evaluation import Evaluation
from mlora_tf.evaluation import evaluate
from mlora_tf.features import OOV_ID
from mlora_tf.layers.domain_ops import pure_batches
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema
from mlora_tf.split import Split
from mlora_tf.streaming import StreamedSplit
from mlora_tf.workers import Workers


class Predictor:
    """Scores any number of rows with a model, in large batches.

    One graph, traced once for any number of rows, serves every call. It reads
    the model's current weights, so one predictor serves all epochs. Under a
    strategy it runs on the first replica, whose weights all replicas share.

    Args:
        model: A model with an output `"ctr"`.
        batch_size: Rows per call.

    Call arguments:
        inputs: Each input by name, arrays of shape `(rows,)`, or
            `(rows, max_length)` for a sequence.

    Returns:
        Probabilities, a `float32` array of shape `(rows,)`.
    """

    def __init__(self, model: keras.Model, batch_size: int = 16384) -> None:
        self.batch_size = batch_size
        signature = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
            for name, tensor in model.input.items()
        }

        @tf.function(input_signature=[signature], autograph=False)
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            # Traced within `fit` maybe, whose batches are of one domain each.
            with pure_batches(False):
                return model(inputs, training=False)["ctr"][:, 0]

        # Not by `forward` itself: of the fifth model in a program TensorFlow
        # would warn that it traces too often.
        self._forward = forward.get_concrete_function()
        self._dtypes = {name: spec.dtype for name, spec in signature.items()}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores the rows."""
        columns = {name: inputs[name] for name in self._dtypes}
        rows = len(next(iter(columns.values())))
        order = np.arange(rows)
        if DOMAIN in columns:
            # Rows of one domain together: the model takes them apart anyway.
            order = np.argsort(columns[DOMAIN], kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        parts = [
            self._forward(
                {
                    name: tf.constant(
                        column[start : start + self.batch_size],
                        self._dtypes[name],
                    )
                    for name, column in columns.items()
                }
            ).numpy()
            for start in range(0, rows, self.batch_size)
        ]
        scores = np.empty(rows, np.float32)
        if parts:
            scores[order] = np.concatenate(parts)
        return scores


@dataclasses.dataclass(frozen=True)
class Scored:
    """What an evaluation needs of a split's rows.

    Attributes:
        label: The clicks, `int8`.
        score: The predicted probabilities, `float32`.
        domain: The domains, `int32`.
        users: Whose clicks they are, if asked for: `OOV_ID` is whoever isn't
            in the vocabulary.
    """

    label: np.ndarray
    score: np.ndarray
    domain: np.ndarray
    users: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence["Scored"]) -> "Scored":
        """The rows of all parts, one after another."""
        columns: dict[str, list[Any]] = {
            field.name: [getattr(part, field.name) for part in parts]
            for field in dataclasses.fields(cls)
        }
        joined: dict[str, Any] = {
            name: None if each[0] is None else np.concatenate(each)
            for name, each in columns.items()
        }
        return cls(**joined)

    def evaluate(self, schema: Schema) -> Evaluation:
        """Evaluates them exactly, per domain and overall.

        Args:
            schema: Names the domains.
        """
        return evaluate(
            self.label,
            self.score,
            self.domain,
            schema.domains,
            users=self.users,
            unknown_user=OOV_ID,
        )


def score_split(
    predictor: Predictor,
    split: Split | StreamedSplit,
    *,
    user_feature: str | None = None,
    workers: Workers | None = None,
) -> Scored:
    """Scores a split, block by block: no other column of it is kept.

    Args:
        predictor: Scores the rows.
        split: The rows, in memory or streamed.
        user_feature: The feature that tells whose click it is; None leaves
            it out.
        workers: Each scores a part of the rows, and all get all scores, in
            the order of the rows. None scores all of them here.
    """
    if workers is not None and workers.count > 1:
        split = _part(split, workers)
    columns: dict[str, list[np.ndarray]] = {
        "label": [np.empty(0, np.int8)],
        "score": [np.empty(0, np.float32)],
        "domain": [np.empty(0, np.int32)],
    }
    if user_feature is not None:
        columns["users"] = []
    for block in split.blocks():
        columns["label"].append(block.label.astype(np.int8))
        columns["score"].append(predictor(block.inputs))
        columns["domain"].append(block.domain)
        if user_feature is not None:
            columns["users"].append(block.inputs[user_feature])
    if not columns.get("users", True):
        columns["users"] = [np.empty(0, np.int32)]
    scored = {name: np.concatenate(parts) for name, parts in columns.items()}
    if workers is not None:
        scored = {name: workers.gather(part) for name, part in scored.items()}
    return Scored(**scored)


def _part(
    split: Split | StreamedSplit, workers: Workers
) -> Split | StreamedSplit:
    """This worker's rows, or row groups: parts follow one another."""
    if isinstance(split, StreamedSplit):
        return split.subset(workers.part(len(split.groups)))
    return split.take(np.array(workers.part(len(split)), np.int64))


def evaluate_split(
    predictor: Predictor,
    split: Split | StreamedSplit,
    schema: Schema,
    *,
    user_feature: str | None = None,
    workers: Workers | None = None,
) -> Evaluation:
    """Scores a split and evaluates it exactly, per domain and overall.

    Args:
        predictor: Scores the rows.
        split: The rows.
        schema: Names the domains.
        user_feature: The feature that tells whose click it is, for the
            user-weighted AUC (STAR, eq. 9); None leaves it out.
        workers: As in `score_split`.
    """
    scored = score_split(
        predictor, split, user_feature=user_feature, workers=workers
    )
    return scored.evaluate(schema)
