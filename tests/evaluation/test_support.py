import json
from importlib.resources import files
from pathlib import Path

import pytest

from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.scoring import score_rows
from lorag.evaluation.answers.support.assertions import assertions
from lorag.evaluation.answers.support.standing import support, to_judge
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.examples import read_examples
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.json_record import read_result, result_json
from lorag.evaluation.row_log import Row
from lorag.files import read_jsonl
from lorag.settings import VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit

GAUGE = (
    "The Ebbmark P2 hangs below the water. Its battery pack lasts 19 months in the Ebbmark P2. The guard has to be "
    "renewed every 16 months. Amara Castellane is the head of support. A repair is never free of charge."
)
PRICES = """| Level | Discount | Yearly purchases required |
| --- | --- | --- |
| Mate | 17 percent | EUR 50,000 |
| Skipper | 24 percent | EUR 180,000 |"""


def chunk(text: str, heading: str = "", name: str = "d") -> Chunk:
    return Chunk(name, "1", 0, len(text), text, heading)


def standings(answer: str, question: str, *texts: str, granted: tuple[str, ...] = ()) -> list[str]:
    return [found.standing for found in support(answer, question, [chunk(text) for text in texts], granted)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The fee is 5 EUR. Korrin Support.", ["The fee is 5 EUR."]),
        ("Rollo. Korrin Support.", ["Rollo."]),
        ("What does it cost? 5 EUR.", ["5 EUR."]),
        ("Yes, it floats on water.", ["it floats on water."]),
        ("I do not know: the documents do not say.", []),
        ("Yes.", []),
        ("", []),
        ("Certainly! The fee is 5 EUR [1].", ["The fee is 5 EUR ."]),
        (
            "It lasts 11 months, which is more than that of the P2.",
            ["It lasts 11 months", "which is more than that of the P2."],
        ),
        ("保修期为二年。", ["保修期为二年。"]),
    ],
)
def test_an_answer_is_taken_apart_into_what_it_states(text, expected):
    assert assertions(text) == expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("How long does the battery pack last?", "19 months", "supported"),
        ("How long does the battery pack last?", "The battery pack lasts for nineteen months.", "supported"),
        ("How long does the battery pack last?", "The battery pack lasts 16 months.", "contradicted"),
        ("How long does the battery pack last?", "The battery pack lasts 14 months.", "contradicted"),
        ("Who is the head of support?", "Amara Castellane", "supported"),
        ("Who is the head of support?", "The head of support is Tobias Renqvist.", "contradicted"),
        ("What colour is the housing?", "It is painted bright yellow.", "not there"),
        ("What does a repair cost?", "A repair is free of charge in every harbour town.", "not there"),
    ],
)
def test_a_claim_stands_where_its_words_are_near_what_was_asked(question, answer, expected):
    assert standings(answer, question, GAUGE) == [expected]


def test_what_the_passage_says_instead_is_named_with_its_passage():
    passages = [chunk("Nothing of it.", name="a"), chunk(GAUGE, name="b")]
    (found,) = support("The battery pack lasts 14 months.", "How long does the battery pack last?", passages)
    assert found.passage.startswith("b@1")
    assert found.sentence == "Its battery pack lasts 19 months in the Ebbmark P2."


def test_a_further_sentence_that_a_passage_has_needs_no_word_of_the_question():
    copied = "It lasts 19 months. The guard has to be renewed every 16 months."
    assert standings(copied, "How long does the battery pack last?", GAUGE) == ["supported", "supported"]
    invented = "It lasts 19 months. The guard is made of silver."
    assert standings(invented, "How long does the battery pack last?", GAUGE) == ["supported", "not there"]


def test_a_row_of_a_table_is_read_with_the_names_of_its_columns():
    question = "What yearly purchases are required of a Skipper?"
    assert standings("EUR 180,000", question, PRICES) == ["supported"]
    assert standings("EUR 50,000", question, PRICES) == ["contradicted"]
    header, _, *rows = PRICES.splitlines()
    text = "\n".join(rows)
    continued = Chunk("d", "1", 0, len(text), text, table_header=header)
    assert [found.standing for found in support("EUR 180,000", question, [continued])] == ["supported"]


def test_a_line_of_cells_without_a_table_below_it_is_kept():
    assert standings("EUR 29", "What do the bird spikes cost?", "| Bird spikes | EUR 29 |") == ["supported"]


def test_scripts_without_spaces_are_read_by_pairs_of_characters():
    text = "保修期为二年。电池寿命为三个月。"
    assert standings("保修期为二年。", "保修期多久？", text) == ["supported"]
    assert standings("保修期为九年。", "保修期多久？", text) != ["supported"]


@pytest.mark.parametrize("text", ["", " ", "|", "| --- |", "\n\n", "5"])
def test_any_passage_and_any_answer_can_be_read(text):
    for answer in ("", "?", "5 mm", "It is 5 mm; and 6. No!", "|", text):
        support(answer, text, [chunk(text), chunk("", text)])


def test_a_heading_says_what_the_passage_below_it_is_about():
    question = "How long does the battery of the R4 last?"
    passages = [chunk("The battery lasts 19 months.", "Gauge P2"), chunk("The battery lasts 11 months.", "Gauge R4")]
    assert [found.standing for found in support("11 months", question, passages)] == ["supported"]
    assert [found.standing for found in support("19 months", question, passages)] != ["supported"]


def test_a_granted_reference_covers_its_own_words_and_no_further_figure():
    question = "When is a gauge registered?"
    text = "Registration is possible for sixty days."
    assert standings("A gauge is to be registered within 60 days.", question, text, granted=("60 days",)) == [
        "supported"
    ]
    added = "A gauge is to be registered within 60 days for EUR 12."
    assert standings(added, question, text, granted=("60 days",)) != ["supported"]


def test_without_passages_nothing_is_supported():
    (found,) = support("19 months", "How long?", [])
    assert (found.standing, found.passage) == ("not there", "")


def rows(texts: dict[str, str], retrieving: tuple[str, ...] = (RETRIEVAL, BOTH)) -> tuple[list[Row], list[Example]]:
    """24 questions about as many gauges, which each arm answers in the same way."""
    examples = [
        Example(f"q{n}", f"How long does the battery of gauge K{n} last?", (f"{n} months",), (f"d{n}",))
        for n in range(20, 44)
    ]
    made = []
    for n, example in enumerate(examples, start=20):
        passage = f"The battery of gauge K{n} lasts {n} months. It weighs {n} kg."
        hits = (Hit(Chunk(f"d{n}", "1", 0, len(passage), passage), 1.0, "dense"),)
        for arm, text in texts.items():
            made.append(
                Row("before", arm, example.id, Answer(text.format(n=n), sources=hits if arm in retrieving else ()))
            )
    return made, examples


ANSWERS = {
    BASE: "It lasts 5 minutes.",
    FINETUNED: "It lasts 3 days.",
    RETRIEVAL: "The battery lasts {n} months. It weighs {n} kg.",
    BOTH: "The battery lasts {n} months, which is longer than 7 years of sunlight.",
}
QUICK = VerdictSettings(draws=200)


def test_right_and_supported_is_measured_for_every_arm_and_can_decide():
    made, examples = rows(ANSWERS)
    result = compare_rows(made, examples, settings=QUICK)
    arms = result.at("before")
    found = {
        name: [arm.estimates[metric].mean for metric in ("correct", "right_and_supported", "unsupported")]
        for name, arm in arms.items()
    }
    assert found == {BASE: [0, 0, 1], FINETUNED: [0, 0, 1], RETRIEVAL: [1, 1, 0], BOTH: [1, 0, 1]}
    both = [d.difference.mean for d in result.differences if (d.first, d.second, d.metric) == (BOTH, BASE, "correct")]
    assert both == [1]
    assert {d.metric for d in result.differences} == {"correct"}
    strict = compare_rows(made, examples, settings=VerdictSettings(draws=200, verdict_on="right_and_supported"))
    assert {d.metric for d in strict.differences} == {"correct", "right_and_supported"}
    assert "right and supported" in strict.verdict.sentence
    assert strict.verdict.choice == "retrieval"
    assert [d.difference.mean for d in strict.differences if (d.first, d.second) == (BOTH, RETRIEVAL)] == [0, -1]


def test_the_verdict_turns_where_the_better_arm_adds_what_is_not_there():
    texts = {BASE: "It lasts 5 minutes.", RETRIEVAL: "I do not know.", BOTH: ANSWERS[BOTH]}
    made, examples = rows(texts)
    assert compare_rows(made, examples, settings=QUICK).verdict.choice == "both"
    supported = VerdictSettings(draws=200, verdict_on="right_and_supported")
    assert compare_rows(made, examples, settings=supported).verdict.choice == "undecided"
    required = VerdictSettings(draws=200, require=("unsupported<=0.05",))
    assert "meets it" not in str(
        [r for r in compare_rows(made, examples, settings=required).verdict.reasons if "both" in r.text]
    )


def test_each_row_records_its_claims_and_the_page_shows_those_in_doubt(tmp_path):
    made, examples = rows({**ANSWERS, FINETUNED: "It lasts {n} months.", RETRIEVAL: "I do not know."})
    result = compare_rows(made, examples, settings=QUICK)
    record = json.loads(result_json(result))
    by_arm = {row["arm"]: row["support"] for row in record["rows"] if row["example_id"] == "q20"}
    assert [claim["standing"] for claim in by_arm[BOTH]] == ["supported", "not there"]
    assert [claim["standing"] for claim in by_arm[FINETUNED]] == ["supported"]  # by the passages of the other arms
    assert by_arm[RETRIEVAL] == []
    assert by_arm[BASE][0]["standing"] == "contradicted"
    assert by_arm[BASE][0]["sentence"] == "The battery of gauge K20 lasts 20 months."
    (tmp_path / "result.json").write_text(result_json(result))
    assert read_result(tmp_path / "result.json").support == result.support
    page = html(result)
    assert "Not in the passages: “which is longer than 7 years of sunlight.”" in page
    assert "right and supported" in page


def test_without_any_passage_it_is_not_measured_and_right_answers_decide():
    made, examples = rows({BASE: "5 minutes", FINETUNED: "{n} months"}, retrieving=())
    result = compare_rows(made, examples, settings=VerdictSettings(draws=200, verdict_on="right_and_supported"))
    assert "unsupported" not in result.at("before")[FINETUNED].estimates
    assert result.verdict.choice == "finetuning"
    assert any(r.term == "Support" and "rests on right" in r.text for r in result.verdict.reasons)


def test_an_unknown_ground_for_the_verdict_is_refused():
    with pytest.raises(InputError, match="verdict_on 'both': expected right or right_and_supported"):
        VerdictSettings(verdict_on="both")  # type: ignore[arg-type]


def test_figures_of_the_question_need_not_stand_in_the_passage_and_others_do():
    question, passage = "When was Ruby 4.0 first released?", "- Ruby 4.0: released on 2025-12-25."
    known = ("2025-12-25",)
    assert standings("Ruby 4.0 was first released on 2025-12-25.", question, passage, granted=known) == ["supported"]
    doubted = standings("Ruby 4.0 was released second on 2025-12-25.", question, passage, granted=known)
    assert doubted != ["supported"]


def test_what_other_documents_state_supports_a_claim_in_one_sentence_and_changes_no_other():
    question, given = "Who leads the support of Korrin?", [chunk("The office is in Halifax.", name="a")]
    other = chunk("Amara Castellane is the head of support. The lab is led by Noor Haddick.", name="b")

    def stands(claim: str, *elsewhere: Chunk) -> list[str]:
        return [found.standing for found in support(claim, question, given, elsewhere=elsewhere)]

    head = "The head of support is Amara Castellane."
    assert stands(head) != ["supported"]
    assert stands(head, other) == ["supported"]
    (found,) = support(head, question, given, elsewhere=[other])
    assert (found.passage, found.sentence) == (other.id, "Amara Castellane is the head of support.")
    free = chunk("A repair is never free of charge.", name="c")
    assert stands("A repair is never free of charge.", free) == ["supported"]
    assert stands("A repair is free of charge.", free) == stands("A repair is free of charge.") != ["supported"]
    for wrong in (
        "The head of support is Noor Haddick.",  # each word stands there, in two sentences
        "The head of support is not Amara Castellane.",
        "The head of support is Amara Castellane since 2019.",
    ):
        assert stands(wrong, other) == stands(wrong)
        assert stands(wrong) != ["supported"]
    assert to_judge(head, question, given)
    assert to_judge(head, question, given, elsewhere=[other]) == []
    assert stands("The office is in Halifax.", other) == stands("The office is in Halifax.")


def test_an_answer_without_sources_is_checked_by_what_was_found_for_it():
    example = Example("q", "Who leads the support?", ("Amara Castellane",), ("b",))
    given, other = chunk("The office is in Halifax.", name="a"), chunk(GAUGE, name="b")
    answer = Answer("The head of support is Amara Castellane.")

    def scored(*found: Hit) -> float | None:
        row = Row("before", "base", "q", answer, found)
        return score_rows("base", "before", [example], [row], None, {"q": [given]}).scores[0]["right_and_supported"]

    assert scored() == 0
    assert scored(Hit(other, 1.0, "dense")) == 1


def test_right_answers_of_the_demo_are_judged_as_they_were_marked_by_hand():
    """Answers of three arms after the update, each marked by its passages; ``why`` gives the reason for a doubt."""
    corpus = files("lorag") / "corpus"
    examples = read_examples(Path(str(corpus / "questions.jsonl")))
    asked = {example.id: example.after_update() for example in examples}
    texts = {document.id: document.text for document in load_documents(Path(str(corpus / "docs_v2"))).documents}
    marked = [row for _, row in read_jsonl(Path(__file__).with_name("demo_answers.jsonl"))]
    doubted: dict[str, list[tuple[bool, bool]]] = {}
    for row in marked:
        passages = [Chunk(name, "1", a, b, texts[name][a:b], *above) for name, a, b, *above in row["passages"]]
        sources = tuple(Hit(passage, 1.0, "dense") for passage in passages)
        given = [Row("after", row["arm"], row["id"], Answer(row["answer"], sources=sources))]
        scored = score_rows(row["arm"], "after", [asked[row["id"]]], given, None, {row["id"]: passages})
        doubted.setdefault(row["arm"], []).append((row["mark"] != "supported", scored.scores[0]["unsupported"] == 1))
    assert sum(map(len, doubted.values())) == len(marked) > 90
    for each in doubted.values():
        people, ours = (sum(column) / len(each) for column in zip(*each, strict=True))
        assert abs(people - ours) < 0.1
    assert sum(one != other for each in doubted.values() for one, other in each) <= 2
