"""A second tokenizer, of another family."""

import pytest
from transformers import PreTrainedTokenizerBase

from lorag.models import catalogue
from lorag.models.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def qwen_tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(catalogue.fetch("qwen2.5-coder-0.5b"))
