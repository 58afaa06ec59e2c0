"""Tokenizers of five conventions: two models' own, and three built in memory; and a count of what models compute."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lorag.llm.engines.transformers import TransformersModel
from lorag.models import catalogue
from lorag.models.tokenizer import load_tokenizer

LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def smollm2() -> PreTrainedTokenizerBase:
    return load_tokenizer(catalogue.fetch("smollm2-135m"))


def qwen2() -> PreTrainedTokenizerBase:
    return load_tokenizer(catalogue.fetch("qwen2.5-coder-0.5b"))


def llama_2() -> PreTrainedTokenizerBase:
    """Spaces as ``▁``, one put before the text; unknown characters as bytes."""
    merges = [("▁", "a"), ("t", "h"), ("th", "e"), ("▁", "the"), ("i", "n")]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    vocabulary = {name: i for i, name in enumerate([*names, *map("".join, merges)])}
    made = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _tokenizer(made, LLAMA_2, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def llama_3() -> PreTrainedTokenizerBase:
    made = Tokenizer.from_str(smollm2().backend_tokenizer.to_str())
    made.add_special_tokens(
        [AddedToken(name, special=True) for name in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")]
    )
    return _tokenizer(made, LLAMA_3, bos_token="<|endoftext|>", eos_token="<|eot_id|>")


def no_system() -> PreTrainedTokenizerBase:
    made = Tokenizer.from_str(smollm2().backend_tokenizer.to_str())
    made.add_special_tokens([AddedToken(name, special=True) for name in ("<start_of_turn>", "<end_of_turn>")])
    return _tokenizer(made, NO_SYSTEM, bos_token="<|endoftext|>", eos_token="<end_of_turn>")


def _tokenizer(made: Tokenizer, template: str, **named: str) -> PreTrainedTokenizerBase:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **named)
    tokenizer.chat_template = template
    return tokenizer


CONVENTIONS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "smollm2": smollm2,
    "qwen2": qwen2,
    "llama-2": llama_2,
    "llama-3": llama_3,
    "no system role": no_system,
}


@pytest.fixture(scope="session", params=CONVENTIONS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return CONVENTIONS[request.param]()


@pytest.fixture
def counted() -> Callable[[TransformersModel], AbstractContextManager[list[int]]]:
    """Counts the tokens of every pass through a model inside a block, padding included."""

    @contextmanager
    def count(model: TransformersModel) -> Iterator[list[int]]:
        passed: list[int] = []
        layer = model.weights.model.get_input_embeddings()
        hook = layer.register_forward_pre_hook(lambda _, arguments: passed.append(arguments[0].numel()))
        try:
            yield passed
        finally:
            hook.remove()

    return count
