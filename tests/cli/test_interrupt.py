"""Ctrl-C before the program is loaded ends it in a line too."""

import subprocess
import sys

START = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Interrupting(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "lorag.cli.screen":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
sys.meta_path.insert(0, Interrupting())
sys.argv = ["lorag", "--version"]
from lorag.cli import main
main()
"""


def test_an_interrupted_start_is_one_line():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")
