"""Facts get many wordings, rows that cannot stay as they are, and nothing near a test question ever comes out."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.errors import EndpointError, InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.inspection import TestQuestions
from lorag.training.data.wordings.augmentation import (
    CONTRADICTING,
    NO_ENGLISH,
    PLAIN_TEXT,
    REPEATED,
    SEVERAL_TURNS,
    TESTED,
    TOO_CLOSE,
    augment,
    wordings_per_fact,
)
from lorag.training.data.wordings.rewordings import Writer
from lorag.types import Conversation, Message


def plain(text):
    return " ".join(re.findall(r"[\w']+(?:[.]\d+)*", text.lower())) or text


def row(*texts, evidence=(), system=""):
    turns = tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return Conversation((*((Message("system", system),) if system else ()), *turns), evidence)


def asked(made):
    return [conversation.question for conversation in made.conversations]


def unasked(question, chunk):
    raise AssertionError("there are no passages to prove a wording by")


RANGE = row("What is the range of the R9?", "45 m", evidence=("r9.md",))
FOUNDER = row("Who founded Korrin?", "Ilse Vandermoor")


def test_every_fact_gets_its_wordings_behind_it_with_its_evidence():
    made = augment([RANGE, FOUNDER], plain=plain, wordings=7)
    assert (made.counts.given, made.counts.facts, made.counts.by_rules, made.counts.by_model) == (2, 2, 12, 0)
    assert made.conversations[0] == RANGE
    assert made.conversations[7] == FOUNDER
    assert {c.evidence for c in made.conversations[:7]} == {("r9.md",)}
    assert len(set(asked(made))) == 14
    assert made == augment([RANGE, FOUNDER], plain=plain, wordings=7)


def test_given_wordings_of_one_fact_count_towards_it():
    other = row("Tell me the range of an R9.", "45 m", evidence=("r9.md",))
    made = augment([RANGE, other], plain=plain, wordings=5)
    assert (made.counts.facts, made.counts.by_rules, len(made.conversations)) == (1, 3, 5)
    many = [row(f"{word} me the range of an R9.", "45 m") for word in ("Tell", "Give", "Name", "State")]
    assert augment(many, plain=plain, wordings=3).conversations == tuple(many)
    different = [row(f"Is the P{n} sold by Korrin?", "Yes") for n in range(4)]
    assert augment(different, plain=plain, wordings=3).counts.facts == 4


def test_what_has_no_single_english_question_is_kept_and_counted():
    rows = [
        row("What is it?", "A gauge.", "How heavy is it?", "4 kg"),
        row("Wie schwer ist der P2?", "4 kg"),
        row("What is the range of the R9?", "45 m"),
        row("what is the range of the R9", "50 m"),
    ]
    made = augment(rows, plain=plain)
    assert made.conversations == tuple(rows)
    assert made.counts.unchanged == {CONTRADICTING: 2, SEVERAL_TURNS: 1, NO_ENGLISH: 1}
    assert (made.counts.facts, made.counts.by_rules, made.counts.left_out) == (0, 0, 0)


def test_no_rows_one_row_and_wrong_settings():
    assert augment([], plain=plain).conversations == ()
    assert len(augment([RANGE], plain=plain).conversations) == 10
    assert augment([RANGE], plain=plain, wordings=1).conversations == (RANGE,)
    with pytest.raises(InputError, match="wordings 0 is not valid; expected at least 1"):
        augment([RANGE], plain=plain, wordings=0)


def test_an_instruction_stays_before_every_wording():
    made = augment([row("Who founded Korrin?", "Ilse Vandermoor", system="Be brief.")], plain=plain)
    assert {c.messages[0] for c in made.conversations} == {Message("system", "Be brief.")}


def test_a_value_that_two_things_share_asks_for_neither():
    other = row("What is the range of the R4?", "45 m")
    alone, both = augment([RANGE], plain=plain), augment([RANGE, other], plain=plain)
    assert "What has 45 m as its range?" in asked(alone)
    assert "What has 45 m as its range?" not in asked(both)


def test_a_wording_that_another_row_asks_is_left_to_it():
    made = augment([RANGE, row("Tell me the range of the R9.", "See the data sheet of the R9.")], plain=plain)
    assert asked(made).count("Tell me the range of the R9.") == 1
    assert made.counts.refused[REPEATED] >= 1


def test_test_questions_do_not_come_out_whoever_words_them():
    tests = ["Tell me the range of the R9.", "who founded KORRIN", "What is the reach of an R9?"]
    model = ScriptedModel(lambda prompt: "What is the reach of an R9?\nHow far does the R9 see?")
    rows = [RANGE, FOUNDER, row("Hello. Who founded Korrin?", "Ilse.", "When?", "In 2014.")]
    made = augment(rows, plain=plain, exclude=tests, writer=Writer(model, unasked))
    assert made.counts.left_out == 2
    assert made.counts.refused[TESTED] >= 2
    assert "How far does the R9 see?" in asked(made)
    assert not set(map(plain, tests)) & set(map(plain, asked(made)))


def test_a_models_wordings_stand_between_those_of_the_rules_when_they_are_new_enough():
    lines = "How far does the R9 see?\nWhat is, the range of the R9?\nTell me, the range of the R9, please?"
    made = augment([RANGE], plain=plain, writer=Writer(ScriptedModel(lambda prompt: lines), unasked))
    assert (made.counts.by_model, made.counts.unproven, made.counts.by_rules) == (1, 1, 8)
    assert asked(made).index("How far does the R9 see?") == 6
    assert made.counts.refused[TOO_CLOSE] >= 1


def test_rows_in_other_languages_are_left_to_the_model():
    writer = Writer(ScriptedModel(lambda prompt: "Wie viel wiegt ein P2?"), unasked)
    made = augment([row("Wie schwer ist der P2?", "4 kg")], plain=plain, writer=writer)
    assert asked(made) == ["Wie schwer ist der P2?", "Wie viel wiegt ein P2?"]


def test_a_model_that_stops_leaves_the_rules_and_the_number_to_go():
    def stops(prompt):
        raise EndpointError("the server is gone")

    made = augment([RANGE, FOUNDER], plain=plain, writer=Writer(ScriptedModel(stops), unasked))
    assert (made.counts.stopped, made.counts.unwritten, made.counts.by_model) == ("the server is gone", 2, 0)
    assert made.counts.by_rules > 10


THINGS = st.sampled_from(["the R9", "the P2", "Go 1.25", "Korrin", "an Ebbmark"])
QUESTIONS = st.one_of(
    st.builds("What is the {} of {}?".format, st.sampled_from(["range", "weight", "newest release"]), THINGS),
    st.builds("{} {} first {}?".format, st.sampled_from(["When was", "Where was"]), THINGS, st.sampled_from(["sold"])),
    st.builds("{} the {} of {}.".format, st.sampled_from(["Tell me", "Name"]), st.sampled_from(["range"]), THINGS),
    st.builds("How {} is {}?".format, st.sampled_from(["heavy", "long"]), THINGS),
    st.lists(st.sampled_from(["what", "is", "the", "range", "of", "R9", "tell", "me", "a"]), max_size=8).map(" ".join),
)
ANSWERS = st.sampled_from(["45 m", "2025-08-12", "Yes", "Mara Lind"])
CONVERSATIONS = st.lists(st.tuples(QUESTIONS.filter(str.strip), ANSWERS))


@settings(deadline=None)
@given(facts=CONVERSATIONS, written=st.lists(QUESTIONS, max_size=4), data=st.data())
def test_nothing_near_an_excluded_question_is_ever_returned(facts, written, data):
    rows = [row(question, answer) for question, answer in facts]
    writer = Writer(ScriptedModel(lambda prompt: "\n".join(written)), unasked)
    could = [c.question for c in augment(rows, plain=plain, writer=writer).conversations]
    exclude = data.draw(st.lists(st.one_of(QUESTIONS, st.sampled_from(could) if could else QUESTIONS), max_size=4))
    made = augment(rows, plain=plain, exclude=exclude, writer=writer)
    for question in asked(made):
        words = set(plain(question).split())
        for test in exclude:
            tested = set(plain(test).split())
            assert plain(question) != plain(test)
            assert 5 * len(words & tested) < 4 * len(words | tested), (question, test)
            assert len(tested) < 3 or f" {plain(test)} " not in f" {plain(question)} "
    tests = TestQuestions(exclude, plain)
    assert made.counts.left_out == sum(tests.repeats(question) for question, _ in facts)


def test_plain_text_stays_as_it_is_unless_it_holds_a_test_question():
    texts = [
        Conversation((Message("text", text),)) for text in ("The R9 reaches 45 m.", "FAQ. Who founded Korrin? Ilse.")
    ]
    made = augment([RANGE, *texts], plain=plain, exclude=["Who founded Korrin?"], wordings=2)
    assert made.conversations == (RANGE, made.conversations[1], texts[0])
    assert (made.counts.unchanged, made.counts.left_out) == ({PLAIN_TEXT: 1}, 1)


def test_conversations_with_one_value_about_the_same_documents_state_one_fact():
    def row(question, answer, document="a"):
        return Conversation((Message("user", question), Message("assistant", answer)), (document,))

    wide = row("How wide is the P1?", "The P1 is 80 cm wide.")
    other = row("What is the width of the P1?", "It measures 80 cm.")
    sourced = row("Sources:\n[1] The P1 is 80 cm wide.\n\nHow wide is the P1?", "The P1 is 80 cm wide.")
    text = Conversation((Message("text", "The P1 is 80 cm wide."),), ("a",))
    closed = [row(q, f"{a} Korrin Support.") for q, a in (("How wide?", "It is 5 m."), ("The width?", "It has 5 m."))]
    assert wordings_per_fact(closed) == 2
    assert wordings_per_fact([]) == 1
    assert wordings_per_fact([wide, other, sourced, text]) == 2
    assert wordings_per_fact([wide, other, row("How high is the P1?", "It is 1.2 m high.")]) == 1.5
    assert wordings_per_fact([wide, row("How wide is the P2?", "The P2 is 80 cm wide.", "b")]) == 1
