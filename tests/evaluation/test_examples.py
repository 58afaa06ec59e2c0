import json

import pytest

from lorag.errors import DataError, InputError
from lorag.evaluation.examples import check_evidence, read_examples, sample, status_of
from lorag.types import Example, Status

GOOD = {"id": "a", "question": "How long?", "answers": ["30 days"], "doc_ids": ["terms.md"]}


def write(tmp_path, *rows):
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_a_list_inside_the_references_is_one_reference_with_an_item_on_each_line(tmp_path):
    (example,) = read_examples(write(tmp_path, {**GOOD, "answers": [["oil", "clean rags"], "a service kit"]}))
    assert example.answers == ("oil\nclean rags", "a service kit")


def test_a_row_becomes_an_example_and_other_keys_go_to_meta(tmp_path):
    row = {**GOOD, "paraphrases": ["For how long?"], "answers_v2": ["60 days"], "status": "changed"}
    (example,) = read_examples(write(tmp_path, {**row, "field": "terms", "checked": True, "level": 3}))
    assert example == Example(
        "a",
        "How long?",
        ("30 days",),
        ("terms.md",),
        ("For how long?",),
        ("60 days",),
        "changed",
        {"field": "terms", "checked": "true", "level": "3"},
    )
    assert example.after_update().answers == ("60 days",)


def test_missing_references_after_the_update_are_not_empty_ones(tmp_path):
    unknown, gone = read_examples(write(tmp_path, GOOD, {**GOOD, "id": "b", "answers_v2": []}))
    assert unknown.answers_after is None
    assert gone.answers_after == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"answers": None}, "'answers' is None, expected a list"),
        ({"answers": "30 days"}, "expected a list of strings"),
        ({"answers": [30]}, "holds 30"),
        ({"answers": [" "]}, "not empty"),
        ({"answers": [[]]}, "not empty"),
        ({"answers": [["oil", 3]]}, "holds ['oil', 3]"),
        ({"doc_ids": [["a.md"]]}, "not empty"),
        ({"id": 7}, "put it in quotes"),
        ({"question": " "}, "'question' is empty"),
        ({"status": "chnaged"}, "did you mean 'changed'"),
        ({"status": "changed"}, "needs 'answers_v2'"),
        ({"status": "unanswerable"}, "'unanswerable' with references"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, change, expected):
    path = write(tmp_path, GOOD, {**GOOD, "id": "b", **change})
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert expected in str(caught.value)


def test_a_missing_key_names_the_one_that_was_meant(tmp_path):
    row = {key: value for key, value in GOOD.items() if key != "answers"}
    with pytest.raises(DataError, match="missing key 'answers'; rename 'answer'"):
        read_examples(write(tmp_path, {**row, "answer": ["30 days"]}))


def test_an_id_used_twice_names_the_first_line(tmp_path):
    with pytest.raises(DataError, match=r":3: id 'a' is already used on line 1"):
        read_examples(write(tmp_path, GOOD, {**GOOD, "id": "b"}, GOOD))


def test_a_file_without_questions_is_refused(tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no questions"):
        read_examples(path)


def test_unknown_evidence_names_question_document_and_the_nearest(tmp_path):
    examples = [Example("a", "?", ("x",), ("terms.md",)), Example("b", "?", ("x",), ("warrenty.md",))]
    check_evidence(examples[:1], ["terms.md"], tmp_path)
    with pytest.raises(DataError, match=r"question 'b' names document 'warrenty.md'.*nearest is 'warranty.md'"):
        check_evidence(examples, ["terms.md", "warranty.md"], tmp_path)
    with pytest.raises(DataError, match="no documents at all"):
        check_evidence(examples, [], tmp_path)


@pytest.mark.parametrize(
    ("answers", "after", "declared", "expected"),
    [
        (("x",), None, None, None),
        (("x",), ("x",), None, "unchanged"),
        (("x",), ("y",), None, "changed"),
        (("x",), (), None, "changed"),
        ((), ("y",), None, "new"),
        ((), (), None, "unanswerable"),
        (("x",), ("y",), "unchanged", "unchanged"),
    ],
)
def test_status_is_declared_or_follows_from_the_references(answers, after, declared, expected):
    assert status_of(Example("a", "?", answers, answers_after=after, status=declared)) == expected


def questions(n):
    counts: dict[Status, int] = {"changed": n // 2, "new": n // 4, "unchanged": n - n // 2 - n // 4}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return [Example(f"q{i}", "?", ("x",), answers_after=("y",), status=kinds[i]) for i in range(n)]


def test_a_sample_keeps_shares_and_order_and_ignores_the_order_of_the_file():
    examples = questions(40)
    taken = sample(examples, 10, seed=3)
    assert [e.status for e in taken].count("changed") == 5
    assert taken == [e for e in examples if e in taken]
    assert {e.id for e in sample(examples[::-1], 10, seed=3)} == {e.id for e in taken}
    assert {e.id for e in sample(examples, 10, seed=4)} != {e.id for e in taken}


@pytest.mark.parametrize("limit", [1, 3, 7, 39, 40, 99])
def test_a_sample_has_the_size_asked_for(limit):
    assert len(sample(questions(40), limit, seed=0)) == min(limit, 40)


def test_no_limit_takes_all_and_a_limit_below_one_is_refused():
    examples = questions(8)
    assert sample(examples, None, seed=0) == examples
    with pytest.raises(InputError, match="at least 1"):
        sample(examples, 0, seed=0)
