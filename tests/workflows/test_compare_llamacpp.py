"""A comparison against llama.cpp's own server, with an adapter of LoRA in its format, gives what the weights give."""

import json
import runpy
from pathlib import Path

import pytest

from lorag.models.gguf_writing import _interleaved, write_gguf
from lorag.settings import ChatSettings, CompareSettings, RemoteSettings
from lorag.types import Sampling
from lorag.workflows.compare import compare

SERVED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "served.py"))["served"]


def write_adapter_gguf(model, adapter: Path, path: Path) -> None:
    """LoRA's factors as llama.cpp reads them, in float32."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((adapter / "adapter_config.json").read_text())
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, config["lora_alpha"])
    for name, values in load_file(adapter / "adapter_model.safetensors").items():
        module, side = name.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".lora_", 1)
        if side == "B" and (part := module.rsplit(".", 1)[1]) in heads:
            values = _interleaved(values, heads[part])
        writer.add_tensor(f"{names.get_name(module)}.weight.lora_{side.lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_base_and_finetune_in_llama_cpp_get_the_verdict_and_the_rows_of_the_same_weights_here(
    case, peft_folder, tiny, bge_folder, tmp_path, monkeypatch
):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install 'lorag[fast]'")
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    write_gguf(tiny.weights.model, tiny.weights.tokenizer, tmp_path / "base.gguf", "f32", "tiny")
    write_adapter_gguf(tiny.weights.model, peft_folder, tmp_path / "adapter.gguf")
    settings = CompareSettings(
        prompt_questions=0, chat=ChatSettings(sampling=Sampling(max_tokens=8)), remote=RemoteSettings(concurrency=1)
    )
    paths = {"documents": case.folder / "docs", "questions": case.folder / "qa.jsonl", "settings": settings}
    with (
        SERVED(tmp_path / "base.gguf", "tiny", threads=1) as base,
        SERVED(tmp_path / "base.gguf", "support", tmp_path / "adapter.gguf", threads=1) as finetuned,
    ):
        far = compare(**paths, model=base, finetuned=finetuned, out=tmp_path / "far")
    home = compare(**paths, model=case.model, adapter=peft_folder, out=tmp_path / "home")
    rows = [{(row.arm, row.example_id): row.answer.text for row in result.rows} for result in (home, far)]
    assert rows[0] == rows[1]
    assert any(rows[0]["base", each] != rows[0]["finetuned", each] for each in ("harbour", "warranty", "price"))
    assert (home.verdict.choice, home.verdict.sentence) == (far.verdict.choice, far.verdict.sentence)
    assert [(arm.arm, arm.estimates) for arm in home.arms] == [(arm.arm, arm.estimates) for arm in far.arms]
