"""Rows come from lines, arrays, tables, folders and hubs with the line at which each begins."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.errors import DataError, FetchError, MissingExtraError
from lorag.training.data.row_sources import read_rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def rows(path):
    return [(row.line, row.value) for row in read_rows(path)]


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lines_are_values_and_a_broken_one_does_not_hide_the_others(tmp_path):
    path = write(tmp_path / "a.jsonl", '\ufeff{"x": 1}\r\n\n{"x"\n[2]\n' + "[" * 100_000 + "\n" + "9" * 5000)
    read = list(read_rows(path))
    assert [(row.line, row.value) for row in read] == [(1, {"x": 1}), (3, None), (4, [2]), (5, None), (6, None)]
    assert [row.problem.split(":")[0] for row in read if row.problem] == ["broken JSON"] * 3
    assert rows(write(tmp_path / "a.json", '{"x": 1}\n{"x": 2}')) == [(1, {"x": 1}), (2, {"x": 2})]


@given(values=st.lists(VALUES, min_size=1), indent=st.sampled_from([None, 0, 2]))
def test_an_array_gives_its_elements_with_their_lines(tmp_path_factory, values, indent):
    text = json.dumps(values, indent=indent)
    path = write(tmp_path_factory.getbasetemp() / "array.json", f"\n {text}\n")
    read = list(read_rows(path))
    assert [row.value for row in read] == values
    lines = path.read_text().split("\n")
    for row in read:
        begin = json.dumps(row.value)[0]
        assert begin in lines[row.line - 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n {"a": }]', "array.json:2: broken JSON: Expecting value; the rest of the array"),
        ('[{"a": 1},\n {"a": 1}', "array.json:2: the array does not end after its last row"),
        ('[{"a": 1}\n {"a": 1}]', "array.json:1: the array does not end after its last row"),
        ('[{"a": 1}]\n[{"a": 1}]', "array.json:1: the array does not end after its last row"),
        ('[{"a": 1},]', "array.json:1: broken JSON"),
        ("[ ]", "array.json: holds no conversation"),
        ("", "array.json: holds no conversation"),
    ],
)
def test_an_array_that_is_not_whole_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        rows(write(tmp_path / "array.json", text))


def test_a_table_gives_cells_by_column_with_the_line_at_which_a_row_begins(tmp_path):
    table = 'Question , ANSWER,doc_ids\r\n"Who,\nif anyone?",Mara.,a.md; b.md\r\n\r\nx,y\r\nWhen?,1999,\r\n'
    first, short, last = read_rows(write(tmp_path / "a.csv", table))
    assert first.value == {"question": "Who,\nif anyone?", "answer": "Mara.", "doc_ids": ["a.md", "b.md"]}
    assert (first.line, short.line, last.line) == (2, 5, 6)
    assert short.problem == "2 cells under 3 columns; put a cell that holds ',' into quotation marks"
    assert last.value == {"question": "When?", "answer": "1999", "doc_ids": []}


def test_a_cell_may_be_as_long_as_its_file(tmp_path):
    text = "x" * 200_000
    assert rows(write(tmp_path / "a.csv", f"question,answer\n{text},y")) == [(2, {"question": text, "answer": "y"})]


def test_the_separator_is_told_by_a_first_line_or_by_what_cuts_most_rows_evenly(tmp_path):
    told = write(tmp_path / "told.csv", "sep=|\r\nquestion|answer\r\na, b; c|d\r\n")
    assert rows(told) == [(3, {"question": "a, b; c", "answer": "d"})]
    table = "question;answer, in short\na;b\nc;d\n"
    assert rows(write(tmp_path / "a.csv", table))[0] == (2, {"question": "a", "answer, in short": "b"})
    assert rows(write(tmp_path / "b.csv", "question|answer\na, b|c\n")) == [(2, {"question": "a, b", "answer": "c"})]
    odd = rows(write(tmp_path / "odd.csv", "question;answer\nHow; and why, then?;a\nWho, then?;b\nA, b?;c; d\n"))
    assert odd[1] == (3, {"question": "Who, then?", "answer": "b"})
    assert rows(write(tmp_path / "c.csv", "text\na; b\nc; d\n")) == [(2, {"text": "a; b"}), (3, {"text": "c; d"})]


def test_tables_are_split_at_tabs_or_at_semicolons_where_there_are_no_commas(tmp_path):
    expected = [(2, {"question": "a, b", "answer": "c"})]
    assert rows(write(tmp_path / "a.tsv", "question\tanswer\na, b\tc\n")) == expected
    assert rows(write(tmp_path / "a.csv", "question;answer\na, b;c\n")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('question,answer\n"open,x\ny,z\n', "a.csv:3: broken table: unexpected end of data; check the quotation marks"),
        (
            'sep=;\nquestion;answer\n"open;x\n',
            "a.csv:3: broken table: unexpected end of data; check the quotation marks",
        ),
        ("question,answer,answer\na,b,c", r"a.csv:1: a column is named twice"),
        ("question,answer\n", "a.csv: holds no conversation"),
        (b"question,answer\na,b\0c", "a.csv: is binary"),
        (
            "question,answer\na,b".encode("utf-16")[:-1],
            "a.csv: begins with the byte order mark of utf-16 but is not valid",
        ),
    ],
)
def test_a_table_that_cannot_be_read_as_a_whole_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        rows(write(tmp_path / "a.csv", text))


def test_a_folder_is_all_its_visible_files_in_order(tmp_path):
    for name in ("b.jsonl", "a/z.csv", "a/y.JSON", ".hidden.jsonl", ".git/x.jsonl", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "q,a\n1,2" if name.endswith("csv") else "[1]")
    read = [row.source.relative_to(tmp_path).as_posix() for row in read_rows(tmp_path)]
    assert read == ["a/y.JSON", "a/z.csv", "b.jsonl"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no training data in this folder"):
        rows(empty)


def test_paths_that_are_nothing_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"data/chat\.jsonl: no such file"):
        rows(tmp_path / "data" / "chat.jsonl")
    with pytest.raises(DataError, match=r"unknown kind of training data '\.parquet'"):
        rows(write(tmp_path / "a.parquet", b"PAR1\0"))


def hub(monkeypatch, found):
    def load_dataset(name):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))


def test_a_name_that_is_no_path_is_a_data_set_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = Path("owner/some.set")
    hub(monkeypatch, {"test": [{"x": 0}], "train": [{"x": 1}, {"x": 2}]})
    assert rows(name) == [(1, {"x": 1}), (2, {"x": 2})]
    hub(monkeypatch, {"validation": [{"x": 3}]})
    assert rows(name) == [(1, {"x": 3})]
    hub(monkeypatch, {"a": [], "b": []})
    with pytest.raises(DataError, match=r"owner/some\.set: has the splits a, b and no train"):
        rows(name)
    hub(monkeypatch, ConnectionError("no route"))
    with pytest.raises(FetchError, match="not a file or folder here, and the hub cannot be reached: no route"):
        rows(name)
    hub(monkeypatch, FileNotFoundError("404"))
    with pytest.raises(DataError, match="is neither here nor a data set of the hub; accepted are"):
        rows(name)
    hub(monkeypatch, ValueError("Config name is missing"))
    with pytest.raises(DataError, match="does not load from the hub: Config name is missing"):
        rows(name)


def test_without_the_extra_a_hub_name_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'datasets'.*`pip install 'lorag\[hub\]'`"):
        rows(Path("owner/name"))


def test_a_csv_may_be_cut_by_tabs(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("question\tanswer\nWho?\tKim.\n")
    assert [row.value for row in read_rows(path)] == [{"question": "Who?", "answer": "Kim."}]


def test_files_of_other_programs_and_code_pages_are_read(tmp_path):
    marked, page = tmp_path / "x.jsonl", tmp_path / "x.csv"
    marked.write_bytes('{"question": "Wo?", "answer": "Über dem Kai."}\n'.encode("utf-16"))
    assert [row.value["answer"] for row in read_rows(marked)] == ["Über dem Kai."]
    page.write_bytes("question;answer\nWas kostet die Überfahrt?;Fünf € für Schüler\n".encode("cp1252"))
    with pytest.warns(UserWarning, match="x.csv is not UTF-8 and was read as cp125"):
        assert [row.value["answer"] for row in read_rows(page)] == ["Fünf € für Schüler"]
