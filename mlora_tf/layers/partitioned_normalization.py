"""Batch normalization with statistics, scale and shift of each domain's own."""

import math
from typing import Any

import keras
from keras import ops

from mlora_tf.layers import domain_ops
from mlora_tf.layers.domain_layer import DomainLayer
from mlora_tf.layers.replicas import sum_over_replicas


@keras.saving.register_keras_serializable(package="mlora_tf")
class PartitionedNormalization(DomainLayer):
    """Normalizes each row by the statistics of its own domain.

    `z' = (gamma * gamma_d) (z - mu_d) / sqrt(var_d + epsilon) + (beta +
    beta_d)`, with d the row's own domain. In training, eq. 3 of STAR: `mu_d`
    and `var_d` are the mean and the biased variance of the domain's rows in
    the batch, over all replicas. In inference, eq. 4: the domain's moving
    statistics `E_d` and `Var_d`.

    A domain's t-th update is `E_d += a_t (mu_d - E_d)`, the same for `Var_d`,
    with `a_t = (1 - momentum) / (1 - momentum^t)`. That is the exponential
    average without the part that its start would have: `E_d` is the sum of
    `momentum^(t - s) mu_s` over its updates s, divided by the sum of those
    weights. So the first update is that batch's statistics, whatever was
    there before; the published code (`zero_debias`) does the same.

    A domain without rows in the batch moves nothing. Nor does a domain with
    one row, which has no variance; by eq. 3 its output is `beta + beta_d`.
    Frozen by `trainable = False`, the layer uses the moving statistics in
    training too and moves none, as `keras.layers.BatchNormalization` does.

    Args:
        num_domains: How many domains there are.
        momentum: Of the moving statistics, between 0 and 1.
        epsilon: Added to the variance.
        **kwargs: `keras.layers.Layer` arguments.

    Call arguments:
        inputs: Tensor of shape `(batch, width)`.
        domain: Integer tensor of shape `(batch,)` in `[0, num_domains)`.
        training: Whether the batch's statistics are used, and move the
            domains'.

    Returns:
        Tensor of shape `(batch, width)`.

    Raises:
        ValueError: `momentum` isn't between 0 and 1, or `epsilon` isn't
            positive.

    Example:
    >>> layer = PartitionedNormalization(num_domains=2)
    >>> inputs, domain = np.array([[1.0], [3.0], [9.0]]), np.array([0, 0, 1])
    >>> outputs = keras.ops.round(layer(inputs, domain, training=True), 2)
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[-1.0], [1.0], [0.0]]
    >>> keras.ops.convert_to_numpy(layer.moving_mean).tolist()
    [[2.0], [0.0]]

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021.
    """

    def __init__(
        self,
        num_domains: int,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_domains, **kwargs)
        if not 0 < momentum < 1:
            raise ValueError(
                "momentum must be between 0 and 1. "
                f"Received: momentum={momentum!r}"
            )
        if not epsilon > 0:
            raise ValueError(
                f"epsilon must be positive. Received: epsilon={epsilon!r}"
            )
        self.momentum = momentum
        self.epsilon = epsilon
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, inputs_shape: tuple[int, ...], domain_shape: Any) -> None:
        """Makes the weights for inputs of shape `(batch, width)`."""
        width = inputs_shape[-1]
        # Halves are too few for moments, and to count in.
        full = {
            "dtype": keras.backend.result_type(self.variable_dtype, "float32"),
            "autocast": False,
        }
        # Every replica computes the same new value. Taking one keeps its bits;
        # the mean of three equal values may be off by one.
        state = {
            "trainable": False,
            "aggregation": "only_first_replica",
            **full,
        }
        self.gamma = self.add_weight(
            name="gamma", shape=(width,), initializer="ones", **full
        )
        self.beta = self.add_weight(
            name="beta", shape=(width,), initializer="zeros", **full
        )
        self.domain_gamma = self.add_domain_weight(
            "domain_gamma", (width,), "ones", **full
        )
        self.domain_beta = self.add_domain_weight(
            "domain_beta", (width,), "zeros", **full
        )
        self.moving_mean = self.add_domain_weight(
            "moving_mean", (width,), "zeros", **state
        )
        self.moving_variance = self.add_domain_weight(
            "moving_variance", (width,), "ones", **state
        )
        self.num_updates = self.add_domain_weight(
            "num_updates", (), "zeros", **state
        )
        # A narrower row would be broadcast.
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: width})

    def call(
        self, inputs: Any, domain: Any, training: bool | None = None
    ) -> Any:
        """Normalizes rows of any mix of domains."""
        domain = domain_ops.check_domains(domain, self.num_domains)
        inputs = ops.cast(inputs, self.gamma.dtype)
        if training and self.trainable:
            deviations, drift, variance = self._batch_moments(inputs, domain)
        else:
            center = ops.take(self.moving_mean, domain, axis=0)
            deviations, drift = inputs - center, 0.0
            variance = self.moving_variance
        scale = self.gamma * self.domain_gamma
        scale = scale * ops.rsqrt(variance + self.epsilon)
        shift = self.beta + self.domain_beta - drift * scale
        outputs = deviations * domain_ops.domain_rows(scale, domain)
        outputs = outputs + domain_ops.domain_rows(shift, domain)
        return ops.cast(outputs, self.compute_dtype)

    @property
    def shared_values(self) -> list[tuple[keras.Variable, float]]:
        """None of its weights: it belongs to the shared model."""
        return []

    def specialize(self, domain: int) -> keras.layers.BatchNormalization:
        """A `BatchNormalization` with the domain's statistics.

        Its `gamma` is `gamma * gamma_d`, and its `beta` is `beta + beta_d`.
        """
        self._check_specializable(domain)
        normalization = keras.layers.BatchNormalization(
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype_policy,
            name=self.name,
        )
        normalization.build((None, self.gamma.shape[0]))
        normalization.set_weights(
            [
                self.gamma * self.domain_gamma[domain],
                self.beta + self.domain_beta[domain],
                self.moving_mean[domain],
                self.moving_variance[domain],
            ]
        )
        return normalization

    def start_domain(self, domain: int) -> None:
        """Gives a new domain the mean statistics of those that have any.

        Its own first batch replaces them.
        """
        is_new = ops.arange(self.num_domains) == domain
        known = ops.logical_and(self.num_updates > 0, ops.logical_not(is_new))
        self.num_updates.assign(ops.where(is_new, 0.0, self.num_updates))
        weights = ops.cast(known, self.gamma.dtype)[:, None]
        number = ops.sum(weights)
        is_new = ops.logical_and(is_new, number > 0)[:, None]
        for variable in (self.moving_mean, self.moving_variance):
            mean = ops.sum(weights * variable, axis=0) / ops.maximum(number, 1)
            variable.assign(ops.where(is_new, mean, variable))

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], domain_shape: Any
    ) -> tuple[int, ...]:
        """`(batch, width)`."""
        return tuple(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }

    def _batch_moments(self, inputs: Any, domain: Any) -> tuple[Any, Any, Any]:
        """Each domain's moments in the batch, which move its statistics.

        Returns:
            The rows' deviations from a center of their domain, the domains'
            means less these centers, and their variances. The center is the
            mean but for its rounding, large where the mean is large. The
            second pass takes that back, and no square of a large number is
            ever summed.
        """
        constant = ops.stop_gradient(inputs)
        counts, sums = sum_over_replicas(
            (
                self._sums(ops.ones_like(constant[:, :1]), domain),
                self._sums(constant, domain),
            )
        )
        rows = ops.maximum(counts, 1.0)
        center = sums / rows
        deviations = inputs - ops.take(center, domain, axis=0)
        sums, squares = sum_over_replicas(
            (
                self._sums(deviations, domain),
                self._sums(ops.square(deviations), domain),
            )
        )
        drift = sums / rows
        variance = ops.maximum(squares / rows - ops.square(drift), 0.0)
        self._move(counts > 1, center + drift, variance)
        return deviations, drift, variance

    def _sums(self, values: Any, domain: Any) -> Any:
        return domain_ops.domain_sums(values, domain, self.num_domains)

    def _move(self, moved: Any, mean: Any, variance: Any) -> None:
        """Updates the moving statistics of the domains that moved."""
        updates = self.num_updates + ops.cast(moved[:, 0], self.gamma.dtype)
        # 1 - a_t is momentum (1 - momentum^(t-1)) / (1 - momentum^t): exactly
        # zero at t = 1, so that nothing is left of what was there before.
        t, log = ops.maximum(updates, 1.0)[:, None], math.log(self.momentum)
        keep = self.momentum * ops.expm1((t - 1.0) * log) / ops.expm1(t * log)
        # No condition around the assignments: replicas meet in them.
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            new = keep * moving + (1.0 - keep) * batch
            held = ops.convert_to_tensor(moving)
            moving.assign(ops.where(moved, new, held))
        self.num_updates.assign(updates)
