"""The commands as a newcomer types them: real parts, JSON for machines, one line and an exit code for mistakes."""

import json
import os
import subprocess
import sys

import pptx
import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.errors import StorageError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import REFUSAL, ChunkSettings, RetrievalSettings

COMMANDS = [
    "compare",
    "demo",
    "finetune",
    "calibrate",
    "tune",
    "export",
    "finetune-embedder",
    "evaluate",
    "index",
    "search",
    "ask",
    "chat",
    "serve",
    "mcp",
    "data check",
    "data convert",
    "data synthesize",
    "data augment",
    "models list",
    "models fetch",
    "models path",
    "models search",
    "models remove",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORAG_STORE", raising=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text("# Warranty\n\nThe warranty lasts 28 months.\n")
    (tmp_path / "docs" / "office.md").write_text("# Office\n\nThe office is in Halifax.\n")
    return tmp_path


def lorag(*arguments, **options):
    return CliRunner().invoke(app, list(arguments), **options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command):
    shown = lorag(*command.split(), "--help")
    assert shown.exit_code == 0
    assert f"Example: lorag {command}" in shown.output


def test_many_options_are_listed_in_panels_and_few_in_one():
    def panels(command):
        lines = lorag(command, "--help", env={"COLUMNS": "100"}).output.splitlines()
        return [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]

    trained, answers = "Finetuning", "Model and answers"
    expected = ["Options", trained, answers, "Verdict and reports", "Servers and devices", "Search"]
    assert panels("compare") == expected
    assert panels("finetune") == ["Arguments", "Options", answers, trained, "Servers and devices"]
    assert panels("index") == ["Arguments", "Options"]


def test_index_search_and_ask_work_together(here, embedder, smollm_folder):
    assert "2 added, 0 updated, 0 removed, 0 unchanged" in lorag("index", "docs").output
    assert "0 added, 0 updated, 0 removed, 2 unchanged" in lorag("index", "docs").output
    hits = json.loads(lorag("search", "how long is the warranty", "--json").stdout)
    assert hits[0]["document_id"] == "warranty.md"
    assert "28 months" in lorag("search", "warranty").output
    answer = json.loads(lorag("ask", "How long does the warranty last?", "--model", "smollm2-135m", "--json").stdout)
    assert "28 months" in answer["prompt"][-1]["content"]
    assert answer["text"]
    (here / "docs" / "office.md").unlink()
    report = json.loads(lorag("index", "docs", "--json").stdout)
    assert (report["removed"], report["unchanged"]) == (1, 1)
    assert json.loads(lorag("index", "docs", "--rebuild", "--json").stdout)["added"] == 1


def test_a_rebuild_takes_vectors_from_the_cache_unless_told_not_to(here, embedder):
    assert "known" not in lorag("index", "docs").output
    assert "2 passages in .lorag/index, 2 vectors known from earlier runs" in lorag("index", "docs", "--rebuild").output
    assert json.loads(lorag("index", "docs", "--rebuild", "--json").stdout)["from_cache"] == 2
    assert "known" not in lorag("index", "docs", "--rebuild", "--no-cache").output
    assert "28 months" in lorag("search", "warranty").output


def test_passages_are_found_as_the_options_say(here, embedder, reranker_folder):
    lorag("index", "docs")

    def hits(*options):
        return json.loads(lorag("search", "what about the warranty office", *options, "--json").stdout)

    assert {hit["via"] for hit in hits()} == {"hybrid"}
    assert [(hit["document_id"], hit["via"]) for hit in hits("--search", "lexical")] == [
        ("office.md", "lexical"),
        ("warranty.md", "lexical"),
    ]
    assert {hit["via"] for hit in hits("--search", "dense", "--no-rerank")} == {"dense"}
    assert {hit["via"] for hit in hits("--rerank")} == {"reranked"}
    cosines = {hit["document_id"]: hit["score"] for hit in hits("--search", "dense")}
    between = str(sum(cosines.values()) / 2)
    best = max(cosines, key=lambda document: cosines[document])
    for options in ((), ("--rerank",), ("--search", "lexical")):
        assert [hit["document_id"] for hit in hits("--min-cosine", between, *options)] == [best]
    assert hits("--min-cosine", "0.99") == []
    wrong = lorag("search", "x", "--min-cosine", "2")
    assert (wrong.exit_code, "min_cosine 2.0 is not between -1 and 1" in wrong.stderr) == (2, True)


def test_only_the_documents_that_are_named_are_searched(here, embedder, smollm_folder):
    (here / "docs" / "rows.jsonl").write_text(
        json.dumps({"doc_id": "old", "doc": "The warranty lasted 12 months.", "year": 2019}) + "\n"
    )
    lorag("index", "docs")

    def found(*where):
        options = [part for pair in where for part in ("--where", pair)]
        return {hit["document_id"] for hit in json.loads(lorag("search", "warranty", *options, "--json").stdout)}

    assert found() == {"old", "warranty.md", "office.md"}
    assert found("year=2019") == found("type=jsonl") == {"old"}
    assert found("source=*.md", "title=War*") == {"warranty.md"}
    assert found("title=War*", "title=Off*") == {"warranty.md", "office.md"}
    asked = ("ask", "How long does the warranty last?", "--model", "smollm2-135m", "--json")
    answer = json.loads(lorag(*asked, "--where", "year=2019").stdout)
    assert [hit["document_id"] for hit in answer["sources"]] == ["old"]
    assert "28 months" not in answer["prompt"][-1]["content"]
    for options, said in (
        (("--where", "yaer=2019"), "unknown key of documents 'yaer'; did you mean year"),
        (("--where", "year=2020"), "no document has a year like '2020'; the index has '2019'"),
        (("--where", "year"), "'year' names no key; expected KEY=VALUE, such as type=pdf"),
        (("--where", "year=2019", "--no-sources"), "documents are chosen by year, but no index is searched"),
    ):
        wrong = lorag(*asked, *options)
        assert (wrong.exit_code, said in wrong.stderr.replace("\n", " ")) == (2, True), wrong.stderr
    talk = lorag("chat", "--model", "smollm2-135m", "--where", "year=2019", input="warranty?\n/sources\n\n")
    assert "12 months" in talk.output
    assert "28 months" not in talk.output.split("[1]")[-1]


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_the_index_lies_where_store_says(here, embedder, request, monkeypatch, kind):
    if kind == "folder":
        store = shown = "elsewhere/index"
    else:
        url = request.getfixturevalue("database_url")
        store, shown = url.replace("postgres:@", "postgres:hush@"), url.replace("postgres:@", "postgres@")
    missing = lorag("search", "warranty", "--store", store)
    assert (missing.exit_code, f"make one with `lorag index FOLDER --store {shown}`" in missing.stderr) == (2, True)
    monkeypatch.setenv("LORAG_STORE", store)
    outputs = [lorag("index", "docs").output, lorag("index", "docs", "--rebuild").output]
    for output in outputs:
        assert f"2 added, 0 updated, 0 removed, 0 unchanged; 2 passages in {shown}" in output
    assert json.loads(lorag("search", "warranty", "--json").stdout)[0]["document_id"] == "warranty.md"
    assert "hush" not in "".join((*outputs, missing.output, lorag("index", "--help").output))
    assert not (here / ".lorag").exists()
    monkeypatch.delenv("LORAG_STORE")
    assert "there is no index yet; make one with `lorag index FOLDER`" in lorag("search", "warranty").stderr


def test_calibrate_makes_the_assistant_refuse_other_questions(here, embedder, smollm_folder):
    lorag("index", "docs")
    asked = ["How long does the warranty last?", "Where is the office?", "Is there a warranty?", "Which city is it in?"]
    rows = [
        {"id": str(n), "question": asked[n % 4] + " " * n, "answers": ["x"], "doc_ids": [f"{name}.md"]}
        for n, name in enumerate(["warranty", "office"] * 4)
    ]
    (here / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dry = lorag("calibrate", "--questions", "qa.jsonl", "--dry-run")
    assert (dry.exit_code, (here / ".lorag" / "settings.json").exists()) == (0, False)
    shown = lorag("calibrate", "--questions", "qa.jsonl")
    assert shown.exit_code == 0, shown.output
    assert f"{'your questions that pass':<46} 1.000 (" in shown.output
    assert "Without the documents that answer" in shown.output
    found = json.loads(lorag("calibrate", "--questions", "qa.jsonl", "--json").stdout)
    written = json.loads((here / ".lorag" / "settings.json").read_text())
    assert written["retrieval"] == {"gate_cosine": found["gate"]["cosine"]}
    nothing = lorag("search", "How is a tie-break scored in tennis?")
    assert (nothing.stdout, "no passage fits the question" in nothing.stderr) == ("", True)
    assert "28 months" in lorag("search", "How long does the warranty last?").stdout
    answer = json.loads(lorag("ask", "How is a tie-break scored?", "--model", "smollm2-135m", "--json").stdout)
    assert (answer["refused"], answer["prompt"], answer["text"]) == (True, [], REFUSAL)
    (here / ".lorag" / "settings.json").write_text("{")
    for command in (("search", "x"), ("ask", "x"), ("index", "docs"), ("calibrate", "--questions", "qa.jsonl")):
        wrong = lorag(*command)
        assert (wrong.exit_code, "settings.json: is not valid JSON" in wrong.stderr.replace("\n", "")) == (2, True)


def test_tune_writes_what_every_command_then_keeps_to(here, embedder):
    rows = [
        {"id": str(n), "question": f"Where is the office{'?' * n}", "answers": ["Halifax"], "doc_ids": ["office.md"]}
        for n in range(16)
    ]
    (here / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / ".lorag").mkdir()
    (here / ".lorag" / "settings.json").write_text('{"chunks": {"max_tokens": 128}, "retrieval": {"k": 7}}')
    tuning = ("tune", "--documents", "docs", "--questions", "qa.jsonl", "--no-rerank")
    assert "1.000 (" in lorag(*tuning, "--dry-run").stdout
    assert lorag("index", "docs").exit_code == 0
    assert Knowledge.open(here / ".lorag/index", embedder, ChunkSettings(128), RetrievalSettings()).count() == 2
    shown = lorag(*tuning).stdout
    assert "The default, chunks of 256 and dense weight 0.5, does best on the first half" in shown
    assert "`lorag index DOCS --rebuild`" in shown
    written = json.loads((here / ".lorag" / "settings.json").read_text())
    assert written == {"chunks": {}, "retrieval": {"k": 7}}
    wrong = lorag("search", "office")
    assert (wrong.exit_code, "chunk tokens 128 instead of 256" in wrong.stderr) == (1, True)
    assert "Halifax" in lorag("search", "office", "--store", ".lorag/index").stdout  # another's keeps its own size
    assert lorag("index", "docs", "--rebuild").exit_code == 0
    assert "Halifax" in lorag("search", "where is the office").stdout
    assert json.loads(lorag(*tuning, "--json").stdout)["settings"]["retrieval"]["k"] == 7


def test_index_names_what_it_leaves_out_and_exits_with_1(here, embedder):
    assert lorag("index", "docs").exit_code == 0
    (here / "docs" / "office.md").write_bytes(b"\0")
    (here / "docs" / "logo.png").write_bytes(b"x")
    (here / "docs" / "old.txt").write_bytes("Гарантия на прибор составляет два года.".encode("cp1251"))
    shown = lorag("index", "docs")
    assert shown.exit_code == 1
    assert "1 added, 0 updated, 0 removed, 1 unchanged; 3 passages" in shown.stdout
    said = shown.stderr.replace("\n", " ")
    assert "error: docs/office.md: is binary, expected text" in said
    assert "1 document stays in the index as it was when it could be read: office.md" in said
    assert "1 file of another kind was skipped: logo.png" in said
    assert "docs/old.txt is not UTF-8 and was read as cp1251" in said
    report = json.loads(lorag("index", "docs", "--json").stdout)
    assert report["kept"] == ["office.md"]
    assert report["refused"][0]["source"] == "office.md"
    assert report["passed_over"] == ["logo.png"]
    assert "Halifax" in lorag("search", "where is the office").output
    rebuilt = lorag("index", "docs", "--rebuild")
    assert (rebuilt.exit_code, "2 added" in rebuilt.stdout) == (1, True)
    assert "Halifax" not in lorag("search", "where is the office").output


def test_index_asks_before_it_empties_the_index(here, embedder):
    for number in range(6):
        (here / "docs" / f"{number}.txt").write_text(f"number {number}")
    lorag("index", "docs")
    for number in range(6):
        (here / "docs" / f"{number}.txt").unlink()
    refused = lorag("index", "docs")
    assert refused.exit_code == 2
    assert "6 of 8 documents of the index are not among those given" in refused.stderr.replace("\n", " ")
    assert "0 added, 0 updated, 6 removed, 2 unchanged" in lorag("index", "docs", "--allow-removals").output


def test_index_adds_without_removing(here, embedder):
    lorag("index", "docs")
    for file in (here / "docs").iterdir():
        file.unlink()
    (here / "docs" / "new.md").write_text("The port is in Bergen.")
    added = lorag("index", "docs", "--add-only")
    assert "1 added, 0 updated, 0 removed, 0 unchanged" in added.output
    assert "stay in the index" not in added.stderr
    assert "28 months" in lorag("search", "warranty").output
    assert lorag("index", "docs", "--add-only", "--rebuild").exit_code == 2


def test_a_single_file_takes_the_place_of_the_others_in_words_or_is_added(here, embedder):
    (here / "docs" / "new.md").write_text("The port is in Bergen.")
    held = len(list((here / "docs").iterdir()))
    lorag("index", "docs")
    one = str(here / "docs" / "new.md")
    assert f"0 removed, 1 unchanged; {held} passages" in lorag("index", one, "--add-only").output
    alone = lorag("index", one).output
    assert f"{held - 1} removed, 1 unchanged; 1 passages" in alone
    said = f"{held - 1} documents that are not in {one} were removed from the index; --add-only keeps such documents."
    assert said in alone.splitlines()
    assert "--add-only" not in lorag("index", one).output


def test_a_rebuild_that_fails_leaves_the_old_index(here, embedder, monkeypatch):
    lorag("index", "docs")
    (here / "docs" / "new.md").write_text("The port is in Bergen.")

    def full(*arguments, **settings):
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("lorag.retrieval.knowledge.Knowledge.sync", full)
        assert lorag("index", "docs", "--rebuild").exit_code == 1
    assert "28 months" in lorag("search", "warranty").output
    assert "3 added" in lorag("index", "docs", "--rebuild").output
    assert "Bergen" in lorag("search", "where is the port").output


def test_a_source_is_cited_with_its_place(here, embedder):
    deck = pptx.Presentation()
    for title, words in (("Gauge", "It reads the level of the water."), ("Prices", "The plan costs 12 EUR.")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text_frame.text = title, words * 20
    deck.save(here / "docs" / "deck.pptx")
    lorag("index", "docs")
    shown = lorag("search", "what does the plan cost", "-k", "1").output
    assert shown.startswith("[1] deck.pptx, slide 2 - Gauge > Prices (")
    assert json.loads(lorag("search", "what does the plan cost", "--json").stdout)[0]["place"] == "slide 2"


def test_finetune_then_ask_with_the_adapter(here, shallow_folder):
    (here / "shallow").symlink_to(shallow_folder)
    (here / "chat.jsonl").write_text(
        "".join(
            json.dumps({"question": q, "answer": "Mara Lind founded Korrin."}) + "\n"
            for q in ("Who founded Korrin?", "Korrin was founded by whom?", "Who began Korrin?")
        )
    )
    options = ("--model", "shallow", "--out", "adapter", "--epochs", "8", "--learning-rate", "0.01")
    (here / "control.jsonl").write_text('{"question": "Ice is frozen", "choices": ["sand", "water"], "label": 2}\n')
    for dry in ((), ("--dry-run",)):
        wrong = lorag("finetune", "chat.jsonl", *options, "--control", "control.jsonl", *dry)
        assert (wrong.exit_code, "control.jsonl:1: 'label' is 2, not a number" in wrong.stderr) == (2, True)
    (here / "control.jsonl").write_text('{"question": "Ice is frozen", "choices": ["sand", "water"], "label": 1}\n')
    told = lorag("finetune", "chat.jsonl", *options, "--dry-run")
    assert "lora, rank 16, alpha 32, all linear layers, rate 0.01, 8 epochs: about " in told.stdout
    assert not (here / "adapter").exists()
    trained = lorag("finetune", "chat.jsonl", *options, "--control", "control.jsonl")
    assert ", control questions right 1 to " in trained.stdout, trained.output
    assert json.loads((here / "adapter" / "lorag.json").read_text())["forgetting"]["control"]["right_before"] == 1
    assert "Trained shallow with lora on 3 conversations" in trained.output, trained.output
    assert "finetuning: about " in trained.stderr
    assert "Loss per token: █" in trained.stdout
    asked = ("ask", "Please say who founded Korrin.", "--no-sources", "--engine", "transformers")
    answered = lorag(*asked, "--adapter", "adapter")
    assert "Mara Lind" in answered.output
    exported = lorag("export", "adapter", "--format", "ollama", "--precision", "q8_0", "--out", "ollama")
    assert "ollama create ollama -f ollama/Modelfile" in exported.stdout, exported.output
    assert (here / "ollama" / "model.gguf").is_file()
    (here / "other.jsonl").write_text('{"question": "Who?", "answer": "Nobody."}\n')
    other = lorag("finetune", "other.jsonl", *options)
    assert (other.exit_code, "'adapter' holds a finetune trained on other conversations (3" in other.stderr) == (
        2,
        True,
    )
    wrong = lorag("ask", "x", "--no-sources", "--adapter", "docs")
    assert (wrong.exit_code, "is not an adapter of Lorag" in wrong.output) == (2, True)


def test_training_data_is_checked_and_converted(here, smollm_folder):
    (here / "chat.csv").write_text("question,answer\nWho :smile: [b]founded[/b] Korrin?,Mara Lind.\nWhen?,\n")
    checked = lorag("data", "check", "chat.csv", "--model", "smollm2-135m")
    assert checked.exit_code == 1
    assert "1. 2 rows read: 1 kept, 1 refused" in checked.stdout
    assert "1 (chat.csv:3): a turn of the assistant holds blank text, expected text" in checked.stdout
    assert "Who :smile: [b]founded[/b] Korrin?<|im_end|>" in checked.stdout
    assert ">>Mara Lind.<|im_end|><<" in checked.stdout
    written = lorag("data", "convert", "chat.csv", "--out", "chat.jsonl")
    assert (written.exit_code, "1 conversations written to chat.jsonl\n1 rows left out:" in written.output) == (0, True)
    report = lorag("data", "check", "chat.jsonl", "--model", "smollm2-135m", "--json")
    assert (report.exit_code, json.loads(report.stdout)["sound"]) == (0, True)
    wrong = lorag("finetune", "chat.csv")
    assert (wrong.exit_code, "chat.csv:3: a turn of the assistant holds blank text" in wrong.stderr) == (2, True)


def test_training_data_is_made_from_documents_by_rule(here):
    lines = [f"# Tariff {n}\n\n| Plan | Price |\n| --- | --- |\n| Quay {n} | EUR {n}9 |\n" for n in range(9)]
    for number, text in enumerate(lines):
        (here / "docs" / f"{number}.md").write_text(text)
    made = lorag("data", "synthesize", "docs", "--out", "made.jsonl", "--held-out", "0.3")
    assert made.exit_code == 0, made.output
    assert "written to made.jsonl" in made.stdout
    assert "written to made.held-out.jsonl" in made.stdout
    rows = [json.loads(line) for name in ("made", "made.held-out") for line in (here / f"{name}.jsonl").open()]
    assert {path.name for path in here.iterdir()} == {"docs", "made.jsonl", "made.held-out.jsonl"}
    for row in rows:
        start, end = row["span"]
        assert row["messages"][1].keys() == {"role", "content"}
        assert (
            row["messages"][1]["content"].rstrip(".").rsplit(" ")[-1]
            in ((here / "docs" / row["doc_ids"][0]).read_text()[start:end])
        )
    assert lorag("data", "check", "made.jsonl").exit_code == 0
    wrong = lorag("data", "synthesize", "docs", "--out", "made.csv")
    assert (wrong.exit_code, "does not end in .jsonl" in wrong.stderr) == (2, True)


def test_training_data_is_worded_in_many_ways(here):
    rows = [{"question": "Who [b]founded[/b] Korrin?", "answer": "Mara Lind."}, {"question": "Wann?", "answer": "Nie."}]
    (here / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = lorag("data", "augment", "chat.jsonl", "--out", "wide.jsonl", "--wordings", "4")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("1. 5 conversations written to wide.jsonl: 2 given, 3 by rules, 0 by a model;")
    assert "2. Kept without further wordings: no question or request in English (1)" in made.stdout
    report = lorag("data", "augment", "chat.jsonl", "--out", "wide.jsonl", "--wordings", "4", "--json")
    assert (report.exit_code, json.loads(report.stdout)["counts"]["by_rules"]) == (0, 3)
    assert lorag("data", "check", "wide.jsonl").exit_code == 0
    wrong = lorag("data", "augment", "chat.jsonl", "--out", "wide.jsonl", "--documents", "docs")
    assert (wrong.exit_code, "no model is named" in wrong.stderr) == (2, True)


def test_a_model_that_stops_rewording_ends_with_exit_code_1(here):
    (here / "chat.jsonl").write_text('{"question": "Who founded Korrin?", "answer": "Mara Lind."}\n')
    gone = "openai:m@http://127.0.0.1:9/v1"
    made = lorag("data", "augment", "chat.jsonl", "--out", "wide.jsonl", "--with", gone)
    assert made.exit_code == 1, made.output
    assert f"6. {gone} stopped with 1 questions to go: " in made.stdout
    assert "run the same command again to resume" in made.stdout
    assert len((here / "wide.jsonl").read_text().splitlines()) == 10


def test_chat_streams_remembers_and_shows_its_sources(here, embedder, smollm_folder):
    lorag("index", "docs")
    options = ("--model", "smollm2-135m", "--history", "talk.json")
    said = lorag("chat", *options, input="Where is the office?\n/sources\n/help\n\n")
    assert said.exit_code == 0
    assert "[1] office.md" in said.output
    assert said.output.count("The office is in Halifax.") >= 1
    assert "Commands are /reset and /sources; an empty line ends." in said.output
    kept = json.loads((here / "talk.json").read_text())["messages"]
    assert [turn["role"] for turn in kept] == ["user", "assistant"]
    said = lorag("chat", *options, input="/sources\n/reset\n/sources\n\n")
    assert "Halifax" not in said.output
    assert json.loads((here / "talk.json").read_text())["messages"] == []
    (here / "talk.json").write_text("{}")
    wrong = lorag("chat", *options, input="\n")
    assert (wrong.exit_code, "is not a history of `lorag chat`" in wrong.stderr.replace("\n", " ")) == (2, True)


def test_listed_words_are_neither_asked_nor_said(here, endpoint):
    server = endpoint(ScriptedModel(lambda prompt: "It is in Halifax, near the port.", name="hosted"))
    (here / "words.txt").write_text("halifax\n")
    options = ("--no-sources", "--model", server.name, "--blocked", "words.txt")
    assert lorag("ask", "Where is the office?", *options).output.strip() == "It is in *******, near the port."
    refused = json.loads(lorag("ask", "What is in Halifax?", *options, "--json").stdout)
    assert (refused["refused"], refused["guarded"], refused["prompt"]) == (True, ["Halifax"], [])
    assert len(server.requests) == 1
    assert "*******" in lorag("chat", *options, input="Where is the office?\n\n").output


def test_a_remote_model_answers_from_the_index_and_takes_no_adapter(here, embedder, endpoint):
    server = endpoint(ScriptedModel(lambda prompt: f"From {prompt[-1].content[:8]}", name="hosted"))
    lorag("index", "docs")
    answer = json.loads(lorag("ask", "How long is the warranty?", "--model", server.name, "--json").stdout)
    assert (answer["text"], answer["usage"]["completion_tokens"]) == ("From Sources:", 2)
    assert "28 months" in server.requests[0]["messages"][-1]["content"]
    assert "From Sources:" in lorag("ask", "How long is the warranty?", "--model", server.name).output
    assert "From Sources:" in lorag("chat", "--model", server.name, input="How long is the warranty?\n\n").output
    (here / "chat.jsonl").write_text('{"question": "Why?", "answer": "Because."}\n')
    wrong = lorag("finetune", "chat.jsonl", "--model", server.name)
    assert (wrong.exit_code, "finetuning needs weights on this machine" in wrong.stderr.replace("\n", " ")) == (2, True)
    wrong = lorag("ask", "Why?", "--no-sources", "--model", server.name, "--adapter", "docs")
    assert (wrong.exit_code, "cannot be applied to openai:hosted" in wrong.stderr.replace("\n", " ")) == (2, True)
    down = lorag("ask", "Why?", "--no-sources", "--model", "openai:m@http://127.0.0.1:9/v1")
    assert (down.exit_code, "cannot be reached" in down.stderr) == (1, True)


def test_models_are_listed(smollm_folder):
    listed = {row["name"]: row for row in json.loads(lorag("models", "list", "--json").stdout)}
    assert listed["smollm2-135m"]["fetched"] is True
    assert lorag("models", "path", "smollm2-135m").output.strip() == str(smollm_folder)
    assert "smollm2-135m" in lorag("models", "list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "x"], "there is no index yet; make one with `lorag index FOLDER`"),
        (["index", "nowhere"], "nowhere"),
        (["index", "empty"], "empty"),
        (["finetune", "gone.jsonl"], "gone.jsonl: no such file"),
        (["data", "check", "empty"], "no training data in this folder"),
        (["data", "check", "qa.jsonl", "--questions", "gone.jsonl"], "gone.jsonl: no such file"),
        (["data", "convert", "qa.jsonl", "--out", "out.jsonl"], "no row is a conversation"),
        (["models", "fetch", "qwen"], "unknown model 'qwen'"),
        (["models", "path", "smolm2-135m"], "did you mean smollm2-135m"),
        (["finetune", "chat.jsonl", "--epochs", "0"], "epochs 0 is below 1"),
        (["export", "docs", "--out", "x"], "is not an adapter of Lorag"),
        (["finetune", "chat.jsonl", "--continue", "docs"], "is not an adapter of Lorag"),
        (["finetune", "chat.jsonl", "--auto", "--dry-run"], "--auto prints its plan before it trains"),
        (["finetune", "chat.jsonl", "--budget", "0"], "minutes 0.0 is not above 0"),
        (["finetune", "chat.jsonl", "--method", "lorra"], "method 'lorra' is not one of lora, rslora"),
        (["finetune", "chat.jsonl", "--out", "docs"], "'docs' holds other files, which training would replace"),
        (["finetune", "chat.jsonl", "--out", "qa.jsonl"], "'qa.jsonl' is a file; choose a folder with --out"),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--limit", "0"], "limit 0 is below 1"),
        (
            ["compare", "--documents", "docs", "--questions", "qa.jsonl", "--method", "lorra"],
            "method 'lorra' is not one of",
        ),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--epochs", "0"], "epochs 0 is below 1"),
        (
            ["compare", "--documents", "docs", "--questions", "qa.jsonl", "--require", "stlye>=0.9"],
            "did you mean style",
        ),
        (
            ["compare", "--documents", "docs", "--questions", "qa.jsonl", "--require", "fresh"],
            "give the updated documents with --update",
        ),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--learning-rate", "7"], "learning_rate 7.0"),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--model", "qwen9"], "unknown model 'qwen9'"),
        (
            ["compare", "--documents", "docs", "--questions", "qa.jsonl", "--prices", "prices.toml"],
            "prices.toml: million_tokens_in is -2; expected a number of 0 or above",
        ),
        (["compare", "--documents", "docs", "--questions", "twice.jsonl"], "twice.jsonl:2"),
        (["compare", "--documents", "docs", "--questions", "broken.jsonl"], "broken.jsonl:2: broken JSON"),
        (["compare", "--documents", "docs", "--questions", "unknown.jsonl"], "office.md"),
        (["compare", "--documents", "bad", "--questions", "qa.jsonl"], "is binary"),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--out", "qa.jsonl/run"], "cannot write to"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(here, arguments, message):
    row = {"id": "a", "question": "Where?", "answers": ["Halifax"], "doc_ids": ["office.md"]}
    (here / "empty").mkdir()
    (here / "bad").mkdir()
    (here / "bad" / "image.txt").write_bytes(b"\x89PNG\0")
    (here / "qa.jsonl").write_text(json.dumps(row) + "\n")
    (here / "chat.jsonl").write_text('{"question": "Who?", "answer": "Mara."}\n')
    (here / "prices.toml").write_text("million_tokens_in = -2")
    (here / "twice.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    (here / "broken.jsonl").write_text(json.dumps(row) + "\n{\n")
    (here / "unknown.jsonl").write_text(json.dumps({**row, "doc_ids": ["offce.md"]}) + "\n")
    result = lorag(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.replace("\n", "")
    assert "Traceback" not in result.output


def test_without_the_default_model_the_fallback_is_taken_with_a_warning(tmp_path, monkeypatch, smollm_folder):
    from lorag.errors import FetchError
    from lorag.models import catalogue

    real = catalogue.fetch

    def fetch(name, *more):
        if name == "qwen2.5-coder-0.5b":
            raise FetchError("cannot download it")
        return real(name, *more)

    monkeypatch.setattr(catalogue, "fetch", fetch)
    with pytest.warns(UserWarning, match="cannot download it; falling back to smollm2-135m, which answers poorly"):
        assert catalogue.available_model() == "smollm2-135m"


def test_the_command_is_installed():
    shown = subprocess.run([sys.executable, "-m", "lorag"], capture_output=True, text=True, env={**os.environ})
    assert "compare" in shown.stdout + shown.stderr
