"""Batches hold every row once, under their budget, and ask for the logits of answers only."""

import pytest
import torch

from lorag.errors import InputError
from lorag.training.batching import IGNORED, batches, rows
from lorag.training.lora import batch_loss
from lorag.types import Conversation, Message


def conversation(question: str, answer: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)))


@pytest.fixture(scope="module")
def rendered(smollm):
    data = [conversation("Why? " * n, "Because. " * (n % 5 + 1)) for n in range(1, 14)]
    return rows(smollm.weights.tokenizer, data, 512)


def test_every_row_is_in_one_batch_and_batches_keep_their_budget(rendered):
    made = batches(rendered.kept, 160)
    assert sum(len(batch.ids) for batch in made) == len(rendered.kept) == 13
    assert all(batch.ids.numel() <= 160 or len(batch.ids) == 1 for batch in made)
    assert sum(int(batch.mask.sum()) for batch in made) == rendered.tokens
    assert sum(int((batch.labels != IGNORED).sum()) for batch in made) == rendered.supervised_tokens


def test_labels_are_the_supervised_ids_and_lie_at_the_right_edge(rendered):
    for batch in batches(rendered.kept, 400):
        chosen = batch.labels != IGNORED
        assert torch.equal(batch.labels[chosen], batch.ids[chosen])
        assert chosen[:, : -batch.answer_tokens].any().item() is False
        assert chosen[:, -batch.answer_tokens].any()
        assert (batch.mask[:, -1] == 1).all()


def test_the_loss_is_the_librarys_own(smollm, rendered):
    for batch in batches(rendered.kept[:6], 400):
        with torch.inference_mode():
            ours = batch_loss(smollm.weights.model, batch)
            positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
            theirs = smollm.weights.model(
                batch.ids, attention_mask=batch.mask, position_ids=positions, labels=batch.labels
            ).loss
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_rows_beyond_the_limit_are_counted_and_never_cut(smollm):
    data = [conversation("Why?", "Because."), conversation("Why? " * 300, "Because.")]
    kept = rows(smollm.weights.tokenizer, data, 200)
    assert (len(kept.kept), kept.too_long) == (1, 1)
    with pytest.raises(InputError, match="every conversation is longer than max_tokens=8"):
        rows(smollm.weights.tokenizer, data, 8)
