"""WAUC of a stream too long to hold: one histogram a domain and class."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mlora_tf")
class StreamingWAUC(keras.metrics.Metric):
    """Per-domain AUC weighted by the domains' rows, from histograms.

    ```
    WAUC = sum_d n_d AUC_d / sum_d n_d           (MLoRA, eqs. 11 and 12)
    AUC_d = sum_b P_b (N_1 + ... + N_{b-1} + N_b / 2) / (P N)
    ```

    where P_b and N_b are the clicked and the other rows of domain d whose
    prediction falls into bin b, one of `bins` equal parts of [0, 1]. Two rows
    of one bin are tied, and a tie counts half. A domain with one class has no
    AUC: it is left out of both sums. Without any domain left the result is
    0.0, as of a Keras metric without data; `per_domain` has NaN there.

    How far from exact: a pair of rows counts wrong by a half at most, and only
    within a bin, so AUC_d is off by at most `sum_b P_b N_b / (2 P N)`. A model
    whose predictions all lie within a few bins needs more of them. Where the
    predictions fit in memory prefer `mlora_tf.evaluation.evaluate`, which is
    exact.

    The counts are float64: it holds whole numbers up to 2^53, where float32
    stops counting at 2^24, and fractional sample weights besides. They are
    sums, so the replicas of a `tf.distribute` strategy add up. The state takes
    `16 * num_domains * bins` bytes, 33 MB for 1,000 domains. An update touches
    one count a row (under a strategy it copies the state), but Keras asks for
    the result after every batch, and that reads all of it: with many domains
    take fewer bins, or bigger batches.

    A graph can't raise, so a row that can't be counted (a label that is
    neither 0 nor 1, a prediction outside [0, 1], a domain that is no whole
    number of `[0, num_domains)`) makes the result NaN, unless its sample
    weight is 0.

    Args:
        num_domains: How many domains there are.
        bins: How many equal parts [0, 1] is cut into.
        name: The metric's name.
        dtype: The result's dtype; the counts are float64 always.

    Call arguments:
        y_true: Labels, 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Each row's predicted probability beside its domain's id,
            `(batch, 2)`. float32 or float64, under a mixed policy too.
        sample_weight: Optional weights, `(batch,)` or `(batch, 1)`.

    Raises:
        ValueError: `num_domains` or `bins` is too small, or `y_pred` is of
            another shape or dtype.

    Example:
        A metric sees no inputs, so a compiled model carries the domain out
        beside its prediction, as one more output without a loss:

        >>> x = keras.Input((4,), name="x")
        >>> domain = keras.Input((), name="domain", dtype="int32")
        >>> ctr = keras.layers.Dense(1, activation="sigmoid")(x)
        >>> column = keras.layers.Reshape((1,), dtype="float32")(domain)
        >>> beside = keras.layers.Concatenate(dtype="float32")
        >>> model = keras.Model(
        ...     {"x": x, "domain": domain},
        ...     {"ctr": ctr, "by_domain": beside([ctr, column])},
        ... )
        >>> model.compile(
        ...     loss={"ctr": "binary_crossentropy", "by_domain": None},
        ...     metrics={"by_domain": StreamingWAUC(num_domains=10)},
        ... )

        and is given the labels for both: `{"ctr": y, "by_domain": y}`.

    Reference:
        - [Yang et al., 2024](https://arxiv.org/abs/2408.08913)
    """

    def __init__(
        self,
        num_domains: int,
        bins: int = 2048,
        name: str = "wauc",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if num_domains < 1:
            raise ValueError(
                "`num_domains` must be at least 1. "
                f"Received: num_domains={num_domains}."
            )
        if bins < 2:
            raise ValueError(
                f"`bins` must be at least 2. Received: bins={bins}."
            )
        self.num_domains = num_domains
        self.bins = bins
        # Keras asks a model's only output; beside others, `mode="max"` says so.
        self._direction = "up"
        self.histograms = self.add_variable(
            shape=(num_domains, 2, bins),
            initializer="zeros",
            dtype="float64",
            name="histograms",
        )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Counts a batch of rows (see the class's call arguments)."""
        y_pred = ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 2 or y_pred.shape[1] != 2:
            raise ValueError(
                "`y_pred` must be (batch, 2): a probability and the id of "
                f"its row's domain. Received: shape {tuple(y_pred.shape)}."
            )
        dtype = keras.backend.standardize_dtype(y_pred.dtype)
        if dtype not in ("float32", "float64"):
            raise ValueError(
                "`y_pred` must be float32 or float64: fewer bits have no "
                f"room for domain ids. Received: dtype {dtype}."
            )
        score, column = y_pred[:, 0], y_pred[:, 1]
        domain = ops.cast(column, "int32")
        label = ops.reshape(ops.convert_to_tensor(y_true), (-1,))
        clicked = ops.equal(label, 1)
        if sample_weight is None:
            weight = ops.ones_like(score, dtype="float64")
        else:
            weight = ops.reshape(ops.cast(sample_weight, "float64"), (-1,))

        countable = (
            (ops.equal(label, 0) | clicked)
            & ((score >= 0) & (score <= 1))
            & ((domain >= 0) & (domain < self.num_domains))
            & ops.equal(ops.cast(domain, dtype), column)
        )
        weight = ops.where(
            countable | ops.equal(weight, 0), weight, float("nan")
        )
        # What can't be counted still needs a place, for its NaN; and a
        # prediction of exactly 1 belongs to the last bin.
        position = ops.cast(ops.where(countable, score, 0) * self.bins, "int32")
        position = ops.minimum(position, self.bins - 1)
        domain = ops.clip(domain, 0, self.num_domains - 1)
        indices = ops.stack(
            [domain, ops.cast(clicked, "int32"), position], axis=1
        )
        state = self.histograms.value
        try:
            # A plain TensorFlow variable counts in place, without a copy of
            # all domains' histograms.
            state.scatter_nd_add(indices, weight)
        except (AttributeError, NotImplementedError):
            # A variable of a `tf.distribute` strategy, or a traced state.
            self.histograms.assign(
                ops.scatter_update(state, indices, weight, reduction="add")
            )

    def result(self) -> Any:
        """WAUC over the domains with both classes; 0.0 if there is none."""
        won, pairs, rows = self._counts()
        # Not `pairs > 0`: a NaN, the mark of a row that couldn't be counted,
        # has to come through.
        defined = ops.not_equal(pairs, 0)
        rows = ops.where(defined, rows, 0)
        wauc = ops.divide_no_nan(
            ops.sum(rows * ops.where(defined, won / pairs, 0)), ops.sum(rows)
        )
        return ops.cast(wauc, self.dtype)

    def per_domain(self) -> Any:
        """AUC of each domain, `(num_domains,)`; NaN where undefined."""
        won, pairs, _ = self._counts()
        return ops.cast(won / pairs, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "num_domains": self.num_domains,
            "bins": self.bins,
        }

    def _counts(self) -> tuple[Any, Any, Any]:
        """Won pairs, pairs and rows of each domain, `(num_domains,)`."""
        histograms = ops.convert_to_tensor(self.histograms)
        other, clicked = histograms[:, 0], histograms[:, 1]
        below = ops.cumsum(other, axis=1) - 0.5 * other  # half the ties
        clicks = ops.sum(clicked, axis=1)
        others = ops.sum(other, axis=1)
        won = ops.sum(clicked * below, axis=1)
        return won, clicks * others, clicks + others
