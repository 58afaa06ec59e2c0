"""The commands as a newcomer types them: real parts, JSON for machines, one line and an exit code for mistakes."""

import json
import os
import subprocess
import sys

import pptx
import pytest
from typer.testing import CliRunner

from lorag.cli.app import app
from lorag.errors import StorageError

COMMANDS = [
    "compare",
    "demo",
    "finetune",
    "export",
    "index",
    "search",
    "ask",
    "chat",
    "data check",
    "data convert",
    "data synthesize",
    "models list",
    "models fetch",
    "models path",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
    assert "1 file of another kind was passed over: logo.png" in said
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


def test_a_rebuild_that_fails_leaves_the_old_index(here, embedder, monkeypatch):
    lorag("index", "docs")
    (here / "docs" / "new.md").write_text("The port is in Bergen.")

    def full(*arguments):
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


def test_finetune_then_ask_with_the_adapter(here, smollm_folder):
    (here / "chat.jsonl").write_text(
        "".join(
            json.dumps({"question": q, "answer": "Mara Lind founded Korrin."}) + "\n"
            for q in ("Who founded Korrin?", "Korrin was founded by whom?", "Who began Korrin?")
        )
    )
    options = ("--model", "smollm2-135m", "--out", "adapter", "--epochs", "12", "--learning-rate", "0.002")
    told = lorag("finetune", "chat.jsonl", *options, "--dry-run")
    assert "lora, rank 16, alpha 32, all linear layers, rate 0.002, 12 epochs: about " in told.stdout
    assert not (here / "adapter").exists()
    trained = lorag("finetune", "chat.jsonl", *options)
    assert "Trained smollm2-135m by lora on 3 conversations" in trained.output, trained.output
    assert "finetuning: about " in trained.stderr
    assert "Loss a token: █" in trained.stdout
    answered = lorag("ask", "Please say who founded Korrin.", "--no-sources", "--adapter", "adapter")
    assert "Mara Lind" in answered.output
    exported = lorag("export", "adapter", "--format", "ollama", "--precision", "q8_0", "--out", "ollama")
    assert "ollama create ollama -f ollama/Modelfile" in exported.stdout, exported.output
    assert (here / "ollama" / "model.gguf").is_file()
    (here / "other.jsonl").write_text('{"question": "Who?", "answer": "Nobody."}\n')
    other = lorag("finetune", "other.jsonl", *options)
    assert (other.exit_code, "'adapter' holds what was trained on other conversations (3" in other.stderr) == (2, True)
    wrong = lorag("ask", "x", "--no-sources", "--adapter", "docs")
    assert (wrong.exit_code, "is no adapter of Lorag" in wrong.output) == (2, True)


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
        assert (
            row["messages"][1]["content"].rstrip(".").rsplit(" ")[-1]
            in ((here / "docs" / row["doc_ids"][0]).read_text()[start:end])
        )
    assert lorag("data", "check", "made.jsonl").exit_code == 0
    wrong = lorag("data", "synthesize", "docs", "--out", "made.csv")
    assert (wrong.exit_code, "does not end in .jsonl" in wrong.stderr) == (2, True)


def test_chat_streams_remembers_and_shows_its_sources(here, embedder, smollm_folder):
    lorag("index", "docs")
    said = lorag("chat", "--model", "smollm2-135m", input="Where is the office?\n/sources\n/reset\n/sources\n\n")
    assert said.exit_code == 0
    assert said.output.count("The office is in Halifax.") >= 1


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
        (["export", "docs", "--out", "x"], "is no adapter of Lorag"),
        (["finetune", "chat.jsonl", "--method", "lorra"], "method 'lorra' is none of lora, rslora"),
        (["finetune", "chat.jsonl", "--out", "docs"], "'docs' holds other files, which training would replace"),
        (["finetune", "chat.jsonl", "--out", "qa.jsonl"], "'qa.jsonl' is a file; choose a folder with --out"),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--limit", "0"], "limit 0 is below 1"),
        (["compare", "--documents", "docs", "--questions", "qa.jsonl", "--model", "qwen9"], "unknown model 'qwen9'"),
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
    (here / "twice.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    (here / "broken.jsonl").write_text(json.dumps(row) + "\n{\n")
    (here / "unknown.jsonl").write_text(json.dumps({**row, "doc_ids": ["offce.md"]}) + "\n")
    result = lorag(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.replace("\n", "")
    assert "Traceback" not in result.output


def test_without_the_default_model_the_fallback_is_taken_with_a_warning(tmp_path, monkeypatch, smollm_folder):
    from lorag import build
    from lorag.errors import FetchError
    from lorag.llm import catalogue

    real = catalogue.fetch

    def fetch(name, *more):
        if name == "qwen2.5-coder-0.5b":
            raise FetchError("cannot download it")
        return real(name, *more)

    monkeypatch.setattr(catalogue, "fetch", fetch)
    with pytest.warns(UserWarning, match="cannot download it; falling back to smollm2-135m, which reads poorly"):
        assert build.available_default() == "smollm2-135m"


def test_the_command_is_installed():
    shown = subprocess.run([sys.executable, "-m", "lorag"], capture_output=True, text=True, env={**os.environ})
    assert "compare" in shown.stdout + shown.stderr
