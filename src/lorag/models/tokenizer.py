"""A model's tokenizer and chat template alone: what is to be known of lengths and rendering without the weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PLAIN_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
    "{% elif m['role'] == 'user' %}User: {{ m['content'] }}\n"
    "{% else %}Assistant: {{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The chat template of a base model, which brings none."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a model's folder, with a plain chat template where it has none, and a warning of that.

    Raises ``ModelError`` when its files are missing or damaged.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # the library for tokenizer.json has no errors of its own
        raise ModelError(f"the tokenizer in {str(folder)!r} does not load: {error}") from error
    if not tokenizer.chat_template and tokenizer.eos_token:
        tokenizer.chat_template = PLAIN_TEMPLATE
        warnings.warn(
            f"{folder.name} is a base model without a chat template: turns are written as 'User: ...' and"
            " 'Assistant: ...'; it answers well only once it is finetuned; or use an instruction-tuned model",
            stacklevel=2,
        )
    return tokenizer
