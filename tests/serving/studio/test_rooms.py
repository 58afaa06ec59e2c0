"""What the rooms of the page answer: documents, questions, training data and comparisons, over a real server."""

import itertools
import json
import re
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.http_errors import HttpError
from lorag.serving.studio import data_room
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.data_room import DataRoom
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from lorag.settings import ChunkSettings, RetrievalSettings
from studio_place import HOSTILE, SlowEmbedder, write_adapter, write_run


def test_the_page_is_small_and_asks_for_nothing_from_another_host(page):
    status, headers, _ = page.raw("GET", "/")
    assert status == 200
    assert page.raw("HEAD", "/")[::2] == (200, b"")
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    parts = [part for part in Path(str(files("lorag.serving.studio") / "static")).rglob("*") if part.is_file()]
    assert sum(part.stat().st_size for part in parts) < 300_000
    for part in parts:
        text = part.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, part.name
        assert not {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"} & set(re.findall(r"[\w.]+", text))
        assert page.raw("GET", f"/static/{part.name}" if part.parent.name == "static" else "/static/app.js")[0] == 200
    assert page.raw("GET", "/static/../studio_app.py")[0] == 404


def test_an_upload_is_read_cut_searched_and_removed(page):
    text = b"# Warranty\n\nThe warranty lasts 28 months.\n\n# Repair\n\nA repair takes nine days.\n"
    status, done = page.upload("warranty notes.md", text)
    assert (status, done["result"]) == (201, "added")
    listed = page.get("documents")
    assert [document["id"] for document in listed["documents"]] == ["warranty notes.md"]
    assert (page.place.uploads / "warranty notes.md").read_bytes() == text
    cut = page.get("passages/warranty%20notes.md")["passages"]
    assert "".join(passage["text"] for passage in cut).split() == text.decode().split()
    status, hits = page.send("POST", "search", {"query": "How long is the warranty?"})
    assert status == 200
    assert hits[0]["document_id"] == "warranty notes.md"
    assert hits[0]["score"] > 0
    assert hits[0]["via"] in ("dense", "lexical", "hybrid")
    assert page.send("DELETE", "documents/warranty%20notes.md")[0] == 200
    assert page.get("documents")["total"] == 0
    assert not (page.place.uploads / "warranty notes.md").exists()


def test_a_file_that_cannot_be_read_is_refused_with_its_reason_and_nothing_is_kept(page):
    status, said = page.upload("broken.pdf", b"no pdf")
    assert status == 422
    assert said["error"]["message"].startswith("broken.pdf: ")
    assert not (page.place.uploads / "broken.pdf").exists()


@pytest.mark.parametrize("name", ["../out.md", "/etc/out.md", "a/b.md", ".hidden.md", "a..b.md", "out.exe", "con.md"])
def test_an_upload_cannot_leave_its_folder(page, name):
    kept = sorted(page.place.root.rglob("*"))
    assert page.upload(name, b"text")[0] == 400
    assert sorted(page.place.root.rglob("*")) == kept


def test_an_upload_too_large_is_refused_before_it_is_read(page):
    status, said = page.send("PUT", "documents/large.md", b"x" * 100, Content_Length="1000000000")
    assert (status, said["error"]["type"]) == (413, "invalid_request_error")


def test_an_upload_of_unknown_length_is_refused_at_the_limit_and_never_held_whole(page):
    most = page.get("documents")["limits"]["bytes"]
    page.place.uploads.mkdir(exist_ok=True)
    kept = sorted(page.place.root.rglob("*"))
    sent = bytes(1_000_000)
    for path in ("documents/large.md", "data/files/large.jsonl"):
        tracemalloc.start()
        status, said = page.send("PUT", path, itertools.repeat(sent, 10 * most // len(sent)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (status, "larger than 25000000 bytes" in said["error"]["message"]) == (413, True)
        assert peak < 3 * most
    assert sorted(page.place.root.rglob("*")) == kept


def test_a_second_change_while_documents_are_read_is_told_to_wait(page):
    first = threading.Thread(target=page.upload, args=("slow.md", b"It is read slowly."))
    first.start()
    assert page.embedder.reached.wait(30)
    status, said = page.upload("late.md", b"text")
    page.embedder.go.set()
    first.join()
    assert (status, said["error"]["code"]) == (429, "busy")
    assert not (page.place.uploads / "late.md").exists()
    assert page.send("DELETE", "documents/slow.md")[0] == 200


def asked(page, column, question, adapter="", **headers):
    body = {"model": column, "messages": [{"role": "user", "content": question}], "stream": True}
    path = f"/studio/ask/{column}" + (f"?adapter={adapter}" if adapter else "")
    status, _, text = page.raw("POST", path, body, **headers)
    return status, text.decode()


def test_an_index_that_is_full_takes_no_further_document_but_a_newer_version_of_one(page, monkeypatch):
    page.upload("full.md", b"The lamp is red.")
    count = page.get("documents")["total"]
    monkeypatch.setattr("lorag.serving.studio.documents_room.MOST_DOCUMENTS", count)
    further = page.place.uploads / "one-too-many.md"
    status, said = page.upload(further.name, b"The lamp is red.")
    assert (status, f"above the limit of {count}; remove some first" in said["error"]["message"]) == (413, True)
    assert not further.exists()
    assert page.upload("full.md", b"The lamp is blue.")[1]["result"] == "updated"
    further.write_text("The lamp is red.")
    assert page.send("POST", "documents/read", {})[0] == 413
    assert not page.place.reading.folder.exists()
    assert page.get("documents")["total"] == count
    further.unlink()
    assert page.send("DELETE", "documents/full.md")[0] == 200


def test_each_column_answers_the_same_question_and_sources_are_numbered_passages(page):
    page.upload("warranty.md", b"# Warranty\n\nThe warranty lasts 28 months.\n")
    adapter = page.get("assistants")["adapters"][0]["adapter"]
    assert adapter == ".lorag/adapters/support"
    for column in ("base", "finetuned", "retrieval", "both"):
        status, text = asked(page, column, "How long is the warranty?", adapter)
        assert status == 200
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        said = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
        assert said == "It lasts 28 months [1]."
        sources = events[-1]["choices"][0]["delta"]["sources"]
        assert [source["document_id"] for source in sources][:1] == (
            ["warranty.md"] if column in ("retrieval", "both") else []
        )


def test_a_column_without_what_it_needs_says_what_is_missing(page):
    status, text = asked(page, "finetuned", "Hello?")
    assert (status, "needs an adapter" in text) == (409, True)
    assert asked(page, "finetuned", "Hello?", "../../elsewhere")[0] == 404
    assert asked(page, "other", "Hello?")[0] == 404


def test_both_of_a_comparison_is_asked_at_its_own_strength_and_models_stay_loaded(tmp_path):
    run = tmp_path / ".lorag" / "runs" / "one"
    for name in ("adapter", "adapter-both"):
        write_adapter(run / name)
    write_adapter(tmp_path / ".lorag" / "adapters" / "other")
    opened = []

    def model_of(name, adapter):
        opened.append(adapter.name if adapter else None)
        return ScriptedModel(lambda prompt: "yes", str(adapter))

    place = Workplace.of(tmp_path, "documents")
    index = Knowledge.open(place.workspace.index, SlowEmbedder(), ChunkSettings(max_tokens=60), RetrievalSettings())
    together = Assistants(place.workspace, model_of=model_of, index_of=lambda: index)
    for _ in range(2):
        assert together.bot("finetuned", run / "adapter").model.name == str(run / "adapter")
        assert together.bot("both", run / "adapter").model.name == str(run / "adapter-both")
    assert opened == ["adapter", "adapter-both"]
    together.bot("both", place.workspace.adapters / "other")
    together.bot("finetuned", run / "adapter")
    assert opened == ["adapter", "adapter-both", "other", "adapter"]  # those of one comparison at a time


def test_a_training_is_estimated_by_a_process_of_its_own(tmp_path, tiny_folder, monkeypatch):
    row = {"messages": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Told"}]}
    (tmp_path / "chat.jsonl").write_text(3 * (json.dumps(row) + "\n"))
    (tmp_path / "broken.jsonl").write_text('{"messages": []}\n')
    room = DataRoom(Workplace.of(tmp_path, "documents"), str(tiny_folder))
    assert re.search(r"about \d+ seconds and .* more memory .* updates", room.estimate("chat.jsonl")["takes"])
    with pytest.raises(HttpError, match=r"^broken\.jsonl:1"):
        room.estimate("broken.jsonl")
    with data_room._estimating, pytest.raises(HttpError, match="another training is being estimated"):
        room.estimate("chat.jsonl")
    monkeypatch.setattr(data_room, "_ESTIMATE_SECONDS", 1)
    with pytest.raises(HttpError, match="took over 1 seconds"):
        room.estimate("chat.jsonl")
    assert not data_room._estimating.locked()


def test_any_row_is_shown_as_the_model_of_the_page_sees_it(tmp_path, tiny_folder):
    said = ("Told", "Told again", "word " * 5000)
    turns = [[{"role": "user", "content": "Ask"}, {"role": "assistant", "content": each}] for each in said]
    (tmp_path / "chat.json").write_text(json.dumps([{"messages": each} for each in (*turns, [])]))  # all in line 1
    place = Workplace.of(tmp_path, "documents")
    application = studio_application(place, Assistants(place.workspace, model=str(tiny_folder)))
    with TestClient(application, base_url="http://127.0.0.1") as page:
        seen = [page.get("/studio/data/tokens", params={"file": "chat.json", "row": n}) for n in range(4)]
    assert [answer.status_code for answer in seen] == [200, 200, 200, 404]
    first, second, long = (answer.json() for answer in seen[:3])
    assert {report["model"] for report in (first, second, long)} == {str(tiny_folder)}
    for report, text in ((first, "Told"), (second, "Told again")):
        (learned,) = (part["text"] for part in report["example"] if part["supervised"])
        assert learned.startswith(f"{text}<|im_end|>")
        assert "<|im_start|>user\nAsk" in "".join(part["text"] for part in report["example"])
    assert (long["example"], long["too_long"]["rows"]) == ([], 1)
    with pytest.raises(HttpError, match="not known here"):
        DataRoom(place, "ollama:gemma").tokens("chat.json", 1)


def test_training_rows_are_shown_with_what_is_learned_and_refused_ones_with_their_line(page):
    first = page.get("data/rows", file="train.jsonl")
    assert (first["total"], len(first["rows"])) == (60, 50)
    assert [message["learned"] for message in first["rows"][0]["messages"]] == [False, True]
    assert first["rows"][0]["messages"][1]["content"] == HOSTILE
    refused = page.get("data/rows", file="train.jsonl", refused="true")
    assert [(row["line"], bool(row["reason"])) for row in refused["rows"]] == [(7, True)]
    found = page.get("data/check", file="train.jsonl")
    assert (found["rows"], found["kept"], found["refused"][0]["rows"]) == (60, 59, 1)


def test_a_file_of_rows_is_added_once_and_stays_in_its_folder(page):
    put = page.place.root / "data" / "more.jsonl"
    assert page.send("PUT", "data/files/more.jsonl", b'{"text": "One."}') == (201, {"file": "data/more.jsonl"})
    assert put.read_bytes() == b'{"text": "One."}'
    assert "data/more.jsonl" in page.get("files")["rows"]
    assert page.send("PUT", "data/files/more.jsonl", b"{}")[0] == 409
    assert put.read_bytes() == b'{"text": "One."}'
    for name in ("..%2Ftrain.jsonl", "notes.md", ".hidden.jsonl", "a%2Fb.jsonl"):
        assert page.send("PUT", f"data/files/{name}", b"{}")[0] == 400
    assert page.send("PUT", "data/files/form.jsonl", {}, Content_Type="text/plain")[0] == 415
    assert sorted(path.name for path in put.parent.iterdir()) == ["more.jsonl"]


def test_of_two_files_of_one_name_that_are_added_at_once_one_is_kept(page):
    both_begun = threading.Barrier(2)

    def slowly(content):
        yield content[:1]
        both_begun.wait(30)
        yield content[1:]

    contents = [b'{"text": "One."}', b'{"text": "Two."}']
    with ThreadPoolExecutor() as pool:
        sent = [pool.submit(page.send, "PUT", "data/files/twice.jsonl", slowly(content)) for content in contents]
        statuses = [each.result()[0] for each in sent]
    assert sorted(statuses) == [201, 409]
    kept = page.place.root / "data" / "twice.jsonl"
    assert kept.read_bytes() == contents[statuses.index(201)]
    kept.unlink()


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "", "gone.jsonl", "a\0b"])
def test_no_file_outside_of_the_folder_can_be_named(page, name):
    status, _ = page.send("GET", "data/rows?file=" + name.replace("\0", "%00"))
    assert status == 400


def test_a_link_out_of_the_folder_is_not_followed(page, tmp_path):
    (tmp_path / "secret.jsonl").write_text("{}")
    link = page.place.root / "link.jsonl"
    link.symlink_to(tmp_path / "secret.jsonl")
    assert page.send("GET", "data/rows?file=link.jsonl")[0] == 400
    link.unlink()


def test_runs_are_listed_with_verdict_and_shares_and_the_report_opens(page):
    (first,) = [run for run in page.get("runs") if run["name"] == "first"]
    assert first["state"] == "finished"
    assert first["verdict"]["choice"] in ("retrieval", "both", "undecided")
    shares = {arm["arm"]: arm["correct"]["mean"] for arm in first["arms"]}
    assert shares["base"] == 0 < shares["retrieval"]
    status, headers, report = page.raw("GET", "/studio/run/report?run=.lorag%2Fruns%2Ffirst")
    assert status == 200
    assert report == (page.place.root / ".lorag/runs/first/report.html").read_bytes()
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    replies = page.get("run/answers", run=".lorag/runs/first")[0]["replies"]
    assert {reply["arm"] for reply in replies} == {"base", "finetuned", "retrieval", "both"}


def test_answers_come_from_the_row_log_as_they_are_written_and_a_torn_line_waits(page):
    run = write_run(page.place.root / ".lorag" / "runs" / "growing")
    run.result.unlink()
    rows = (run.folder / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (run.folder / "rows.jsonl").write_bytes(rows[0] + rows[1][:40])
    name = ".lorag/runs/growing"
    found = page.get("run/rows", run=name)
    assert (len(found["rows"]), found["next"]) == (1, len(rows[0]))
    (run.folder / "rows.jsonl").write_bytes(rows[0] + rows[1])
    assert len(page.get("run/rows", run=name, after=found["next"])["rows"]) == 1
    assert page.send("GET", f"run/rows?run={name}&after=1")[0] == 400
    assert page.get("run/rows", run=name, after=10**30)["rows"] == []
    assert page.get("run", run=name)["state"] == "unfinished"


def test_a_damaged_result_takes_no_other_run_with_it(page):
    run = write_run(page.place.root / ".lorag" / "runs" / "damaged")
    run.result.write_text("{")
    states = {run["name"]: run["state"] for run in page.get("runs")}
    assert (states["damaged"], states["first"]) == ("failed", "finished")


@pytest.mark.parametrize("name", ["..", "../..", ".lorag", "/etc", "notes", ""])
def test_only_folders_of_runs_are_runs(page, name):
    assert page.send("GET", f"run?run={name}")[0] == 404
    assert page.send("GET", f"run/report?run={name}")[0] == 404


WRITES = [
    ("POST", "runs", {"documents": "notes"}),
    ("POST", "run/stop", {"run": ".lorag/runs/first"}),
    ("POST", "run/resume", {"run": ".lorag/runs/first"}),
    ("POST", "documents/read", {}),
    ("POST", "documents/stop", {}),
    ("POST", "search", {"query": "x"}),
    ("POST", "ask/base", {"model": "base", "messages": []}),
    ("PUT", "documents/a.md", b"text"),
    ("PUT", "data/files/a.jsonl", b"{}"),
    ("POST", "review", {"run": ".lorag/runs/first"}),
    ("POST", "review/report", {"run": ".lorag/runs/first"}),
    ("DELETE", "documents/good.md", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "evil.example"},
    ],
)
def test_pages_of_other_sites_change_nothing(page, method, path, body, headers):
    assert page.send(method, path, body, **headers)[0] == 403


@pytest.mark.parametrize(("method", "path", "body"), [write for write in WRITES if write[0] != "DELETE"])
def test_what_a_form_could_send_is_refused(page, method, path, body):
    assert page.send(method, path, body, Content_Type="text/plain")[0] == 415


def test_a_page_in_the_frame_of_another_site_is_not_served(page):
    assert page.raw("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="iframe")[0] == 403
    assert page.raw("GET", "/static/app.js", Host="evil.example")[0] == 403
