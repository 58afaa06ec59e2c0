import json
import time

import pytest

from lorag.documents.parsers.json_rows import parse_rows
from lorag.documents.parsers.parsed import NoTextError
from lorag.errors import DataError
from lorag.types import Document


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_a_jsonl_file_is_a_document_a_line(tmp_path):
    path = write(
        tmp_path / "docs.jsonl",
        {"doc_id": "b", "doc": "one\r\ntwo", "title": "T"},
        "",
        {"doc_id": "a", "doc": "é😀"},
    )
    assert parse_rows(path, "x/docs.jsonl") == (
        [Document("b", "one\ntwo", "x/docs.jsonl", "T"), Document("a", "é😀", "x/docs.jsonl", "")],
        (),
    )


def test_a_json_file_is_a_list_of_them_or_one(tmp_path):
    rows = [{"doc_id": "b", "doc": "one"}, {"doc_id": "a", "doc": "two"}]
    path = tmp_path / "docs.json"
    path.write_text(json.dumps(rows, indent=2))
    assert [document.id for document in parse_rows(path, "docs.json")[0]] == ["b", "a"]
    path.write_text(json.dumps(rows[0], indent=2))
    assert [document.text for document in parse_rows(path, "docs.json")[0]] == ["one"]


def test_a_row_that_has_a_number_or_nothing_for_a_name_is_called_by_its_file(tmp_path):
    path = write(tmp_path / "docs.jsonl", {"doc": "one", "doc_id": 0}, {"doc": "two"})
    assert [document.id for document in parse_rows(path, "docs.jsonl")[0]] == ["docs.jsonl:0", "docs.jsonl:2"]


def test_contents_of_one_link_are_one_document(tmp_path):
    path = write(
        tmp_path / "pages.jsonl",
        {"content": "first", "link": "https://a"},
        {"content": "nameless", "link": 0},
        {"content": "other", "link": "https://b", "title": "B"},
        {"content": "second", "link": "https://a", "title": "A"},
        {"content": "named", "doc_id": "n"},
    )
    assert parse_rows(path, "pages.jsonl")[0] == [
        Document("https://a", "first\n\nsecond", "pages.jsonl", "A", meta=(("link", "https://a"),)),
        Document("pages.jsonl:2", "nameless", "pages.jsonl", meta=(("link", "0"),)),
        Document("https://b", "other", "pages.jsonl", "B", meta=(("link", "https://b"),)),
        Document("n", "named", "pages.jsonl"),
    ]


def test_what_else_a_row_holds_can_be_chosen_by(tmp_path):
    row = {"doc_id": "a", "doc": "x", "year": 2024, "draft": False, "none": None, "tags": ["b", "a", "b", []]}
    row |= {"by": {"name": "Mara\ud800", "of": [{"at": "Korrin"}, 1.5]}}
    ((document,), _) = parse_rows(write(tmp_path / "docs.jsonl", row), "docs.jsonl")
    assert document.meta == (
        ("year", "2024"),
        ("draft", "false"),
        ("tags", "b"),
        ("tags", "a"),
        ("by.name", "Mara?"),
        ("by.of.at", "Korrin"),
        ("by.of", "1.5"),
    )
    assert document.version == Document("a", "x", "docs.jsonl").version


@pytest.mark.parametrize("title", [" \n", "", None])
def test_a_blank_title_is_none(tmp_path, title):
    path = write(tmp_path / "docs.jsonl", {"doc_id": "a", "doc": "x", "title": title})
    ((document,), _) = parse_rows(path, "docs.jsonl")
    assert document.title == ""


def test_parts_of_a_document_bring_their_own_values(tmp_path):
    rows = [{"content": part, "link": "l", "tag": tag} for part, tag in (("one", "a"), ("two", "b"), ("three", "a"))]
    ((document,), _) = parse_rows(write(tmp_path / "pages.jsonl", *rows), "pages.jsonl")
    assert document.meta == (("link", "l"), ("tag", "a"), ("tag", "b"))


def test_a_document_of_very_many_parts_is_joined_quickly(tmp_path):
    path = write(tmp_path / "pages.jsonl", *({"content": "x" * 100, "link": "l", "n": n} for n in range(20_000)))
    begun = time.process_time()
    ((document,), _) = parse_rows(path, "pages.jsonl")
    assert time.process_time() - begun < 5
    assert len(document.text) == 102 * 20_000 - 2
    assert len(document.meta) == 20_001


def test_rows_without_text_are_noted_and_the_others_are_read(tmp_path):
    rows = [{"doc_id": "a", "page_content": " \n"}, {"doc_id": "b", "text": "fine"}, {"doc_id": "c", "doc": None}]
    documents, notes = parse_rows(write(tmp_path / "docs.jsonl", *rows, {"doc_id": "d"}), "docs.jsonl")
    assert documents == [Document("b", "fine", "docs.jsonl")]
    assert notes == ("has 3 rows without text, which were not read",)
    path = write(tmp_path / "docs.json", json.dumps([{"doc": "", "text": "fine"}, {"doc": ""}]))
    (document,), notes = parse_rows(path, "docs.json")
    assert (document.text, document.meta, notes) == ("fine", (), ("has 1 row without text, which was not read",))
    with pytest.raises(NoTextError, match=r"row 1: expected the text under .*; found doc_id, body \(without text\)"):
        parse_rows(write(tmp_path / "docs.json", '[{"doc_id": "a", "body": " "}, {"doc_id": "b"}]'), "docs.json")


def test_a_text_may_stand_behind_a_key_that_holds_something_else(tmp_path):
    path = write(tmp_path / "docs.json", '[{"text": ["t"], "body": "real text"}]')
    (document,), _ = parse_rows(path, "docs.json")
    assert (document.text, document.meta) == ("real text", (("text", "t"),))


def test_a_picture_as_data_is_no_text(tmp_path):
    data = "data:image/png;base64," + "iVBORw0KGgo" * 300
    rows = [{"text": f"Before ![the red buoy]({data}) after."}, {"text": data}]
    (document,), notes = parse_rows(write(tmp_path / "docs.jsonl", *rows), "docs.jsonl")
    assert document.text == "Before the red buoy after."
    assert notes == (
        "has 1 row without text, which was not read",
        "holds pictures as data in its text, of which only the alternative text was read",
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"doc": ', ":2: broken JSON at column"),
        ("[1]", ":2: expected a JSON object, found list"),
        ({"doc_id": 3.5, "doc": "x"}, ":2: doc_id holds float, expected text"),
        ({"doc_id": "x", "doc": ["x"]}, ":2: doc holds list, expected text"),
        ({"doc_id": "x", "doc": "x", "title": ["t"]}, ":2: title holds list, expected text"),
        ({"doc_id": "a", "doc": "again"}, ":2: doc_id 'a' is already used in line 1"),
        ({"doc_id": "x", "doc": "ab\ud800"}, ":2: doc holds half a surrogate pair at character 2"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, row, said):
    path = write(tmp_path / "docs.jsonl", {"doc_id": "a", "doc": "fine"}, row)
    with pytest.raises(DataError) as caught:
        parse_rows(path, "docs.jsonl")
    assert str(caught.value).startswith(str(path) + said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('[{"doc_id": "a", "doc": "x"}, 3]', ": row 2: expected an object like"),
        ('[{"doc_id": "a", "doc": "x"}, {"doc_id": "a", "doc": "y"}]', ": row 2: doc_id 'a' is already used in row 1"),
        ('[{"doc_id": "1", "doc": ["a", "b"]}]', ": row 1: doc holds list, expected text"),
        ('[\n{"doc_id": "a",}]', ":2: broken JSON at column"),
        ('[{"doc_id": "a", "doc": "x"}, {"doc_id": "b", "doc": ["y"]}]', ": row 2: doc holds list, expected text"),
    ],
)
def test_a_wrong_json_file_says_where(tmp_path, value, said):
    path = write(tmp_path / "docs.json", value)
    with pytest.raises(DataError) as caught:
        parse_rows(path, "docs.json")
    assert str(caught.value).startswith(str(path) + said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", "no documents; expected rows like"),
        ("[1]", "row 1: expected an object like .*, found int"),
        ("true", "row 1: expected an object like .*, found bool"),
        ('{"content": ["./src/**"]}', "row 1: content holds list, expected text"),
        ('[{"name": "x"}, {"body": {"a": 1}}]', "row 2: body holds dict, expected text"),
        ('{"name": "package"}', "row 1: expected the text under doc, content, text, page_content, body; found name"),
    ],
)
def test_a_json_file_of_something_else_is_passed_over(tmp_path, value, said):
    with pytest.raises(NoTextError, match=said):
        parse_rows(write(tmp_path / "x.json", value), "x.json")


def test_a_jsonl_file_without_rows_is_passed_over(tmp_path):
    with pytest.raises(NoTextError, match="no documents; expected rows like"):
        parse_rows(write(tmp_path / "docs.jsonl", "\n\n"), "docs.jsonl")
