"""A comparison whose disk is full ends in one line, and the same command takes it from there."""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.files import DISK_FULL

FACTS = {"harbour": "The Korrin office is in Halifax.", "warranty": "The warranty of a gauge lasts 28 months."}


@pytest.fixture
def command(tmp_path, tiny_folder, bge_folder):
    (tmp_path / "docs").mkdir()
    rows = []
    for name, fact in FACTS.items():
        (tmp_path / "docs" / f"{name}.md").write_text(f"{fact}\n")
        row = {"id": name, "question": f"What about the {name}?", "paraphrases": [f"Tell me of the {name}."]}
        rows.append({**row, "answers": [fact.split()[-1]], "doc_ids": [f"{name}.md"]})
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--documents", str(tmp_path / "docs"), "--questions", str(tmp_path / "qa.jsonl")]
    given += ["--model", str(tiny_folder), "--max-tokens", "8", "--epochs", "1", "--learning-rate", "0.01"]
    return ["compare", *given, "--out", str(tmp_path / "run")]


def test_at_the_start_while_asking_and_at_the_end_it_is_one_line(command, tmp_path, largest_file):
    run = tmp_path / "run"

    def fails(size, place):
        with largest_file(size):
            done = CliRunner().invoke(app, command)
        (last,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
        assert (done.exit_code, last) == (1, f"error: cannot write '{place}': {DISK_FULL}")
        assert "Traceback" not in done.output

    def ends():
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        return {name: (run / name).read_bytes() for name in ("asked.jsonl", "adapter/lorag.json")}

    fails(0, run)
    first = ends()
    requests = Counter(json.loads(line)["request"] for line in first["asked.jsonl"].splitlines())
    assert set(requests.values()) == {1}
    (run / "rows.jsonl").unlink()
    fails(2_000, run / "rows.jsonl")
    (run / "result.json").unlink()
    assert ends() == first
    (run / "result.json").unlink()
    fails(15_000, run / "result.json")
    assert ends() == first
    assert (run / "report.html").is_file()
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
