"""Requests to servers: each answered once, kept at once, and no more asked for than the budget has room for."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lorag.errors import BudgetError
from lorag.files import LineLog
from lorag.llm.engines.ledger import Ledger
from lorag.types import Completion

TEN = Completion("yes", 6, 4, 0.5, "stop")


def test_what_was_answered_is_known_to_the_next_process_and_not_asked_again(tmp_path):
    path = tmp_path / "asked.jsonl"
    assert Ledger(LineLog(path)).completion("a", 20, lambda: TEN) == TEN
    with path.open("a") as file:
        file.write('{"request": "torn')
    later = Ledger(LineLog(path), max_tokens=29)
    assert later.completion("a", 20, lambda: pytest.fail("asked again")) == TEN
    with pytest.raises(BudgetError, match="10 of 29 tokens are spent, and the next question may take 20 more"):
        later.completion("b", 20, lambda: pytest.fail("asked"))
    assert later.completion("b", 19, lambda: TEN) == TEN
    assert [json.loads(line)["request"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_questions_on_their_way_count_and_one_that_fails_gives_its_tokens_back(tmp_path):
    ledger = Ledger(LineLog(tmp_path / "asked.jsonl"), max_tokens=40)
    gate = threading.Event()

    def slow():
        assert gate.wait(30)
        return TEN

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ledger.completion, "a", 30, slow)
        while not ledger._on_their_way:
            pass
        with pytest.raises(BudgetError):
            ledger.completion("b", 30, lambda: TEN)
        gate.set()
        assert first.result() == TEN
    with pytest.raises(ZeroDivisionError):
        ledger.completion("b", 30, lambda: 1 / 0)
    assert ledger.completion("b", 30, lambda: TEN) == TEN
