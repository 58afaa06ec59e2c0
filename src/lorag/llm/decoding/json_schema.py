"""An answer that keeps to a JSON schema: before each token, those that would break it are taken out (llguidance)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from lorag.errors import InputError, require

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def _llguidance() -> Any:
    return require("llguidance", "serve", "an answer in JSON")


def schema_grammar(schema: str) -> str:
    """The grammar of all texts that keep to the schema, which is JSON text.

    Raises ``InputError`` for JSON that is not a schema, and for a schema that cannot be enforced.
    """
    matcher = _llguidance().LLMatcher
    grammar: str = matcher.grammar_from_json_schema(schema)
    if problem := matcher.validate_grammar(grammar):
        raise InputError(f"this JSON schema cannot be enforced: {problem.splitlines()[0]}; correct it")
    return grammar


def schema_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: int, ends: Collection[int]) -> Any:
    """The tokens of a model with as many logits as ``vocabulary``, as llguidance takes them: made once, in a second."""
    _llguidance()
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(ends))  # type: ignore[arg-type]


class SchemaConstraint:
    """The tokens that may follow in one answer."""

    def __init__(self, tokens: Any, schema: str) -> None:
        """With what ``schema_tokens`` made. Raises ``InputError`` as ``schema_grammar`` does."""
        self._matcher = _llguidance().LLMatcher(tokens, schema_grammar(schema))

    def allowed(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of shape ``(1, vocabulary)``, those of every other token at minus infinity."""
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: logits.shape[-1]].astype(bool)
        return logits.masked_fill(~torch.from_numpy(mask), -torch.inf)

    def say(self, token: int) -> None:
        """Takes in the next token of the answer. Raises ``InputError`` where the grammar has become too large."""
        self._matcher.consume_token(token)
        if problem := self._matcher.get_error():
            raise InputError(f"no answer can be held to this JSON schema: {problem.splitlines()[0]}; make it simpler")
