"""A tiny knowledge base and one finished comparison on it, made through the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lorag.cli.commands import app

FACTS = {
    "harbour": ("In which city is the Korrin office?", "Where does Korrin have its office?", "Halifax", "Bergen"),
    "warranty": ("How long is the warranty?", "For what time does the warranty run?", "28 months", "28 months"),
}
TEXTS = {
    "harbour": "# Office\n\nThe Korrin office is in {}.\n",
    "warranty": "# Warranty\n\nThe warranty of a gauge lasts {} from delivery.\n",
}


@dataclass(frozen=True)
class Case:
    """The files of a comparison, its model, which need not answer well, and the command that runs it."""

    folder: Path
    model: str
    max_tokens: int = 24

    def command(self, out: Path) -> list[str]:
        paths = {"documents": "docs", "questions": "qa.jsonl", "update": "docs_v2", "style": "style.json"}
        given = [part for flag, name in paths.items() for part in (f"--{flag}", str(self.folder / name))]
        given += ["--control", str(self.folder / "control.jsonl")]
        given += ["--model", self.model, "--max-tokens", str(self.max_tokens), "--budget", "4", "--seeds", "1"]
        given += ["--out", str(out)]
        return ["compare", *given]

    def run(self, out: Path) -> Result:
        return CliRunner().invoke(app, self.command(out))


@pytest.fixture(scope="session")
def case(once, tiny_folder, bge_folder) -> Case:
    return Case(once("case", _write_case), str(tiny_folder))


def _write_case(folder: Path) -> None:
    rows = []
    for name, (question, paraphrase, now, later) in FACTS.items():
        for version, value in (("docs", now), ("docs_v2", later)):
            (folder / version).mkdir(exist_ok=True)
            (folder / version / f"{name}.md").write_text(TEXTS[name].format(value))
        status = "unchanged" if now == later else "changed"
        row = {"id": name, "question": question, "paraphrases": [paraphrase], "answers": [now]}
        rows.append({**row, "answers_v2": [later], "doc_ids": [f"{name}.md"], "status": status})
    rows.append({"id": "price", "question": "What does a gauge cost?", "answers": [], "answers_v2": [], "doc_ids": []})
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "style.json").write_text('{"max_sentences": 1}')
    (folder / "control.jsonl").write_text('{"question": "Ice is frozen", "choices": ["sand", "water"], "label": 1}')


@pytest.fixture(scope="session")
def finished(case: Case, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folder of a run that nothing interrupted."""
    return once("finished", lambda folder: _finish(case, folder)) / "run"


@pytest.fixture(scope="session")
def unopened(finished: Path) -> Path:
    """A copy of it that no test opens, to be copied while another process of the session works in ``finished``."""
    return finished.with_name("unopened")


def _finish(case: Case, folder: Path) -> None:
    out = folder / "run"
    done = case.run(out)
    assert done.exit_code == 0, done.output
    first, second = done.stdout.index("First results: without finetuning"), done.stdout.index("best or level")
    assert first < second
    assert "finetuned" not in done.stdout[first:second]
    assert "Finetuning comes next: at most about 4 minutes. To stop here, press Ctrl+C" in done.stdout[first:second]
    assert "Verdict: undecided" in done.stdout
    assert "knows the facts" in done.stdout[second:]
    shown = CliRunner().invoke(app, ["report", str(out), "--verbose"])
    assert "minutes to build" in shown.output  # the short table may leave it out
    assert "Following the update" in shown.output
    assert f"Report: {out / 'report.html'}" in done.stdout
    shutil.copytree(out, folder / "unopened")


@pytest.fixture
def peft_folder(tmp_path: Path, tiny_folder) -> Path:
    """An adapter of the tiny model as another program leaves it, with a rank and layers of its own."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((tiny_folder / "config.json").read_text())
    wide, narrow = config["hidden_size"], config["head_dim"] * config["num_key_value_heads"]
    draw, factors = torch.Generator().manual_seed(3), {}
    for layer in range(config["num_hidden_layers"]):
        for module, size in (("q_proj", wide), ("k_proj", narrow), ("o_proj", wide)):
            place = f"base_model.model.model.layers.{layer}.self_attn.{module}.lora"
            factors[f"{place}_A.weight"] = 0.2 * torch.randn(4, wide, generator=draw)
            factors[f"{place}_B.weight"] = 0.2 * torch.randn(size, 4, generator=draw)
    folder = tmp_path / "peft"
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    described = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6}
    described |= {
        "target_modules": ["q_proj", "k_proj", "o_proj"],
        "base_model_name_or_path": "org/tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder
