"""Test questions made from documents, and test questions checked."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.documents.load import load_documents
from lorag.errors import DataError, InputError
from lorag.evaluation.examples import read_examples
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.inspection import TestQuestions
from lorag.training.data.qa_rules import Pair
from lorag.training.data.qa_synthesis import Synthesis
from lorag.training.data.wordings.sentence_questions import sentence_questions
from lorag.types import Conversation, Document, Example, Message
from lorag.workflows.comparing.training_data import own_conversations
from lorag.workflows.questions.apart import apart_from, asked_sections, lies_in, made_notes
from lorag.workflows.questions.checking import check_questions
from lorag.workflows.questions.document_facts import Fact, capitalised, document_facts, in_parts
from lorag.workflows.questions.making import make_questions, sections_to_ask
from lorag.workflows.questions.near_misses import NearMisses
from lorag.workflows.questions.other_wordings import reworded
from lorag.workflows.questions.two_documents import two_document_facts
from lorag.workflows.questions.value_variants import changed_number, variants
from lorag.workflows.synthesize import plain_words

CORPUS = Path(str(files("lorag") / "corpus" / "docs"))
TABLE = """# Pump models

| Model | Weight | Colour |
| --- | --- | --- |
| P2 | 4 kg | red |
| P3 | 6 kg | blue |
"""


@pytest.mark.parametrize(
    ("sentence", "questions"),
    [
        (
            "The company was founded in 1988 by Ilse Vandermoor, a surveyor.",
            [
                ("When was the company founded by Ilse Vandermoor?", "1988"),
                ("By whom was the company founded in 1988?", "Ilse Vandermoor"),
            ],
        ),
        (
            "The link works for 72 hours and can be passed to people.",
            [("For how long does the link work?", "72 hours")],
        ),
        ("An account may send 150 text messages a month.", [("How many text messages may an account send a month?",)]),
        (
            "Council members are elected directly every four years.",
            [("How often are council members elected directly?",)],
        ),
        (
            "A calibration costs EUR 340 for any model.",
            [("How much does a calibration cost for any model?", "EUR 340")],
        ),
        ("In 1072, William invaded Scotland with his fleet.", []),
        ("In 1072, William invaded Scotland.", [("When did William invade Scotland?", "1072")]),
        ("The beam angle is 8 degrees.", [("What is the beam angle?", "8 degrees")]),
        # What is not plain: another sentence before it, a negation, a list, no verb that is listed, a second clause.
        ("This gauge weighs 4 kg.", []),
        ("The pack does not last for 20 hours.", []),
        ("The gauge hangs for 3 days below the lowest expected level.", []),
        ("The pressure needed to push a bubble out equals 3 bar.", []),
        ("Every address follows the pattern first name, dot, surname.", []),
        ("He visited Newcastle in 1804 and the railways became famous.", []),
    ],
)
def test_a_sentence_is_asked_where_its_parts_are_clear(sentence, questions):
    asked = [q for q in sentence_questions(sentence, {"William", "Newcastle", "Scotland"}) if not q.yes_no]
    assert [(q.text, q.value)[: len(expected)] for q, expected in zip(asked, questions, strict=True)] == questions


def test_a_sentence_with_two_verbs_gives_two_yes_no_questions():
    found = sentence_questions("The sun hood keeps the display readable and lowers the logger temperature.")
    assert [q.text for q in found if q.yes_no] == [
        "Does the sun hood keep the display readable?",
        "Does the sun hood lower the logger temperature?",
    ]


def test_facts_of_tables_lines_and_headings():
    text = TABLE + (
        "\n- Pump 4: released on 2024-02-06. End of life (support): 2025-02-11. Latest version: 4.2 (of 2024).\n"
        "\n## How long is the warranty?\n\nWe are glad you ask here. It lasts 28 months from delivery.\n"
        "\n## Can we pay by card?\n\nYes. Cards are accepted for the plans.\n"
    )
    found = {f.question: f for f in document_facts(Document("d", text, "d.md", "Pump models"), set())}
    assert found["What weight is listed for the model P2?"].answers == ("4 kg",)
    assert found["Is blue the colour that is listed for the model P2?"].answers == ("no",)
    assert found["When was Pump 4 released?"].answers == ("2024-02-06",)
    assert found["When is the end of life of Pump 4?"].answers == ("2025-02-11",)
    assert found["What is the latest version of Pump 4?"].answers == ("4.2",)
    warranty = found["Pump models: how long is the warranty?"]
    assert warranty.answers == ("It lasts 28 months from delivery.", "28 months")
    assert text[warranty.start : warranty.end] == warranty.answers[0]
    assert found["Pump models: can we pay by card?"].answers == ("yes",)
    german = "# Pumpen\n\nDie Pumpe wiegt 4 kg und ist für das Werk. Der Preis ist nicht klar, und das ist ein Problem."
    assert document_facts(Document("d", german, "d.md", "Pumpen"), set()) == []


def test_other_ways_to_write_a_value():
    assert variants("2024-02-06") == ("2024-02-06", "6 February 2024", "February 6, 2024")
    assert variants("2024-02-31") == ("2024-02-31",)
    assert set(variants("four models", "How many models are there?")) == {"four models", "4 models", "four", "4"}
    assert set(variants("EUR 340")) == {"EUR 340", "340 EUR", "€340", "340 euros"}
    assert variants("a welded plate") == ("a welded plate", "welded plate")
    assert variants("Bubbler") == ("Bubbler",)


def test_a_changed_number_is_another_one_that_the_text_does_not_hold():
    assert changed_number("after 72 hours", "72 hours or 96 hours") == "after 120 hours"
    assert changed_number("in 1988", "1988") == "in 1987"
    assert changed_number("on 2024-02-06", "") == "on 2023-02-06"
    assert changed_number("nine people", "") == "ten people"
    assert changed_number("no figure", "") is None


def test_near_misses_ask_about_what_no_document_holds():
    documents = [Document("d", TABLE, "d.md", "Pump models"), Document("e", "The model P4 is new.", "e.md", "News")]
    facts = {f.question: f for f in document_facts(documents[0], set())}
    missed = NearMisses(documents).of(facts["What weight is listed for the model P3?"])
    assert missed is not None
    assert missed.question == "What weight is listed for the model P5?"
    assert (missed.answers, missed.kind) == ((), "unanswerable")


def facts_of(*texts):
    documents = {f"d{n}": Document(f"d{n}", text, f"d{n}.md", f"Page {n}") for n, text in enumerate(texts)}
    facts = [fact for document in documents.values() for fact in document_facts(document, capitalised([document]))]
    return two_document_facts(facts, facts, documents)


LIVES = """# Batteries

| Model | Battery life |
| --- | --- |
| P2 | 9 months |
| P3 | 14 months |
"""


def test_a_thing_described_by_one_document_is_asked_about_in_another():
    made = facts_of(TABLE, LIVES)
    assert len(made) == 3
    for fact in made:
        thing = fact.second.question.removesuffix("?").rpartition(" for the ")[2]
        described = f"model whose {fact.second.question.split()[1]}"
        assert described in fact.question
        assert f"is listed as {fact.second.answers[0]}?" in fact.question
        assert thing not in fact.question
        assert (len(set(fact.documents)), fact.kind) == (2, "two-document")
        values = {"model P2": ("red", "4 kg", "9 months"), "model P3": ("blue", "6 kg", "14 months")}[thing]
        assert {*fact.answers, *fact.second.answers} <= {*values}
    # From one document alone it cannot be answered: two models would fit there, or none has a battery life.
    assert facts_of(TABLE, LIVES.replace("14 months", "9 months").replace("Battery", "Cell")) == []
    assert not [f for f in facts_of(TABLE, LIVES + "\nThe red one.\n") if "red" in f"{f.question} {f.answers}"]
    same = facts_of(TABLE.replace("blue", "red"), LIVES)
    assert same
    assert not [fact for fact in same if "colour" in fact.question]


def test_things_of_two_documents_are_compared_by_what_both_have():
    released = "# Releases\n\n- {}: released on {}. End of life: {}.\n"
    days = {"Pump 4": "2024-02-06", "Valve 2": "2023-05-01"}
    pages = [released.format(name, day, "2027-01-01") for name, day in days.items()]
    (made,) = facts_of(*pages)
    assert {"Which was released earlier, Pump 4 or Valve 2?", "Which was released later, Pump 4 or Valve 2?"} & {
        made.question.replace("Valve 2 or Pump 4", "Pump 4 or Valve 2")
    }
    assert made.answers == ("Pump 4" if "later" in made.question else "Valve 2",)
    assert set(made.documents) == {"d0", "d1"}
    # Equal days, and what one document says of both, are nothing to compare.
    assert facts_of(pages[0], pages[1].replace("2023-05-01", "2024-02-06")) == []
    assert facts_of(pages[0] + "\nValve 2 is of 2023-05-01, and ends on 2027-01-01.\n", pages[1]) == []
    weights = [TABLE, TABLE.replace("P2", "V2").replace("P3", "V3").replace("4 kg", "400 g").replace("6 kg", "7 kg")]
    questions = {fact.question: fact.answers[0] for fact in facts_of(*weights)}
    assert questions
    for question, chosen in questions.items():
        heavier = {"V3": 7, "P3": 6, "P2": 4, "V2": 0.4}
        named = sorted(re.findall(r"model ([PV]\d)", question), key=heavier.__getitem__)
        assert chosen == named["higher" in question]


def test_two_documents_are_checked_to_be_needed(tmp_path):
    (tmp_path / "docs").mkdir()
    for name, text in (("a.md", TABLE), ("b.md", LIVES)):
        (tmp_path / "docs" / name).write_text(text)
    row = {"kind": "two-document", "answers": ["9 months"], "doc_ids": ["b.md", "a.md"], "spans": [], "question": "Q?"}
    rows = [
        {**row, "id": "good", "evidence": ["9 months", "red"]},
        {**row, "id": "moved", "evidence": ["9 months", "green"], "question": "Which?"},
        {**row, "id": "one", "evidence": ["14 months", "9 months"], "doc_ids": ["b.md", "b.md"], "question": "Why?"},
        {**row, "id": "choice", "evidence": ["9 months", "red"], "answers": ["P2"], "question": "Which, P2 or P3?"},
    ]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    report = check_questions(tmp_path / "qa.jsonl", tmp_path / "docs")
    assert (report.unsupported, report.one_sided, report.given_away) == (("moved",), ("one",), ())
    assert not report.sound


def facts_in(documents):
    names = capitalised(list(documents))
    return [fact for document in documents for fact in in_parts(document, document_facts(document, names))]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "qa.jsonl"
    return make_questions(CORPUS, out, count=40)


def test_made_questions_stand_in_their_evidence_and_are_spread(made):
    rows = [json.loads(line) for line in Path(made.out).read_text().splitlines()]
    documents = {document.id: document for document in load_documents(CORPUS).documents}
    tested = sections_to_ask(list(documents.values()), facts_in(documents.values()))
    assert len(rows) == 40
    assert set(made.kinds) == {"short", "number", "sentence", "yes-no", "two-document", "unanswerable"}
    for row in rows:
        if row["kind"] == "two-document":
            stands = (row["doc_ids"], row["spans"], row["sections"], row["evidence"])
            for name, span, section, part in zip(*stands, strict=True):
                assert documents[name].text[slice(*span)] == part
                assert tuple(section) in tested[name]
        elif row["answers"]:
            document = documents[row["doc_ids"][0]]
            assert document.text[slice(*row["span"])] == row["evidence"]
            assert tuple(row["section"]) in tested[document.id]
        if row["kind"] in ("short", "number"):
            assert row["answers"][0].lower() not in row["question"].lower()
            assert row["answers"][0] in " ".join(row["evidence"].split())
    assert made.asked_about >= 20
    assert sum(len(row["answers"]) > 1 for row in rows if row["kind"] == "number") >= 5
    assert check_questions(made.out, CORPUS).sound


def test_the_same_documents_give_the_same_questions_and_another_seed_others(made, tmp_path):
    assert make_questions(CORPUS, tmp_path / "qa.jsonl", count=40).examples == made.examples
    other = make_questions(CORPUS, tmp_path / "other.jsonl", count=40, seed=1)
    assert {e.question for e in other.examples} != {e.question for e in made.examples}


def test_every_document_with_facts_is_tested_or_its_only_facts_are_kept_for_training(made):
    documents = load_documents(CORPUS).documents
    facts = facts_in(documents)
    tested = sections_to_ask(documents, facts)
    sections = {name: {fact.section for fact in facts if fact.document_id == name} for name in tested}
    single = [name for name, spans in sections.items() if len(spans) == 1]
    without = [name for name in single if not tested[name] & sections[name]]
    assert 0 < len(without) < len(single)
    for name, spans in sections.items():
        if len(spans) > 1:
            assert 0 < len(tested[name] & spans) < len(spans)
    assert made.kept_for_training == len(without)
    assert made.without_facts == sum(not spans for spans in sections.values())
    assert made.not_asked == made.documents - made.asked_about - made.without_facts - made.kept_for_training >= 0
    assert min(made.candidates, made.ambiguous + 1, made.given_away + 1) > 0


def test_a_single_section_is_cut_between_lines_where_it_states_enough():
    rows = "".join(f"| P{n} | {n + 3} kg |\n" for n in range(4))
    text = f"# Pumps\n\n| Model | Weight |\n| --- | --- |\n{rows}"
    document = Document("d", text, "d.md", "Pumps")
    whole = document_facts(document, set())
    halves = in_parts(document, whole)
    assert len({fact.section for fact in whole}) == 1
    (start, cut), (begin, end) = sorted({fact.section for fact in halves})
    assert (start, end, cut) == (0, len(text), begin)
    assert text[cut - 1 : cut + 1] == "\n|"
    assert all(a <= fact.start < fact.end <= b for fact in halves for a, b in [fact.section])
    few = [whole[0], whole[len(whole) // 2], whole[-1]]
    assert len({fact.start for fact in few}) == 3
    assert in_parts(document, few) == few
    line = [replace(fact, start=whole[0].start, end=whole[0].end) for fact in whole]
    assert in_parts(document, line) == line


@pytest.mark.parametrize(
    ("question", "answers", "kind", "worded"),
    [
        (
            "What weight is listed for the model P2?",
            ("4 kg",),
            "number",
            (
                "Which weight is given for the model P2?",
                "I would like to know the weight that is listed for the model P2.",
            ),
        ),
        (
            "Is blue the colour that is listed for the model P2?",
            ("no",),
            "yes-no",
            (
                "Is the colour of the model P2 given as blue?",
                "Can you tell me whether the colour listed for the model P2 is blue?",
            ),
        ),
        (
            "About Korrin: by whom was the company founded in 1988?",
            ("Ilse Vandermoor",),
            "short",
            (
                "About Korrin: who founded the company in 1988?",
                "About Korrin: can you tell me by whom the company was founded in 1988?",
            ),
        ),
        (
            "Which was released later, Pump 4 or Valve 2?",
            ("Pump 4",),
            "two-document",
            (
                "Which of Pump 4 and Valve 2 was released later?",
                "Can you tell me which was released later, Pump 4 or Valve 2?",
            ),
        ),
        (
            "What is The Quasiturbine?",
            ("The Quasiturbine is a steam engine.",),
            "sentence",
            ("Can you tell me what the Quasiturbine is?", "I would like to know what the Quasiturbine is."),
        ),
        (
            "Warsaw: when did the building open?",
            ("15 December 1999",),
            "short",
            ("Warsaw: on what date did the building open?", "Warsaw: I would like to know when the building opened."),
        ),
        # What is unclear is left alone: an adjective behind its noun, a name for a participle.
        ("Cable: what is the longest cable available?", ("110 m",), "number", ()),
        ("Was the effort the first in the continental United States?", ("yes",), "yes-no", ()),
        ("For what percentage of each calendar month is Deck available?", ("99.7 percent",), "number", ()),
    ],
)
def test_other_wordings_of_made_questions(question, answers, kind, worded):
    fact = Fact(question, answers, kind, "d", 0, 1, (0, 1))
    assert set(reworded([fact], [])[0].paraphrases) == set(worded)


def test_no_other_wording_is_a_question_or_gives_an_answer_away():
    fact = Fact("What weight is listed for the model P2?", ("4 kg",), "number", "d", 0, 1, (0, 1))
    which = "Which weight is given for the model P2?"
    assert which not in reworded([fact], [which])[0].paraphrases
    other = replace(fact, question=which)
    assert which not in reworded([fact, other], [])[0].paraphrases
    assert reworded([replace(fact, answers=("given",))], [])[0].paraphrases == (
        "I would like to know the weight that is listed for the model P2.",
    )


def test_other_wordings_are_written_and_read_and_nearly_none_of_a_question(made):
    rows = [json.loads(line) for line in Path(made.out).read_text().splitlines()]
    assert made.paraphrases == sum(len(row.get("paraphrases", ())) for row in rows) > len(rows)
    assert [list(e.paraphrases) for e in made.examples] == [row.get("paraphrases", []) for row in rows]
    for row in rows:
        worded = row.get("paraphrases", [])
        assert len(worded) <= 2
        assert not any(TestQuestions([row["question"]], plain_words).nearly_asks(each) for each in worded)
    texts = [plain_words(text) for row in rows for text in (row["question"], *row.get("paraphrases", ()))]
    assert len(texts) == len(set(texts))


def test_made_wordings_are_not_trained_on_and_those_of_people_are(made):
    example = next(e for e in made.examples if e.paraphrases and e.answers)
    given = Conversation((Message("user", example.paraphrases[0]), Message("assistant", "x")), ())
    kept = own_conversations([given], made.examples, made.examples, "No.")
    assert kept is not None
    assert kept.conversations == ()
    assert own_conversations(None, made.examples, made.examples[:1], "No.") is None
    brought = replace(example, meta={})
    taught = own_conversations(None, [brought], [brought], "No.")
    assert taught is not None
    assert taught.conversations[0].question == example.paraphrases[0]
    assert own_conversations([given], [brought], [brought], "No.").conversations == (given,)  # type: ignore[union-attr]


def test_training_data_of_tested_sections_is_left_out(made):
    sections = asked_sections(made.examples)
    (document, spans), *_ = sections.items()
    start, end = next(iter(spans))
    inside = Pair("Q?", "A", document, start + 1, start + 2, "rules")
    outside = Pair("Q?", "A", "another.md", start + 1, start + 2, "rules")
    left = apart_from(Synthesis((inside, outside), 1, 2, 0, 0, 0), made.examples)
    assert left.pairs == (outside,)
    assert lies_in(document, end - 1, end + 5, sections)
    assert not lies_in(document, end, end + 5, {document: {(start, end)}})


def test_a_run_knows_that_its_questions_were_made(made):
    (note,) = made_notes(made.examples)
    assert "leaves out the sections" in note
    own = Example("own", "Why?", ("x",))
    assert made_notes([*made.examples, own]) == ()
    assert made_notes([]) == ()


def test_a_model_writes_questions_and_refuses_those_that_it_reads_otherwise(tmp_path, endpoint):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "pumps.md").write_text(TABLE.replace("# Pump models", "# Pump models of the house and of the yard"))

    def reply(prompt):
        text = prompt[-1].content
        if text.startswith("Passage:"):
            return "Q: Which paint does the heavier pump wear?\nA: blue"
        return "blue" if "heavier" in text or "weight" not in text else "I do not know."

    server = endpoint(ScriptedModel(reply, name="hosted"))
    made = [make_questions(folder, tmp_path / "qa.jsonl", model=server.name, seed=seed) for seed in (0, 1)]
    asked = {e.question: e for each in made for e in each.examples}
    assert asked["Which paint does the heavier pump wear?"].meta["made_by"].startswith("openai:hosted@")
    assert not any("weight" in e.question for e in asked.values() if e.answers)
    assert max(each.unread for each in made) > 0
    assert not list(tmp_path.glob(".qa*"))


def test_a_model_answers_other_wordings_too_or_they_are_left_out(tmp_path, endpoint):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pumps.md").write_text(TABLE)
    known = {"weight P2": "4 kg", "weight P3": "6 kg", "colour P2": "red", "colour P3": "blue"}

    def reply(prompt):
        asked = prompt[-1].content.rstrip("?. ").splitlines()[-1]
        found = [value for key, value in known.items() if all(word in asked for word in key.split())]
        return "I do not know." if "given" in asked or not found else found[0]

    server = endpoint(ScriptedModel(reply, name="hosted"))
    made = make_questions(tmp_path / "docs", tmp_path / "qa.jsonl", model=server.name)
    worded = {e.question: e.paraphrases for e in made.examples if e.meta["kind"] in ("short", "number")}
    assert worded
    for question, (only,) in worded.items():
        assert question.startswith("What ")
        assert only.startswith("I would like to know ")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("Nothing here.", {}, "no question came from 1 document:"),
        (TABLE, {"count": 0}, "expected at least 1"),
        (TABLE, {"out": "qa.txt"}, r"does not end in \.jsonl"),
    ],
)
def test_what_gives_no_questions_is_refused(tmp_path, text, options, message):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(text)
    out = tmp_path / options.pop("out", "qa.jsonl")
    with pytest.raises(InputError, match=message):
        make_questions(tmp_path / "docs", out, **options)
    assert not out.exists()


@pytest.fixture
def checked(tmp_path):
    """Checks rows of a question file against one small document."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pumps.md").write_text(TABLE)

    def check(*rows, train=None):
        keys = {"doc_ids": ["pumps.md"]}
        lines = [json.dumps({"id": f"q{i}", **keys, **row}) for i, row in enumerate(rows)]
        (tmp_path / "qa.jsonl").write_text("\n".join(lines) + "\n")
        if train is not None:
            (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
        return check_questions(
            tmp_path / "qa.jsonl", tmp_path / "docs", train=tmp_path / "train.jsonl" if train is not None else None
        )

    return check


WEIGHT = {"question": "How heavy is the P2?", "answers": ["4 kg"]}


def test_each_fault_is_named(checked):
    report = checked(
        WEIGHT,
        {**WEIGHT, "question": "how heavy is the P2"},
        {**WEIGHT, "answers": ["6 kg"]},
        {"question": "How heavy is the P3?", "answers": ["6 kg", "9 kg"]},
        {"question": "How tall is the P3?", "answers": ["80 cm"]},
        {"question": "Who built the P3?", "answers": ["Ann"], "doc_ids": []},
        {"question": "Is the P2 painted red?", "answers": ["red"]},
        {"question": "Is the P2 blue?", "answers": ["no"]},
        {"question": "Who paints it?", "answers": [], "doc_ids": []},
    )
    assert report.repeated == ("q1",)
    assert report.ambiguous == ("q2", "q3")
    assert report.unsupported == ("q4", "q5")
    assert report.given_away == ("q6",)
    assert "q7" not in report.single
    assert report.leaks is None
    assert report.too_few_documents
    assert report.detectable is None
    assert not report.sound


def test_other_wordings_of_made_questions_are_checked_as_questions(checked):
    worded = {**WEIGHT, "paraphrases": ["Which weight is given for the P2?"], "made_by": "rules"}
    again = {"question": "Which weight is given for the P2?", "answers": ["4 kg"]}
    assert checked(worded, again).repeated == ("q1",)
    assert checked(worded, {**again, "answers": ["6 kg"]}).ambiguous == ("q1",)
    assert checked({**worded, "paraphrases": ["Does 4 kg fit the P2?"]}).given_away == ("q0",)
    brought = {key: value for key, value in worded.items() if key != "made_by"}
    assert checked(brought, again).repeated == ()


def test_leaks_are_found_by_wording_and_by_section(checked):
    def row(question, **more):
        return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "x"}], **more}

    made = {**WEIGHT, "question": "What does it weigh?", "section": [0, 40], "span": [5, 9]}
    rows = (WEIGHT, made, {"question": "Which colour has the P3?", "answers": ["blue"]})
    assert checked(*rows, train=[row("How heavy is the P2?")]).leaks == ("q0",)
    worded = {**WEIGHT, "paraphrases": ["Which weight is given for the P2?"]}
    theirs, ours = worded, {**worded, "made_by": "rules"}
    taught = [row("Which weight is given for the model P2?")]
    assert checked(theirs, train=taught).leaks == ()
    assert checked(ours, train=taught).leaks == ("q0",)
    assert checked(ours, train=[{"text": "Ask: which weight is given for the P2?"}]).leaks == ("q0",)
    near = row("Colours?", doc_ids=["pumps.md"], span=[30, 60])
    assert checked(*rows, train=[near]).leaks == ("q1",)
    assert checked(*rows, train=[row("Colours?", doc_ids=["pumps.md"], span=[60, 70])]).leaks == ()


@pytest.mark.parametrize("rows", [[WEIGHT], [{"question": "Why?", "answers": [], "doc_ids": []}] * 3])
def test_one_question_and_none_with_an_answer_are_reported_not_refused(checked, rows):
    report = checked(*({**row, "question": f"{row['question']} {i}"} for i, row in enumerate(rows)))
    assert report.questions == len(rows)
    assert report.detectable is None


def test_questions_about_unknown_documents_are_refused(checked):
    with pytest.raises(DataError, match=r"names document 'pump\.md'.*the nearest is 'pumps\.md'"):
        checked({**WEIGHT, "doc_ids": ["pump.md"]})


def test_the_commands_print_what_was_made_and_what_is_wrong(tmp_path):
    run = CliRunner()
    made = run.invoke(app, ["questions", "make", str(CORPUS), "--out", str(tmp_path / "qa.jsonl"), "--count", "20"])
    assert made.exit_code == 0, made.output
    assert "20 questions about" in made.output
    assert made.output.count("\n- ") == 10
    assert re.search(r"; [1-9]\d* other wordings of them; of", made.output)
    told = r"Documents without a question: 5 in which nothing was found that can be asked, 5 whose statements are kept"
    assert re.search(told, " ".join(made.output.split()))
    check = ["questions", "check", str(tmp_path / "qa.jsonl"), "--documents", str(CORPUS)]
    sound = run.invoke(app, check)
    assert sound.exit_code == 0, sound.output
    assert "Smallest difference between two arms that can be shown:" in sound.output
    run.invoke(app, ["data", "synthesize", str(CORPUS), "--out", str(tmp_path / "train.jsonl")])
    leaky = run.invoke(app, [*check, "--train", str(tmp_path / "train.jsonl")])
    assert leaky.exit_code == 1
    assert "2. Leaked, because training data asks them or is from their section: 1" in leaky.output


def test_a_comparison_of_documents_alone_makes_its_questions(tmp_path, endpoint, bge_folder):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(8):
        (folder / f"pump{number}.md").write_text(TABLE.replace("P2", f"A{number}").replace("P3", f"B{number}"))
    server = endpoint(ScriptedModel(lambda prompt: "4 kg" if len(prompt[-1].content) > 200 else "red", name="hosted"))
    command = [
        "compare",
        "--documents",
        str(folder),
        "--model",
        server.name,
        "--out",
        str(tmp_path / "run"),
        "--limit",
        "20",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    asked = read_examples(tmp_path / "run" / "questions.jsonl")
    assert len(asked) > 10
    assert f"- {asked[0].question}" in done.output
    assert "questions were made from the documents, by rules" in done.output
    before = len(server.requests)
    options = ["--require", "hallucination<=0.1", "--junit", str(tmp_path / "junit.xml")]
    again = CliRunner().invoke(app, [*command, *options])
    assert again.exit_code == 3
    assert "broken: hallucination<=0.1" in again.output
    assert (tmp_path / "junit.xml").is_file()
    assert len(server.requests) == before
    kept = (tmp_path / "run" / "questions.jsonl").read_text()
    (folder / "pump9.md").write_text(TABLE.replace("P2", "A9").replace("P3", "B9"))
    other = CliRunner().invoke(app, command)
    assert (other.exit_code, "has other questions than are made from" in " ".join(other.stderr.split())) == (2, True)
    assert (tmp_path / "run" / "questions.jsonl").read_text() == kept


def test_capitals_inside_sentences_are_names():
    names = capitalised([Document("d", "We sell the Ebbmark to Deck users. Pumps run.", "d.md")])
    assert names == {"Ebbmark", "Deck"}


@pytest.mark.parametrize(
    "table",
    ["| A | B |\n| --- | --- |\n", "| | B |\n| --- | --- |\n| x | 4 kg |\n", "| A | |\n| --- | --- |\n| x | 4 |\n"],
)
def test_tables_without_rows_or_names_give_nothing(table):
    assert document_facts(Document("d", f"# T\n\n{table}", "d.md", "T"), set()) == []
