"""What a command shows: its progress, which is kept for whoever watches, and messages as they are."""

import json
import math
import pickle

from lorag.cli.screen import print_error, print_sources, print_table, print_warning, progress_bars
from lorag.interfaces import LossNote
from lorag.types import Chunk, Hit


def test_a_watched_command_keeps_its_stages_and_losses(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_PROGRESS", str(tmp_path / "job" / "progress.json"))
    with progress_bars() as progress:
        progress("embedding", 8, 8)
        progress("finetuning", 1, 3, LossNote(1.254))
        progress("finetuning", 2, 3, LossNote(math.nan))
        progress("finetuning", 3, 3, LossNote(0.5))
    first, second = json.loads((tmp_path / "job" / "progress.json").read_text())
    assert (first["stage"], first["done"], first["total"]) == ("embedding", 8, 8)
    assert (second["done"], second["losses"], second["note"]) == (3, [1.254, 0.5], "loss 0.50")
    assert first["begun"] <= first["at"] <= second["at"]
    assert pickle.loads(pickle.dumps(LossNote(1.254))).loss == 1.254


def test_each_training_is_a_stage_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_PROGRESS", str(tmp_path / "progress.json"))
    with progress_bars() as progress:
        for loss in (3.0, 2.0):
            progress("finetuning", 0, 2, "about 2 minutes")
            progress("finetuning", 1, 2, LossNote(loss))
            progress("finetuning", 2, 2, LossNote(loss / 2))
        progress("asking base (before)", 40, 40)
    stages = json.loads((tmp_path / "progress.json").read_text())
    assert [(stage["stage"], stage["losses"]) for stage in stages] == [
        ("finetuning", [3.0, 1.5]),
        ("finetuning", [2.0, 1.0]),
        ("asking base (before)", []),
    ]
    assert stages[0]["at"] <= stages[1]["begun"]


def test_brackets_and_backslashes_are_shown_as_they_are(capsys):
    text = "a\\[bold]b [red] [/] [1] C:\\"
    print_error(text)
    print_warning(text)
    print_table(["x", text], [["y", text]])
    shown = capsys.readouterr()
    assert shown.err == f"error: {text}\nwarning: {text}\n"
    assert shown.out.count(text) == 2


def test_a_score_of_the_second_search_is_marked(capsys):
    chunk = Chunk("a.md", "v", 0, 4, "text")
    print_sources([Hit(chunk, 0.5, "hybrid"), Hit(chunk, 0.9, "second")])
    assert capsys.readouterr().out.splitlines() == ["[1] a.md (0.50)", "[2] a.md (0.90, second search)"]
