"""A model folder as one GGUF file, as llama.cpp and what is built on it read it.

Llama- and Qwen2-type models with byte-level BPE tokenizers, by the ``gguf`` package's writer and its names of tensors.
Not here: other architectures and tokenizers, formats below eight bits (llama.cpp's own tools make those from a file of
16 bits).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["f32", "f16", "bf16", "q8_0"]

_ARCHITECTURES = {"LlamaForCausalLM": "LLAMA", "Qwen2ForCausalLM": "QWEN2"}
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_SPLITS = {_QWEN2: "qwen2", _LLAMA3: "llama-bpe"}
"""How llama.cpp names the ways to cut a text before its tokens are merged."""


def write_gguf(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, precision: Precision, name: str
) -> None:
    """Writes ``model`` with its tokenizer and chat template; matrices in ``precision``, vectors in float32.

    Raises ``ModelError`` for an architecture or a tokenizer that it does not know.
    """
    import gguf

    config: Any = model.config
    kind = type(model).__name__
    if kind not in _ARCHITECTURES or config.rope_parameters["rope_type"] != "default":
        raise ModelError(
            f"{kind} with {config.rope_parameters['rope_type']} positions has no GGUF form here; known are"
            f" {', '.join(_ARCHITECTURES)} with default ones; export it as merged, and convert it with llama.cpp"
        )
    architecture = gguf.MODEL_ARCH[_ARCHITECTURES[kind]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        _add_shape(writer, config, name, precision)
        _add_tokenizer(writer, tokenizer, config.vocab_size)
        names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
        quantised = gguf.GGMLQuantizationType[precision.upper()]
        for tensor, values in _tensors(model):
            found = names.get_name(tensor, try_suffixes=(".weight", ".bias"))
            if found is None:
                raise ModelError(f"the weight {tensor!r} of {kind} has no name in GGUF; export the model as merged")
            if values.ndim == 1 or precision == "f32":
                writer.add_tensor(found, values)
            else:
                writer.add_tensor(found, gguf.quantize(values, quantised), raw_dtype=quantised)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add_shape(writer: Any, config: Any, name: str, precision: Precision) -> None:
    import gguf

    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    file_types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[file_types[precision]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """The vocabulary in the order of ids, up to ``size`` rows of the embedding, and what ends a turn."""
    import gguf

    backend: Any = tokenizer
    made = json.loads(backend.backend_tokenizer.to_str())
    if made["model"]["type"] != "BPE" or made["model"].get("byte_fallback"):
        raise ModelError(
            f"a tokenizer of kind {made['model']['type']} has no GGUF form here, expected byte-level BPE; export the"
            " model as merged, and convert it with llama.cpp"
        )
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [gguf.TokenType.UNUSED] * size
    for token, place in made["model"]["vocab"].items():
        tokens[place], types[place] = token, gguf.TokenType.NORMAL
    for added in made["added_tokens"]:
        special = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(made["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = made["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for role in ("bos", "eos", "pad"):
        if (token := getattr(tokenizer, f"{role}_token_id")) is not None:
            getattr(writer, f"add_{role}_token_id")(token)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    writer.add_chat_template(str(tokenizer.chat_template))


def _pre_tokenizer(made: dict[str, Any]) -> str:
    """llama.cpp's name for the way the tokenizer cuts a text. Raises ``ModelError`` for one it has no name for."""
    steps = made.get("pretokenizers", [made])
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0]["use_regex"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and steps[1]["use_regex"]:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and (found := _SPLITS.get(steps[0]["pattern"].get("Regex", ""))):
        return found
    raise ModelError(f"the tokenizer cuts texts in a way that has no name in GGUF here: {kinds}; export it as merged")


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every weight once, under transformers' name, in float32 and in the order of llama.cpp."""
    config: Any = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.named_parameters():  # a tied head is named once, as the embedding
        values = weight.detach().float().cpu().numpy()
        part = name.split(".")[-2]
        if type(model).__name__ == "LlamaForCausalLM" and part in heads:
            values = _interleaved(values, heads[part])
        yield name, values


def _interleaved(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of a projection so that the two halves that a rotation turns stand beside each other, as Llama's do."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
