"""A model folder loads whole or is refused by the file's name; one base serves many adapters and stays as it was."""

import json
import math
import shutil
import tracemalloc

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig
from safetensors.torch import load_file, save_file

from lorag import machine
from lorag.errors import InputError, ModelError
from lorag.llm.engines import base_model as weights
from lorag.llm.engines import transformers
from lorag.llm.engines.transformers import load
from lorag.llm.rendering import render
from lorag.machine import free_bytes
from lorag.models.fingerprint import weights_fingerprint
from lorag.models.footprint import needed_bytes, require_whole
from lorag.types import Message, Sampling

PROMPTS = [(Message("user", "What is the capital of France?"),), (Message("user", "Name three colours."),)]
SHORT = Sampling(max_tokens=8)


@pytest.fixture
def sharded(tmp_path, tiny_folder):
    """The tiny model in two files of weights."""
    folder = tmp_path / "sharded"
    shutil.copytree(tiny_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    places = {name: file for file, part in halves.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def test_a_model_in_several_files_loads_and_a_missing_or_short_one_is_named(sharded, tiny):
    both = load(sharded, dtype="float32")
    assert both.generate(PROMPTS[:1], SHORT)[0].text == tiny.generate(PROMPTS[:1], SHORT)[0].text
    second = sharded / "model-2.safetensors"
    whole = second.read_bytes()
    second.write_bytes(whole[:-1000])
    with pytest.raises(ModelError, match=r"model-2\.safetensors' is cut short: .* bytes of .*; copy the model again"):
        load(sharded)
    second.write_bytes(whole[:20])
    with pytest.raises(ModelError, match=r"model-2\.safetensors' is not a complete safetensors file"):
        load(sharded)
    backwards = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [9, 4]}}'
    for header in (b"[]", b"{", b'{"a": 1}', backwards, b"\xff" * 9):
        second.write_bytes(len(header).to_bytes(8, "little") + header)
        for read in (load, weights_fingerprint):
            with pytest.raises(ModelError, match=r"model-2\.safetensors' is not a complete safetensors file"):
                read(sharded)
    second.write_bytes(b"\xff" * 20)
    with pytest.raises(ModelError, match=r"model-2\.safetensors' is not a complete safetensors file"):
        weights_fingerprint(sharded)
    second.unlink()
    with pytest.raises(ModelError, match=r"model-2\.safetensors' is missing, one of 2 files of weights"):
        load(sharded)
    (sharded / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match=r"index\.json' is damaged"):
        load(sharded)


def test_of_a_header_that_is_too_long_nothing_is_read(tmp_path):
    size = 300_000_000
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((size - 8).to_bytes(8, "little"))
        file.truncate(size)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(ModelError, match=r"model\.safetensors' is not a complete safetensors file"):
        require_whole(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_weights_that_no_file_holds_are_not_invented(sharded):
    index = sharded / "model.safetensors.index.json"
    first = load_file(sharded / "model-1.safetensors")
    gone = sorted(first)[5]
    first.pop(gone)
    save_file(first, sharded / "model-1.safetensors", {"format": "pt"})
    index.write_text(index.read_text().replace(f'"{gone}": "model-1.safetensors", ', ""))
    with pytest.raises(ModelError, match=rf"lacks 1 weights, the first '{gone}'"):
        load(sharded)


def test_an_answer_ends_at_every_token_that_the_models_generation_config_names(tiny, tiny_folder, tmp_path):
    long = Sampling(max_tokens=24)
    (free,) = tiny.generate(PROMPTS[:1], long)
    ids = torch.tensor([render(tiny.weights.tokenizer, PROMPTS[0], reply=True).ids])
    whole = tiny.weights.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
    said = whole[0, ids.shape[1] :].tolist()
    later = next(place for place, token in enumerate(said) if place and token not in said[:place])
    assert (free.completion_tokens, free.finish) == (24, "length")
    folder = shutil.copytree(tiny_folder, tmp_path / "ending")
    never = next(token for token in range(100, 1000) if token not in said)
    for named in ([never, said[later]], [said[later], never]):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": named}))
        ending = load(folder, dtype="float32")
        assert ending.weights.ends == tiny.weights.ends | set(named)
        (done,) = ending.generate(PROMPTS[:1], long)
        assert (done.completion_tokens, done.finish) == (later + 1, "stop")
        assert "".join(ending.stream(PROMPTS[0], long)) == done.text
        assert free.text.startswith(done.text)


def test_the_memory_needed_is_known_before_it_is_taken(smollm, smollm_folder):
    files = require_whole(smollm_folder)
    taken = sum(p.numel() * p.element_size() for p in smollm.weights.model.parameters())
    assert taken <= needed_bytes(files, "float32") <= taken + 400_000_000
    assert needed_bytes(files, "nf4") < needed_bytes(files, "bfloat16") < needed_bytes(files, "float32")
    assert free_bytes("cpu") > 0


@pytest.mark.parametrize("units", ["amx_bf16", "avx512_bf16", "avx512_f"])
def test_an_x86_processor_tells_its_number_format_by_its_units_however_busy_it_is(units, monkeypatch):
    monkeypatch.delenv(weights.DTYPE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", units: True}, raising=False)
    weights._fastest_dtype.cache_clear()
    try:
        assert weights.automatic_dtype("cpu") == ("float32" if units == "avx512_f" else "bfloat16")
    finally:
        weights._fastest_dtype.cache_clear()


def test_another_processor_is_measured_once_so_that_what_was_trained_is_served_in_its_number_format(monkeypatch):
    monkeypatch.delenv(weights.DTYPE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64"}, raising=False)
    weights._fastest_dtype.cache_clear()
    try:
        first = weights.automatic_dtype("cpu")
        monkeypatch.setattr(weights, "_BF16_GAIN", 0.0 if first == "float32" else math.inf)  # another measurement
        assert weights.automatic_dtype("cpu") == first
    finally:
        weights._fastest_dtype.cache_clear()


def test_too_little_memory_says_what_would_fit(smollm_folder, monkeypatch):
    monkeypatch.setattr(weights, "_fastest_dtype", lambda device: "float32")
    monkeypatch.delenv(weights.DTYPE_VARIABLE, raising=False)
    files = require_whole(smollm_folder)
    half, full = (needed_bytes(files, dtype) for dtype in ("bfloat16", "float32"))
    monkeypatch.setattr(weights, "free_bytes", lambda device: half + 1)
    with pytest.raises(ModelError, match=r"smollm2-135m needs about 0\.8 GB of memory in float32, and 0\.6 GB"):
        load(smollm_folder, dtype="float32")
    with pytest.warns(UserWarning, match="it is loaded in bfloat16, which takes half"):
        assert load(smollm_folder).dtype == "bfloat16"
    monkeypatch.setattr(weights, "free_bytes", lambda device: full)
    assert load(smollm_folder).dtype == "float32"
    monkeypatch.setattr(weights, "free_bytes", lambda device: half - 1)
    with pytest.raises(ModelError, match="small enough in bfloat16: none\\), or end other"):
        load(smollm_folder, "large")
    monkeypatch.setattr(weights, "needed_bytes", lambda files, dtype: half if "smollm2" in str(files) else 10**12)
    monkeypatch.setattr(weights, "free_bytes", lambda device: half)
    with pytest.raises(ModelError, match=r"large needs about 1000\.0 GB .*small enough in bfloat16: smollm2-135m"):
        weights._fitting_dtype([smollm_folder.parent / "other.safetensors"], "large", "float32", "cpu")


def test_the_environment_names_the_number_format_that_auto_is(tiny_folder, monkeypatch):
    monkeypatch.setattr(weights, "_fastest_dtype", lambda device: "float32")
    monkeypatch.setenv(weights.DTYPE_VARIABLE, "bfloat16")
    assert load(tiny_folder).dtype == "bfloat16"
    assert load(tiny_folder, dtype="float32").dtype == "float32"
    assert load(tiny_folder, dtype="nf4").dtype == "nf4 computed in bfloat16"
    monkeypatch.setenv(weights.DTYPE_VARIABLE, "nf4")
    model = load(tiny_folder)
    assert (model.dtype, model.stored_dtype) == ("nf4 computed in float32", "nf4")
    for nothing in ("auto", ""):
        monkeypatch.setenv(weights.DTYPE_VARIABLE, nothing)
        assert load(tiny_folder).dtype == "float32"
    monkeypatch.setenv(weights.DTYPE_VARIABLE, "fp16")
    expected = r"LORAG_NUMBER_FORMAT is 'fp16'; expected one of auto, float32, bfloat16, nf4"
    with pytest.raises(InputError, match=expected):
        load(tiny_folder)
    monkeypatch.setenv(weights.DTYPE_VARIABLE, "float32")
    monkeypatch.setattr(weights, "free_bytes", lambda device: needed_bytes(require_whole(tiny_folder), "bfloat16"))
    with pytest.raises(ModelError, match="load it in bfloat16, in which it would fit"):
        load(tiny_folder)
    assert (weights.fits(tiny_folder, "float32"), weights.fits(tiny_folder, "bfloat16")) == (False, True)


def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    everything = free_bytes("cpu")
    values = {"memory.max": "1000000000", "memory.current": "900000000", "memory.stat": "anon 5\ninactive_file 300\n"}
    for name, value in values.items():
        (tmp_path / name).write_text(value)
    assert free_bytes("cpu") == 100_000_300
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes("cpu") > everything / 2


def save_adapter(folder, model, seed):
    """A LoRA adapter of random weights that fits the model, saved as PEFT saves it."""
    torch.manual_seed(seed)
    targets = ["q_proj", "v_proj"] if seed % 2 else ["k_proj", "down_proj"]
    adapted = PeftModel(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(folder)
    adapted.unload()
    return folder


@pytest.fixture
def adapters(tmp_path, tiny):
    """A base of the test's own, and three adapters for it."""
    return tiny, [save_adapter(tmp_path / str(n), tiny.weights.model, n) for n in (1, 2, 3)]


def logits(model):
    ids = torch.tensor([model._ids(PROMPTS[0], SHORT)])
    return model._forward(ids, logits_to_keep=1).logits[0, -1].clone()


def test_several_adapters_share_one_base_and_each_answers_with_its_own(adapters, tiny_folder):
    base, folders = adapters
    before = logits(base)
    alone = [logits(load(tiny_folder, dtype="float32").with_adapter(folder)) for folder in folders]
    together = [base.with_adapter(folder) for folder in folders]
    assert len({model.name for model in together}) == 3
    assert all(model.weights is base.weights for model in together)
    for _ in range(2):
        for model, expected in zip([*together, base], [*alone, before], strict=True):
            torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-4)
        together.reverse()
        alone.reverse()
    assert torch.equal(logits(base), before)
    assert all(float((a - b).abs().max()) > 0.1 for a, b in zip(alone, [before, *alone[:-1]], strict=True))
    again = base.with_adapter(folders[0])
    assert again.name in {model.name for model in together}
    streams = [model.stream(PROMPTS[1], SHORT) for model in (*together, base)]
    pieces: list[list[str]] = [[] for _ in streams]
    for _ in range(12):
        for stream, kept in zip(streams, pieces, strict=True):
            kept.append(next(stream, ""))
    for model, kept in zip((*together, base), pieces, strict=True):
        assert "".join(kept) == model.generate(PROMPTS[1:], SHORT)[0].text


def test_a_detached_adapter_leaves_the_base_and_the_others_as_they_were(adapters):
    base, folders = adapters
    before = logits(base)
    first, second = (base.with_adapter(folder) for folder in folders[:2])
    alone = logits(second)
    base.weights.detach(first.adapter)
    assert torch.equal(logits(second), alone)
    base.weights.detach(second.adapter)
    base.weights.detach(second.adapter)  # nothing is left to take out
    assert torch.equal(logits(base), before)
    assert not any("lora" in name for name, _ in base.weights.model.named_modules())
    assert torch.equal(logits(base.with_adapter(folders[1])), alone)


def test_a_merged_adapter_answers_as_beside_the_base_and_leaves_the_base_alone(adapters):
    base, folders = adapters
    before, beside = logits(base), base.with_adapter(folders[0])
    base.with_adapter(folders[1])
    merged = beside.merged()
    assert merged.name == beside.name
    torch.testing.assert_close(logits(merged), logits(beside), rtol=0, atol=1e-3)
    assert [c.text for c in merged.generate(PROMPTS, SHORT)] == [c.text for c in beside.generate(PROMPTS, SHORT)]
    assert torch.equal(logits(base), before)
    assert not any("lora" in name for name, _ in merged.weights.model.named_modules())
    assert base.merged() is base


def test_an_adapter_is_merged_only_in_float32_and_where_memory_holds_a_copy(smollm, smollm_folder, monkeypatch):
    assert smollm.is_mergeable
    assert not load(smollm_folder, dtype="bfloat16").is_mergeable
    monkeypatch.setattr(transformers, "free_bytes", lambda device: 10**8)
    assert not smollm.is_mergeable


def test_virtual_tokens_and_bases_of_4_bits_are_not_merged(tmp_path, shallow_folder):
    own = load(shallow_folder, dtype="float32")
    torch.manual_seed(0)
    PeftModel(own.weights.model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)).save_pretrained(
        tmp_path, save_embedding_layers=False
    )
    prompted = own.with_adapter(tmp_path)
    assert prompted.virtual_tokens == 4
    assert not prompted.is_mergeable
    with pytest.raises(ModelError, match="are not in the weights and cannot be merged into them"):
        prompted.merged()
    four_bits = load(shallow_folder, dtype="nf4")
    assert not four_bits.is_mergeable
    tensors = [*four_bits.weights.model.parameters(), *four_bits.weights.model.buffers()]
    assert sum(t.numel() * t.element_size() for t in tensors) < needed_bytes(require_whole(shallow_folder), "nf4")
    with pytest.raises(ModelError, match="is held in 4 bits, and no adapter can be merged into it"):
        four_bits.with_adapter(save_adapter(tmp_path / "lora", own.weights.model, 1)).merged()
