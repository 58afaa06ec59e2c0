import json

import pytest

from lorag.errors import DataError, InputError
from lorag.evaluation.row_log import Row, RowLog
from lorag.evaluation.runner import ask
from lorag.types import Answer, Chunk, Example, Hit, Message, Usage


class Echo:
    """Answers with the question and notes every batch it was asked."""

    def __init__(self, fail_at=None):
        self.batches, self.fail_at = [], fail_at

    def answer(self, questions):
        if len(self.batches) == self.fail_at:
            raise RuntimeError("power cut")
        self.batches.append(list(questions))
        return [Answer(f"re {question}") for question in questions]


EXAMPLES = [Example(f"q{i}", f"question {i}", ("x",)) for i in range(7)]


def ids(path):
    return [json.loads(line)["example_id"] for line in path.read_text().splitlines()]


def run(path, responder, arm="base", phase="before"):
    return ask(arm, responder, EXAMPLES, phase, RowLog(path), 3)


def test_every_field_of_a_row_survives_json():
    hit = Hit(Chunk("d", "v", 2, 7, "héllo", "A > B"), 0.1 + 0.2, "lexical")
    answer = Answer(
        "text", (Message("system", "s"), Message("user", "u")), (hit,), Usage(1, 2, 0.3, 0.4), True, True, "late"
    )
    row = Row("after", "both", "q", answer, (hit,))
    assert "found" not in Row("after", "both", "q", answer).to_json()
    assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row
    assert row.to_json()["answer"]["prompt"][1] == {"role": "user", "content": "u"}


@pytest.mark.parametrize("value", [{}, {"moment": "later"}, {"moment": "before", "arm": "a", "example_id": "q"}])
def test_an_object_that_is_no_row_is_refused(value, tmp_path):
    with pytest.raises(InputError, match="not a recorded answer"):
        Row.from_json(value)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(value) + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl:1: not a recorded answer"):
        run(path, Echo())


class Searched:
    """Finds the query itself."""

    def __init__(self):
        self.calls = []

    def retrieve(self, queries, k):
        self.calls.append((list(queries), k))
        return [[Hit(Chunk(query, "v", 0, 1, "t"), 1.0, "dense")] for query in queries]


def test_answers_without_sources_are_searched_with_their_questions_one_search_a_slice(tmp_path):
    source = Hit(Chunk("s", "v", 0, 1, "t"), 1.0, "dense")

    class Mixed(Echo):
        def answer(self, questions):
            answers = super().answer(questions)
            return [Answer("", error="x"), Answer("given", sources=(source,)), *answers[2:]]

    search = Searched()
    rows = ask("base", Mixed(), EXAMPLES[:3], "before", RowLog(tmp_path / "rows.jsonl"), 3, search=search)
    assert search.calls == [(["question 2\nre question 2"], 3)]
    assert [[hit.chunk.document_id for hit in row.found] for row in rows] == [[], [], ["question 2\nre question 2"]]
    kept = RowLog(tmp_path / "rows.jsonl")
    assert [*kept.rows.values()] == rows
    ask("base", Mixed(), EXAMPLES[:3], "before", kept, 3, search=search)
    assert len(search.calls) == 1


def test_slices_are_fixed_and_rows_come_in_order(tmp_path):
    responder, calls = Echo(), []
    log = RowLog(tmp_path / "rows.jsonl")
    rows = ask("base", responder, EXAMPLES, "before", log, 3, lambda *call: calls.append(call))
    assert [len(batch) for batch in responder.batches] == [3, 3, 1]
    assert [row.answer.text for row in rows] == [f"re question {i}" for i in range(7)]
    assert calls == [("asking base (before)", done, 7) for done in (3, 6, 7)]


def test_a_finished_run_asks_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = run(path, Echo())
    again = Echo()
    assert run(path, again) == first
    assert again.batches == []


def test_rows_are_kept_as_they_will_be_read_and_one_that_cannot_be_read_is_not_written(tmp_path):
    path, hit = tmp_path / "rows.jsonl", Hit(Chunk("d", "v", 0, 1, "x"), 0.5, "dense")
    given = [Answer("x", [Message("user", "q")], [hit]), Answer("x", None)]  # type: ignore[arg-type]

    class Careless:
        def answer(self, questions):
            return [given[0] for _ in questions]

    rows = run(path, Careless())
    assert rows == run(path, Echo())
    assert (rows[0].answer.prompt, rows[0].answer.sources) == ((Message("user", "q"),), (hit,))
    del given[0]
    with pytest.raises(InputError, match="not a recorded answer"):
        run(path, Careless(), "both")
    assert len(ids(path)) == 7


def test_of_rows_with_the_same_key_the_first_counts(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [Row("before", "base", "q0", Answer(text)) for text in ("first", "second")]
    path.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    assert list(RowLog(path).rows.values()) == rows[:1]


def test_arms_and_phases_do_not_share_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    run(path, Echo())
    for arm, phase in (("both", "before"), ("base", "after")):
        responder = Echo()
        run(path, responder, arm, phase)
        assert len(responder.batches) == 3


def test_a_broken_run_goes_on_with_the_slice_it_stopped_at(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(RuntimeError, match="power cut"):
        run(path, Echo(fail_at=1))
    assert ids(path) == ["q0", "q1", "q2"]
    responder = Echo()
    assert len(run(path, responder)) == 7
    assert [batch[0] for batch in responder.batches] == ["question 3", "question 6"]
    assert ids(path) == [f"q{i}" for i in range(7)]


def test_a_torn_slice_is_asked_whole_and_only_missing_rows_are_added(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = run(path, Echo())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][:20])
    responder = Echo()
    assert run(path, responder) == whole
    assert responder.batches == [["question 3", "question 4", "question 5"], ["question 6"]]
    assert path.read_text() == "".join(lines)


def test_a_failed_question_is_recorded_and_not_asked_again(tmp_path):
    path = tmp_path / "rows.jsonl"

    class Failing:
        def answer(self, questions):
            return [Answer("", error="timeout") for _ in questions]

    run(path, Failing())
    responder = Echo()
    assert run(path, responder)[0].answer.error == "timeout"
    assert responder.batches == []


def test_too_few_answers_are_refused_and_nothing_is_recorded(tmp_path):
    class Short:
        def answer(self, questions):
            return [Answer("x")]

    with pytest.raises(InputError, match="'base' returned 1 answers to 3 questions"):
        run(tmp_path / "rows.jsonl", Short())
    assert ids(tmp_path / "rows.jsonl") == []
    with pytest.raises(InputError, match="slice_size 0"):
        ask("base", Echo(), EXAMPLES, "before", RowLog(tmp_path / "rows.jsonl"), 0)
