"""An upload is found, and gone, at once; a name that is not plain or a file that cannot be read changes nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lorag.chat.bot import ChatBot
from lorag.documents.load import load_documents
from lorag.files import files_below
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.backends.folder_index import only_writer
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.routes import Service, by_name
from lorag.serving.uploads import Uploads
from lorag.settings import ChunkSettings, RetrievalSettings, ServeSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root") / "docs"
    folder.mkdir()
    (folder / "office.md").write_text("# Office\n\nThe office is in Halifax.\n")
    return folder


@pytest.fixture(scope="module")
def knowledge(folder, embedder, tmp_path_factory):
    knowledge = Knowledge.open(tmp_path_factory.mktemp("index"), embedder, ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(folder).documents)
    return knowledge


@pytest.fixture(scope="module")
def running(serve, folder, knowledge):
    bot = ChatBot(ScriptedModel(lambda prompt: "So it is."), knowledge)
    return serve(
        Service(by_name(bot), uploads=Uploads(folder, knowledge), settings=ServeSettings(max_upload_bytes=5000))
    )


def names(folder):
    """The files that a reader of the folder finds."""
    return [file.name for file in files_below(folder)]


def sources(running, question="How long is the warranty?"):
    return running.ask(question)[1]["choices"][0]["message"]["sources"]


def test_a_document_is_added_replaced_and_removed_in_folder_and_index(running, folder, knowledge):
    path = "/v1/documents/warranty%20notes.md"
    status, done = running.send("PUT", path, b"# Warranty\n\nThe warranty lasts 28 months.\n")
    assert (status, done["id"], done["result"]) == (201, "warranty notes.md", "added")
    assert "28 months" in sources(running)[0]["text"]
    status, done = running.send("PUT", path, b"# Warranty\n\nThe warranty lasts 30 months.\n")
    assert (status, done["result"]) == (200, "updated")
    assert running.send("PUT", path, b"# Warranty\n\nThe warranty lasts 30 months.\n")[1]["result"] == "unchanged"
    assert "30 months" in sources(running)[0]["text"]
    assert knowledge.holds(load_documents(folder).documents)
    assert running.send("DELETE", path)[0] == 200
    assert {source["document_id"] for source in sources(running)} == {"office.md"}
    assert running.send("DELETE", path)[0] == 404
    assert names(folder) == ["office.md"]
    assert knowledge.holds(load_documents(folder).documents)


NOT_PLAIN = """
    ../evil.md ..%2Fevil.md %2e%2e%2fevil.md %252e%252e%252fevil.md a/../../evil.md a/b.md %2Ftmp%2Fevil.md
    ..%5Cevil.md C:evil.md ..md .hidden.md a..md a%00.md a%09.md a%7F.md -a.md con.md LPT1.txt a.exe a a.jsonl a.md.
    a.md%20 %20a.md %FF.md
"""


@pytest.mark.parametrize("name", [*NOT_PLAIN.split(), "x" * 250 + ".md", ""])
def test_a_name_that_is_not_plain_is_refused_before_anything_is_written(running, folder, name):
    before = sorted(folder.parent.rglob("*"))
    for method in ("PUT", "DELETE"):
        status, body = running.send(method, f"/v1/documents/{name}", b"# Evil" if method == "PUT" else None)
        assert (status, body["error"]["param"]) == (400, "name")
    assert sorted(folder.parent.rglob("*")) == before


def test_a_name_of_two_lines_leads_nowhere(running, folder):
    assert running.send("PUT", "/v1/documents/a%0A.md", b"# Evil")[0] == 404
    assert names(folder) == ["office.md"]


def test_a_file_that_cannot_be_read_is_not_kept(running, folder, knowledge):
    for name, content in (("broken.pdf", b"no pdf"), ("empty.md", b""), ("blank.md", b" \n"), ("office.md", b"\0\1")):
        status, body = running.send("PUT", f"/v1/documents/{name}", content)
        assert status == 422
        assert body["error"]["message"].startswith(name)
        assert str(folder) not in body["error"]["message"]
    assert running.send("PUT", "/v1/documents/long.md", b"x" * 6000)[0] == 413
    assert names(folder) == ["office.md"]
    assert knowledge.documents() == ["office.md"]


def test_a_document_whose_file_is_gone_can_be_removed_from_the_index(running, folder, knowledge):
    assert running.send("PUT", "/v1/documents/gone.md", b"The slipway is closed.")[0] == 201
    (folder / "gone.md").unlink()
    assert running.send("DELETE", "/v1/documents/gone.md")[0] == 200
    assert knowledge.documents() == ["office.md"]
    assert running.send("DELETE", "/v1/documents/gone.md")[0] == 404


def test_a_name_that_a_folder_has_is_refused(running, folder, knowledge):
    (folder / "inner.md").mkdir()
    assert running.send("PUT", "/v1/documents/inner.md", b"The lamp is red.")[0] == 409
    assert running.send("DELETE", "/v1/documents/inner.md")[0] == 404
    assert knowledge.documents() == ["office.md"]
    (folder / "inner.md").rmdir()


def opened(place, kind=Knowledge):
    return kind.open(place, HashEmbedder(), ChunkSettings(), RetrievalSettings())


def test_a_change_that_the_index_refuses_leaves_the_file_and_is_done_when_sent_again(serve, tmp_path, monkeypatch):
    monkeypatch.setattr("lorag.retrieval.backends.folder_index._WAIT_SECONDS", 0.05)
    docs, index = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    knowledge = opened(index)
    running = serve(Service(by_name(ChatBot(ScriptedModel(str), knowledge)), uploads=Uploads(docs, knowledge)))
    lamp, path = docs / "lamp.md", "/v1/documents/lamp.md"
    with only_writer(index):
        assert running.send("PUT", path, b"The lamp is red.")[0] == 500
        assert not lamp.exists()
    assert running.send("PUT", path, b"The lamp is red.")[0] == 201
    with only_writer(index):
        assert running.send("PUT", path, b"The lamp is blue.")[0] == 500
        assert running.send("DELETE", path)[0] == 500
        assert lamp.read_text() == "The lamp is red."
    assert knowledge.holds(load_documents(docs).documents)
    assert running.send("DELETE", path)[0] == 200
    assert (knowledge.documents(), names(docs)) == ([], [])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_two_servers_of_one_folder_change_it_one_after_the_other(tmp_path, moment):
    held_up, go = threading.Event(), threading.Event()

    class Held(Knowledge):
        """Stops before or after the change of the index, as long as another change may take."""

        def sync(self, *given, **options):
            report = super().sync(*given, **options) if moment == "after" else None
            held_up.set()
            go.wait(2)
            return report or super().sync(*given, **options)

    docs = tmp_path / "docs"
    docs.mkdir()
    held, knowledge = opened(tmp_path / "index", Held), opened(tmp_path / "index")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(Uploads(docs, held).put, "lamp.md", b"The lamp is red.")
        assert held_up.wait(30)
        Uploads(docs, knowledge).put("lamp.md", b"The lamp is blue.")
        go.set()
        assert first.result()["result"] == "added"
    assert knowledge.holds(load_documents(docs).documents)


def test_a_server_without_a_folder_for_uploads_takes_none(serve):
    running = serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes.")))))
    assert running.send("PUT", "/v1/documents/a.md", b"# A")[0] == 403
    assert running.send("DELETE", "/v1/documents/a.md")[0] == 403
