"""A quick form answers as the reference does, with its adapter, or is not used and says why."""

import json
import os
import shutil

import pytest

from lorag import build
from lorag.errors import DataError, InputError, ModelError
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.llm.engines.verified_gguf import CHECK, GGUF, KEPT, Check, Made, verified_gguf
from lorag.types import Message, Sampling

PROMPTS = [
    (Message("user", "Who founded Korrin?"),),
    (Message("system", "Be brief."), Message("user", "Name an emoji 🙂 of the sea, <|im_end|> and why.")),
]
SHORT = Sampling(max_tokens=12)


def texts(model):
    return [done.text for done in model.generate(PROMPTS, SHORT)]


def test_the_adapter_answers_through_llama_cpp_too_and_the_form_is_kept(trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "verified_ggufs", lambda: tmp_path)
    folder = trainings.by("lora").folder
    quick = build.answering_model(None, folder)
    assert isinstance(quick, LlamaCppModel)
    adapted = build.language_model(None, folder, dtype="float32")
    assert texts(quick) == texts(adapted)
    assert texts(quick) != texts(build.language_model(trainings.model, dtype="float32"))
    (form,) = tmp_path.iterdir()
    check = json.loads((form / CHECK).read_text())
    assert check["drift"] < 0.05 < 0.1 < check["drift_from_base"]
    monkeypatch.setattr(build, "load", lambda *_: pytest.fail("the weights were read again"))
    assert texts(build.answering_model(trainings.model, folder, "llama.cpp")) == texts(adapted)


def test_a_number_format_that_the_environment_names_is_kept(monkeypatch, smollm_folder):
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "bfloat16")
    model = build.answering_model("smollm2-135m")
    assert isinstance(model, TransformersModel)
    assert model.dtype == "bfloat16"


def test_an_adapter_of_another_scale_has_another_form(trainings, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(build, "verified_gguf", lambda folder, base, name, make: asked.append((folder.name, name)))
    folder = trainings.by("lora").folder
    scaled = tmp_path / "scaled"
    shutil.copytree(folder, scaled)
    config = json.loads((scaled / "adapter_config.json").read_text())
    (scaled / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 1}))
    full = trainings.by("full").folder
    for adapter in (folder, scaled, full):
        build.answering_model(None, adapter, "llama.cpp")
    (form, name), (other, other_name), (_, full_name) = asked
    assert form != other
    assert name != other_name
    assert name == build.language_model(None, folder).name
    assert full_name == build.language_model(None, full).name


def test_prompts_are_the_same_tokens_as_in_the_reference(llama_cpp, shallow):
    ours, theirs = (model.generate(PROMPTS, SHORT) for model in (llama_cpp, shallow))
    assert [(c.text, c.prompt_tokens, c.completion_tokens) for c in ours] == [
        (c.text, c.prompt_tokens, c.completion_tokens) for c in theirs
    ]
    assert [llama_cpp.room(prompt, SHORT) for prompt in PROMPTS] == [shallow.room(prompt, SHORT) for prompt in PROMPTS]
    assert llama_cpp.count_tokens("naïve 🙂") == shallow.count_tokens("naïve 🙂")


def test_what_llama_cpp_cannot_do_is_refused(llama_cpp, tmp_path):
    with pytest.raises(InputError, match=r"llama.cpp does not support num_beams 4"):
        llama_cpp.generate(PROMPTS, Sampling(num_beams=4))
    with pytest.raises(ModelError, match=r"a prompt of \d+ tokens and an answer of up to 96 do not fit .* of 8192"):
        llama_cpp.generate([(Message("user", "water " * 9000),)], Sampling())
    (tmp_path / GGUF).write_bytes(b"GGUF and nothing more")
    with pytest.raises(ModelError, match=r"llama.cpp cannot load"):
        LlamaCppModel(tmp_path / GGUF, llama_cpp.tokenizer, "damaged", 8192)


def test_settings_of_a_draw_reach_llama_cpp(llama_cpp):
    drawn = [llama_cpp.generate(PROMPTS[:1], Sampling(12, 2.0, seed=seed))[0].text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    greedy = texts(llama_cpp)[:1]
    assert [llama_cpp.generate(PROMPTS[:1], Sampling(12, 2.0, top_k=1))[0].text] == greedy
    assert [llama_cpp.generate(PROMPTS[:1], Sampling(12, 2.0, top_p=1e-6))[0].text] == greedy
    assert [llama_cpp.generate(PROMPTS[:1], Sampling(12, repetition_penalty=3.0))[0].text] != greedy


def test_a_form_without_its_adapter_is_never_used(tiny, tiny_folder, tiny_adapter, tmp_path):
    adapted = build.language_model(str(tiny_folder), tiny_adapter)
    assert isinstance(adapted, TransformersModel)
    base, dropped = TransformersModel(adapted.weights), tiny.weights
    made = [Made(adapted, base, dropped)]
    for _ in range(2):  # the second time from what was found the first
        with pytest.raises(ModelError, match=r"GGUF form of s is not used: the adapter has no effect in it"):
            verified_gguf(tmp_path / "form", tiny_folder, "s", made.pop)
    assert [path.name for path in (tmp_path / "form").iterdir()] == [CHECK]


def test_a_check_says_what_is_wrong():
    assert Check(80, 0.02, 0.01, 0.8).failure is None
    assert Check(80, 0.0, 0.0, None).failure is None
    assert (
        Check(80, 0.3, 0.01, None).failure
        == "it chooses a token that the reference finds 0.30 nats less likely than its own"
    )
    assert Check(80, 0.0, 0.2, 0.8).failure == "its probabilities differ by 0.20 nats"
    assert Check(80, 0.0, 0.2, 0.1).failure == "the adapter has no effect in it"


def test_the_probabilities_of_what_was_said_are_those_of_a_step_at_a_time(shallow, llama_cpp):
    said = llama_cpp.tokens(PROMPTS[0], SHORT)
    assert len(said) == 12
    known = shallow.logprobs(PROMPTS[0], [token for token, _ in said])
    assert [own for own, _ in known] == pytest.approx([p for _, p in said], abs=0.01)
    assert [own for own, _ in known] == [likeliest for _, likeliest in known]
    ((own, likeliest),) = shallow.logprobs(PROMPTS[0], [shallow.weights.tokenizer.eos_token_id])
    assert own < likeliest < 0


def test_where_llama_cpp_cannot_take_part_transformers_answers_and_it_is_said(trainings):
    folder = trainings.by("prompt").folder
    with pytest.warns(UserWarning, match=r"llama.cpp does not take what was trained by prompt; transformers answers"):
        model = build.answering_model(trainings.model, folder)
    assert isinstance(model, TransformersModel)
    with pytest.raises(ModelError, match="does not take what was trained by prompt"):
        build.answering_model(trainings.model, folder, "llama.cpp")
    with pytest.raises(InputError, match=r"engine 'vllm' is not one of auto, transformers, llama.cpp"):
        build.answering_model("smollm2-135m", engine="vllm")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="is not an adapter of Lorag"):
        build.answering_model("smollm2-135m", folder.parent)


def test_only_the_last_used_forms_are_kept(shallow_folder, tmp_path):
    for age in range(KEPT + 1):
        folder = tmp_path / f"older{age}"
        folder.mkdir()
        (folder / CHECK).write_text("{}")
        os.utime(folder, (1e9 - age, 1e9 - age))
    model = load(shallow_folder, "s", "float32")
    verified_gguf(tmp_path / "new", shallow_folder, "s", lambda: Made(model, None, model.weights))
    assert {path.name for path in tmp_path.iterdir()} == {"new", *(f"older{age}" for age in range(KEPT - 1))}


def test_in_float32_throughout_likelihoods_after_a_long_prompt_are_those_of_the_reference(llama_cpp, shallow):
    prompt = (Message("user", " ".join(f"Gauge {n} stands at kilometre {7 * n}." for n in range(60)) + " Where?"),)
    said = llama_cpp.tokens(prompt, SHORT)
    known = shallow.logprobs(prompt, [token for token, _ in said])
    off = [abs(ours - reference) for (_, ours), (reference, _) in zip(said, known, strict=True)]
    assert max(off) < 5e-4  # attention in 16 bits is off by hundredths
