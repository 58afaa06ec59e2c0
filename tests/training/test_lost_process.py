"""``torchrun -m lorag finetune`` trains what one process trains, and ends with a message wherever a process dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lorag.llm.engines.base_model import DTYPE_VARIABLE
from lorag.settings import FinetuneSettings
from lorag.training.data.conversations import write_conversations
from lorag.types import Conversation, Message
from lorag.workflows.finetune import finetune

PLACES = ("Bergen", "Halifax", "Tromsø", "Stavanger", "Aberdeen", "Esbjerg", "Kiel", "Rostock")
LOST = "error: another process of this training ended; run the same command again: it resumes"
DYING = """
import os, signal, sys, time
from pathlib import Path
from lorag import build
from lorag.cli import main

begun, load = Path(sys.argv.pop(1)), build.trainable_model

def loading(*given):
    if os.environ["RANK"] == "0":
        begun.touch()
        return load(*given)
    while not begun.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

build.trainable_model = loading
main()
"""
BLOCK = """
import os, sys
from lorag.errors import OperationError
from lorag.training.processes import lost_process

def in_python():
    import time
    time.sleep(60)

def in_c():  # as a thread waits in what computes, which no signal interrupts
    import ctypes
    c, mutex, condition = ctypes.CDLL(None), *(ctypes.create_string_buffer(64) for _ in range(2))
    c.pthread_mutex_lock(mutex)
    c.pthread_cond_wait(condition, mutex)

def at_its_end():
    import torch.distributed as dist
    dist.init_process_group("gloo")
    dist.barrier()
    if os.environ["RANK"] == "0":
        os._exit(1)

lost_process._STUCK_SECONDS = float(sys.argv[2])
try:
    with lost_process.lost_process_errors(), lost_process.lost_process_errors():
        print("begun", flush=True)
        globals()[sys.argv[1]]()
except OperationError as error:
    sys.exit(f"error: {error}")
print("ended well")
"""


def started(where, stuck_seconds, rank="0", port=0):
    """A process of two that runs ``BLOCK``."""
    found = {"WORLD_SIZE": "2", "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", BLOCK, where, str(stuck_seconds)]
    output = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | found, stdout=output, stderr=output, text=True)


@pytest.mark.parametrize(("where", "stuck_seconds"), [("in_python", 60), ("in_c", 0.1)])
def test_a_process_that_is_asked_to_end_gives_the_reason(where, stuck_seconds):
    with started(where, stuck_seconds) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        printed, said = process.communicate(timeout=50)
    assert (process.returncode, printed) == (1, "")
    assert said.startswith(LOST)
    assert said.count("\n") == 1


def test_a_process_that_has_nothing_to_do_any_more_notices_the_end_of_another():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with started("at_its_end", 60, "0", port), started("at_its_end", 60, "1", port) as other:
        printed, said = other.communicate(timeout=50)
    assert (other.returncode, printed) == (1, "begun\n")
    assert LOST in said


@pytest.fixture
def command(tiny_folder, tmp_path):
    """The command of a training, without its program."""
    asked = [
        Conversation((Message("user", f"Where is office {number}?"), Message("assistant", f"It is in {place}.")))
        for number, place in enumerate(6 * PLACES)
    ]
    write_conversations(data := tmp_path / "chat.jsonl", asked)
    return ["finetune", data, "--model", tiny_folder, "--out", tmp_path / "out", "--epochs", "2"]


def under_torchrun(*command):
    torchrun = Path(sys.executable).with_name("torchrun")
    environment = os.environ | {DTYPE_VARIABLE: "float32"}
    given = [torchrun, "--nproc-per-node", "2", *command]
    return subprocess.run(given, env=environment, capture_output=True, text=True, check=False)


def test_the_command_on_two_processes_resumes_after_a_kill_and_trains_as_one_does(
    command, tiny_folder, tmp_path, monkeypatch
):
    (tmp_path / "dying.py").write_text(DYING)
    killed = under_torchrun(tmp_path / "dying.py", tmp_path / "begun", *command, "--shard")
    assert killed.returncode == 1
    assert LOST in killed.stderr
    done = under_torchrun("-m", "lorag", *command, "--shard")
    assert done.returncode == 0, done.stderr
    assert "Loss per token" in done.stdout
    monkeypatch.setenv(DTYPE_VARIABLE, "float32")
    settings = FinetuneSettings(epochs=2, gradient_accumulation_steps=2, measure_forgetting=False)
    expected = finetune(tmp_path / "chat.jsonl", tmp_path / "alone", model=str(tiny_folder), settings=settings)
    found = json.loads((tmp_path / "out" / "lorag.json").read_text())
    assert found["settings"]["shard"]
    assert found["steps"] == expected.steps > 4
    assert found["loss_curve"] == pytest.approx(expected.loss_curve, rel=1e-3)
