"""A model's rewordings are kept when they ask the same and are proven; the rest is counted, and a kill costs little."""

import pytest

from lorag.errors import EndpointError
from lorag.files import LineLog
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.wordings.rewordings import (
    ANSWERED_OTHERWISE,
    NO_QUESTION,
    OTHER_NAMES,
    TOLD,
    Taught,
    Writer,
    reword,
    why_refused,
)
from lorag.types import Chunk, Message

TEXT = "The Korrin P2 was first sold in 1987. It weighs 4 kg."
CHUNK = Chunk("p2.md", "v", 0, len(TEXT), TEXT)
OTHER = Chunk("other.md", "v", 0, 14, "In 1987, rain.")
FACT = Taught("When was the Korrin P2 first sold?", "1987", ("p2.md",))
WRITTEN = (
    "1. In which year did Korrin begin to sell the P2?\n"
    '- "Tell me the first year of sales of the Korrin P2."\n'
    "When was the Korrin R9 first sold?\n"
    "Was the Korrin P2 first sold in 1987?\n"
    "Korrin P2 sales.\n"
    "Since when has Korrin sold the P2?\n"
    "Since when has Korrin sold the P2?\n"
)


def ask(question, chunk):
    return (Message("user", f"Source: {chunk.text}\nQ: {question}"),)


def reply(prompt):
    asked = prompt[-1].content
    if not asked.startswith("Source: "):
        return WRITTEN
    return "It was in 1988." if "Since when" in asked else "It was in 1987."


def test_what_asks_the_same_and_is_proven_is_kept_and_the_rest_is_counted():
    model = ScriptedModel(reply)
    done, stopped = reword([FACT], Writer(model, ask, [OTHER, CHUNK]), 5, no_progress)
    assert stopped == ""
    assert done[FACT].kept == (
        "In which year did Korrin begin to sell the P2?",
        "Tell me the first year of sales of the Korrin P2.",
    )
    assert done[FACT].refused == {OTHER_NAMES: 2, NO_QUESTION: 1, ANSWERED_OTHERWISE: 1}
    assert done[FACT].proven
    assert "Write 5 different rewordings" in model.prompts[0][-1].content
    assert all(TEXT in prompt[-1].content for prompt in model.prompts[1:])


def test_without_the_passage_rewordings_are_kept_unproven():
    for chunks in ((), (OTHER,)):
        done, _ = reword([FACT], Writer(ScriptedModel(reply), ask, chunks), 5, no_progress)
        assert (len(done[FACT].kept), done[FACT].proven) == (3, False)


@pytest.mark.parametrize(
    ("wording", "reason"),
    [
        ("How much does a P2 weigh?", ""),
        ("I have to carry a P2. How much weight is that?", ""),
        ("Weight of P2?", NO_QUESTION),
        ("Wie viel wiegt ein P2?", NO_QUESTION),
        ("I do not know the P2", NO_QUESTION),
        ("How much does an R9 weigh?", OTHER_NAMES),
        ("How much does a gauge weigh?", OTHER_NAMES),
        ("How much does the P2 of Korrin weigh?", OTHER_NAMES),
        ("What weighs as much as a heavy bag, the P2?", TOLD),
    ],
)
def test_a_rewording_is_refused_for_a_reason(wording, reason):
    assert why_refused(wording, "How heavy is the P2?", "a heavy bag") == reason


def test_questions_in_other_languages_can_be_reworded():
    assert why_refused("Wie viel wiegt ein P2?", "Wie schwer ist ein P2?", "4 kg") == ""
    assert why_refused("Ein P2 wiegt viel.", "Wie schwer ist ein P2?", "4 kg") == NO_QUESTION


@pytest.mark.parametrize("nonsense", ["", "\n\n", "I like gauges.", "?" * 50, "###\n```\n0000", "Q:\nA:\n" * 9])
def test_nonsense_gives_nothing_and_breaks_nothing(nonsense):
    done, stopped = reword([FACT], Writer(ScriptedModel(lambda prompt: nonsense), ask, [CHUNK]), 5, no_progress)
    assert (done[FACT].kept, stopped) == ((), "")


def facts(count):
    return [Taught(f"When was the Korrin P{n} first sold?", "1987", ("p2.md",)) for n in range(count)]


def test_after_a_kill_nothing_is_asked_twice(tmp_path):
    calls = []

    def killed(prompt):
        calls.append(prompt)
        if len(calls) > 30:
            raise KeyboardInterrupt
        return "no"

    with pytest.raises(KeyboardInterrupt):
        reword(facts(45), Writer(ScriptedModel(killed), ask, (), LineLog(tmp_path / "log.jsonl")), 5, no_progress)
    again = ScriptedModel(lambda prompt: "no")
    done, _ = reword(facts(45), Writer(again, ask, (), LineLog(tmp_path / "log.jsonl")), 5, no_progress)
    assert len(again.prompts) == 25
    assert done == reword(facts(45), Writer(again, ask), 5, no_progress)[0]


def test_a_model_that_stops_answering_leaves_what_it_wrote(tmp_path):
    calls = []

    def stops(prompt):
        calls.append(prompt)
        if len(calls) > 30:
            raise EndpointError("the server is gone")
        return "Since when has Korrin sold P0?"

    log = LineLog(tmp_path / "log.jsonl")
    done, stopped = reword(facts(45), Writer(ScriptedModel(stops), ask, (), log), 5, no_progress)
    assert (len(done), len(log.rows), stopped) == (20, 20, "the server is gone")
    assert done[facts(1)[0]].kept == ("Since when has Korrin sold P0?",)


def test_a_real_model_rewords(smollm):
    done, stopped = reword([FACT], Writer(smollm, ask, [CHUNK]), 3, no_progress)
    assert (set(done), stopped) == ({FACT}, "")
    assert all(why_refused(line, FACT.question, FACT.answer) == "" for line in done[FACT].kept)
