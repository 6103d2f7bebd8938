"""The exported graph, built node by node with 8-bit weights.

Why by hand: the graph of a BERT encoder is short, and building it gives what converters did not: fused
attention, one product for query, key and value, a scale for each word's embedding, and fixed input ranges
(see `screener_quantise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from guardreasoner_trainer.screener_data import HEADS
from guardreasoner_trainer.screener_model import ScreenerModel
from guardreasoner_trainer.screener_quantise import (
    Float32,
    Range,
    layer_names,
    quantise_product,
    quantise_rows,
)

_OPSET = 17
_CONTRIB = "com.microsoft"


@dataclass(frozen=True, slots=True)
class _Shape:
    hidden: int
    heads: int
    epsilon: float


class _GraphWriter:
    """Collects nodes and weights; every method returns the name of the value it adds."""

    def __init__(self, model: ScreenerModel, ranges: Mapping[str, Range] | None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._names = layer_names(model)
        self._ranges = ranges
        self._count = 0

    def weight(self, value: NDArray[np.generic]) -> str:
        self._count += 1
        name = f"w{self._count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self,
        op: str,
        inputs: list[str],
        *,
        domain: str = "",
        outputs: int = 1,
        **attributes: int | float | list[int],
    ) -> list[str]:
        self._count += 1
        names = [f"{op.lower()}{self._count}_{i}" for i in range(outputs)]
        made = helper.make_node(op, inputs, names, domain=domain)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(made)
        return names

    def linear(self, x: str, *layers: torch.nn.Linear) -> str:
        """The product of a value with one layer, or with several side by side (they read the same input)."""
        weight = np.concatenate([_array(layer.weight) for layer in layers])
        bias = self.weight(np.concatenate([_array(layer.bias) for layer in layers]))
        if self._ranges is None:
            return self.node("Add", [*self.node("MatMul", [x, self.weight(weight.T)]), bias])[0]
        q = quantise_product(weight, self._ranges[self._names[id(layers[0])]])
        even = self.node("Mul", [x, self.weight(q.inverse_smoothing)])
        scale, zero = self.weight(np.array(q.scale)), self.weight(np.array(q.zero))
        bytes_ = self.node("QuantizeLinear", [*even, scale, zero])
        inputs = [*bytes_, self.weight(q.weight), scale, self.weight(q.weight_scales), zero, "", bias]
        return self.node("MatMulIntegerToFloat", inputs, domain=_CONTRIB)[0]

    def embedding(self, ids: str, table: Float32) -> str:
        if self._ranges is None:
            return self.node("Gather", [self.weight(table), ids])[0]
        rows, scales = quantise_rows(table)
        picked = self.node("Cast", self.node("Gather", [self.weight(rows), ids]), to=TensorProto.FLOAT)
        return self.node("Mul", [*picked, *self.node("Gather", [self.weight(scales[:, None]), ids])])[0]


def _array(parameter: torch.Tensor) -> Float32:
    return parameter.detach().float().numpy()


def build_graph(model: ScreenerModel, *, ranges: Mapping[str, Range] | None) -> onnx.ModelProto:
    """The screener as an ONNX model, in 8 bits where ranges are given, else in float32: `input_ids`,
    `attention_mask`, `token_type_ids` (int64, [batch, seq]) in, `logits` (float32, [batch, 3]) out. Runs on
    onnxruntime, whose fused operators it uses."""
    config = model.encoder.config
    shape = _Shape(config.hidden_size, config.num_attention_heads, config.layer_norm_eps)
    graph = _GraphWriter(model, ranges)
    hidden = _embed(graph, model, shape)
    mask32 = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)[0]
    for layer in model.encoder.encoder.layer:
        hidden = _layer(graph, layer, hidden, mask32, shape)
    logits = _pool(graph, model, hidden)
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"]) for n in names]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(HEADS)])]
    proto = helper.make_graph(graph.nodes, "guardreasoner_screener", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=8, producer_name="guardreasoner-trainer")


def _norm(graph: _GraphWriter, x: str, skip: str, norm: torch.nn.LayerNorm, shape: _Shape) -> str:
    # Sum, not Add: onnxruntime fuses Add with the normalisation into an operator that is five times slower.
    total = graph.node("Sum", [x, skip])[0]
    inputs = [total, graph.weight(_array(norm.weight)), graph.weight(_array(norm.bias))]
    return graph.node("LayerNormalization", inputs, axis=-1, epsilon=shape.epsilon)[0]


def _embed(graph: _GraphWriter, model: ScreenerModel, shape: _Shape) -> str:
    tables = model.encoder.embeddings
    words = graph.embedding("input_ids", _array(tables.word_embeddings.weight))
    length = graph.node("Slice", [*graph.node("Shape", ["input_ids"]), *_ints(graph, [1], [2])])[0]
    positions = graph.weight(_array(tables.position_embeddings.weight))
    position = graph.node("Slice", [positions, *_ints(graph, [0]), length, *_ints(graph, [0])])[0]
    kind = graph.node(
        "Gather", [graph.weight(_array(tables.token_type_embeddings.weight)), "token_type_ids"]
    )[0]
    placed = graph.node("Add", [kind, position])[0]
    return _norm(graph, words, placed, tables.LayerNorm, shape)


def _ints(graph: _GraphWriter, *values: list[int]) -> list[str]:
    return [graph.weight(np.array(value, dtype=np.int64)) for value in values]


def _layer(graph: _GraphWriter, layer: torch.nn.Module, hidden: str, mask: str, shape: _Shape) -> str:
    own = layer.attention.self
    mixed = graph.linear(hidden, own.query, own.key, own.value)
    parts = graph.node("Split", [mixed, *_ints(graph, [shape.hidden] * 3)], outputs=3, axis=-1)
    seen = graph.node("MultiHeadAttention", [*parts, "", mask], domain=_CONTRIB, num_heads=shape.heads)[0]
    output = layer.attention.output
    hidden = _norm(graph, graph.linear(seen, output.dense), hidden, output.LayerNorm, shape)
    wide = graph.node("Gelu", [graph.linear(hidden, layer.intermediate.dense)], domain=_CONTRIB)[0]
    return _norm(graph, graph.linear(wide, layer.output.dense), hidden, layer.output.LayerNorm, shape)


def _pool(graph: _GraphWriter, model: ScreenerModel, hidden: str) -> str:
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)[0]
    column = graph.node("Unsqueeze", [mask, *_ints(graph, [-1])])[0]
    axis = _ints(graph, [1])[0]
    total = graph.node("ReduceSum", [*graph.node("Mul", [hidden, column]), axis], keepdims=0)
    mean = graph.node("Div", [*total, *graph.node("ReduceSum", [mask, axis], keepdims=1)])
    absent = graph.node("Sub", [graph.weight(np.array(1.0, dtype=np.float32)), column])
    penalty = graph.node("Mul", [*absent, graph.weight(np.array(1e4, dtype=np.float32))])
    peak = graph.node("ReduceMax", graph.node("Sub", [hidden, *penalty]), axes=[1], keepdims=0)
    features = graph.node("Concat", [*mean, *peak], axis=-1)
    weights = [graph.weight(_array(model.head.weight)), graph.weight(_array(model.head.bias))]
    return graph.node("Gemm", [*features, *weights], transB=1)[0]


def save_graph(model: ScreenerModel, path: Path, *, ranges: Mapping[str, Range] | None) -> None:
    """Write the graph to a file; the same weights and ranges give the same bytes."""
    path.write_bytes(build_graph(model, ranges=ranges).SerializeToString(deterministic=True))
