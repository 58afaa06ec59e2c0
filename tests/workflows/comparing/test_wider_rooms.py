"""More room for sources is tried where the answering passage does not fit, and taken where it is clearly better."""

from dataclasses import replace

import pytest

from lorag import build
from lorag.chat.kept_prompt import read_prompt
from lorag.chat.prompts import source_text
from lorag.evaluation.row_log import RowLog
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import ChatSettings, CompareSettings
from lorag.types import Document, Example
from lorag.workflows.comparing.arm_prompts import Trial
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.brought_arms import brought_finetune
from lorag.workflows.comparing.long_context import long_context_arm
from lorag.workflows.comparing.prompt_trials import worked_examples
from lorag.workflows.finetuning.brought import read_brought
from lorag.workspace import Run

MARKS = ("zarn", "quill", "ombre", "fennel", "tarot", "vesper", "lumen", "grotto")
ADDRESS = "http://127.0.0.1:9/v1"
QUESTIONS = [f"Which mark does bolt {n} have?" for n in range(8)]


def words(text):
    return len(text.split())


@pytest.fixture
def answered_by(bge_folder, tmp_path):
    """A trial whose questions are answered by the passage that search ranks at one place, counted from 0."""
    knowledge = build.knowledge(tmp_path / "run" / "index", str(bge_folder))
    texts = [f"Bolt {n} has the mark {mark}." for n, mark in enumerate(MARKS)]
    knowledge.sync([Document(f"bolt-{n}.md", text, f"bolt-{n}.md") for n, text in enumerate(texts)])
    found = knowledge.retrieve(QUESTIONS, 3)
    room = words(source_text(1, found[0][0]))
    settings = CompareSettings(chat=ChatSettings(context_tokens=room))

    def trial(place):
        examples = [
            Example(f"q{n}", question, (next(mark for mark in MARKS if mark in hits[place].chunk.text),), ())
            for n, (question, hits) in enumerate(zip(QUESTIONS, found, strict=True))
        ]
        run = Run(tmp_path / "run")
        scene = Scene(run, RowLog(run.rows), knowledge, settings, no_progress)
        return Trial(worked_examples([], [], "-"), examples, scene), room

    return trial


def reading(trial):
    """A model that answers right from sources that hold the answer."""
    right = {example.question: example.answers[0] for example in trial.questions}

    def reply(prompt):
        asked = prompt[-1].content
        answer = next(mark for question, mark in right.items() if question in asked)
        return answer if answer in asked else "no idea"

    return ScriptedModel(reply)


@pytest.mark.parametrize(("place", "factors"), [(0, ()), (1, (2,)), (2, (3,))])
def test_rooms_are_tried_that_bring_the_answering_passage_into_the_prompt(answered_by, place, factors):
    trial, room = answered_by(place)
    model = reading(trial)
    assert trial.wider_rooms(model) == tuple(factor * room for factor in factors)
    model.context_tokens = 100  # of which instruction, question and answer leave too little
    assert trial.wider_rooms(model) == ()
    model.context_tokens = None
    unanswerable = replace(trial, questions=[replace(example, answers=()) for example in trial.questions])
    assert unanswerable.wider_rooms(model) == ()
    one = replace(trial, questions=[replace(e, answers=("none",)) for e in trial.questions[1:]] + trial.questions[:1])
    assert one.wider_rooms(model) == ()


def test_the_room_that_answers_more_is_taken_and_kept(answered_by):
    trial, room = answered_by(1)
    model = reading(trial)
    found = trial.retrieval(model)
    assert found.choice.room == 2 * room
    assert f"up to {2 * room} tokens of sources" in str(found.choice)
    assert [each.right for each in found.choice.tried[:2]] == [1.0, 0.0]
    asked = len(model.prompts)
    assert trial.retrieval(model) == found
    assert len(model.prompts) == asked
    assert read_prompt(trial.scene.run.prompts / "retrieval.json").context_tokens == 2 * room
    bot = found.bot(model, trial.scene.knowledge, trial.scene.settings)
    assert [len(bot.ask(question).sources) for question in QUESTIONS] == [2] * len(QUESTIONS)
    tuned = read_brought(f"openai:tuned@{ADDRESS}", None)
    assert tuned is not None
    both = brought_finetune(tuned, model, "base", found, trial).arms["both"]
    assert {each.room for each in both.prompting.choice.tried} == {both.prompting.choice.room} == {2 * room}
    assert long_context_arm(model, found, trial.scene).prompting.choice.room is None  # it has room for everything


def test_a_note_says_where_no_prompt_could_be_chosen(answered_by):
    trial, _ = answered_by(0)
    assert trial.notes == ()
    few = replace(trial, questions=trial.questions[:5])
    assert "fewer than 6 untested questions" in few.notes[0]
    by_hand = replace(few.scene, settings=replace(few.scene.settings, prompt_questions=0))
    assert replace(few, scene=by_hand).notes == ()
