"""Requests to servers: each answered once, kept at once, and no more asked for than the budget has room for."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lorag.errors import BudgetError
from lorag.files import LineLog
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.ledger import Ledger
from lorag.llm.engines.scripted import ScriptedModel
from lorag.types import Completion, Message, Sampling

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
        ledger.completion("b", 30, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert ledger.completion("b", 30, lambda: TEN) == TEN


def test_what_an_earlier_run_asked_of_the_same_model_is_taken_from_its_log_and_kept(tmp_path):
    prompts = [(Message("user", "one"),), (Message("user", "two"),)]

    def run(name, earlier=None, identity="m float32"):
        inner = ScriptedModel(lambda prompt: prompt[-1].content.upper())
        before = LineLog(tmp_path / f"{earlier}.jsonl") if earlier else None
        model = CachedModel(inner, Ledger(LineLog(tmp_path / f"{name}.jsonl"), earlier=before), identity)
        return [c.text for c in model.generate(prompts, Sampling())], len(inner.prompts)

    texts, asked = run("first")
    assert asked == 2
    assert run("second", "first") == (texts, 0)
    (tmp_path / "first.jsonl").unlink()
    assert run("third", "second") == (texts, 0)  # what was taken is handed on
    assert run("second") == (texts, 0)
    assert run("other", "second", "m bfloat16") == (texts, 2)


def test_what_is_taken_from_an_earlier_run_costs_nothing_of_the_budget(tmp_path):
    Ledger(LineLog(tmp_path / "old.jsonl")).keep({"a": TEN, "b": TEN})
    for _ in range(2):
        ledger = Ledger(LineLog(tmp_path / "new.jsonl"), max_tokens=9, earlier=LineLog(tmp_path / "old.jsonl"))
        assert ledger.completion("a", 20, lambda: pytest.fail("asked")) == TEN
        with pytest.raises(BudgetError, match="0 of 9 tokens are spent"):
            ledger.completion("c", 20, lambda: pytest.fail("asked"))
