"""Adam in one operation."""

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="mlora_tf")
class Adam(keras.optimizers.Adam):
    """Keras's Adam, with TensorFlow's kernel for it.

    Keras writes the update of a variable as a dozen operations, each of which
    passes over all of it. TensorFlow's own operation, which TensorFlow 1's
    Adam is, computes the same in one pass, which tells where weights are many,
    as those of a thousand domains are. The two differ by
    rounding: the kernel's `1 - b2` is that of `b2` in the variable's precision,
    which makes a step in `float32` differ by a few parts in 100,000.
    `amsgrad`, half precision and other backends are updated as Keras does.

    A sparse gradient, as that of a table, is made dense first: a row's
    gradient is the sum over its look-ups, as it is in TensorFlow 1's Adam and
    under every other backend. Keras 3.15 squares each look-up by itself under
    TensorFlow. `clipnorm`, `clipvalue` and `global_clipnorm` clip that sum.

    Args:
        learning_rate: A number, a schedule, or a callable.
        **kwargs: `keras.optimizers.Adam` arguments.

    Example:
    >>> weight = keras.Variable([1.0, 1.0])
    >>> optimizer = Adam(learning_rate=0.1)
    >>> _ = optimizer.apply([keras.ops.array([2.0, 0.0])], [weight])
    >>> [round(float(w), 3) for w in weight.numpy()]
    [0.9, 1.0]

    Reference:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR
        2015.
    """

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Any
    ) -> None:
        """Updates one variable and its moments."""
        gradient = _dense(gradient)
        if not self._has_kernel(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        target, m, v = (
            one.value if isinstance(one, keras.Variable) else one
            for one in (variable, *moments)
        )
        dtype = target.dtype
        rate, beta_1, beta_2 = (
            tf.cast(number, dtype)
            for number in (learning_rate, self.beta_1, self.beta_2)
        )
        step = tf.cast(ops.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=target.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if not (self.clipnorm or self.clipvalue or self.global_clipnorm):
            return grads
        # A row that is looked up twice counts once, with its whole gradient.
        # Its values alone are clipped: their norm is the dense gradient's,
        # and Keras's own clipping makes some sparse gradients dense.
        summed = [sum_repeated(g) if is_sparse(g) else g for g in grads]
        clipped = super()._clip_gradients(
            [g.values if is_sparse(g) else g for g in summed]
        )
        return [
            sparse(values, g.indices, g.dense_shape) if is_sparse(g) else values
            for values, g in zip(clipped, summed, strict=True)
        ]

    def _has_kernel(self, variable: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not self.amsgrad
            # In half precision the kernel's 1 - 0.999 is 0.
            and variable.dtype in ("float32", "float64")
        )


def is_sparse(gradient: Tensor) -> bool:
    """Whether a gradient is that of some rows of a table alone."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(gradient, tf.IndexedSlices)


def _dense(gradient: Tensor) -> Tensor:
    """A gradient of a whole variable; rows that repeat are added up."""
    if not is_sparse(gradient):
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


def sparse(values: Tensor, rows: Tensor, shape: Any = None) -> Tensor:
    """A gradient of these rows, or values to assign to them."""
    import tensorflow as tf

    return tf.IndexedSlices(values, rows, shape)


def sum_repeated(gradient: Tensor) -> Tensor:
    """A sparse gradient with each row once, and the sum of its values."""
    import tensorflow as tf

    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
