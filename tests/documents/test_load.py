import json
import os

import pytest

from lorag.documents.load import Loaded, RefusedFile, load_documents
from lorag.errors import DataError, InputError
from lorag.settings import LoadSettings
from lorag.types import Document


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def one(path):
    (document,) = load_documents(path).documents
    return document


def refused(path, settings=None):
    with pytest.raises(DataError) as caught:
        load_documents(path, settings)
    return str(caught.value)


def test_a_folder_is_read_through_and_sorted(tmp_path):
    write(tmp_path / "b.md", "# B\ntext")
    write(tmp_path / "a" / "z.TXT", "plain")
    write(tmp_path / "a" / "b" / "page.htm", "<title>Returns</title><p>Within thirty days.")
    write(tmp_path / "a.csv", "a,b\n1,2")
    write(tmp_path / "rows.jsonl", json.dumps({"doc_id": "z", "doc": "text"}))
    for hidden in (".hidden.md", ".git/x.md", "a/.b/x.txt"):
        write(tmp_path / hidden, "x")
    loaded = load_documents(tmp_path)
    assert [document.id for document in loaded.documents] == ["a.csv", "a/b/page.htm", "a/z.TXT", "b.md", "z"]
    assert [document.title for document in loaded.documents] == ["a", "Returns", "z", "B", ""]
    assert loaded.documents[3] == Document("b.md", "# B\ntext", "b.md", "B")
    assert loaded.documents[4].source == "rows.jsonl"
    assert (loaded.refused, loaded.passed_over, loaded.notes) == ((), (), ())


def test_one_file_is_named_by_itself(tmp_path):
    assert one(write(tmp_path / "sub" / "x.md", "hello")) == Document("x.md", "hello", "x.md", "x")
    assert one(str(tmp_path / "sub" / "x.md")).id == "x.md"


def test_one_bad_file_stops_no_other(tmp_path):
    write(tmp_path / "a.txt", "fine")
    binary = write(tmp_path / "b.txt", b"PK\x03\x04\x00\x00")
    for name in ("c.pdf", "c.docx", "c.pptx", "c.xlsx", "c.eml", "c.html", "c.json", "c.jsonl", "c.csv"):
        write(tmp_path / name, "\0\1 nothing of the kind \0" * 50)
    steps = []
    loaded = load_documents(tmp_path, progress=lambda *step: steps.append(step))
    assert [document.id for document in loaded.documents] == ["a.txt"]
    assert len(loaded.refused) == 10
    names = sorted(file.name for file in tmp_path.iterdir())
    assert steps == [("reading", done, 11, name) for done, name in enumerate(names, start=1)]
    message = "is binary, expected text; convert it or remove it from the folder"
    assert loaded.refused[0] == RefusedFile("b.txt", f"{binary}: {message}", message)
    assert all(file.reason.startswith(str(tmp_path / file.source)) for file in loaded.refused)


def test_a_folder_of_bad_files_has_no_documents(tmp_path):
    write(tmp_path / "b.txt", b"\0")
    assert load_documents(tmp_path).documents == ()


def test_whoever_needs_all_documents_is_told_every_reason(tmp_path):
    assert Loaded(()).require_all() == Loaded(())
    with pytest.raises(InputError) as caught:
        Loaded((), (RefusedFile("a", "a: broken"), RefusedFile("b", "b: empty"))).require_all()
    assert str(caught.value) == "a: broken\nb: empty"


def test_files_of_other_kinds_are_named(tmp_path):
    for name in ("a.md", "b/logo.png", "b/Makefile", "c.dwg"):
        write(tmp_path / name, "x")
    assert load_documents(tmp_path).passed_over == ("b/Makefile", "b/logo.png", "c.dwg")


def test_what_is_missing_from_a_file_is_said_of_it(tmp_path):
    path = write(tmp_path / "x.txt", "Гарантия на прибор составляет два года.".encode("cp1251"))
    loaded = load_documents(tmp_path)
    (note,) = loaded.notes
    assert note.startswith(f"{path} is not UTF-8 and was read as cp1251")
    assert (loaded.file_notes[0].source, f"{path} {loaded.file_notes[0].text}") == ("x.txt", note)


def test_an_id_that_is_used_twice_refuses_the_second_file(tmp_path):
    write(tmp_path / "a.jsonl", json.dumps({"doc_id": "x", "doc": "one"}))
    second = [{"doc_id": "y", "doc": "two"}, {"doc_id": "x", "doc": "three"}]
    write(tmp_path / "b.jsonl", "\n".join(map(json.dumps, second)))
    loaded = load_documents(tmp_path)
    assert [document.text for document in loaded.documents] == ["one"]
    assert "b.jsonl: the id 'x' is already used by a.jsonl" in loaded.refused[0].reason


def test_a_missing_path_is_refused(tmp_path):
    assert "no such file or folder; expected a folder of .md, .txt" in refused(tmp_path / "nowhere")


def test_an_unknown_kind_is_refused(tmp_path):
    message = refused(write(tmp_path / "x.dwg", "x"))
    assert "unknown kind of document '.dwg'; accepted are .md, .txt, .html, .htm, .pdf, .docx" in message
    assert "and .json or .jsonl files of rows with doc_id and doc" in message


def test_a_folder_without_documents_is_refused(tmp_path):
    write(tmp_path / "x.png", "x")
    assert "no documents in this folder; accepted are .md, .txt, .html" in refused(tmp_path)


@pytest.mark.parametrize("name", ["x.md", "x.pdf", "x.docx", "x.json", "x.eml"])
def test_an_empty_file_is_refused(tmp_path, name):
    assert "is empty; fill it or remove it" in refused(write(tmp_path / name, ""))


@pytest.mark.parametrize(("name", "text"), [("x.md", " \n\t\r\n"), ("x.csv", ",,\n,"), ("x.txt", "\ufeff")])
def test_a_file_without_a_word_is_refused(tmp_path, name, text):
    assert "holds no text; fill it or remove it" in refused(write(tmp_path / name, text))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.txt"
    with path.open("wb") as file:
        file.truncate(200_000_000)  # takes no room on the disk
    assert refused(path).endswith(
        "holds 200 MB, expected at most 100 MB; split it, or raise LoadSettings.max_file_bytes or the environment"
        " variable LORAG_MAX_FILE_BYTES"
    )
    assert one(write(path, "x" * 20)).text == "x" * 20
    assert "at most 0 MB" in refused(path, LoadSettings(max_file_bytes=19))


def test_links_that_form_a_loop_end(tmp_path):
    write(tmp_path / "a" / "x.md", "text")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.md").symlink_to(tmp_path / "self.md")
    loaded = load_documents(tmp_path)
    assert [document.id for document in loaded.documents] == ["a/x.md"]
    assert "self.md: no such file" in loaded.refused[0].reason


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    assert "gone.md: no such file" in load_documents(tmp_path).refused[0].reason


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.md").mkdir()
    assert "pipe.txt: is not a regular file" in load_documents(tmp_path).refused[0].reason


def test_a_file_may_have_a_name_that_is_no_unicode(tmp_path):
    write(tmp_path / os.fsdecode(b"caf\xe9.txt"), "text")
    write(tmp_path / os.fsdecode(b"tea\xe9.txt"), "\0")
    loaded = load_documents(tmp_path)
    assert [(document.id, document.title) for document in loaded.documents] == [("caf?.txt", "caf?")]
    assert (loaded.refused[0].source, loaded.documents[0].version) == ("tea?.txt", loaded.documents[0].version)
    assert "tea?.txt: is binary" in loaded.refused[0].reason


def test_a_parser_that_fails_is_one_bad_file(tmp_path):
    write(tmp_path / "deep.json", "[" * 100_000)
    write(tmp_path / "a.txt", "fine")
    loaded = load_documents(tmp_path)
    assert [document.id for document in loaded.documents] == ["a.txt"]
    assert "deep.json: is damaged or not a .json file (RecursionError" in loaded.refused[0].reason


def test_odd_files_of_a_folder_are_passed_over_with_a_note(tmp_path):
    write(tmp_path / "a.md", "fine")
    odd = {"~$report.docx": "lock", "blank.md": " \n", "empty.csv": "", "package.json": '{"name": "x", "version": "1"}'}
    odd |= {"list.json": "[]", "numbers.json": "[1]", "tsconfig.json": '{"content": ["./src/**"]}', "no.jsonl": "\n"}
    for name, content in (odd | {"page.html": "<p></p>"}).items():
        write(tmp_path / name, content)
    loaded = load_documents(tmp_path)
    assert [document.id for document in loaded.documents] == ["a.md"]
    assert loaded.refused == ()
    assert set(loaded.passed_over) == {*odd, "page.html"}
    assert len(loaded.notes) == 9
    loaded.require_all()
    assert any("package.json was skipped" in note and "found name, version" in note for note in loaded.notes)


def test_rows_that_do_not_fit_are_an_error_where_they_are_meant(tmp_path):
    path = write(tmp_path / "x.jsonl", '{"content": ["./src/**"]}')
    assert refused(path).endswith("x.jsonl:1: content holds list, expected text")
    assert "x.json: row 1: content holds list, expected text" in refused(write(tmp_path / "x.json", path.read_bytes()))


@pytest.mark.parametrize("name", ["x.markdown", "x.mdx", "x.MD"])
def test_markdown_may_have_other_suffixes(tmp_path, name):
    document = one(write(tmp_path / name, "---\ntags: [mast]\n---\nMast\n====\n\nTall."))
    assert (document.text, document.title) == ("# Mast\n\nTall.", "Mast")
    assert document.meta == (("tags", "mast"),)


def test_rows_without_text_are_noted(tmp_path):
    rows = [{"doc_id": "a", "doc": "Tall."}, {"doc_id": "b", "page_content": ""}]
    path = write(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)))
    loaded = load_documents(tmp_path)
    assert [document.id for document in loaded.documents] == ["a"]
    assert loaded.notes == (f"{path} has 1 row without text, which was not read",)


def test_front_matter_can_be_chosen_by(tmp_path):
    assert one(write(tmp_path / "x.md", "---\ntags: [mast]\n---\nTall.")).meta == (("tags", "mast"),)


@pytest.mark.parametrize("key", ["text", "page_content", "body"])
def test_rows_of_other_programs_are_documents(tmp_path, key):
    assert one(write(tmp_path / "x.jsonl", json.dumps({key: "The mole is long."}))).text == "The mole is long."
