"""What a finetune learns from: one rule, no test question word for word, sources where they will be served."""

import pytest

from lorag.documents.load import load_documents
from lorag.evaluation.examples import read_examples
from lorag.interfaces import no_progress
from lorag.journeys.training_data import training_data
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.embedding import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import REFUSAL, ChunkSettings, CompareSettings, FinetuneSettings, RetrievalSettings
from lorag.types import Conversation, Message
from lorag.workspace import Run

ROWS = """\
{"id": "a", "question": "Who founded Korrin?", "paraphrases": ["Korrin was founded by whom?"], "answers": ["Mara"], \
"doc_ids": ["company.md"]}
{"id": "b", "question": "What is the price?", "paraphrases": ["How much is it?"], "answers": [], "doc_ids": []}
{"id": "c", "question": "What is the tax?", "paraphrases": ["How high is the tax?"], "answers": [], "doc_ids": []}
"""


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "company.md").write_text("# Company\n\nKorrin was founded by Mara in Bergen.\n")
    (tmp_path / "qa.jsonl").write_text(ROWS)
    examples = read_examples(tmp_path / "qa.jsonl")
    knowledge = Knowledge.open(tmp_path / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(tmp_path / "docs"))
    run = Run.open(tmp_path / "run", {})
    written = "Q: Who founded Korrin?\nA: Mara\nQ: In which town was Korrin founded?\nA: Bergen"
    model = ScriptedModel(lambda prompt: written)

    def make(given=None, examples=examples, tested=examples, share=0.0):
        settings = CompareSettings(finetune=FinetuneSettings(context_share=share))
        return training_data(given, examples, tested, knowledge, model, run, settings, no_progress)

    return make, examples, model, run


def turns(data):
    return [(c.messages[-2].content, c.messages[-1].content) for c in data.conversations]


def test_other_wordings_are_trained_on_and_refusals_only_where_the_test_does_not_ask(scene):
    make, examples, model, _ = scene
    data = make(tested=examples[:2])
    assert turns(data) == [("Korrin was founded by whom?", "Mara"), ("How high is the tax?", REFUSAL)]
    assert data.conversations[0].evidence == ("company.md",)
    assert "first other wording of 2 questions" in data.origin
    assert model.prompts == []


def test_given_conversations_come_first_and_a_test_question_among_them_is_left_out(scene):
    make, *_ = scene
    given = [
        Conversation((Message("user", question), Message("assistant", "Mara.")))
        for question in ("who founded KORRIN", "Name the founder.")
    ]
    data = make(given)
    assert turns(data) == [("Name the founder.", "Mara.")]
    assert "Trained on 2 conversations given with --train. 1 that ask a test question" in data.origin


def test_without_wordings_the_model_writes_and_the_report_says_so(scene):
    make, examples, model, _ = scene
    from dataclasses import replace

    bare = [replace(example, paraphrases=()) for example in examples]
    data = make(examples=bare, tested=bare)
    assert turns(data) == [("In which town was Korrin founded?", "Bergen")]
    assert "1 conversations were synthesised from 1 passages by scripted itself (2 written, 0 refused" in data.origin
    assert len(model.prompts) == 1


def test_a_share_is_trained_again_with_the_sources_it_will_be_served_with(scene):
    make, *_ = scene
    data = make(share=1.0)
    asked = [content for content, _ in turns(data)]
    assert asked[0] == "Korrin was founded by whom?"
    assert "founded by Mara in Bergen" in asked[1]
    assert asked[1].endswith("Question: Korrin was founded by whom?")


def test_a_resumed_run_trains_on_the_same(scene):
    make, *_ = scene
    first = make()
    assert make(given=[]) == first
