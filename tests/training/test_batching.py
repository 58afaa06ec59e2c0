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
    whole = sum(int(batch.mask.sum()) + len(batch.prefix) * len(batch.ids) for batch in made)
    assert whole == rendered.tokens
    assert sum(int((batch.labels != IGNORED).sum()) for batch in made) == rendered.supervised_tokens


def test_labels_are_the_supervised_ids_and_lie_at_the_right_edge(rendered):
    for batch in batches(rendered.kept, 400):
        chosen = batch.labels != IGNORED
        assert torch.equal(batch.labels[chosen], batch.ids[chosen])
        assert chosen[:, : -batch.answer_tokens].any().item() is False
        assert chosen[:, -batch.answer_tokens].any()
        assert (batch.mask[:, -1] == 1).all()


def test_the_shared_prefix_is_what_all_rows_begin_with(smollm):
    data = [conversation(question, "Because.") for question in ("Why is it so?", "How come?")]
    kept = rows(smollm.weights.tokenizer, data, 512).kept
    (batch,) = batches(kept, 512)
    shared = len(batch.prefix)
    assert shared > 20
    assert {row.ids[:shared] for row in kept} == {tuple(batch.prefix.tolist())}
    assert len({row.ids[shared] for row in kept}) == 2
    assert all(len(alone.prefix) == 0 for alone in batches(kept, 1))


def test_loss_and_gradient_are_those_of_the_library_on_whole_rows(smollm_own, rendered):
    model = smollm_own.weights.model
    picked = list(rendered.kept[:5])
    weight = model.model.layers[0].self_attn.q_proj.weight
    total = sum(sum(row.supervised) for row in picked)
    expected = 0.0
    for row in picked:
        ids = torch.tensor([row.ids])
        labels = torch.where(torch.tensor([row.supervised]), ids, IGNORED)
        loss = model(ids, labels=labels).loss * (sum(row.supervised) / total)
        loss.backward()
        expected += loss.item()
    theirs, weight.grad = weight.grad.clone(), None
    (batch,) = batches(picked, 4096)
    assert len(batch.prefix) > 0
    ours = batch_loss(model, batch)
    ours.backward()
    assert ours.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(weight.grad, theirs, rtol=1e-3, atol=1e-6)


def test_rows_beyond_the_limit_are_counted_and_never_cut(smollm):
    data = [conversation("Why?", "Because."), conversation("Why? " * 300, "Because.")]
    kept = rows(smollm.weights.tokenizer, data, 200)
    assert (len(kept.kept), kept.too_long) == (1, 1)
    with pytest.raises(InputError, match="every conversation is longer than max_tokens=8"):
        rows(smollm.weights.tokenizer, data, 8)
