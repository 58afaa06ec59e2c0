"""Repeats, contradictions and test questions are found where they are, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from lorag.training.data.inspection import Finding, by_reason, contradicting, overlap, repeated
from lorag.types import Conversation, Message

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12).map(" ".join)


def placed(*dialogues):
    """Conversations of ``question > answer > question > …``, placed by their number from 1."""
    made = []
    for number, dialogue in enumerate(dialogues, start=1):
        texts = dialogue.split(" > ")
        turns = tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
        made.append((str(number), Conversation(turns)))
    return made


def test_a_finding_counts_all_rows_and_names_the_first():
    assert Finding.at([str(n) for n in range(9)]) == Finding(9, ("0", "1", "2", "3", "4"))
    refused = [("1", "no text"), ("2", "no role"), ("3", "no role")]
    assert by_reason(refused) == (Finding(2, ("2", "3"), "no role"), Finding(1, ("1",), "no text"))


def test_a_repeat_is_equal_word_for_word_to_an_earlier_row():
    assert repeated(placed("a > b", "a > c", "a > b", "A > b", "a > b > a > b")).first == ("3",)


def test_a_contradiction_is_the_same_question_with_another_answer():
    rows = placed("Why? > b", "why? > B", "Why? > c", "x > y", "Why? > b > Why? > c", "x > y > Why? > z")
    assert contradicting(rows, str.lower).first == ("1", "2", "3")


def test_test_questions_are_found_in_any_turn_of_the_user():
    rows = placed("Who is it? > b", "x > y > WHO IS IT? > z", "x > who is it?", "who is he? > b")
    same, near = overlap(rows, ["who is it?"], str.lower)
    assert (same.first, near.first) == (("1", "2"), ())


@given(questions=st.lists(WORDS, max_size=6), asked=st.lists(WORDS, min_size=1, max_size=6))
def test_near_questions_share_four_fifths_of_their_words_or_hold_the_other_one(questions, asked):
    def near(text, question):
        one, other = set(text.split()), set(question.split())
        holds = len(question.split()) >= 3 and f" {question} " in f" {text} "
        return holds or len(one & other) / len(one | other) >= 0.8

    rows = placed(*(f"{question} > x" for question in asked))
    expected = [q not in questions and any(near(q, question) for question in questions) for q in asked]
    found = overlap(rows, questions, str)[1]
    assert found == Finding.at([str(i) for i, is_near in enumerate(expected, start=1) if is_near])


def test_plain_text_contradicts_nothing_and_asks_what_it_holds():
    texts = ["It is here.", "It is there.", "He asked: who is it? Nobody knew.", "who is it", "So who is it then"]
    rows = [(str(n), Conversation((Message("text", text),))) for n, text in enumerate(texts)]
    assert contradicting(rows, str.lower).rows == 0
    same, near = overlap(rows, ["Who is it?", "So who is it now then"], lambda text: text.lower().replace("?", ""))
    assert (same.first, near.first) == (("2", "3", "4"), ())
    assert overlap(rows[4:], ["So who is it now then"], str.lower)[1].first == ("4",)
