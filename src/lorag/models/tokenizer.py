"""A model's tokenizer and chat template alone: what is to be known of lengths and rendering without the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a model's folder. Raises ``ModelError`` when its files are missing or damaged."""
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the tokenizer in {str(folder)!r} does not load: {error}") from error
    return tokenizer
