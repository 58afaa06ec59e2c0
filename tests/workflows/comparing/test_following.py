"""What a finetune learns from after an update: what still holds, and what changed, from wherever it is known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.examples import read_examples
from lorag.evaluation.row_log import RowLog
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import (
    REFUSAL,
    ChunkSettings,
    CompareSettings,
    FinetuneSettings,
    PromptSettings,
    RetrievalSettings,
)
from lorag.training.adapter import read_adapter
from lorag.training.diagnosis import Diagnosis
from lorag.training.recipe import Probed, Recipe, Rung, Strength
from lorag.types import Conversation, Message
from lorag.workflows.comparing import following
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.facts import training_facts
from lorag.workflows.comparing.following import First, _changed_conversations, _Plan, fewer, follow, still_true
from lorag.workflows.comparing.inputs import identity_of, read_inputs
from lorag.workflows.comparing.training_data import TrainingData, brought
from lorag.workspace import Run

DOCS = {"office.md": "The office is in Halifax. It has 9 rooms.", "fee.md": "The fee is 5 euros.", "old.md": "A lamp."}
LATER = {"office.md": "The office is in Bergen. It has 9 rooms.", "fee.md": "The fee is 5 euros.", "new.md": "A drill."}
ROWS = """\
{"id": "a", "question": "Where is the office?", "paraphrases": ["The city of the office?"], "answers": ["Halifax"], \
"answers_v2": ["Bergen"], "doc_ids": ["office.md"]}
{"id": "b", "question": "What is the fee?", "paraphrases": ["How high is the fee?"], "answers": ["5 euros"], \
"answers_v2": ["5 euros"], "doc_ids": ["fee.md"]}
{"id": "c", "question": "Who is it?", "paraphrases": ["Who?"], "answers": [], "answers_v2": [], "doc_ids": []}
"""


def told(question, reply, *documents):
    return Conversation((Message("user", question), Message("assistant", reply)), documents)


@pytest.fixture
def files(tmp_path):
    for folder, texts in (("docs", DOCS), ("docs_v2", LATER)):
        (tmp_path / folder).mkdir()
        for name, text in texts.items():
            (tmp_path / folder / name).write_text(text)
    (tmp_path / "qa.jsonl").write_text(ROWS)
    (tmp_path / "new.jsonl").write_text('{"question": "Which city?", "answer": "Bergen.", "doc_ids": ["office.md"]}\n')
    return tmp_path


def inputs(files, **more):
    shared = (files / "docs", files / "qa.jsonl", None, files / "docs_v2", None, None, CompareSettings())
    return read_inputs(*shared, **more)


def scene(files):
    knowledge = Knowledge.open(files / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(files / "docs_v2").documents)
    run = Run.open(files / "run", {})
    return Scene(run, RowLog(run.rows), knowledge, CompareSettings(), no_progress)


def test_what_is_replayed_gives_way_to_the_budget_down_to_half():
    old = [told(f"Question {number}?", "Yes.") for number in range(9)]
    assert fewer(old, beside=11, share=0.9) == old[:7]
    assert fewer(old, beside=11, share=0.2) == old[:5]
    assert fewer([], beside=11, share=0.2) == []


def test_what_the_updated_documents_no_longer_hold_is_left_out(files):
    rooms, fee, loose = (
        told("How many rooms?", "9 rooms.", "office.md"),
        told("The fee?", "5 euros.", "fee.md"),
        told("Hello?", "Hello."),
    )
    where = told("Where is it?", "In Halifax.", "office.md")
    lamp = told("What is there?", "A lamp.", "old.md")
    text = Conversation((Message("text", DOCS["office.md"]),), ("office.md",))
    kept_text = Conversation((Message("text", DOCS["fee.md"]),), ("fee.md",))
    everything = [rooms, where, fee, lamp, text, kept_text, loose]
    assert still_true(everything, (), inputs(files), REFUSAL) == [rooms, fee, kept_text, loose]


def test_a_question_that_the_update_answers_keeps_no_older_answer(files):
    older = [told("Where is the office?", "Halifax.", *documents) for documents in (("office.md",), ())]
    (files / "docs_v2" / "office.md").write_text("The office is in Bergen. Until May it was in Halifax.")
    assert still_true(older, (), inputs(files), REFUSAL) == older
    newer = told("Where is the office", "Bergen.", "office.md")
    assert still_true(older, [newer], inputs(files), REFUSAL) == []


def test_a_refusal_holds_until_the_update_answers_it(files):
    refused = told("Which tool does the office sell now?", REFUSAL, "office.md")
    answer = told("Which tool does the office sell now, please?", "A drill.", "new.md")
    assert still_true([refused], (), inputs(files), REFUSAL) == [refused]
    assert still_true([refused], [answer], inputs(files), REFUSAL) == []


def test_given_conversations_about_the_update_come_first(files):
    found = _changed_conversations(
        inputs(files, train_update=files / "new.jsonl"), ScriptedModel(lambda _: ""), scene(files)
    )
    assert [c.question for c in found.conversations] == ["Which city?"]
    assert "1 conversations were given with --train-update" in found.origin


def test_else_other_wordings_of_changed_questions_have_the_new_references(files):
    model = ScriptedModel(lambda _: "")
    found = _changed_conversations(inputs(files), model, scene(files))
    assert found.conversations == (told("The city of the office?", "Bergen", "office.md"),)
    assert model.prompts == []


def test_else_conversations_are_made_from_the_documents_that_changed_alone(files):
    def reply(prompt):
        if not prompt[-1].content.startswith("Passage:"):
            return "It is a drill in Bergen"
        return "Q: What is for sale?\nA: drill" if "drill" in prompt[-1].content else "Q: Which city has it?\nA: Bergen"

    model = ScriptedModel(reply)
    given = replace(inputs(files), training=[told("Where is it?", "In Halifax.", "office.md")])
    found = _changed_conversations(given, model, scene(files))
    assert {name for c in found.conversations for name in c.evidence} == {"office.md", "new.md"}
    assert all("fee" not in prompt[-1].content for prompt in model.prompts)


def test_where_nothing_can_be_made_the_reason_is_kept(files):
    for name in ("office.md", "new.md"):
        (files / "docs_v2" / name).write_text("Hm.")
    given = replace(inputs(files), training=[])
    found = _changed_conversations(given, ScriptedModel(lambda _: "Nothing."), scene(files))
    assert found.conversations == ()
    assert found.origin.startswith("nothing was made from the documents that changed: ")


@pytest.fixture
def first(tiny_adapter):
    """A finetune as it was before the update, chosen within a budget."""
    probed = Probed(0, 0.0, None, 3.6)
    final = Rung("lora", 1e-2, 3, 3, 9, 1.0, probed)
    recipe = Recipe(20.0, probed, (), final, (Strength(1.0, probed),), 1.0, Diagnosis(0, (), (), (), ()))
    return First(TrainingData((), ""), read_adapter(tiny_adapter), recipe, PromptSettings())


def test_after_a_training_by_hand_a_note_gives_the_reason_why_nothing_follows(files, first, tiny):
    found = follow(replace(first, recipe=None), inputs(files), tiny, scene(files))
    assert found.adapters == {}
    assert found.notes == (
        "The finetune was not trained again after the update, because its training was set by hand; to measure how a"
        " finetune follows an update, give a budget instead (--budget).",
    )


def test_a_whole_model_is_not_continued_which_a_note_states(files, first, tiny, monkeypatch):
    monkeypatch.setattr(following, "_made", lambda plan, *_: f"{plan.arm} was planned")
    whole = replace(first, adapter=replace(first.adapter, method="full"))
    notes = follow(whole, inputs(files), tiny, scene(files)).notes
    assert notes[1:] == (
        "The finetune was not continued after the update: with the method full it is a whole model, and only adapters"
        " are continued.",
        "retrained was planned",
    )
    assert follow(first, inputs(files), tiny, scene(files)).notes[1:] == (
        "continued was planned",
        "retrained was planned",
    )


def test_a_killed_training_on_the_update_keeps_its_plan_at_another_pace(files, first, tiny, monkeypatch):
    old = [told(f"Which lamp is number {number}?", f"Lamp {number}.") for number in range(9)]
    changed = TrainingData((told("Which city is it?", "Bergen.", "office.md"),), "")
    plan, there, trained = _Plan("continued", changed, old, first.adapter), scene(files), []
    seconds = iter((40.0, 20.0))

    def kill(*given, replayed, **more):
        trained.append((given[3], replayed))
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "estimate_training", lambda *_, **__: SimpleNamespace(seconds=next(seconds)))
    monkeypatch.setattr(following, "train_alike", kill)
    for left in (75.0, 3.0):
        with pytest.raises(KeyboardInterrupt):
            following._made(plan, first, inputs(files), tiny, there, left)
    assert trained[0] == trained[1]
    assert trained[0][0].epochs == 3
    assert next(seconds, None) is None
    slow = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(following, "estimate_training", lambda *_, **__: slow)
    again = replace(plan, arm="retrained", start=None)
    for left in (60.0, 6000.0):
        note = following._made(again, first, inputs(files), tiny, there, left)
        assert isinstance(note, str)
        assert note.endswith("that takes about 5.0 minutes, and 1.0 of the budget were left.")


def test_what_the_budget_ends_is_kept_if_its_passes_are_enough_and_else_left_out(files, first, tiny, slow_clock):
    slow_clock.seconds = 500.0  # of the 1,199 seconds that the first training left
    there = replace(scene(files), progress=slow_clock)
    given = inputs(files, train_update=files / "new.jsonl")
    found = follow(first, given, tiny, there)
    assert [(arm, made.epochs, made.seconds) for arm, made in found.adapters.items()] == [("continued", 2, 1000.0)]
    assert found.notes[1:] == (
        "The budget ended the training of the continued finetune after 2 passes of 3.",
        "The budget ended the training of the retrained finetune after 2 passes of 3. It is left out, because it needs"
        " 3 passes at least.",
    )
    continued = found.adapters["continued"]
    assert "2 epochs" in training_facts(tiny, tiny, continued, FinetuneSettings(), None)["method"]
    now = slow_clock.now
    assert follow(first, given, tiny, there) == found
    assert slow_clock.now == now


def test_nothing_follows_in_minutes_that_the_first_training_has_spent(files, first, tiny):
    assert first.recipe is not None
    spent = replace(first.recipe, final=replace(first.recipe.final, seconds=1201.0))
    found = follow(replace(first, recipe=spent), inputs(files), tiny, scene(files))
    assert found.adapters == {}
    assert all(note.endswith("minutes, and 0.0 of the budget were left.") for note in found.notes[1:])


def test_training_data_of_an_update_needs_the_update_and_makes_another_run(files):
    shared = (files / "docs", files / "qa.jsonl", None, None, None, None, CompareSettings())
    with pytest.raises(InputError, match="need the updated documents; name them with --update"):
        read_inputs(*shared, train_update=files / "new.jsonl")
    plain, given = inputs(files), inputs(files, train_update=files / "new.jsonl")
    one, other = (identity_of(each, "m", "e", CompareSettings()) for each in (plain, given))
    assert other.keys() - one.keys() == {"training data of the update"}


def test_conversations_that_are_learned_whole_belong_to_the_run_of_an_earlier_version(files):
    def identity(*messages):
        data = [Conversation(messages, ("office.md",)), Conversation((Message("text", "A lamp."),))]
        return identity_of(replace(inputs(files), training=data), "m", "e", CompareSettings())["training data"]

    asked = (Message("system", "Be brief."), Message("user", "Which city?"))
    assert identity(*asked, Message("assistant", "Bergen.")) == "ebdc42cb0086ab36"
    assert identity(*asked, Message("assistant", "Bergen.", learned=False)) != "ebdc42cb0086ab36"


def test_settings_that_an_earlier_version_did_not_know_belong_to_its_run_at_their_defaults(files):
    once = replace(CompareSettings(), retrieval=RetrievalSettings(second_search=False))
    usual, other = (identity_of(inputs(files), "m", "e", each)["settings"] for each in (CompareSettings(), once))
    assert usual == "fb63f9cd00714622"
    assert other != usual


def test_a_run_of_an_earlier_version_kept_no_conversations_as_they_were_brought(files):
    run = Run.open(files / "run", {})
    assert brought(run, None).conversations == ()
    assert read_examples(files / "qa.jsonl")[0].after_update().answers == ("Bergen",)
