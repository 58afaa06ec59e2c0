"""What is exported answers elsewhere as the adapter does here: in transformers alone, and in llama.cpp."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.errors import FetchError, InputError, ModelError
from lorag.llm.engines.base_model import Weights
from lorag.llm.engines.transformers import TransformersModel
from lorag.models.gguf_writing import write_gguf
from lorag.models.ollama import modelfile
from lorag.settings import REFUSAL
from lorag.types import Message, Sampling
from lorag.workflows.export import export

QUESTIONS = (
    "Who founded Korrin?",
    "What does Korrin make?",
    "What is 17 + 2045?",
    "Write the word naïve, please.",
    "Say hello in Japanese: こんにちは",
    "Name an emoji 🙂.",
    "What  has   two blanks?",
    "First line\nSecond line?",
    "Is im_end a word?",
    "List three fruits.",
    "It's John's, isn't it?",
    "What is the capital of France?",
    "def add(a, b):",
    "UPPER and lower and MiXeD?",
    "1,000,000.5 or 1e6?",
    "Why is the sky blue?",
    "https://example.org/a?b=c",
    "(brackets) [and] {more}",
    "Tab\there",
    "How long is the warranty of the Ebbmark P2?",
)
PROMPTS = [question_prompt(question, (), REFUSAL) for question in QUESTIONS]
LLAMA_CPP = """
import json, sys
import xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.n_parallel = sys.argv[1], 512, 1
parameters.verbosity, parameters.warmup, parameters.cache_prompt = -1, False, False
parameters.cpuparams.n_threads = 1
parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(parameters)
for messages in json.load(sys.stdin):
    asked = {"messages": messages, "temperature": 0, "max_tokens": 8}
    reply = server.handle_chat_completions(asked)
    print(json.dumps([reply["choices"][0]["message"]["content"], reply["usage"]["prompt_tokens"]]))
"""


def llama_cpp(gguf: Path, prompts) -> list[tuple[str, int]]:
    """Greedy answers of llama.cpp, and the tokens it made of each prompt by the template in the file."""
    asked = json.dumps([[{"role": m.role, "content": m.content} for m in prompt] for prompt in prompts])
    done = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP, gguf], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def adapter_of(tmp_path_factory):
    """An adapter of a whole model in PEFT's format, which changes its weights as much as ``spread`` says."""

    def made(base, spread):
        folder = tmp_path_factory.mktemp("peft") / "adapter"
        causal = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
        adapted = get_peft_model(causal, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=spread, generator=draw)
        adapted.save_pretrained(folder)
        return folder

    return made


@pytest.fixture(scope="module")
def slight(adapter_of, smollm_folder):
    """An adapter of the small model that changes its weights so little that it answers as before."""
    return adapter_of(smollm_folder, 1e-4)


def test_llama_cpp_answers_what_the_adapter_answers(adapter_of, tiny, tiny_folder, tmp_path):
    adapter = adapter_of(tiny_folder, 0.1)
    folder = export(adapter, tmp_path / "support", form="gguf", precision="f32", model=str(tiny_folder))
    model = build.language_model(str(tiny_folder), adapter, dtype="float32")
    expected = model.generate(PROMPTS, Sampling(max_tokens=8))
    found = llama_cpp(folder / "model.gguf", PROMPTS)
    assert len(QUESTIONS) == 20
    for question, ours, (text, prompt_tokens) in zip(QUESTIONS, expected, found, strict=True):
        # Where the limit falls inside a character, llama.cpp leaves it out and the tokenizer marks it.
        assert (text.strip(), prompt_tokens) == (ours.text.rstrip("\ufffd").strip(), ours.prompt_tokens), question
    assert len({ours.text for ours in expected}) == len(QUESTIONS)
    base = tiny.generate(PROMPTS[:4], Sampling(max_tokens=8))
    assert [done.text for done in base] != [done.text for done in expected[:4]]


@pytest.mark.parametrize("precision", ["f16", "bf16", "q8_0"])
def test_smaller_files_load_and_speak(slight, tmp_path, precision):
    folder = export(slight, tmp_path / "a", form="gguf", precision=precision, model="smollm2-135m")
    (answer, _), *_ = llama_cpp(folder / "model.gguf", PROMPTS[11:12])
    assert "Paris" in answer
    size = (folder / "model.gguf").stat().st_size
    assert size < 2.3 * 135e6 if precision != "q8_0" else size < 1.2 * 135e6


def test_a_qwen_model_with_biases_and_its_own_head_answers_alike(shallow, tmp_path):
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    config = Qwen2Config(vocab_size=8200, num_key_value_heads=2, tie_word_embeddings=False, **shape)
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.3)
    tokenizer = shallow.weights.tokenizer
    write_gguf(model, tokenizer, tmp_path / "model.gguf", "f32", "tiny")
    ours = TransformersModel(Weights("tiny", tmp_path, model, tokenizer, shallow.weights.lock))
    expected = ours.generate(PROMPTS[:4], Sampling(max_tokens=8))
    assert [text.strip() for text, _ in llama_cpp(tmp_path / "model.gguf", PROMPTS[:4])] == [c.text for c in expected]


def test_a_merged_folder_is_a_model_of_its_own(trainings, tmp_path):
    folder = export(trainings.by("lora").folder, tmp_path / "merged", precision="f32")
    model = AutoModelForCausalLM.from_pretrained(folder)
    adapted = build.language_model(None, trainings.by("lora").folder, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(adapted, TransformersModel)
    assert tokenizer.chat_template == adapted.weights.tokenizer.chat_template
    ids = torch.tensor([adapted._ids(PROMPTS[0], Sampling())])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, adapted._forward(ids).logits, rtol=1e-3, atol=1e-3)
    assert build.language_model(str(folder)).generate(PROMPTS[:1], Sampling(max_tokens=2))


def test_all_weights_and_four_bits_are_exported_too(trainings, tmp_path):
    export(trainings.by("full").folder, tmp_path / "full")
    with pytest.warns(UserWarning, match="trained on a base of 4 bits and is merged into the base as it is published"):
        export(trainings.by("qlora").folder, tmp_path / "qlora")
    assert (tmp_path / "full" / "model.safetensors").stat().st_size < 2.1 * 135e6
    with pytest.warns(UserWarning, match=r"all weights were trained, in float32, and bf16 may round .* f32 all of it"):
        export(trainings.by("full").folder, tmp_path / "coarse", precision="bf16")
    assert (tmp_path / "qlora" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "turns",
    [
        ("user",),
        ("system", "user"),
        ("system", "user", "assistant", "user"),
        ("system", *("user", "assistant") * 3, "user"),
    ],
)
def test_ollama_renders_a_conversation_as_the_model_was_trained_on_it(smollm, turns):
    """The template's language has three parts here, put in for each question as Ollama does."""
    text = modelfile(smollm.weights.tokenizer, "model.gguf", "Be brief.")
    (template,) = re.findall(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    (system,) = re.findall(r'SYSTEM """(.*?)"""', text)
    said = [Message(role, f"{role} {i}") for i, role in enumerate(turns)]
    spoken = [m for m in said if m.role != "system"]
    asked = said[0].content if turns[0] == "system" else system
    rendered = ""
    for question, answer in zip(spoken[::2], [*spoken[1::2], Message("assistant", "")], strict=True):
        part = template.replace("{{ .Prompt }}", question.content).replace("{{ .Response }}", answer.content)
        part = re.sub(r"{{ if \.System }}(.*?){{ end }}", (lambda m: m[1]) if asked else "", part, flags=re.DOTALL)
        part = part.replace("{{ .System }}", asked)
        rendered += re.sub(r"{{ if \.Prompt }}(.*?){{ end }}", lambda m: m[1], part, flags=re.DOTALL)
        asked = ""
    with_system = [Message("system", system), *said] if turns[0] != "system" else said
    messages = [{"role": m.role, "content": m.content} for m in with_system]
    assert rendered == smollm.weights.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    assert 'PARAMETER stop "<|im_end|>"' in text


def test_ollama_gets_a_model_beside_its_modelfile(trainings, tmp_path):
    folder = export(trainings.by("lora").folder, tmp_path / "o", form="ollama", precision="q8_0")
    assert {path.name for path in folder.iterdir()} == {"Modelfile", "model.gguf"}
    assert "FROM ./model.gguf\n" in (folder / "Modelfile").read_text()
    assert REFUSAL in (folder / "Modelfile").read_text()


def test_what_is_pushed_is_the_folder_with_a_card_from_the_manifest(trainings, tmp_path, local_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "may-write")
    done = trainings.by("lora")
    folder = export(done.folder, tmp_path / "out", precision="bf16", push="korrin/support")
    pushed = local_hub.pushed["korrin/support"]
    assert local_hub.visibility == {"korrin/support": "private"}
    assert pushed == {path.name: path.read_bytes() for path in folder.iterdir()}
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.tags, card.data.base_model) == ("transformers", ["lorag"], None)
    adapter = done.adapter
    assert f"Base: {trainings.model}, weights {adapter.base_weights}" in card.text
    assert f"{adapter.conversations} conversations, {adapter.supervised_tokens} learned tokens" in card.text
    assert f"{adapter.held_out_loss_before:.2f} before, {adapter.held_out_loss_after:.2f} after" in card.text
    assert REFUSAL in card.text


def test_what_cannot_be_pushed_is_refused_before_anything_is_merged(trainings, tmp_path, local_hub, monkeypatch):
    monkeypatch.setattr("lorag.workflows.export.merged_weights", lambda *_: pytest.fail("it was merged"))

    def refused(kind, message, push="korrin/support"):
        with pytest.raises(kind, match=message):
            export(trainings.by("lora").folder, tmp_path / "out", push=push)

    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    refused(InputError, "'korrin' names no repository to push to, expected OWNER/NAME", "korrin")
    refused(InputError, "'korrin/support@main' names no repository", "korrin/support@main")
    refused(InputError, "needs a token with write access: log in with `hf auth login`")


def test_a_token_that_may_not_write_and_a_hub_that_is_away_are_named(trainings, tmp_path, local_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "may-read")
    with pytest.raises(InputError, match="does not let you write to korrin/support; check the owner's name"):
        export(trainings.by("lora").folder, tmp_path / "out", push="korrin/support")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"cannot be reached .* set HF_ENDPOINT to a mirror"):
        export(trainings.by("lora").folder, tmp_path / "out", push="korrin/support")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_refused(trainings, tmp_path, smollm):
    lora = trainings.by("lora").folder
    with pytest.raises(InputError, match="virtual tokens is not in the weights and cannot be merged"):
        export(trainings.by("prompt").folder, tmp_path / "a")
    with pytest.raises(InputError, match="format 'onnx' is not one of merged, gguf, ollama"):
        export(lora, tmp_path / "a", form="onnx")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="precision 'q8_0' is not one of f32, f16, bf16, in which merged"):
        export(lora, tmp_path / "a", precision="q8_0")
    with pytest.raises(InputError, match="exists; choose another with --out"):
        export(lora, lora)
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
    }
    other = Gemma2ForCausalLM(Gemma2Config(vocab_size=300, head_dim=16, num_key_value_heads=2, **shape))
    with pytest.raises(
        ModelError, match=r"Gemma2ForCausalLM with a query scale of its own .* cannot be written as GGUF"
    ):
        write_gguf(other, smollm.weights.tokenizer, tmp_path / "m.gguf", "f16", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_template_without_a_system_turn_has_no_modelfile(smollm, monkeypatch):
    refusing = "{{ raise_exception('no system') if messages[0].role == 'system' }}"
    monkeypatch.setattr(smollm.weights.tokenizer, "chat_template", refusing)
    with pytest.raises(ModelError, match="cannot be written for Ollama, because it supports no system turn"):
        modelfile(smollm.weights.tokenizer, "m", "s")
