"""The layers of a merged model, each made once and under a name of its own."""

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import layers

from mlora_tf.layer_copies import Copies
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import PretrainedEmbedding

Tensor = Any


class MadeLayers:
    """Makes and calls the layers of a merged model.

    Args:
        inputs: The model's inputs.
        share: Whether layers that stay as they are are the given model's
            own, and no copies.
    """

    def __init__(self, inputs: list[Tensor], share: bool) -> None:
        self._inputs = inputs
        self._share = share
        self._copies = Copies()
        self._names = {
            tensor._keras_history.operation.name for tensor in inputs
        }
        self._made: dict[Any, Any] = {}

    def name(self, wanted: str) -> str:
        """A name that no other layer has: the wanted one if it is free."""
        name, number = wanted, 0
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def call(self, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a layer, an operation or a nested model returns."""
        if id(layer) not in self._made:
            # The layer as well: while it is there its id is its own.
            self._made[id(layer)] = self._make(layer), layer
        return self._made[id(layer)][0](*args, **kwargs)

    def _make(self, layer: Any) -> Any:
        name = self.name(layer.name)
        if not isinstance(layer, layers.Layer):
            if name == layer.name:
                return layer
            return type(layer).from_config({**layer.get_config(), "name": name})
        if self._share and name == layer.name:
            return layer
        if isinstance(layer, EmbeddingTable):
            return self._embedding(layer, layer.embeddings, name)
        if isinstance(layer, PretrainedEmbedding):
            return self._embedding(layer, layer.vectors, name)
        return functools.partial(self._copies.call_as, layer, name)

    def _embedding(
        self, layer: Any, table: keras.Variable, name: str
    ) -> layers.Embedding:
        """The stock layer in the place of our own."""
        embedding = layers.Embedding(
            layer.num_ids,
            layer.dim,
            trainable=table.trainable,
            dtype=layer.dtype_policy,
            name=name,
        )
        embedding.build()
        embedding.embeddings.assign(table)
        return embedding

    def together(self, layer: Any, tensors: list[Tensor]) -> Tensor:
        """What a layer such as `Add` or `Concatenate` makes of tensors.

        They may be fewer than those of the layer; a single one stays.
        """
        if len(tensors) == 1:
            return tensors[0]
        key = (type(layer), *map(id, tensors))
        if key not in self._made:
            config = {**layer.get_config(), "name": self.name(layer.name)}
            made = type(layer).from_config(config)(tensors)
            self._made[key] = made, tensors
        return self._made[key][0]

    def dense(self, kernel: Any, bias: Any, x: Tensor, **config: Any) -> Tensor:
        """A dense layer with those weights on a tensor."""
        name = self.name(config.pop("name"))
        dense = layers.Dense(kernel.shape[1], name=name, **config)
        dense.build((None, kernel.shape[0]))
        dense.set_weights([kernel, bias])
        return dense(x)

    def constant(self, value: np.ndarray, name: str) -> Tensor:
        """A tensor with the same row for every row of the batch.

        It is looked up in a table of that one row.
        """
        # Double precision has room for any other number, integers too.
        short = value.dtype.name in ("float16", "bfloat16", "float32")
        dtype = "float32" if short else "float64"
        table = layers.Embedding(
            1, math.prod(value.shape), dtype=dtype, name=self.name(name)
        )
        table.build()
        table.set_weights([value.astype(dtype).reshape(1, -1)])
        rows = table(self._zeros())
        if len(value.shape) != 1:
            reshape = layers.Reshape(
                value.shape, dtype=dtype, name=self.name(f"{name}.shape")
            )
            rows = reshape(rows)
        if rows.dtype != value.dtype.name:
            rows = keras.ops.cast(rows, value.dtype.name)
        return rows

    def _zeros(self) -> Tensor:
        """A zero for each row of the batch."""
        if "zeros" not in self._made:
            # Of ids best: a number may be none, and times zero it stays so.
            x = min(
                self._inputs,
                key=lambda x: ("int" not in x.dtype, len(x.shape)),
            )
            if len(x.shape) == 1 and "int" in x.dtype:
                zeros = layers.Rescaling(
                    0, dtype="int32", name=self.name("zeros.rows")
                )(x)
            else:
                zeros = keras.ops.zeros_like(x, dtype="int32")
                zeros = keras.ops.sum(zeros, axis=tuple(range(1, len(x.shape))))
            self._made["zeros"] = zeros, x
        return self._made["zeros"][0]
