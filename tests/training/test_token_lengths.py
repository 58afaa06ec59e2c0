"""Lengths are those of the rendered rows, and every conversation is counted once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lorag.training.data.inspection import Finding
from lorag.training.data.token_lengths import Lengths, Segment, token_report
from lorag.types import Conversation, Message

TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'user' %}{{ raise_exception('no user first') }}"
    "{% endif %}<{{ m['role'] }}> {{ m['content'] }} <end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def words():
    """A tokenizer in which every word is one token."""
    names = ["<unk>", "<user>", "<assistant>", "<end>", *(f"w{n}" for n in range(10))]
    made = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(name, special=True) for name in names[:4]])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def conversation(question, answer, *before):
    return Conversation((*before, Message("user", question), Message("assistant", answer)))


def test_every_conversation_is_counted_and_long_ones_are_named(words):
    rows = [(str(n), conversation("w0 " * n, "w1 w2")) for n in (20, 1, 2, 3)]
    report = token_report("words", words, rows, max_tokens=15)
    # <user> question <end> <assistant> w1 w2 <end>
    assert report.conversations == Lengths(min=7, median=8, p95=26, max=26)
    assert report.answers == Lengths(3, 3, 3, 3)
    assert (report.too_long, report.refused) == (Finding(1, ("20",)), ())
    assert report.example == (Segment("<user> w0 <end> <assistant>", False), Segment("w1 w2 <end>", True))


def test_what_the_template_refuses_is_named_with_the_reason(words):
    rows = [("1", conversation("w0", "w1")), ("2", conversation("w0", "w1", Message("assistant", "w2")))]
    report = token_report("words", words, rows, max_tokens=4)
    (refused,) = report.refused
    assert refused.first == ("2",)
    assert "refuses turns of assistant, user, assistant: no user first" in refused.reason
    assert (report.too_long.rows, report.example) == (1, ())
    nothing = token_report("words", words, rows[1:], max_tokens=4)
    assert (nothing.conversations, nothing.answers) == (None, None)


@given(lengths=st.lists(st.integers(1, 1000), min_size=1))
def test_the_summary_is_of_lengths_that_occur_and_covers_its_share(lengths):
    found = Lengths.of(lengths)
    assert (found.min, found.max) == (min(lengths), max(lengths))
    for share, value in ((0.5, found.median), (0.95, found.p95)):
        assert value in lengths
        assert sum(n <= value for n in lengths) >= share * len(lengths)
        assert sum(n < value for n in lengths) < share * len(lengths)


def test_plain_text_is_learned_whole_and_cut_where_it_is_long(words):
    texts = [(str(n), Conversation((Message("text", "w0 " * n),))) for n in (20, 3)]
    report = token_report("words", words, [*texts, ("chat", conversation("w0", "w1"))], max_tokens=15)
    assert (report.too_long.rows, report.cut) == (0, Finding(1, ("20",)))
    assert report.text == (Segment("w0", False), Segment("w0 w0", True))
    assert report.example == (Segment("<user> w0 <end> <assistant>", False), Segment("w1 <end>", True))
    assert report.conversations == Lengths(min=3, median=6, p95=20, max=20)
    assert report.answers == Lengths(min=2, median=2, p95=19, max=19)
