"""The reference engine on a real small model: batches, streams, limits, and adapters that prove themselves."""

import pytest
import torch
from peft import LoraConfig, PeftModel

from lorag.errors import ModelError
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.types import Message, Sampling, ThinkingSampling

PROMPTS = [
    (Message("user", "What is the capital of France?"),),
    (Message("system", "Answer with one word."), Message("user", "What colour is grass?")),
    (Message("user", "Write the word naïve and an emoji 🙂 please."),),
    (Message("user", "Hi"),),
]
SHORT = Sampling(max_tokens=12)


def make_adapter(folder, model, trained=True):
    """A LoRA adapter of random weights beside the model, saved as PEFT saves it."""
    torch.manual_seed(1)
    adapted = PeftModel(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    if trained:
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(folder)
    adapted.unload()
    return folder


def test_a_batch_gives_what_single_prompts_give_and_what_streams_give(smollm):
    together = smollm.generate(PROMPTS, SHORT)
    for prompt, completion in zip(PROMPTS, together, strict=True):
        assert smollm.generate([prompt], SHORT)[0].text == completion.text
        assert "".join(smollm.stream(prompt, SHORT)) == completion.text
        assert completion.completion_tokens <= 12
    assert "Paris" in together[0].text
    assert together[0].finish == "stop"


@pytest.mark.parametrize("engine", ["shallow", "llama_cpp"])
def test_a_template_is_told_whether_the_model_may_think(engine, shallow, monkeypatch, request):
    model = request.getfixturevalue(engine)
    tokenizer = shallow.weights.tokenizer  # both engines'
    plain = tokenizer.chat_template
    thought = "<think>\n\n</think>\n\n"
    told = "{% if add_generation_prompt and enable_thinking is false %}" + thought.replace("\n", "\\n") + "{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", plain + told)
    thinking = ThinkingSampling(max_tokens=4)
    at_once, later = (model.generate(PROMPTS[:1], each)[0] for each in (Sampling(max_tokens=4), thinking))
    spent = at_once.prompt_tokens - later.prompt_tokens
    assert spent == model.room(PROMPTS[0], thinking) - model.room(PROMPTS[0], Sampling(max_tokens=4)) > 4
    monkeypatch.setattr(tokenizer, "chat_template", plain)
    assert model.generate(PROMPTS[:1], Sampling(max_tokens=4))[0].text == later.text


@pytest.mark.parametrize("engine", ["shallow", "llama_cpp"])
def test_thoughts_take_at_most_half_of_a_small_context(engine, shallow, monkeypatch, request):
    model, default = request.getfixturevalue(engine), ThinkingSampling()
    assert default.max_tokens == 2048
    for context, most in ((300, 150), (2048, 1024), (8192, 2048)):
        monkeypatch.setattr(shallow.weights.model.config, "max_position_embeddings", context)
        monkeypatch.setattr(model, "context_tokens", context, raising=engine == "llama_cpp")
        prompt_tokens = context - most - model.room(PROMPTS[0], default)
        assert prompt_tokens == context - 4 - model.room(PROMPTS[0], ThinkingSampling(max_tokens=4))
    monkeypatch.setattr(shallow.weights.model.config, "max_position_embeddings", 100)
    monkeypatch.setattr(model, "context_tokens", 100, raising=engine == "llama_cpp")
    counting = (Message("user", "Count from 1 to 100."),)
    (done,) = model.generate([counting], ThinkingSampling())
    assert (done.completion_tokens, done.finish) == (50, "length")
    assert "".join(model.stream(counting, ThinkingSampling())) == done.text
    with pytest.raises(ModelError, match="an answer of up to 90 do not fit"):
        model.generate([counting], ThinkingSampling(max_tokens=90))  # what is asked for is not cut


def test_in_bfloat16_it_answers_in_batches_and_one_by_one(smollm_folder):
    halved = load(smollm_folder, dtype="bfloat16")
    assert halved.dtype == "bfloat16"
    together = [halved.generate(PROMPTS, SHORT)[0], *halved.generate(PROMPTS[:1], SHORT)]
    assert all("Paris" in completion.text for completion in together)
    assert load(smollm_folder).dtype in {"float32", "bfloat16"}


def test_small_batches_change_nothing(tiny):
    alone = TransformersModel(tiny.weights, batch_tokens=1)
    assert [c.text for c in alone.generate(PROMPTS, SHORT)] == [c.text for c in tiny.generate(PROMPTS, SHORT)]


def test_greedy_text_is_the_librarys_own(smollm):
    from lorag.llm.rendering import render

    weights = smollm.weights
    for prompt in PROMPTS[:2]:
        ids = torch.tensor([render(weights.tokenizer, prompt, reply=True).ids])
        with torch.inference_mode():
            theirs = weights.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
            )
        text = weights.tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True).strip()
        assert smollm.generate([prompt], SHORT)[0].text == text


def test_a_seed_repeats_a_draw(tiny):
    drawn = Sampling(max_tokens=12, temperature=1.5, top_p=0.95, seed=3)
    first = tiny.generate([PROMPTS[2]], drawn)[0].text
    assert tiny.generate([PROMPTS[2]], drawn)[0].text == first
    others = {tiny.generate([PROMPTS[2]], Sampling(12, 1.5, 0.95, seed))[0].text for seed in range(4, 8)}
    assert others != {first}


def test_two_streams_do_not_disturb_each_other(tiny):
    expected = [c.text for c in tiny.generate(PROMPTS[:2], SHORT)]
    first, second = (tiny.stream(prompt, SHORT) for prompt in PROMPTS[:2])
    pieces: list[list[str]] = [[], []]
    for _ in range(20):
        for stream, kept in ((first, pieces[0]), (second, pieces[1])):
            kept.append(next(stream, ""))
    assert ["".join(kept) for kept in pieces] == expected
    assert torch.is_inference_mode_enabled() is False


def test_nothing_to_do_is_done(tiny):
    assert tiny.generate([], SHORT) == []


def test_a_prompt_beyond_the_context_is_refused(smollm):
    long = (Message("user", "word " * 9000),)
    with pytest.raises(ModelError, match=r"do not fit smollm2-135m's context of 8192; lower the context budget"):
        smollm.generate([long], SHORT)


def test_an_adapter_changes_the_logits_and_the_base_stays_as_it_was(tiny, tmp_path):
    ids = torch.tensor([tiny._ids(PROMPTS[0], SHORT)])
    before = tiny._forward(ids).logits.clone()
    adapted = tiny.with_adapter(make_adapter(tmp_path / "a", tiny.weights.model))
    assert not torch.allclose(adapted._forward(ids).logits, before, atol=1e-3)
    assert torch.equal(tiny._forward(ids).logits, before)
    assert adapted.name != tiny.name
    assert adapted.generate(PROMPTS, SHORT) != tiny.generate(PROMPTS, SHORT)


def test_an_adapter_that_changes_nothing_is_refused(tiny, tmp_path):
    idle = make_adapter(tmp_path / "idle", tiny.weights.model, trained=False)
    with pytest.raises(ModelError, match="changes nothing"):
        tiny.with_adapter(idle)


def test_an_adapter_with_missing_weights_is_refused(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make_adapter(tmp_path / "a", tiny.weights.model)
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="loads only partly"):
        tiny.with_adapter(folder)


def test_folders_without_an_adapter_or_a_model_are_refused(smollm, tmp_path):
    with pytest.raises(ModelError, match="holds no adapter"):
        smollm.with_adapter(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights in safetensors"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="is not a complete safetensors file"):
        load(tmp_path)


def test_a_remembering_model_asks_each_prompt_once():
    inner = ScriptedModel(lambda prompt: prompt[-1].content.upper())
    model = CachedModel(inner)
    texts = [c.text for c in model.generate([PROMPTS[3], PROMPTS[0], PROMPTS[3]], SHORT)]
    assert texts == ["HI", "WHAT IS THE CAPITAL OF FRANCE?", "HI"]
    model.generate(PROMPTS, SHORT)
    assert sorted(inner.prompts, key=str) == sorted(PROMPTS, key=str)
    model.generate([PROMPTS[3]], Sampling(temperature=1.0))
    assert len(inner.prompts) == len(PROMPTS) + 1


def test_likelihoods_of_answers_are_those_of_one_pass_over_each(smollm):
    answered = [(prompt, text) for prompt in PROMPTS for text in ("Paris is the capital.", "Paris", "grün 🙂")]
    together = smollm.likelihoods(answered)
    for (prompt, text), found in zip(answered, together, strict=True):
        tokens = smollm.weights.tokenizer(text, add_special_tokens=False)["input_ids"]
        alone = [own for own, _ in smollm.logprobs(prompt, tokens)]
        assert found == pytest.approx(alone, abs=2e-2 if smollm.dtype == "float32" else 0.5)
    assert sum(together[1]) > sum(together[2])  # in France it is Paris
    assert smollm.likelihoods([(PROMPTS[0], ""), (PROMPTS[3], "Hi")])[0] == []
    assert smollm.likelihoods([]) == []
    with pytest.raises(ModelError, match="do not fit"):
        smollm.likelihoods([(PROMPTS[0], "word " * 10_000)])
