"""The fused attention of an ONNX encoder is its attention: exact in float32, in 8 bits as near as rounding allows."""

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from onnx import TensorProto, helper, numpy_helper

from lorag.models.catalogue import FUSED
from lorag.models.onnx_fusion import fuse_attention
from lorag.retrieval.encoders.onnx_encoder import weights_file

HEADS, WIDTH = 3, 4
HIDDEN = HEADS * WIDTH


def exported(scale: str) -> onnx.ModelProto:
    """Masked attention over projections of ``x``, spelled out in one of the two ways that PyTorch has."""
    draw = np.random.default_rng(0)
    nodes, weights = [], []

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def number(name, value):
        return node("Constant", [], name, value=numpy_helper.from_array(np.array(value)))

    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        weights.append(numpy_helper.from_array(draw.normal(size=(HIDDEN, HIDDEN)).astype(np.float32), f"w{name}"))
        node("MatMul", ["x", f"w{name}"], f"{name}_all")
        sizes = [number(f"{name}_{i}", [size]) for i, size in enumerate((1, -1, HEADS, WIDTH))]
        node("Concat", sizes, f"{name}_shape", axis=0)
        node("Reshape", [f"{name}_all", f"{name}_shape"], f"{name}_split")
        node("Transpose", [f"{name}_split"], name, perm=perm)
    if scale == "scores":
        node("MatMul", ["q", "k"], "product")
        node("Div", ["product", number("root", np.float32(WIDTH**0.5))], "scores")
    else:
        root = number("root", np.float32(WIDTH**-0.25))
        node("MatMul", [node("Mul", ["q", root], "q_scaled"), node("Mul", ["k", root], "k_scaled")], "scores")
    node("Add", ["scores", "mask"], "masked")
    node("Softmax", ["masked"], "share", axis=3)
    node("MatMul", ["share", "v"], "read")
    node("Transpose", ["read"], "turned", perm=[0, 2, 1, 3])
    node("Reshape", ["turned", number("joined", [1, -1, HIDDEN])], "y")
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n", HIDDEN]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 1, "n"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "n", HIDDEN])]
    graph = helper.make_graph(nodes, "attention", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)


def run(path, **values):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {given.name for given in session.get_inputs()}
    return names, session.run(None, {name: value for name, value in values.items() if name in names})[0]


@pytest.mark.parametrize("scale", ["scores", "factors"])
def test_in_float32_it_is_the_same_attention(tmp_path, scale):
    onnx.save(exported(scale), tmp_path / "spelled.onnx")
    assert fuse_attention(tmp_path / "spelled.onnx", tmp_path / "fused.onnx") == 1
    for tokens in (1, 7, 300):
        x = np.random.default_rng(tokens).normal(size=(1, tokens, HIDDEN)).astype(np.float32)
        nothing = np.zeros((1, 1, 1, tokens), dtype=np.float32)
        _, expected = run(tmp_path / "spelled.onnx", x=x, mask=nothing)
        inputs, found = run(tmp_path / "fused.onnx", x=x, mask=nothing)
        assert inputs == {"x"}
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert sorted(kinds) == ["MatMul", "MatMul", "MatMul", "MultiHeadAttention"]


@pytest.mark.parametrize("kind", ["bge", "reranker"])
def test_a_fetched_encoder_is_run_in_its_quicker_form(request, kind):
    folder = request.getfixturevalue(f"{kind}_folder")
    assert weights_file(folder) == folder / FUSED
    ids = np.random.default_rng(0).integers(1000, 20_000, (1, 90))
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs, fused = run(folder / FUSED, **values)
    assert inputs == {"input_ids", "token_type_ids"}
    _, published = run(folder / "model.onnx", **values)
    fused, published = fused.flatten(), published.flatten()
    assert fused @ published > 0.99 * np.linalg.norm(fused) * np.linalg.norm(published)
    assert sum(node.op_type == "MultiHeadAttention" for node in onnx.load(folder / FUSED).graph.node) == 12


def test_a_model_without_attention_is_refused(tmp_path):
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "none", [one], [two])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="holds no attention"):
        fuse_attention(tmp_path / "model.onnx", tmp_path / FUSED)
    assert not (tmp_path / FUSED).exists()
