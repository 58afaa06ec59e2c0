"""Synthesised pairs stand in their passage, are answered from it, name their place, and repeat no test question."""

import pytest

from lorag.errors import InputError
from lorag.files import LineLog
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.qa_synthesis import synthesize
from lorag.types import Chunk, Message

TEXT = "The gauge was founded by Mara Lind in 1987. It weighs 4 kg."
CHUNK = Chunk("about.md", "v", 10, 10 + len(TEXT), TEXT, "About")
WRITTEN = (
    "Q: Who founded the gauge?\nA: Mara Lind\n"
    "Q: When was the gauge founded?\nA: 1988\n"
    "Q: What does the gauge weigh?\nA: 4 kg.\n"
    "Q: Who founded the gauge?\nA: Mara Lind\n"
    "2. Q: Is 1987 the year it was founded in?\nA: 1987\n"
    "Q: Which year is it about?\nA: in 1987\n"
    "Q: unfinished"
)


def ask(question, chunk):
    return (Message("user", f"Source: {chunk.text}\nQuestion: {question}"),)


def reply(prompt):
    asked = prompt[-1].content
    if asked.startswith("Passage:"):
        return WRITTEN
    if asked.startswith("Ask this question in other words"):
        return '"By whom was the gauge founded?"\nIt was.' if "Who founded" in asked else "I cannot."
    return {"Who": "It was Mara Lind.", "By w": "Mara Lind", "What": "4 kg"}.get(
        next((k for k in ("Who", "By w", "What") if f"Question: {k}" in asked), ""), "I do not know."
    )


def test_only_supported_answerable_new_pairs_are_kept_and_everything_is_counted():
    model = ScriptedModel(reply, "m")
    found = synthesize([CHUNK], model, ask, rules=False, exclude=["what does the gauge WEIGH"])
    assert [(pair.question, pair.answer) for pair in found.pairs] == [
        ("Who founded the gauge?", "Mara Lind"),
        ("By whom was the gauge founded?", "Mara Lind"),
    ]
    assert {(pair.document_id, TEXT[pair.start - 10 : pair.end - 10], pair.origin) for pair in found.pairs} == {
        ("about.md", "Mara Lind", "m")
    }
    assert found.conversations[0].evidence == ("about.md",)
    assert (found.passages, found.proposed) == (1, 8)  # six in the asked form, two in other words
    assert (found.unsupported, found.unanswerable, found.repeated) == (2, 1, 3)
    assert TEXT in model.prompts[0][-1].content


def test_rules_need_no_model_and_stand_beside_one():
    alone = synthesize([CHUNK], None, ask)
    assert {pair.origin for pair in alone.pairs} == {"rules"}
    both = synthesize([CHUNK], ScriptedModel(reply, "m"), ask)
    assert [pair for pair in both.pairs if pair.origin == "rules"] == list(alone.pairs)
    assert {pair.origin for pair in both.pairs} == {"rules", "m"}


def test_after_a_kill_nothing_is_written_twice(tmp_path):
    chunks = [Chunk(f"{n}.md", "v", 0, len(TEXT), TEXT, "About") for n in range(45)]
    calls = []

    def killed(prompt):
        calls.append(prompt)
        if sum(each[-1].content.startswith("Passage:") for each in calls) > 30:
            raise KeyboardInterrupt
        return reply(prompt)

    with pytest.raises(KeyboardInterrupt):
        synthesize(chunks, ScriptedModel(killed), ask, log=LineLog(tmp_path / "log.jsonl"))
    again = ScriptedModel(reply)
    found = synthesize(chunks, again, ask, log=LineLog(tmp_path / "log.jsonl"))
    assert sum(prompt[-1].content.startswith("Passage:") for prompt in again.prompts) == 25
    assert found == synthesize(chunks, ScriptedModel(reply), ask)


def test_where_nothing_usable_comes_of_it_the_message_says_what_to_do():
    found = synthesize([CHUNK], ScriptedModel(lambda prompt: "I like gauges."), ask, rules=False)
    with pytest.raises(
        InputError, match=r"no usable question came from 1 passages \(0 proposed\); give your own training data"
    ):
        found.require_pairs()


def test_a_real_model_writes_about_a_passage(smollm):
    found = synthesize([CHUNK], smollm, ask)
    assert found.proposed >= found.unsupported + found.unanswerable
    assert all(TEXT[pair.start - 10 : pair.end - 10] for pair in found.pairs)
