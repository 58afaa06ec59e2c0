"""Batches hold every row once, whole, under their budget of distinct tokens."""

import pytest

from lorag.errors import InputError
from lorag.llm.rendering import Rendered
from lorag.training.kernels.batching import batches, rows
from lorag.training.kernels.supervised_tree import supervised_tree
from lorag.types import Conversation, Message


def conversation(question: str, answer: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)))


def test_every_row_is_in_one_batch_and_batches_keep_their_budget(smollm):
    data = [conversation("Why? " * n, "Because. " * (n % 5 + 1)) for n in range(1, 14)]
    kept = rows(smollm.weights.tokenizer, data, 512).kept
    made = batches(kept, 160)
    assert sorted(row.ids for batch in made for row in batch) == sorted(row.ids for row in kept)
    assert 1 < len(made) < len(kept)
    assert all(len(supervised_tree(batch).tokens.ids) <= 160 or len(batch) == 1 for batch in made)
    lengths = [len(row.ids) for batch in made for row in batch]
    assert lengths == sorted(lengths)


def test_what_all_rows_begin_with_counts_once_a_batch():
    alike = [Rendered((*range(90), n), (False,) * 90 + (True,)) for n in range(100, 120)]
    assert [len(batch) for batch in batches(alike, 100)] == [10, 10]
    assert [len(batch) for batch in batches(alike, 100, batch_rows=8)] == [8, 8, 4]
    assert [len(batch) for batch in batches(alike[:1], 10)] == [1]  # a row over the budget goes alone
    assert batches([], 100) == []


def test_rows_beyond_the_limit_are_counted_and_never_cut(smollm):
    data = [conversation("Why?", "Because."), conversation("Why? " * 300, "Because.")]
    kept = rows(smollm.weights.tokenizer, data, 200)
    assert (len(kept.kept), kept.too_long) == (1, 1)
    with pytest.raises(InputError, match="every conversation is longer than max_tokens=8"):
        rows(smollm.weights.tokenizer, data, 8)


def text(words: str) -> Conversation:
    return Conversation((Message("text", words),))


@pytest.mark.parametrize("max_tokens", [2, 7, 50, 51, 1000])
def test_long_text_is_learned_in_windows_each_token_once(smollm, max_tokens):
    tokenizer = smollm.weights.tokenizer
    words = " The gauge of pier nine reads the tide in millimetres." * 5
    whole = tokenizer(words)["input_ids"]
    made = rows(tokenizer, [text(words)], max_tokens)
    assert all(len(row.ids) <= max_tokens for row in made.kept)
    assert [t for row in made.kept for t, learned in zip(row.ids, row.supervised, strict=True) if learned] == whole[1:]
    assert made.kept[0].ids[0] == whole[0]
    assert (made.supervised_tokens, made.too_long) == (len(whole) - 1, 0)


def test_text_of_one_token_teaches_nothing(smollm):
    tokenizer = smollm.weights.tokenizer
    assert len(rows(tokenizer, [text("Hi"), conversation("Why?", "So.")], 200).kept) == 1
    with pytest.raises(InputError, match="no text has two tokens"):
        rows(tokenizer, [text("Hi")], 200)


def test_text_takes_no_room_from_what_conversations_share(smollm):
    data = [conversation(f"Is it {n}?", "No.") for n in range(12)]
    tokenizer = smollm.weights.tokenizer
    alone = batches(rows(tokenizer, data, 512).kept, 100)
    mixed = batches(rows(tokenizer, [*data, text("A " * 90)], 512).kept, 100)
    assert [len(batch) for batch in mixed] == [*(len(batch) for batch in alone), 1]
    assert all(len(supervised_tree(batch).tokens.ids) <= 100 for batch in mixed)
