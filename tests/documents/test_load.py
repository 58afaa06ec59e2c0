import json

import pytest

from lorag.documents.load import load_documents
from lorag.errors import DataError
from lorag.types import Document

PAGE = """<!doctype html><html><head><title>Returns &amp; refunds
 | Shop</title><style>p {}</style></head><body>
<nav><ul><li><a href="/">Home</a></li></ul></nav>
%s
<footer><p>Copyright <a href="/imprint">Imprint</a></p></footer><script>x = 1</script></body></html>"""
CONTENT = """<h1>Returns</h1><p>Send it back within thirty days – é.</p><h2>Prices</h2>
<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Harbour</td><td>12 EUR</td></tr></table>"""


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(path, *rows):
    return write(path, "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))


def refused(path):
    with pytest.raises(DataError) as caught:
        load_documents(path)
    return str(caught.value)


def test_a_folder_is_read_through_and_sorted(tmp_path):
    write(tmp_path / "b.md", "# B\ntext")
    write(tmp_path / "a" / "z.TXT", "plain")
    write(tmp_path / "a" / "b" / "page.htm", PAGE % CONTENT)
    write(tmp_path / "a.md", "text")
    for passed_over in (".hidden.md", ".git/x.md", "a/.b/x.txt", "image.png", "docs.jsonl", "md"):
        write(tmp_path / passed_over, "x")
    documents = load_documents(tmp_path)
    assert [document.id for document in documents] == ["a.md", "a/b/page.htm", "a/z.TXT", "b.md"]
    assert [document.title for document in documents] == ["a", "Returns & refunds | Shop", "z", "B"]
    assert documents[3] == Document("b.md", "# B\ntext", str(tmp_path / "b.md"), "B")


def test_one_file_is_named_by_itself(tmp_path):
    assert load_documents(write(tmp_path / "sub" / "x.md", "hello"))[0].id == "x.md"


def test_only_the_line_ends_of_windows_change(tmp_path):
    text = " \n# Ti\u0301tle\u00a0\n\ta\u2028b\x0b 😀 ﬁ Ω\u2126 \n\n\n"
    path = write(tmp_path / "x.md", text.replace("\n", "\r\n"))
    assert load_documents(path)[0].text == text
    assert load_documents(write(tmp_path / "y.txt", "a\rb\n\r\n"))[0].text == "a\rb\n\n"


def test_a_byte_order_mark_is_not_text(tmp_path):
    assert load_documents(write(tmp_path / "x.txt", b"\xef\xbb\xbfhello"))[0].text == "hello"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## no\n\n# Yes\n\n# Later", "Yes"),
        ("```\n# code\n```\n# Yes", "Yes"),
        ("no heading", "the-file"),
    ],
)
def test_the_title_of_markdown(tmp_path, text, title):
    assert load_documents(write(tmp_path / "the-file.md", text))[0].title == title


def test_plain_text_has_no_headings_of_its_own(tmp_path):
    assert load_documents(write(tmp_path / "notes.txt", "# comment"))[0].title == "notes"


@pytest.mark.parametrize(
    "wrapping", ["%s", "<main>%s</main>", "<div><div>%s</div></div>", "<main><article>%s</article></main>"]
)
def test_html_keeps_headings_and_tables_and_drops_navigation(tmp_path, wrapping):
    (document,) = load_documents(write(tmp_path / "x.html", PAGE % wrapping % CONTENT))
    assert document.text.startswith("# Returns\n\nSend it back within thirty days – é.\n\n## Prices\n")
    assert "| Harbour | 12 EUR |" in document.text
    for dropped in ("Home", "Imprint", "x = 1"):
        assert dropped not in document.text


def test_every_article_of_a_page_is_read(tmp_path):
    page = PAGE % "<article><h1>One</h1><p>first</p></article><article><h1>Two</h1><p>second</p></article>"
    assert load_documents(write(tmp_path / "x.html", page))[0].text == "# One\n\nfirst\n\n# Two\n\nsecond"


def test_html_may_declare_an_encoding_and_have_no_title(tmp_path):
    page = '<?xml version="1.0" encoding="latin-1"?><p>Привет, é</p>'
    (document,) = load_documents(write(tmp_path / "name.html", page))
    assert (document.text, document.title) == ("Привет, é", "name")


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<!-- nothing -->",
        "<body><script>x</script></body>",
        "<html><head><title>t</title></head></html>",
        "<frameset></frameset>",
    ],
)
def test_html_without_text_is_refused(tmp_path, page):
    assert "no text found in this page" in refused(write(tmp_path / "x.html", page))


def test_a_jsonl_file_is_a_document_a_line(tmp_path):
    path = write_rows(
        tmp_path / "docs.jsonl",
        {"doc_id": "b", "doc": "one\r\ntwo", "title": "T", "other": 3},
        "",
        {"doc_id": "a", "doc": "é😀"},
    )
    assert load_documents(path) == [
        Document("b", "one\ntwo", str(path), "T"),
        Document("a", "é😀", str(path), ""),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"doc": ', ":2: broken JSON at column"),
        ("[1]", ":2: expected a JSON object, found list"),
        ({"doc_id": "x"}, ":2: doc holds nothing, expected text"),
        ({"doc": "x"}, ":2: doc_id holds nothing, expected text"),
        ({"doc_id": 3, "doc": "x"}, ":2: doc_id holds int, expected text"),
        ({"doc_id": "x", "doc": None}, ":2: doc holds NoneType, expected text"),
        ({"doc_id": "x", "doc": " \n"}, ":2: doc holds blank text, expected text"),
        ({"doc_id": "x", "doc": "x", "title": ["t"]}, ":2: title holds list, expected text"),
        ({"doc_id": "a", "doc": "again"}, ":2: doc_id 'a' is already used in line 1"),
        ({"doc_id": "x", "doc": "ab\ud800"}, ":2: doc holds half a surrogate pair at character 2"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, row, said):
    path = write_rows(tmp_path / "docs.jsonl", {"doc_id": "a", "doc": "fine"}, row)
    assert refused(path).startswith(str(path) + said)


def test_a_jsonl_file_without_rows_is_refused(tmp_path):
    assert "no documents; expected lines like" in refused(write(tmp_path / "docs.jsonl", "\n\n"))


def test_a_missing_path_is_refused(tmp_path):
    assert "no such file or folder; expected a folder of .md, .txt" in refused(tmp_path / "nowhere")


def test_an_unknown_kind_is_refused(tmp_path):
    message = refused(write(tmp_path / "x.pdf", "%PDF"))
    assert "unknown kind of document '.pdf'; accepted are .md, .txt, .html, .htm files, or a .jsonl file" in message


def test_a_folder_without_documents_is_refused(tmp_path):
    write(tmp_path / "x.pdf", "%PDF")
    assert "no documents in this folder; accepted are .md, .txt, .html, .htm" in refused(tmp_path)


def test_a_binary_file_is_refused_by_name(tmp_path):
    write(tmp_path / "a.txt", "fine")
    path = write(tmp_path / "b.txt", b"PK\x03\x04\x00\x00")
    assert refused(tmp_path).startswith(f"{path}: is binary, expected text")


def test_another_encoding_is_refused_with_its_line(tmp_path):
    path = write(tmp_path / "b.txt", "fine\né".encode("latin-1"))
    assert refused(path).startswith(f"{path}:2: is not UTF-8 at byte 5")


@pytest.mark.parametrize("text", ["", " \n\t\r\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    assert "holds no text; fill it or take it out" in refused(write(tmp_path / "x.md", text))


def test_links_that_form_a_loop_end(tmp_path):
    write(tmp_path / "a" / "x.md", "text")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert [document.id for document in load_documents(tmp_path)] == ["a/x.md"]


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    assert "gone.md: no such file" in refused(tmp_path)
