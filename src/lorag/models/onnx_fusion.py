"""An ONNX encoder whose attention is one operator, which never writes the scores of all pairs of tokens to memory.

Exporters spell attention out, and ONNX Runtime leaves it so where the products around it are in 8 bits: half of an
encoder's time goes into passes over those scores. The operator (``MultiHeadAttention`` of ONNX Runtime) computes the
same in float32. It gets no mask: a mask hides padding, and encoders are given one text a call here. So the new model
has no such input, and is of no use for padded batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.files import write_whole

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_RESHAPES = ("Transpose", "Mul", "Div")
"""What stands between a product of attention and the tokens' heads: a turn, and a scale."""


def fuse_attention(source: Path, target: Path) -> int:
    """Writes the model in ``source`` with its attentions fused to ``target``; returns how many there were.

    Raises ``ValueError`` where there is none of the form that PyTorch exports of BERT have.
    """
    import onnx

    model = onnx.load(source)
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    attentions = [node for node in graph.node if node.op_type == "Softmax"]
    for softmax in attentions:
        _fuse(graph, made, softmax)
    if not attentions:
        raise ValueError(f"{str(source)!r} holds no attention")
    _drop_unused(graph)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    write_whole(target, model.SerializeToString(deterministic=True))
    return len(attentions)


def _fuse(graph: GraphProto, made: Mapping[str, NodeProto], softmax: NodeProto) -> None:
    """Puts the operator into the place of all from the heads of queries, keys and values to those of what is read."""
    import onnx

    masked = made[softmax.input[0]]
    scores = made[masked.input[0]] if masked.op_type == "Add" else masked
    product = scores if scores.op_type == "MatMul" else made[scores.input[0]]
    read = _only(graph, softmax.output[0], "MatMul")
    joined = _only(graph, _only(graph, read.output[0], "Transpose").output[0], "Reshape")
    split = [_split(made, name) for name in (*product.input, read.input[1])]
    shape = made[split[0].input[1]]
    heads = int(onnx.numpy_helper.to_array(made[shape.input[2]].attribute[0].t).item())
    operator = onnx.helper.make_node(
        "MultiHeadAttention",
        [reshape.input[0] for reshape in split],
        list(joined.output),
        domain="com.microsoft",
        num_heads=heads,
    )
    graph.node.insert(list(graph.node).index(joined), operator)
    graph.node.remove(joined)


def _split(made: Mapping[str, NodeProto], name: str) -> NodeProto:
    """The node that splits tokens into heads, from one of the factors that come of it."""
    node = made[name]
    while node.op_type in _RESHAPES:
        node = made[node.input[0]]
    if node.op_type != "Reshape":
        raise ValueError(f"{node.name!r} is a {node.op_type}, expected the Reshape that splits tokens into heads")
    return node


def _only(graph: GraphProto, name: str, kind: str) -> NodeProto:
    """The one node of its kind that takes what is called so."""
    found: list[NodeProto] = [node for node in graph.node if node.op_type == kind and name in node.input]
    (node,) = found
    return node


def _drop_unused(graph: GraphProto) -> None:
    """Takes away what leads to no output any more, and the inputs that nothing takes."""
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)
    for unused in [given for given in graph.input if given.name not in needed]:
        graph.input.remove(unused)
