"""What a command shows of its progress, and keeps for whoever watches it."""

import json

from lorag.cli.screen import progress_bars


def test_a_watched_command_keeps_its_stages_and_losses(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_PROGRESS", str(tmp_path / "job" / "progress.json"))
    with progress_bars() as progress:
        progress("embedding", 8, 8)
        progress("finetuning", 1, 3, "loss 1.25")
        progress("finetuning", 2, 3, "loss nan")
        progress("finetuning", 3, 3, "loss 0.50")
    first, second = json.loads((tmp_path / "job" / "progress.json").read_text())
    assert (first["stage"], first["done"], first["total"]) == ("embedding", 8, 8)
    assert (second["done"], second["losses"], second["note"]) == (3, [1.25, 0.5], "loss 0.50")
    assert first["begun"] <= first["at"] <= second["at"]
