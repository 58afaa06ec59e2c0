"""Rules word a question and its answer as people do, build only sentences they can build, and never change a fact."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.training.data.wordings.paraphrases import paraphrases, reversed_question, value_of
from lorag.training.data.wordings.question_parsing import parse_question

VOCABULARY = (
    "what which who whom where when how much many long is are was does did must the a of in to Korrin P2 gauge battery"
    " last reach cost weigh released founded and , . ? that 45 m Tell me name"
)
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.lists(WORDS, max_size=14).map(" ".join) | st.text(max_size=40)

MADE = [
    (
        ("What is the measuring range of the R9?", "45 m"),
        ("Complete: The measuring range of the R9 is …", "The measuring range of the R9 is 45 m."),
        "Tell me the measuring range of the R9.",
        "What is the R9's measuring range?",
        "R9: measuring range?",
        "I have a question about the R9. What is its measuring range?",
    ),
    (
        ("When does Go 1.25 reach end of life?", "2026-08-19"),
        ("Complete: Go 1.25 reaches end of life on …", "Go 1.25 reaches end of life on 2026-08-19."),
        "Can you tell me when Go 1.25 reaches end of life?",
        "On what date does Go 1.25 reach end of life?",
    ),
    (
        ("When was Go 1.25 first released?", "August 12, 2025"),
        ("Complete: Go 1.25 was first released on …", "Go 1.25 was first released on August 12, 2025."),
        "Tell me when Go 1.25 was first released.",
    ),
    (
        ("On what date did Go 1.25 come out?", "2025-08-12"),
        ("Complete: Go 1.25 came out on …", "Go 1.25 came out on 2025-08-12."),
        "When did Go 1.25 come out?",
    ),
    (
        ("Which patch release of Go 1.24 is the newest?", "1.24.3"),
        ("Complete: The newest patch release of Go 1.24 is …", "The newest patch release of Go 1.24 is 1.24.3."),
        "What is the newest patch release of Go 1.24?",
    ),
    (
        ("Which city hosts Korrin's office?", "Halifax"),
        ("Complete: The city that hosts Korrin's office is …", "The city that hosts Korrin's office is Halifax."),
        "What city hosts Korrin's office?",
    ),
    (
        ("To what torque are nuts tightened on a wall?", "35 Nm"),
        (
            "Can you tell me to what torque nuts are tightened on a wall?",
            "Nuts are tightened to 35 Nm on a wall.",
        ),
        "To which torque are nuts tightened on a wall?",
    ),
    (
        ("How heavy is the B3?", "7.5 kg"),
        ("Complete: The B3 weighs …", "The B3 weighs 7.5 kg."),
        "What is the weight of the B3?",
        "How much does the B3 weigh?",
    ),
    (
        ("How often must the guard be renewed?", "16 months"),
        ("Complete: The guard must be renewed every …", "The guard must be renewed every 16 months."),
        "At what intervals must the guard be renewed?",
    ),
    (
        ("How many users does the Harbour plan include?", "12"),
        ("Complete: The Harbour plan includes …", "The Harbour plan includes 12 users."),
        "What number of users does the Harbour plan include?",
    ),
    (
        ("Who is the head of support?", "Tobias Renqvist"),
        ("Complete: The head of support is …", "The head of support is Tobias Renqvist."),
        "What is the name of the head of support?",
        "Tell me who the head of support is.",
    ),
    (
        ("Is the P2 waterproofed by Korrin?", "Yes"),
        (
            "Can you tell me whether the P2 is waterproofed by Korrin?",
            "Yes, the P2 is waterproofed by Korrin.",
        ),
        "Tell me whether the P2 is waterproofed by Korrin.",
    ),
    (
        ("Give the date of the first release of Go.", "2025-08-12"),
        (
            "Complete: The date of the first release of Go is …",
            "The date of the first release of Go is 2025-08-12.",
        ),
        "What is the date of the first release of Go?",
    ),
    (
        ("Tell me when the office opens.", "At 9:00"),
        ("Can you tell me when the office opens?", "At 9:00"),
        "I would like to know when the office opens.",
    ),
    (
        ("When a gauge is bolted to a wall, how firmly must the nuts be tightened?", "They are tightened to 35 Nm."),
        ("Complete: They are tightened to …", "They are tightened to 35 Nm."),
        "Can you tell me how firmly the nuts must be tightened when a gauge is bolted to a wall?",
    ),
    (
        ("Our P2 has no mains. How long does its battery last?", "The pack of a P2 is empty after 14 months."),
        ("Complete: The pack of a P2 is empty after …", "The pack of a P2 is empty after 14 months."),
        "Our P2 has no mains. Can you tell me how long its battery lasts?",
    ),
]


@pytest.mark.parametrize(("fact", "pair", "more"), [(fact, pair, more) for fact, pair, *more in MADE])
def test_a_question_is_asked_and_answered_in_other_forms(fact, pair, more):
    question, answer = fact
    found = paraphrases(question, answer, 30)
    assert pair in found
    assert set(more) <= {question for question, _ in found}


@pytest.mark.parametrize(
    ("question", "clause"),
    [
        ("How long does a battery pack last in the P2?", "how long a battery pack lasts in the P2"),
        ("How long does the anchor resin need to set?", "how long the anchor resin needs to set"),
        ("When did the siege take place?", "when the siege took place"),
        ("Who did Rollo sign the treaty with?", "who Rollo signed the treaty with"),
        ("What is the newest firmware called?", "what the newest firmware is called"),
        ("What was removed in release 32?", "what was removed in release 32"),
        ("How long is a gauge offline during an update?", "how long a gauge is offline during an update"),
        ("In which town is Korrin's laboratory?", "in which town Korrin's laboratory is"),
        ("What does the Mooring plan cost per month?", "what the Mooring plan costs per month"),
    ],
)
def test_verbs_take_their_place_and_form_in_a_clause(question, clause):
    parsed = parse_question(question)
    assert parsed is not None
    assert parsed.clause == clause


@pytest.mark.parametrize(
    "question",
    [
        "When did the firm frobnicate its gauges?",  # a verb that is not known
        "How does the firm start and end a year?",  # two verbs of one auxiliary
        "How is the time needed to solve it calculated?",  # which participle is the predicate?
        "What is it, and when was it made?",
        "Why does it not start?",
        "What concept, found by Black, was found again by Watt?",
    ],
)
def test_what_is_unclear_is_framed_and_not_rebuilt(question):
    assert parse_question(question) is None
    flat = question[:1].lower() + question[1:]
    for wording, answer in paraphrases(question, "45 m", 30):
        assert flat in wording or question in wording
        assert answer == "45 m"


@pytest.mark.parametrize(
    "question",
    [
        "Was ist der Preis eines Pegels?",
        "Quelle est la durée de la garantie ?",
        "¿Cuánto pesa el medidor?",
        "Сколько весит прибор?",
        "ゲージの重さは？",
        "Ebbmark R9",
        "",
    ],
)
def test_other_languages_and_scraps_get_no_wordings(question):
    assert paraphrases(question, "45 m", 10) == []
    assert reversed_question(question, "45 m") is None


def test_an_answer_that_is_a_sentence_or_a_refusal_stays_as_it_is():
    for answer in (
        "I do not know: the documents do not say.",
        "It weighs 4 kg. Mind your back.",
        "No",
        "unknown",
    ):
        assert {reply for _, reply in paraphrases("How heavy is the B3?", answer, 20)} == {answer}


def test_nothing_is_stated_that_english_would_not_say():
    stated = {
        reply
        for question, answer in (
            ("How many outputs are expected for each input?", "a single output"),
            ("In what part of the century were turbines introduced?", "late"),
            ("What name was given to the plot?", "Amboise plot"),
            ("What did Watt add to the engine?", "condenser"),
            ("For which period can past alarms be looked up in Deck?", "18 months"),
            ("At what interval does the gauge transmit?", "15 minutes"),
            ("What do we have to pay for it?", "EUR 40"),
        )
        for _, reply in paraphrases(question, answer, 30)
    }
    assert stated == {"a single output", "late", "Amboise plot", "condenser", "EUR 40", "18 months", "15 minutes"}


def test_the_value_of_a_sentence_is_its_last_number_or_name_that_the_question_does_not_hold():
    sentence = "Customers are served from the office in Halifax, which supports the Ebbmark."
    assert value_of("Where are customers served?", sentence) == (sentence.index("Halifax"), "Halifax")
    priced = "The P2 costs EUR 340 in 2026, whichever Ebbmark it is."
    assert value_of("What does the P2 cost in 2026?", priced) == (priced.index("EUR"), "EUR 340")
    assert value_of("Is it?", "It is what it is in every way.") is None


@pytest.mark.parametrize(
    ("question", "answer", "turned"),
    [
        ("What is the range of the R9?", "45 m", ("What has 45 m as its range?", "The range of the R9 is 45 m.")),
        ("Who is the head of IT?", "Ole Brandt", ("Who is Ole Brandt?", "Ole Brandt is the head of IT.")),
        (
            "When was Go 1.2 released?",
            "2020-01-02",
            ("What was released on 2020-01-02?", "Go 1.2 was released on 2020-01-02."),
        ),
        ("What is the limit of the plan?", "12", None),
        ("Is the P2 sold by Korrin?", "Yes", None),
        ("What is the colour of the P2?", "red", None),
        ("When was Go founded?", "1999", None),
        ("What is the weight of the R9?", "I do not know.", None),
    ],
)
def test_a_value_asks_for_its_thing_where_it_says_enough(question, answer, turned):
    assert reversed_question(question, answer) == turned


@given(question=TEXTS, answer=TEXTS, limit=st.integers(0, 12))
def test_whatever_is_given_wordings_are_few_different_and_hold_the_answer(question, answer, limit):
    found = paraphrases(question, answer, limit)
    keys = [" ".join(re.findall(r"\w+", wording.lower())) for wording, _ in found]
    assert len(found) <= limit
    assert len({*keys, " ".join(re.findall(r"\w+", question.lower()))}) == len(keys) + 1
    value = answer.strip().rstrip(".").lower()
    assert all(reply == answer or value in reply.lower() or reply.startswith("Yes, ") for _, reply in found)
