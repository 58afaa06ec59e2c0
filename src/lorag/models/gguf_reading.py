"""GGUF weights, once converted, are an ordinary model folder that trains, saves and loads in about a second."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

from lorag.files import storage_errors
from lorag.models.quiet import quiet_transformers


def convert(gguf: Path, folder: Path, pad_token: str | None) -> None:
    """Writes the model and tokenizer of a GGUF file into ``folder`` as transformers saves them.

    The weights are dequantised, or the model would be marked as quantised and neither train nor save, and stored
    as float16, which holds a 4-bit weight to within 2^-11 in half the space. ``pad_token`` must not be the token
    that ends a turn. The tokenizer's own length limit is absent in GGUF; the model's is taken.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # The conversion draws a bar of its own on the error stream.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        if pad_token is not None:
            tokenizer.pad_token = pad_token
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        with storage_errors(folder):
            model.half().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
