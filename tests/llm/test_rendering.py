"""What is rendered for training is what is served, and the mask is exactly what the assistant said."""

import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from lorag.errors import ModelError
from lorag.llm.rendering import render, turn_end
from lorag.models.tokenizer import load_tokenizer
from lorag.types import Message

CONTROL = ("<|im_end|>", "<|im_start|>", "</s>", "<s>", "<|eot_id|>", "<|start_header_id|>", "<end_of_turn>")
ANYTHING = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40)
TEXT = st.lists(st.one_of(ANYTHING, st.sampled_from(CONTROL)), min_size=1, max_size=4).map("".join)
TEXT = TEXT.filter(lambda text: text.strip() != "")
PLAIN = ANYTHING.map(lambda text: "a" + text.strip() + "z")
many = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def dialogue(turns, system=None):
    opening = [] if system is None else [Message("system", system)]
    said = [turn for asked, answer in turns for turn in (Message("user", asked), Message("assistant", answer))]
    return tuple(opening + said)


def text_of(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    text = tokenizer.decode(list(ids))
    assert isinstance(text, str)
    return text


def runs(rendered):
    """The ids of each unbroken stretch of supervised tokens."""
    stretches: list[list[int]] = []
    before = False
    for token, on in zip(rendered.ids, rendered.supervised, strict=True):
        if on and not before:
            stretches.append([])
        if on:
            stretches[-1].append(token)
        before = on
    return stretches


@many
@given(turns=st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=3), system=st.none() | PLAIN)
def test_the_mask_is_exactly_the_assistants_words_and_the_end_of_its_turn(tokenizer, turns, system):
    rendered = render(tokenizer, dialogue(turns, system), reply=False)
    said = runs(rendered)
    assert [run[-1] for run in said] == [tokenizer.eos_token_id] * len(turns)
    # A tokenizer may have no token for some bytes; what it makes of the answer alone is the measure.
    kept = [tokenizer.decode(tokenizer(answer, add_special_tokens=False)["input_ids"]) for _, answer in turns]
    assert [tokenizer.decode(run[:-1]).strip() for run in said] == kept


def test_an_answer_that_is_only_read_is_not_learned(tokenizer):
    talk = dialogue([("Who?", "Nobody."), ("Sure?", "Kim.")], None)
    whole = render(tokenizer, talk, reply=False)
    half = render(tokenizer, (talk[0], replace(talk[1], learned=False), *talk[2:]), reply=False)
    assert half.ids == whole.ids
    assert runs(half) == runs(whole)[1:]


@many
@given(turns=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), system=st.none() | TEXT)
def test_a_training_row_begins_with_each_of_its_served_prompts(tokenizer, turns, system):
    messages = dialogue(turns, system)
    trained = render(tokenizer, messages, reply=False)
    for end in range(len(messages) - 1, 0, -2):
        served = render(tokenizer, messages[:end], reply=True)
        assert trained.ids[: len(served.ids)] == served.ids
        assert trained.supervised[len(served.ids)]
        assert not trained.supervised[len(served.ids) - 1]


@many
@given(turns=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), system=st.none() | TEXT)
def test_a_control_token_inside_a_text_stays_text(tokenizer, turns, system):
    control = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}

    def controls(messages):
        return [i for i in render(tokenizer, messages, reply=False).ids if i in control]

    harmless = [("why", "because")] * len(turns)
    assert controls(dialogue(turns, system)) == controls(dialogue(harmless, system and "Be brief."))


def test_a_prompt_of_ordinary_text_renders_as_the_template_alone_would(tokenizer):
    messages = (Message("user", "What is it, and why does it float?"),)
    whole = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages], tokenize=False, add_generation_prompt=True
    )
    assert list(render(tokenizer, messages, reply=True).ids) == tokenizer(whole, add_special_tokens=False)["input_ids"]


def test_without_a_system_role_its_text_stands_above_the_first_question(tokenizer):
    asked = (Message("system", " Be brief. "), Message("user", "Why?"))
    folded = render(tokenizer, (Message("user", "Be brief.\n\nWhy?"),), reply=True)
    assert (render(tokenizer, asked, reply=True) == folded) == ("System role" in tokenizer.chat_template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        ("{{ messages[0]['content'] }}", "drops or reorders turns of user, assistant, user, assistant"),
        (
            "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
            "does not end an assistant's turn with a control token",
        ),
        (
            "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
            "{% if not add_generation_prompt %}<|im_end|>{% endif %}",
            "does not end an assistant's turn with a control token",
        ),
        (
            "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}>{% endif %}",
            "differently once it is answered",
        ),
        ("{{ raise_exception('no turns') }}", "refuses turns of user, assistant, user, assistant: no turns"),
        ("{{ messages[0].content.name.first }}", "refuses turns of .*: 'str object' has no attribute 'name'"),
    ],
)
def test_templates_that_cannot_serve_are_refused(smollm_folder, template, message):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        render(tokenizer, dialogue([("x", "y"), ("z", "w")], "s"), reply=False)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"the tokenizer in .* does not load"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_an_unknown_form_is_refused(smollm_folder, tmp_path):
    shutil.copytree(smollm_folder, tmp_path / "odd", ignore=shutil.ignore_patterns("*.safetensors"))
    path = tmp_path / "odd" / "tokenizer.json"
    made = json.loads(path.read_text())
    path.write_text(json.dumps(made | {"model": made["model"] | {"merges": [["no", "such"]]}}))
    with pytest.raises(ModelError, match=r"the tokenizer in .*odd' does not load: "):
        load_tokenizer(tmp_path / "odd")


def test_plain_text_is_the_tokenizers_own_and_all_of_it_is_learned(tokenizer):
    text = " Korrin makes\n tide gauges.\n"
    rendered = render(tokenizer, (Message("text", text),), reply=False)
    assert list(rendered.ids) == tokenizer(text)["input_ids"]
    assert rendered.supervised == (False, *(True for _ in rendered.ids[1:]))
    assert rendered.is_text
    assert not render(tokenizer, dialogue([("Why?", "So.")]), reply=False).is_text


def test_a_control_token_in_plain_text_is_the_text_it_spells(tokenizer):
    begun = len(tokenizer("a")["input_ids"]) - len(tokenizer("a", add_special_tokens=False)["input_ids"])
    for control in tokenizer.all_special_tokens:
        rendered = render(tokenizer, (Message("text", f"a {control} b"),), reply=False)
        assert not set(tokenizer.all_special_ids) & set(rendered.ids[begun:]), control


ASSISTANT = "<|im_start|>assistant\n"
THINKING = (  # as Qwen 3: of earlier turns, the empty thought is left out
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
OPENING = (  # as R1: every answer is begun with a thought
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'].split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}"
    "\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TWO_TURNS = dialogue([("Why?", "So."), ("And?", "Yes.")])


@pytest.mark.parametrize("template", [THINKING, OPENING, GENERATION])
def test_thinking_models_answer_at_once_and_learn_their_answers_alone(smollm_folder, template):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.chat_template = template
    rendered = render(tokenizer, TWO_TURNS, reply=False)
    assert [tokenizer.decode(run) for run in runs(rendered)] == ["So.<|im_end|>", "Yes.<|im_end|>"]
    served = render(tokenizer, TWO_TURNS[:3], reply=True).ids
    assert rendered.ids[: len(served)] == served
    closed = "<think>\n\n</think>\n\n" if template == THINKING else ""
    assert text_of(tokenizer, served).endswith(ASSISTANT + closed)


def test_a_model_that_is_to_think_is_left_to_begin_with_its_thoughts(smollm_folder):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.chat_template = THINKING
    at_once, thinking = (render(tokenizer, TWO_TURNS[:3], reply=True, thinking=each).ids for each in (False, True))
    assert text_of(tokenizer, thinking).endswith(ASSISTANT)
    assert text_of(tokenizer, at_once) == text_of(tokenizer, thinking) + "<think>\n\n</think>\n\n"
    tokenizer.chat_template = OPENING
    opened = render(tokenizer, TWO_TURNS[:3], reply=True, thinking=True).ids
    assert text_of(tokenizer, opened).endswith(ASSISTANT + "<think>\n")
    tokenizer.chat_template = GENERATION
    assert render(tokenizer, TWO_TURNS[:3], reply=True, thinking=True) == render(tokenizer, TWO_TURNS[:3], reply=True)


def test_neighbours_of_one_role_are_one_turn(tokenizer):
    twice = (Message("user", "Why?"), Message("user", "And how? "), Message("assistant", "So."))
    joined = (Message("user", "Why?\n\nAnd how?"), Message("assistant", "So."))
    assert render(tokenizer, twice, reply=False) == render(tokenizer, joined, reply=False)


@pytest.mark.parametrize("written", ["", "<|endoftext|>", "<|endoftext|><|endoftext|>"])
def test_the_token_that_begins_texts_stands_once_before_a_conversation(smollm_folder, written):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.bos_token = "<|endoftext|>"
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", begin)]
    )
    tokenizer.chat_template = written + GENERATION
    assert render(tokenizer, TWO_TURNS, reply=False).ids.count(begin) == 1
    assert render(tokenizer, TWO_TURNS[:1], reply=True).ids[0] == begin


def test_a_turn_may_end_with_another_token_than_a_text(smollm_folder):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.eos_token = "<|endoftext|>"  # as Gemma's: texts end with <eos>, turns with <end_of_turn>
    rendered = render(tokenizer, TWO_TURNS, reply=False)
    assert [tokenizer.decode(run) for run in runs(rendered)] == ["So.<|im_end|>", "Yes.<|im_end|>"]
    assert turn_end(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_base_model_gets_a_plain_template_and_a_warning(smollm_folder, tmp_path):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.warns(UserWarning, match="base is a base model without a chat template"):
        plain = load_tokenizer(tmp_path / "base")
    rendered = render(plain, dialogue([("Why?", "So.")], "Be brief."), reply=False)
    assert text_of(plain, rendered.ids) == "Be brief.\n\nUser: Why?\nAssistant: So.<|im_end|>\n"
    assert [plain.decode(run) for run in runs(rendered)] == [" So.<|im_end|>"]
    plain.save_pretrained(tmp_path / "exported")
    assert load_tokenizer(tmp_path / "exported").chat_template == plain.chat_template
