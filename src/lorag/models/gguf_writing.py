"""A model folder as one GGUF file, as llama.cpp and what is built on it read it.

Models of the architectures below with tokenizers of byte-level BPE or SentencePiece's BPE, by the ``gguf`` package's
writer and its names of tensors. What llama.cpp fixes, and a configuration or a tokenizer has otherwise, is refused. Not
here: other tokenizers, formats below eight bits (llama.cpp's own tools make those from a file of 16 bits).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["f32", "f16", "bf16", "q8_0"]

_ARCHITECTURES = {
    "LlamaForCausalLM": "LLAMA",
    "MistralForCausalLM": "LLAMA",
    "Qwen2ForCausalLM": "QWEN2",
    "Qwen3ForCausalLM": "QWEN3",
    "SmolLM3ForCausalLM": "SMOLLM3",
    "Phi3ForCausalLM": "PHI3",
    "Olmo2ForCausalLM": "OLMO2",
    "GraniteForCausalLM": "GRANITE",
    "Gemma2ForCausalLM": "GEMMA2",
    "Gemma3ForCausalLM": "GEMMA3",
}
_INTERLEAVED = ("LLAMA", "SMOLLM3", "GRANITE")
"""Architectures for which llama.cpp turns neighbours by position, where transformers turns two halves."""
_PERIODS = {"GEMMA2": 2, "GEMMA3": 6}
"""Of so many layers, the last one sees all tokens, and the others a window."""
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_SPLITS = {(_QWEN2, False): "qwen2", (_LLAMA3, True): "llama-bpe", (_LLAMA3, False): "dbrx"}
"""llama.cpp's names by how a text is cut, and whether a piece that is a token is taken without merging."""
_ENDS = ("eos", "eot", "eom")
"""The roles in which a file names tokens that end an answer."""
_SPACE = "\u2581"
"""How vocabularies of SentencePiece write a space."""
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_PROBE = "In 2024, “Zoë” said:\n\n\t你好   🙂 e\u0301 ﬁ Ⅳ  ok"
"""Text that a tokenizer may normalise: combining marks, ligatures, white space."""


def write_gguf(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, precision: Precision, name: str
) -> None:
    """Writes ``model`` with its tokenizer and chat template; matrices in ``precision``, vectors in float32.

    Raises ``ModelError`` for an architecture or a tokenizer that it does not know.
    """
    import gguf

    config: Any = model.config
    kind = type(model).__name__
    if obstacle := _obstacle(kind, config):
        raise ModelError(
            f"{kind} with {obstacle} cannot be written as GGUF; export it as merged, and convert it with llama.cpp"
            if kind in _ARCHITECTURES
            else f"{kind} cannot be written as GGUF, only {', '.join(_ARCHITECTURES)}; export it as merged, and"
            " convert it with llama.cpp"
        )
    architecture = gguf.MODEL_ARCH[_ARCHITECTURES[kind]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        _add_shape(writer, config, name, precision)
        _add_own(writer, config, _ARCHITECTURES[kind])
        _add_tokenizer(writer, tokenizer, config.vocab_size)
        _add_ends(writer, model, tokenizer.eos_token_id)
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


def _obstacle(kind: str, config: Any) -> str | None:
    """What of a model llama.cpp would compute otherwise; None where it computes the same."""
    architecture = _ARCHITECTURES.get(kind)
    if architecture is None:
        return kind
    layers = range(1, config.num_hidden_layers + 1)
    for rope in _positions(config).values():
        if rope["rope_type"] != "default" and not (rope["rope_type"] == "llama3" and architecture == "LLAMA"):
            return f"{rope['rope_type']} positions"
    if architecture in _PERIODS:
        wide = ["sliding_attention" if place % _PERIODS[architecture] else "full_attention" for place in layers]
        if config.layer_types != wide:
            return f"windows other than on all but every {_PERIODS[architecture]}th layer"
        if config.query_pre_attn_scalar != config.head_dim or not config.tie_word_embeddings:
            return "a query scale of its own or an output layer of its own"
    elif getattr(config, "sliding_window", None) is not None:
        return f"a window of {config.sliding_window} tokens"
    if architecture == "SMOLLM3" and config.no_rope_layers != [int(place % 4 > 0) for place in layers]:
        return "positions left out other than on every 4th layer"
    return None


def _positions(config: Any) -> dict[str, dict[str, Any]]:
    """The parameters of positions by kind of layer; of one kind where all layers share them."""
    found = config.rope_parameters
    return {"full_attention": found} if "rope_type" in found else found


def _add_own(writer: Any, config: Any, architecture: str) -> None:
    """What an architecture has beside a Llama's shape."""
    if architecture == "GRANITE":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if architecture in _PERIODS:
        writer.add_sliding_window(config.sliding_window)
        if config.attn_logit_softcapping:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if local := _positions(config).get("sliding_attention"):
        writer.add_rope_freq_base_swa(local["rope_theta"])


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
    rope = _positions(config)["full_attention"]
    writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """The vocabulary in the order of ids, one for each of the ``size`` rows of the embedding, and what begins a text.

    Added tokens beyond them, which the model cannot read, are left out.
    """
    import gguf

    backend: Any = tokenizer
    made = json.loads(backend.backend_tokenizer.to_str())
    if made["model"]["type"] != "BPE":
        raise _no_form(f"is of the kind {made['model']['type']}, not BPE,")
    vocabulary = made["model"]["vocab"]
    if max(vocabulary.values(), default=0) >= size:
        raise _no_form(f"has more tokens than the model, which has {size},")
    made["added_tokens"] = [added for added in made["added_tokens"] if added["id"] < size]
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [gguf.TokenType.UNUSED] * size
    for token, place in vocabulary.items():
        tokens[place], types[place] = token, gguf.TokenType.NORMAL
    for added in made["added_tokens"]:
        special = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], special
    if made["model"].get("byte_fallback"):
        _add_pieces(writer, tokenizer, made, tokens, types)
    else:
        merges = made["model"]["merges"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre_tokenizer(made))
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for role in ("bos", "pad"):
        token_id = getattr(tokenizer, f"{role}_token_id")
        if token_id is not None and token_id < size:
            getattr(writer, f"add_{role}_token_id")(token_id)
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(str(tokenizer.chat_template))


def _add_ends(writer: Any, model: PreTrainedModel, own: int | None) -> None:
    """The tokens after which an answer is over: the tokenizer's ``own``, and those that the model names.

    Raises ``ModelError`` for more than a file has roles for.
    """
    named = model.generation_config.eos_token_id if model.generation_config else None
    ends = dict.fromkeys((own, *(named if isinstance(named, list) else [named])))
    ids = [token for token in ends if isinstance(token, int) and token < model.config.vocab_size]
    if len(ids) > len(_ENDS):
        raise ModelError(
            f"{len(ids)} tokens end the model's answers, and a GGUF file names {len(_ENDS)}; export it as merged"
        )
    for role, token in zip(_ENDS, ids, strict=False):
        getattr(writer, f"add_{role}_token_id")(token)


def _no_form(reason: str) -> ModelError:
    return ModelError(
        f"the tokenizer {reason} and cannot be written as GGUF; export the model as merged, and convert it with"
        " llama.cpp"
    )


def _add_pieces(
    writer: Any, tokenizer: PreTrainedTokenizerBase, made: dict[str, Any], tokens: list[str], types: list[Any]
) -> None:
    """What a vocabulary of SentencePiece has beside its tokens; ``tokens`` and ``types`` become those of GGUF."""
    import gguf

    kinds, model = gguf.TokenType, made["model"]
    for token, place in model["vocab"].items():
        if _BYTE.fullmatch(token):
            types[place] = kinds.BYTE
        elif token == model["unk_token"]:
            types[place] = kinds.UNKNOWN
            writer.add_unk_token_id(place)
    if types.count(kinds.BYTE) < 256:
        raise _no_form("has no token for some bytes")
    scores = _scores(model, {token for token, kind in zip(tokens, types, strict=True) if kind == kinds.NORMAL})
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([scores.get(token, -float(len(scores))) for token in tokens])
    writer.add_add_space_prefix(_begins_with_a_space(tokenizer, made))
    for place, kind in enumerate(types):
        if kind == kinds.USER_DEFINED:  # llama.cpp looks for it in the text as it is
            tokens[place] = tokens[place].replace(_SPACE, " ")


def _scores(model: dict[str, Any], pieces: set[str]) -> dict[str, float]:
    """How early a token is merged, by token: llama.cpp joins any two pieces that make a token, the best token first.

    Raises ``ModelError`` where the tokenizer joins others of the ``pieces``, or in an order that this does not give.
    """
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    known, vocabulary = set(merges), model["vocab"]
    scores: dict[str, float] = {}
    alike = True
    for token, _ in groupby("".join(merge) for merge in merges):
        alike = alike and not (token in scores and token in pieces)
        scores.setdefault(token, -float(len(scores)))
    for token in pieces:
        halves = ((token[:place], token[place:]) for place in range(1, len(token)))
        alike = alike and all(pair in known for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary)
    if model.get("ignore_merges") or not alike:
        raise _no_form("joins the pieces of words by rules other than llama.cpp's")
    return scores


def _begins_with_a_space(tokenizer: PreTrainedTokenizerBase, made: dict[str, Any]) -> bool:
    """Whether llama.cpp is to put a space before a text, and behind every added token in it.

    That is, whether it then cuts a conversation as the tokenizer does, or, where it does either way, a word alone.
    Raises ``ModelError`` where it does in no way.
    """
    turns, talk = [{"role": role, "content": _PROBE} for role in ("user", "assistant", "user")], _PROBE
    if tokenizer.chat_template:
        talk = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    begin = str(tokenizer.bos_token or "")
    if begin and not talk.startswith(begin) and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:
        talk = begin + talk

    def same(text: str, space: bool) -> bool:
        expected: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return _cut(tokenizer, made, text, space) == expected

    fitting = [space for space in (True, False) if same(talk, space)]
    if not fitting:
        raise _no_form("changes or splits text differently from llama.cpp")
    return next((space for space in fitting if same("a", space)), fitting[0])


def _cut(tokenizer: PreTrainedTokenizerBase, made: dict[str, Any], text: str, space: bool) -> list[int]:
    """The ids of ``text`` as llama.cpp makes them: it takes out added tokens, and joins pieces of what is between."""
    backend: Any = tokenizer
    added = {token["content"]: token["id"] for token in made["added_tokens"]}
    pattern = "|".join(re.escape(token) for token in sorted(added, key=len, reverse=True))
    ids: list[int] = []
    for place, part in enumerate(re.split(f"({pattern})", text) if added else [text]):
        if place % 2:
            ids.append(added[part])
        elif part:
            spaced = (" " * space + part).replace(" ", _SPACE)
            ids += [token.id for token in backend.backend_tokenizer.model.tokenize(spaced)]
    return ids


def _pre_tokenizer(made: dict[str, Any]) -> str:
    """llama.cpp's name for the way the tokenizer cuts a text. Raises ``ModelError`` where it has no equal one."""
    all_steps = made["pre_tokenizer"] or {"type": "none"}
    steps = all_steps.get("pretokenizers", [all_steps])
    kinds, whole = [step["type"] for step in steps], bool(made["model"].get("ignore_merges"))
    if kinds == ["ByteLevel"] and steps[0]["use_regex"] and not whole:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and steps[1]["use_regex"] and not whole:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and (found := _SPLITS.get((steps[0]["pattern"].get("Regex", ""), whole))):
        return found
    raise _no_form(f"cuts text by rules ({', '.join(kinds)}) that llama.cpp does not have")


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every weight once, under transformers' name, in float32 and in the order of llama.cpp."""
    import numpy as np

    config: Any = model.config
    architecture = _ARCHITECTURES[type(model).__name__]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.named_parameters():  # a tied head is named once, as the embedding
        values = weight.detach().float().cpu().numpy()
        part = name.split(".")[-2]
        if architecture in _INTERLEAVED and part in heads:
            values = _interleaved(values, heads[part])
        elif architecture in _PERIODS and part.endswith("norm"):
            values = values + np.float32(1)  # Gemma's norms are kept as what is added to one
        yield name, values
    rope = _positions(config)["full_attention"]
    if rope["rope_type"] == "llama3":
        turned: Any = model.base_model
        inverse = turned.rotary_emb.inv_freq.float().cpu().numpy()
        plain = rope["rope_theta"] ** -(np.arange(len(inverse), dtype=np.float32) / len(inverse))
        yield "rope.freqs.weight", (plain / inverse).astype(np.float32)


def _interleaved(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of a projection so that the two halves that a rotation turns stand beside each other, as Llama's do."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
