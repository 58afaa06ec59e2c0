"""What is held out: other wordings of what is learned where there are any, else documents that nothing learned saw."""

from lorag.settings import FinetuneSettings
from lorag.training.data.holdout import split
from lorag.types import Conversation, Message


def asked(question: str, answer: str, *evidence: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), evidence)


def test_other_wordings_of_learned_facts_are_held_out():
    data = [
        asked(f"{wording} {n}?", f"It is {n}.", f"{n}.md") for n in range(100) for wording in ("What is", "Tell me")
    ]
    made = split(data, FinetuneSettings(held_out_share=0.1))
    assert made.kind == "wordings"
    assert sorted(map(str, (*made.learned, *made.held_out))) == sorted(map(str, data))
    assert 10 <= len(made.held_out) <= 30
    learned = {(c.evidence, c.messages[-1].content): c.question for c in made.learned}
    for conversation in made.held_out:
        assert learned[conversation.evidence, conversation.messages[-1].content] != conversation.question


def test_without_other_wordings_whole_documents_are_held_out():
    data = [asked(f"Question {n}?", f"Answer number {n} it is.", f"{n % 20}.md") for n in range(200)]
    made = split(data, FinetuneSettings(held_out_share=0.3))
    assert made.kind == "documents"
    assert len(made.learned) + len(made.held_out) == 200
    assert 10 < len(made.held_out) < 140
    assert not {c.evidence for c in made.learned} & {c.evidence for c in made.held_out}


def test_a_short_answer_alone_is_no_fact_and_a_repeated_question_no_wording():
    assert (
        split([asked(f"Is it {n}?", "Yes.") for n in range(50)], FinetuneSettings(held_out_share=0.2)).kind
        == "documents"
    )
    repeated = [asked(f"Question {n}?", "It is a long answer.", f"{n}.md") for n in range(50)] * 2
    made = split(repeated, FinetuneSettings(held_out_share=0.2))
    assert made.kind == "documents"
    assert not {c.question for c in made.learned} & {c.question for c in made.held_out}


def test_nothing_is_held_out_when_nothing_is_asked_for_or_nothing_would_be_left():
    data = [asked("Why?", "Because it is so, they say.", "a.md")]
    for share in (0.0, 0.49):
        made = split(data, FinetuneSettings(held_out_share=share))
        assert made.learned == tuple(data)
        assert made.held_out == ()
        assert made.kind == "none"
    assert split([], FinetuneSettings()).learned == ()


def test_plain_text_is_held_out_by_document_and_is_no_wording():
    data = [Conversation((Message("text", f"Part {n} of it."),), (f"{n % 20}.md",)) for n in range(200)]
    made = split(data, FinetuneSettings(held_out_share=0.3))
    assert made.kind == "documents"
    assert 10 < len(made.held_out) < 140
    assert not {c.evidence for c in made.learned} & {c.evidence for c in made.held_out}
    nameless = split([Conversation(text.messages) for text in data], FinetuneSettings(held_out_share=0.3))
    assert 20 < len(nameless.held_out) < 100
    same = [Conversation((Message("text", "Korrin makes tide gauges."),), ("a.md",)), asked("Why?", "So.", "a.md")]
    same.append(asked("What does it make?", "Korrin makes tide gauges.", "a.md"))
    assert split(same, FinetuneSettings(held_out_share=0.49)).kind == "none"
