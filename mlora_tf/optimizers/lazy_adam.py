"""Adam that leaves alone whatever had no gradient."""

from typing import Any

import keras
from keras import ops

from mlora_tf.optimizers.adam import Adam
from mlora_tf.optimizers.adam import is_sparse
from mlora_tf.optimizers.adam import sparse
from mlora_tf.optimizers.adam import sum_repeated

Tensor = Any

_REFUSED = {
    "weight_decay": (
        "it would shrink rows that had no gradient: use "
        "keras.optimizers.AdamW in place of LazyAdam"
    ),
    "ema_overwrite_frequency": (
        "it would overwrite rows that had no gradient: leave it out, and fit "
        "takes the averages over once, when training ends"
    ),
    "gradient_accumulation_steps": (
        "it makes the gradient of an embedding table dense: use larger "
        "batches, or keras.optimizers.Adam"
    ),
    "loss_scale_factor": (
        "Keras can't divide the gradient of an embedding table by it: wrap "
        "LazyAdam in keras.optimizers.LossScaleOptimizer"
    ),
}
"""Adam's options that can't be lazy, and why."""


@keras.saving.register_keras_serializable(package="mlora_tf")
class LazyAdam(Adam):
    """Adam that leaves alone the rows and domains that had no gradient.

    `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2` and
    `w = w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)`: Adam's
    algorithm 1, as reordered in its section 2, with t the steps of the whole
    training. What this holds for in a step depends on the variable:

    - Of an embedding table, the rows that the batch looked up. A row's g is
      the sum over all its look-ups. The cost follows the batch, not the
      table.
    - Of a variable whose attribute `per_domain` is True, as the weights of a
      `DomainLayer`, the slices on axis 0 whose gradient isn't all zeros: the
      domains of the batch. "Domain-specific parameters are only updated
      through examples within this domain" (STAR, section 3.4) is thus exact.
    - All of any other variable: there it is `Adam`.

    All else keeps its value and both its moments, bit for bit. Adam as it is
    in Keras and in TensorFlow 1 moves every row and every domain in every
    step, by the momentum that is left of earlier gradients. So don't use
    LazyAdam to reproduce the papers' numbers, which are from that Adam. (Keras
    3.15's differs from it, and from this one, in one more way: where the
    gradient of a table is sparse it squares each look-up by itself, so that
    `v` grows by the sum of the squares, not by the square of the sum.)

    A table isn't lazy if its gradient is dense, which a penalty on the whole
    table makes it, as `embedding_l2` of `build_model` does. One on the batch's
    own rows, `embedding_l2_rows="batch"`, leaves it sparse; `EmbeddingTable`
    says how the two differ. And only tables that are looked up in the variable
    itself, as `EmbeddingTable`'s are, cost nothing in a step for their size:
    `keras.layers.Embedding` reads the whole table. Under other backends
    than TensorFlow all gradients are dense; the rule for domains holds there
    too. A variable's `constraint` is on the whole variable, as ever.
    `clipnorm`, `clipvalue` and `global_clipnorm` clip what the dense gradient
    would have been.

    Args:
        learning_rate: A number, a schedule, or a callable.
        **kwargs: `keras.optimizers.Adam` arguments, all but `weight_decay`,
            `ema_overwrite_frequency`, `gradient_accumulation_steps` and
            `loss_scale_factor`.

    Raises:
        ValueError: One of those is given; the message says what to use.

    Example:
    >>> weight = keras.Variable([1.0, 1.0, 1.0])
    >>> weight.per_domain = True
    >>> optimizer = LazyAdam(learning_rate=0.1)
    >>> for gradient in ([2.0, 2.0, 0.0], [2.0, 0.0, 0.0]):
    ...     _ = optimizer.apply([keras.ops.array(gradient)], [weight])
    >>> [round(float(w), 3) for w in weight.numpy()]
    [0.8, 0.9, 1.0]

    Reference:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR
        2015. Sheng et al., "One Model to Serve All: Star Topology Adaptive
        Recommender for Multi-Domain CTR Prediction", CIKM 2021.
    """

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        for option, reason in _REFUSED.items():
            value = getattr(self, option)
            if value is not None:
                raise ValueError(
                    f"LazyAdam has no {option}, because {reason}. "
                    f"Received: {option}={value!r}"
                )

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Any
    ) -> None:
        """Updates one variable and its moments."""
        index = self._get_variable_index(variable)
        # TensorFlow hands over its own variable; Keras's has the attribute.
        keras_variable = self._trainable_variables[index]
        per_domain = getattr(keras_variable, "per_domain", False)
        if not per_domain and not is_sparse(gradient):
            super().update_step(gradient, variable, learning_rate)
        elif not per_domain or keras.backend.backend() != "tensorflow":
            self._update_part(gradient, variable, learning_rate, per_domain)
        elif not is_sparse(gradient):
            self._update_all_but_still(gradient, variable, learning_rate)
        else:
            import tensorflow as tf

            # Copies of what stays, or of what moves: whichever is less.
            few = tf.size(gradient.indices) * 2 < variable.shape[0]
            tf.cond(
                few,
                lambda: self._update_part(
                    gradient, variable, learning_rate, per_domain
                ),
                lambda: self._update_all_but_still(
                    tf.convert_to_tensor(gradient), variable, learning_rate
                ),
            )

    def _update_all_but_still(
        self, gradient: Tensor, variable: Any, learning_rate: Any
    ) -> None:
        """Adam's update of all domains, taken back where there was none."""
        import tensorflow as tf

        still = tf.reduce_all(
            tf.equal(gradient, 0), axis=tuple(range(1, len(gradient.shape)))
        )
        rows = tf.squeeze(tf.where(still), axis=1)
        index = self._get_variable_index(variable)
        state = [variable, self._momentums[index], self._velocities[index]]
        if self.amsgrad:
            state.append(self._velocity_hats[index])
        before = [_rows_of(one, rows) for one in state]
        with tf.control_dependencies(before):
            super().update_step(gradient, variable, learning_rate)
        for one, values in zip(state, before, strict=True):
            self.assign(one, sparse(values, rows))

    def _update_part(
        self,
        gradient: Tensor,
        variable: Any,
        learning_rate: Any,
        per_domain: bool,
    ) -> None:
        """Updates the rows of a sparse gradient, or those that aren't zeros."""
        index = self._get_variable_index(variable)
        part = _Part(gradient, variable.dtype, per_domain)
        step = ops.cast(self.iterations + 1, variable.dtype)
        beta_1 = ops.cast(self.beta_1, variable.dtype)
        beta_2 = ops.cast(self.beta_2, variable.dtype)
        rest_1, rest_2 = 1 - self.beta_1, 1 - self.beta_2
        if self._has_kernel(variable):
            # As the kernel has them, for a domain's step to be the same
            # whether or not the others have one.
            rest_1, rest_2 = 1 - beta_1, 1 - beta_2
        rate = ops.cast(learning_rate, variable.dtype)
        rate = rate * ops.sqrt(1 - ops.power(beta_2, step))
        rate = rate / (1 - ops.power(beta_1, step))

        # In the kernel's own order of operations, which is Keras's too.
        momentum, velocity = self._momentums[index], self._velocities[index]
        g, m, v = part.gradient, part.read(momentum), part.read(velocity)
        m = m + (g - m) * rest_1
        v = v + (ops.square(g) - v) * rest_2
        updates = [(momentum, m), (velocity, v)]
        if self.amsgrad:
            peak = self._velocity_hats[index]
            v = ops.maximum(part.read(peak), v)
            updates.append((peak, v))
        w = part.read(variable) - m * rate / (ops.sqrt(v) + self.epsilon)
        updates.append((variable, w))
        for target, values in updates:
            self.assign(target, part.update(target, values))


class _Part:
    """The part of a variable that a gradient moves.

    Args:
        gradient: The variable's gradient, dense or sparse.
        dtype: The variable's.
        per_domain: Whether rows of zeros in the gradient stay where they are.

    Attributes:
        gradient: Of the part alone, dense.
        moved: For each row whether it moves; None where all of the part do.
    """

    def __init__(self, gradient: Tensor, dtype: Any, per_domain: bool) -> None:
        self._rows = self.moved = None
        if is_sparse(gradient):
            gradient = sum_repeated(gradient)
            gradient, self._rows = gradient.values, gradient.indices
        self.gradient = ops.cast(gradient, dtype)
        if per_domain:
            self.moved = ops.any(
                ops.not_equal(self.gradient, 0),
                axis=tuple(range(1, len(self.gradient.shape))),
                keepdims=True,
            )

    def read(self, variable: Any) -> Tensor:
        """The part of a variable."""
        if self._rows is None:
            return ops.convert_to_tensor(variable)
        return _rows_of(variable, self._rows)

    def update(self, variable: Any, values: Tensor) -> Tensor:
        """What to assign to a variable for its part to have these values."""
        if self.moved is not None:
            values = ops.where(self.moved, values, self.read(variable))
        if self._rows is None:
            return values
        return sparse(values, self._rows)


def _rows_of(variable: Any, rows: Tensor) -> Tensor:
    import tensorflow as tf

    # From the variable itself: to read it first would copy all of it.
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return tf.gather(variable, rows)
