"""Whatever goes wrong, a command ends in one line and an exit code, and what was finished is kept."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text("The warranty lasts 28 months.\n")
    return tmp_path


def lorag(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_what_nobody_foresaw_is_one_line_with_a_file_of_details(here, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("a [bold]\nmessage " + "x" * 1000)

    monkeypatch.setattr("lorag.workflows.index.index", fail)
    done = lorag("index", "docs")
    assert done.exit_code == 70
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this should not have happened: ZeroDivisionError: a [bold] message xxx")
    assert len(line) < 600
    (file,) = (here / "state").rglob("error-*.txt")
    assert str(file) in line
    assert 'raise ZeroDivisionError("a [bold]' in file.read_text()
    assert "Python 3." in file.read_text()


def test_without_a_place_for_the_details_the_line_says_so(here, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("lorag.workflows.index.index", fail)
    (here / "state").write_text("no folder")
    monkeypatch.setattr("tempfile.tempdir", str(here / "state"))
    done = lorag("index", "docs")
    assert (done.exit_code, done.stderr.splitlines()) == (
        70,
        ["error: this should not have happened: ZeroDivisionError; no file could be written with the details"],
    )


def test_an_index_on_a_full_disk_is_one_line_and_keeps_what_it_held(here, embedder, largest_file):
    assert lorag("index", "docs").exit_code == 0
    (here / "docs" / "office.md").write_text("The office is in Halifax.\n")
    with largest_file(100):
        done = lorag("index", "docs")
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: cannot write ")
    assert "the disk is full; free some space and run the same command again" in last
    assert ".rs:" not in done.output
    assert "28 months" in lorag("search", "warranty").output
    assert "1 added, 0 updated, 0 removed, 1 unchanged" in lorag("index", "docs").output


def test_a_finetune_on_a_full_disk_is_one_line_and_the_same_command_resumes(here, tiny_folder, largest_file):
    rows = [{"question": f"Which colour has buoy {n}?", "answer": f"Buoy {n} is red."} for n in range(4)]
    (here / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["finetune", "chat.jsonl", "--model", str(tiny_folder), "--out", "support", "--epochs", "1"]
    command += ["--general-share", "0", "--general-text-share", "0"]
    with largest_file(50_000):
        done = lorag(*command, "--learning-rate", "0.01")
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: cannot write ")
    assert "the disk is full; free some space and run the same command again" in last
    assert "Traceback" not in done.output
    assert not (here / "support").exists()
    done = lorag(*command, "--learning-rate", "0.01")
    assert done.exit_code == 0, done.output
    assert (here / "support" / "lorag.json").is_file()
    assert not list(here.glob(".support*"))


CODE = """
import logging, sys, warnings
from lorag.cli import commands
from lorag.errors import InputError

def noisy(*arguments, **options):
    warnings.warn("in the next version", FutureWarning)
    logging.getLogger("bitsandbytes").warning("Failed to load a kernel")
    logging.getLogger("lorag.serving").error("an answer failed")
    warnings.warn("worth knowing", UserWarning)
    raise SystemExit(0)

commands.app.command()(noisy)
sys.argv = ["lorag", *sys.argv[1:]]
commands.run()
"""


def test_other_libraries_keep_still(here):
    done = subprocess.run(
        [sys.executable, "-c", CODE, "search", "x", "--store", "nowhere"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    code = CODE.replace("commands.app.command()(noisy)", "commands.app = noisy")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines() == ["an answer failed", "warning: worth knowing"]


def test_an_error_outside_of_every_command_is_one_line_as_well():
    code = CODE.replace("raise SystemExit(0)", "raise InputError('wrong')").replace(
        "commands.app.command()(noisy)", "commands.app = noisy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "error: wrong")


def test_streams_that_are_closed_from_the_start_are_no_failure(here):
    command = f"{sys.executable} -m lorag models list"
    for closed in (">&-", "<&- >&- 2>&-"):
        done = subprocess.run(["bash", "-c", f"{command} {closed}"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_home_folder_an_unforeseen_error_is_one_line_as_well(here, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr("lorag.workflows.index.index", fail)
    monkeypatch.setattr("tempfile.tempdir", str(here))
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = lorag("index", "docs")
    (file,) = here.glob("error-*.txt")
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, str(file) in line) == (70, True)


def test_a_reader_that_ends_early_is_no_failure(here):
    models = f"{sys.executable} -m lorag models list --json | head -c 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {models}"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "should not have happened" not in done.stderr
