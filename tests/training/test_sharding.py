"""Two processes, also with a part of every weight each, train what one process trains, and survive the loss of one."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from lorag.errors import InputError
from lorag.interfaces import no_progress
from lorag.llm.engines.transformers import load
from lorag.settings import FinetuneSettings
from lorag.training.data.conversations import read_conversations
from lorag.training.finetuning import Base, train
from lorag.training.trainer import _steps_of_an_update
from small_models import write_tokenizer

ANSWERS = ("Mara Lind.", "Tide gauges, sold in three sizes.", "Bergen.", "Since 1994.")
SETTINGS = FinetuneSettings(
    epochs=3, learning_rate=1e-2, batch_tokens=1, held_out_share=0.0, measure_forgetting=False, context_share=0.0
)
UPDATE = 4
"""Steps of an update, on however many processes."""
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from lorag.cli.screen import translated_errors
from lorag.llm.engines.transformers import load
from lorag.settings import FinetuneSettings
from lorag.training.data.conversations import read_conversations
from lorag.workflows.finetuning.adapter_training import train_adapter

data, model, trainings, dies_at = sys.argv[1:]
first = os.environ["RANK"] == "0"  # which alone decides whether there is time for another pass
killed = False

def progress(stage, done, total, note=""):
    if killed and not first and stage == "finetuning" and done == int(dies_at):
        os.kill(os.getpid(), signal.SIGKILL)

for out, settings in json.loads(trainings):
    killed = Path(out).name == "killed"
    with translated_errors():
        settings, engine = FinetuneSettings(**settings), load(Path(model), "tiny", "float32")
        given = (engine, read_conversations(data), Path(out), settings, progress)
        train_adapter(*given, most_seconds=1e9 if first else 0.0)
    weights = list(engine.weights.model.parameters())
    if settings.shard and settings.method == "lora" and first:  # all weights are trained in a copy
        held, whole = sum(w.to_local().numel() for w in weights), sum(w.numel() for w in weights)
        sys.stdout.write(f"held {held} of {whole}\\n")  # at once: both processes write to one pipe
"""


@pytest.fixture(scope="module")
def tiny(smollm_folder, tmp_path_factory):
    """Two layers with random weights."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = write_tokenizer(smollm_folder, folder)
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "chat.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"Question {i}?"}, {"role": "assistant", "content": answer}]}
        for i, answer in enumerate(2 * ANSWERS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def alone(tiny, data, out, settings, progress=no_progress):
    weights = load(tiny, "tiny", "float32").weights
    base = Base(weights.model, weights.tokenizer, "tiny", weights.fingerprint)
    return train(base, read_conversations(data), out, settings, progress=progress)


def on_two(tiny, data, folder, trainings, dies_at):
    """Two processes, which do these trainings by their folders one after the other; in ``killed`` one of them dies."""
    (script := folder / "script.py").write_text(SCRIPT)
    given = json.dumps([(str(folder / name), asdict(settings)) for name, settings in trainings.items()])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", script, data, tiny, given]
    return subprocess.run([*command, str(dies_at)], capture_output=True, text=True, check=False)


def weights_of(folder):
    return load_file(next(folder.glob("*model.safetensors")))


def assert_same(ours, theirs, expected):
    """The losses of all updates and the weights, but for the order of sums."""
    found = json.loads((ours / "lorag.json").read_text())
    assert found["loss_curve"] == pytest.approx(expected.loss_curve, rel=1e-3)
    assert found["loss_curve"][-1] < found["loss_curve"][0] - 0.01
    held, wanted = weights_of(ours), weights_of(theirs)
    assert held.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert (held[name] - weight).norm() <= 0.03 * weight.norm(), name
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())


ALL_WEIGHTS = replace(SETTINGS, method="full", learning_rate=1e-3, gradient_accumulation_steps=UPDATE)


SHARED = replace(SETTINGS, gradient_accumulation_steps=UPDATE // 2)


@pytest.fixture(scope="module")
def trained(tiny, data, tmp_path_factory):
    """The folder of what two processes trained, one after the other, and how they ended, killed in the last one."""
    folder = tmp_path_factory.mktemp("trained")

    def stop(stage, done, total, note=""):
        if done == 3:  # in the second of three passes of two updates
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alone(tiny, data, folder / "resumed", ALL_WEIGHTS, stop)
    trainings = {
        "whole": SHARED,
        "sharded": replace(SHARED, shard=True, gradient_checkpointing=True),
        "resumed": replace(ALL_WEIGHTS, shard=True, cpu_offload=True),
        "killed": replace(SHARED, shard=True),
    }
    return folder, on_two(tiny, data, folder, trainings, dies_at=3)


@pytest.fixture(scope="module")
def expected(tiny, data, tmp_path_factory):
    """The folder and the manifest of what one process trained in whole updates."""
    folder = tmp_path_factory.mktemp("expected") / "alone"
    return folder, alone(tiny, data, folder, replace(SETTINGS, gradient_accumulation_steps=UPDATE))


def test_two_processes_share_an_update(trained, expected):
    folder, ended = trained
    assert (folder / "whole").is_dir(), ended.stderr
    assert_same(folder / "whole", *expected)
    assert {path.name for path in folder.iterdir()} == {
        *("script.py", "whole", "sharded", "resumed"),
        ".killed.checkpoints",
    }


def test_two_processes_with_parts_of_the_weights_train_as_one_does(trained, expected):
    folder, ended = trained
    said = re.search(r"held (\d+) of (\d+)", ended.stdout)
    assert said is not None, ended.stderr
    held, whole = map(int, said.groups())
    assert held <= 0.51 * whole
    assert_same(folder / "sharded", *expected)


def test_two_processes_resume_what_one_began_with_all_weights(trained, tiny, data, tmp_path):
    manifest = alone(tiny, data, tmp_path / "alone", ALL_WEIGHTS)
    assert_same(trained[0] / "resumed", tmp_path / "alone", manifest)


def test_a_killed_process_ends_all_and_one_process_resumes(trained, expected, tiny, data):
    folder, lost = trained
    assert lost.returncode == 1
    assert "Signal 9 (SIGKILL)" in lost.stderr
    assert "error: another process of this training ended" in lost.stderr
    saved = sorted(path.name for path in folder.glob(".killed.checkpoints/checkpoint-*"))
    assert saved == ["checkpoint-2"]
    seen = []
    adapter = alone(tiny, data, folder / "killed", SHARED, lambda stage, done, total, note="": seen.append(done))
    assert adapter.loss_curve == pytest.approx(expected[1].loss_curve, rel=1e-3)
    assert seen[1:] == [3, 4, 5, 6]


def test_an_update_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    (tmp_path / "steps").write_text("3")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="updates of 3 steps, which 2 processes"):
        _steps_of_an_update(tmp_path / "steps", True, SETTINGS)


def test_one_process_is_told_how_to_start_several(tiny, data, tmp_path):
    with pytest.raises(InputError, match="torchrun --nproc-per-node 2"):
        alone(tiny, data, tmp_path / "a", replace(SETTINGS, shard=True))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shard": True, "method": "dora"}, "the method dora does not support shard"),
        ({"cpu_offload": True}, "set shard as well"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given, told):
    with pytest.raises(InputError, match=told):
        FinetuneSettings(**given)
