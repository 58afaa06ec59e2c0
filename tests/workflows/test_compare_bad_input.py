"""Too few questions, none with an answer, and an arm that fails: each comparison ends with a verdict and a page."""

import html
import json
import re

import pytest

from lorag.chat.own_responder import OwnResponder
from lorag.cli.compare_command import print_comparison
from lorag.errors import BudgetError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import ChatSettings, CompareSettings, RemoteSettings
from lorag.types import Sampling
from lorag.workflows.compare import compare

BRIEF = CompareSettings(
    prompt_questions=0, chat=ChatSettings(sampling=Sampling(max_tokens=8)), remote=RemoteSettings(retries=0)
)


def reader(prompt):
    """Reads the office's city from a source; knows nothing else."""
    found = re.search(r"office is in (\w+)", prompt[-1].content)
    return found[1] if found else "I do not know."


@pytest.fixture
def paths(case):
    return {"documents": case.folder / "docs", "questions": case.folder / "qa.jsonl"}


@pytest.mark.parametrize("says", ["one", "none", "nothing answerable"])
def test_few_questions_and_none_with_an_answer_give_a_verdict_that_says_what_it_lacks(
    says, paths, endpoint, bge_folder, tmp_path, capsys
):
    rows = [json.loads(line) for line in (paths["questions"]).read_text().splitlines()]
    asked = (f"What does gauge {number} cost?" for number in range(22))
    open_ones = [{"id": question, "question": question, "answers": [], "doc_ids": []} for question in asked]
    chosen = {"one": rows[:1], "none": open_ones[:1], "nothing answerable": open_ones}[says]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    server = endpoint(ScriptedModel(reader, name="m"))
    given = {"documents": paths["documents"], "questions": tmp_path / "qa.jsonl", "model": server.name}
    result = compare(**given, out=tmp_path / "run", settings=BRIEF)
    texts = shown_everywhere(result, capsys)
    refusing_alone = "no question with an answer was asked: the verdict is about refusing alone"
    few = {"one": "The questions come from 1 document, too few", "none": "there are only 1: too few"}.get(says, "")
    for text in texts:
        assert (refusing_alone in text.lower()) == (says != "one")
        assert few in text
    if says != "nothing answerable":
        assert result.verdict.choice == "undecided"
        assert "1 question is too few for a verdict; 20 are needed" in result.verdict.sentence
    assert result.at("before")["retrieval"].questions == len(chosen)


def shown_everywhere(result, capsys):
    """What the terminal shows of a result, and its page; neither has a number that is none."""
    capsys.readouterr()
    print_comparison(result, result.folder, json=False, verbose=True)
    page = re.sub(r"<(script|style)\b.*?</\1>", "", (result.folder / "report.html").read_text(), flags=re.DOTALL)
    page = html.unescape(re.sub(r"<[^>]+>", " ", page))
    texts = [" ".join(text.split()) for text in (capsys.readouterr().out, page)]
    for text in (*texts, (result.folder / "result.json").read_text()):
        assert not re.search(r"\b(nan|inf)\b|NaN|Infinity", text)
    return texts


def test_an_arm_that_fails_on_every_question_is_counted_with_its_reason_and_asked_again(
    paths, endpoint, bge_folder, tmp_path, capsys
):
    server, calls = endpoint(ScriptedModel(reader, name="m")), []

    def broken(questions):
        calls.append(len(questions))
        raise RuntimeError("power cut")

    given = {**paths, "model": server.name, "out": tmp_path / "run", "settings": BRIEF}
    result = compare(**given, arms={"ours": broken})
    assert calls == [3, 1, 1, 1]
    for text in shown_everywhere(result, capsys):
        assert "3 of 3 questions to ours failed (RuntimeError: power cut); each counts as wrong." in text
    ours = result.at("before")["ours"]
    assert (ours.errors, ours.estimates["correct"].mean, ours.seconds) == (3, 0, None)
    assert "false_refusal" not in ours.estimates  # it answered nothing, and refused nothing
    assert result.verdict.choice == "undecided"
    asked = len(server.requests)
    mended = compare(**given, arms={"ours": lambda questions: ["Halifax"] * len(questions)})
    assert (mended.at("before")["ours"].errors, len(server.requests)) == (0, asked)
    again = compare(**given, arms={"ours": broken})
    assert (again.at("before")["ours"].errors, len(calls)) == (0, 4)  # what was answered is not asked again


def test_a_function_that_fails_on_one_question_answers_the_others():
    def picky(questions):
        if any("price" in question for question in questions):
            raise KeyError("price")
        return [question.upper() for question in questions]

    answers = OwnResponder("ours", picky, "No.").answer(["a", "b", "the price", "c"])
    assert [answer.text for answer in answers] == ["A", "B", "", "C"]
    assert answers[2].error == "KeyError: 'price'"

    def spent(questions):
        raise BudgetError("spent")

    with pytest.raises(BudgetError):
        OwnResponder("ours", spent, "No.").answer(["a", "b"])
