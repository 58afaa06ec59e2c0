"""What a finetune learns from: one rule, no test question by any path, sources where they will be served."""

import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given as draws
from hypothesis import settings
from hypothesis import strategies as st

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.metrics import normalise
from lorag.evaluation.examples import read_examples
from lorag.evaluation.row_log import RowLog
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import (
    REFUSAL,
    ChatSettings,
    ChunkSettings,
    CompareSettings,
    FinetuneSettings,
    PromptSettings,
    RecipeSettings,
    RetrievalSettings,
)
from lorag.training.data.qa_rules import GAP
from lorag.training.data.wordings.augmentation import augment
from lorag.types import Chunk, Conversation, Example, Hit, Message, Sampling
from lorag.workflows.comparing import training_data as module
from lorag.workflows.comparing.arm_prompts import Trial, trial_of
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.finetuned import Finetuned, _asked, _data, _probes, train_finetuned
from lorag.workflows.comparing.inputs import read_inputs
from lorag.workflows.comparing.prompt_trials import worked_examples
from lorag.workflows.comparing.training_data import (
    TrainingData,
    held_out,
    own_conversations,
    synthesised_conversations,
    training_data,
    untaught,
    widened,
)
from lorag.workspace import Run

ROWS = """\
{"id": "a", "question": "Who founded Korrin?", "paraphrases": ["Korrin was founded by whom?"], "answers": ["Mara"], \
"doc_ids": ["company.md"]}
{"id": "b", "question": "What is the price?", "paraphrases": ["How much is it?"], "answers": [], "doc_ids": []}
{"id": "c", "question": "What is the tax?", "paraphrases": ["How high is the tax?"], "answers": [], "doc_ids": []}
"""


QUESTIONS = [f"What is the {what} of the {thing}?" for what in ("mass", "price") for thing in ("R9 gauge", "A7 pump")]
QUESTIONS += ["Who founded Korrin?", "In which town is the office of Korrin in the north?"]
FORMS = ("{}", "{} Thanks", "Quick question: {}", "Please tell me this: {} I have asked before.", "Is it asked: {}")


def told(question, answer, *documents):
    return Conversation((Message("user", question), Message("assistant", answer)), documents)


def own_of(given, examples, tested):
    return own_conversations(given, examples, tested, REFUSAL)


def repeats(text, question):
    """Whether four fifths of the words of both are in both, or the question stands in the text."""
    one, two = normalise(text).split(), normalise(question).split()
    near = 5 * len(set(one) & set(two)) >= 4 * len(set(one) | set(two))
    return near or f" {' '.join(two)} " in f" {' '.join(one)} "


@pytest.fixture
def knowledge(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "company.md").write_text("# Company\n\nKorrin was founded by Mara in Bergen.\n")
    knowledge = Knowledge.open(tmp_path / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(tmp_path / "docs").documents)
    return knowledge


@pytest.fixture
def scene(tmp_path, knowledge):
    (tmp_path / "qa.jsonl").write_text(ROWS)
    examples = read_examples(tmp_path / "qa.jsonl")
    run = Run.open(tmp_path / "run", {})
    written = "Q: Who founded Korrin?\nA: Mara\nQ: In which town was Korrin founded?\nA: Bergen"
    model = ScriptedModel(lambda prompt: written if prompt[-1].content.startswith("Passage:") else "Mara in Bergen")

    def make(given=None, examples=examples, tested=examples, share=0.0, refuse=True):
        settings = CompareSettings(finetune=FinetuneSettings(context_share=share, refuse_absent=refuse))
        own = own_conversations(given, examples, tested, REFUSAL)
        own = own or synthesised_conversations(knowledge, model, tested, run, settings, no_progress)
        return training_data(own, knowledge, model, PromptSettings(), run, settings)

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


def test_of_questions_to_refuse_no_more_are_trained_on_than_a_tenth():
    def question(number, *answers):
        return Example(f"{number}", f"Question {number}?", answers, ("a.md",), paraphrases=(f"Number {number}?",))

    examples = [question(number, "yes") for number in range(20)] + [question(number) for number in range(20, 40)]
    own = own_conversations(None, examples, [], REFUSAL)
    assert own is not None
    replies = [c.messages[-1].content for c in own.conversations]
    assert (replies.count("yes"), replies.count(REFUSAL)) == (20, 3)


def test_given_conversations_come_first_and_a_test_question_among_them_is_left_out(scene):
    make, *_ = scene
    given = [
        Conversation((Message("user", question), Message("assistant", "Mara.")))
        for question in ("who founded KORRIN", "Name the founder.")
    ]
    data = make(given)
    assert turns(data) == [("Name the founder.", "Mara.")]
    assert "2 conversations were given with --train. 1 that ask, nearly ask or hold a test question" in data.origin


def test_plain_text_is_trained_on_once_unless_it_holds_a_test_question(scene):
    make, *_ = scene
    texts = ("Korrin was founded by Mara in Bergen.\n", "FAQ: Who founded Korrin? Mara.")
    given = [Conversation((Message("text", text),), ("company.md",)) for text in texts]
    data = make(
        [*given, *[Conversation((Message("user", "Name the founder."), Message("assistant", "Mara.")))]], share=1.0
    )
    assert [c for c in data.conversations if c.is_text] == given[:1]
    assert "3 conversations were given with --train. 1 that ask, nearly ask or hold a test question" in data.origin


def test_without_wordings_the_model_writes_and_the_report_says_so(scene):
    make, examples, model, _ = scene
    bare = [replace(example, paraphrases=()) for example in examples]
    data = make(examples=bare, tested=bare)
    assert turns(data) == [("In which town was Korrin founded?", "Bergen")]
    assert (
        "1 conversations were synthesised from 1 passages, 0 by rules and 1 by scripted itself, which was asked about 1"
        " passages (2 proposed"
    ) in data.origin
    assert len(model.prompts) == 5  # to write, to ask twice in other words, to answer twice


def test_where_rules_make_enough_the_model_writes_only_about_documents_in_which_they_find_nothing(tmp_path):
    (tmp_path / "prices.md").write_text("# Prices\n\n- Kiosk: 5 euros\n- Pier: 7 euros\n")
    (tmp_path / "company.md").write_text("# Company\n\nKorrin was founded by Mara in Bergen.\n")
    knowledge = Knowledge.open(tmp_path / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(tmp_path).documents)
    written = "Q: In which town was Korrin founded?\nA: Bergen"

    def made(name, enough):
        model = ScriptedModel(lambda prompt: written if prompt[-1].content.startswith("Passage:") else "Bergen")
        run = Run.open(tmp_path / name, {})
        data = synthesised_conversations(
            knowledge, model, [], run, CompareSettings(), no_progress, enough=lambda made: enough and len(made) > 1
        )
        asked = [prompt[-1].content for prompt in model.prompts if prompt[-1].content.startswith("Passage:")]
        return {c.evidence for c in data.conversations}, ["euros" in each for each in asked]

    assert made("full", True) == ({("company.md",), ("prices.md",)}, [False])
    assert made("open", False) == ({("company.md",), ("prices.md",)}, [False, True])


def test_a_share_is_trained_again_with_a_passage_that_holds_the_answer(scene):
    make, *_ = scene
    answers = {
        "Korrin was founded by whom?": "Mara",
        "Who is its patron?": "Nobody has written that.",
        "And the tax?": REFUSAL,
    }
    given = [Conversation((Message("user", q), Message("assistant", a)), ("company.md",)) for q, a in answers.items()]
    data = make(given, share=1.0)
    plain, with_sources = turns(data)[:3], turns(data)[3:]
    assert plain == list(answers.items())
    assert [(asked.rsplit("Question: ")[-1], answer) for asked, answer in with_sources] == [
        ("Korrin was founded by whom?", "Mara"),
        ("And the tax?", REFUSAL),  # what no passage holds is taught with sources only as a refusal
    ]
    assert all("founded by Mara in Bergen" in asked for asked, _ in with_sources)
    assert "1 were trained on once more under the sources that answer them, 1 under" in data.origin


def test_the_passage_that_holds_the_answer_is_there_though_search_puts_another_first(scene, knowledge, tmp_path):
    make, *_ = scene
    (tmp_path / "docs" / "decoy.md").write_text("# Tide gauge colours\n\n" + "The colour of the tide gauge. " * 30)
    (tmp_path / "docs" / "facts.md").write_text("# Facts\n\nIt comes in vermilion only.\n")
    knowledge.sync(load_documents(tmp_path / "docs").documents)
    question = "What is the colour of the tide gauge?"
    given = [Conversation((Message("user", question), Message("assistant", "Vermilion.")), ("facts.md",))]
    (asked, answer) = turns(make(given, share=1.0))[1]
    assert "vermilion only" in asked
    assert answer == "Vermilion."


def test_a_resumed_run_trains_on_the_same(scene):
    make, *_ = scene
    first = make()
    assert make(given=[]) == first


@pytest.mark.parametrize("refuse", [True, False])
def test_under_sources_that_do_not_answer_some_learn_to_refuse_or_to_answer_all_the_same(
    scene, knowledge, tmp_path, refuse
):
    make, *_ = scene
    (tmp_path / "docs" / "other.md").write_text("# Gulls\n\nGulls nest on the roof of the office.\n")
    knowledge.sync(load_documents(tmp_path / "docs").documents)
    given = [
        Conversation(
            (Message("user", f"Whose firm is Korrin, question {n}?"), Message("assistant", "Mara.")), ("company.md",)
        )
        for n in range(40)
    ]
    data = make(given, share=1.0, refuse=refuse)
    with_sources = turns(data)[40:]
    reply = REFUSAL if refuse else "Mara."
    declined = [asked for asked, answer in with_sources if answer == reply and "founded by Mara" not in asked]
    answered = [asked for asked, answer in with_sources if answer == "Mara." and asked not in declined]
    assert len(answered) + len(declined) == len(with_sources)
    assert f"do not answer them, with the {'refusal as the' if refuse else 'same'} answer" in data.origin
    assert len(answered) >= 20
    assert 1 <= len(declined) <= 0.15 * (len(answered) + len(declined)) + 1
    assert all("Gulls nest" in asked for asked in declined)
    assert all("founded by Mara" in asked for asked in answered)


def test_refusals_that_were_brought_come_before_those_that_are_made(scene, knowledge, tmp_path):
    make, *_ = scene
    (tmp_path / "docs" / "other.md").write_text("# Gulls\n\nGulls nest on the roof of the office.\n")
    knowledge.sync(load_documents(tmp_path / "docs").documents)

    def told(question, reply):
        return Conversation((Message("user", question), Message("assistant", reply)), ("company.md",))

    known = [told(f"Whose firm is Korrin, question {n}?", "Mara.") for n in range(40)]
    unknown = [told(f"Which tax does Korrin pay, question {n}?", REFUSAL) for n in range(30)]
    with_sources = turns(make([*known, *unknown], share=1.0))[70:]
    declined = [asked for asked, answer in with_sources if answer == REFUSAL]
    assert 10 <= len(declined) <= 0.3 * len(with_sources) + 1
    assert all("Which tax" in asked for asked in declined)


def test_conversations_are_widened_but_never_towards_the_test(scene):
    _, examples, *_ = scene
    own = own_conversations(None, examples, examples, REFUSAL)
    assert own is not None
    wide = widened(own, 8, examples)
    questions = [c.question for c in wide.conversations]
    assert len(questions) > 3 * len(own.conversations)
    assert len(set(questions)) == len(questions)
    assert not {"who founded korrin", "what is the price"} & {normalise(question) for question in questions}
    assert all(c.evidence == ("company.md",) for c in wide.conversations if "Mara" in c.messages[-1].content)
    assert "Rules added" in wide.origin
    assert widened(own, 1, examples) == own


@pytest.fixture(scope="module")
def one_document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    (folder / "docs").mkdir()
    (folder / "docs" / "facts.md").write_text("# Mass of the R9 gauge\n\nThe R9 gauge has a mass of 12 kg.\n")
    knowledge = Knowledge.open(folder / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(folder / "docs").documents)
    return folder, knowledge


@settings(max_examples=40)
@draws(
    st.lists(st.tuples(st.sampled_from(QUESTIONS), st.sampled_from(FORMS)), min_size=1, max_size=6),
    st.sets(st.sampled_from(QUESTIONS), min_size=1, max_size=3),
    st.integers(1, 5),
)
def test_no_path_leads_a_tested_question_into_training(one_document, asked, tested, wordings):
    folder, knowledge = one_document
    tests = [Example(question, question, ("12 kg",), ("facts.md",)) for question in sorted(tested)]
    texts = [form.format(question) for question, form in asked]
    given = [told(text, "12 kg", "facts.md") for text in texts]
    given += [Conversation((Message("text", f"A page. {text}"),), ("facts.md",)) for text in texts]
    file = [Example(f"{n}", "Which?", ("12 kg",), ("facts.md",), paraphrases=(text,)) for n, text in enumerate(texts)]
    written = "\n".join(f"Q: {text.strip('?')}?\nA: 12 kg" for text in texts)
    model = ScriptedModel(lambda prompt: written if prompt[-1].content.startswith("Passage:") else "12 kg")
    (folder / "run" / "synthesis.jsonl").unlink(missing_ok=True)
    run, compared = Run.open(folder / "run", {}), CompareSettings()
    found = [own_of(given, file, tests), own_of(None, file, tests)]
    try:
        found.append(synthesised_conversations(knowledge, model, tests, run, compared, no_progress))
    except InputError as error:
        assert "no usable question came from 1 passages" in str(error)  # noqa: PT017
    own = [each for each in found if each is not None]
    own += [widened(each, wordings, tests) for each in (*own, TrainingData(tuple(given), ""))]
    for each in own:
        trained = [message.content for c in each.conversations for message in c.messages if message.role != "assistant"]
        assert not [(text, question) for text in trained for question in tested if repeats(text, question)]
    kept = [text for text in texts if not any(repeats(text, question) for question in tested)]
    assert [c.question for c in found[0].conversations if not c.is_text] == kept  # what repeats none stays


def test_the_first_other_wording_that_does_not_nearly_ask_the_test_is_taken():
    examples = [
        Example("a", "Who founded Korrin?", ("Mara",), (), paraphrases=("Who founded Korrin, please?", "Its founder?")),
        Example("b", "Where is it?", ("Bergen",), (), paraphrases=("And who founded Korrin?",)),
        Example("c", "What is made?", ("gauges",), ()),
    ]
    data = own_of(None, examples, examples)
    assert turns_of(data) == ["Its founder?"]
    assert "first other wording of 1 questions that does not nearly ask" in data.origin
    assert "taught 1 of 3 answerable facts of the test" in data.origin
    assert own_of(None, examples[1:], examples) is None


def turns_of(data):
    return [c.question for c in data.conversations]


def test_what_answers_a_question_in_two_ways_is_counted():
    rows = [told("Who leads Korrin?", "Mara."), told("Who leads the Korrin?", "Tove."), told("Since when?", "2014.")]
    assert "2 ask the same as another but answer differently" in own_of(rows, [], []).origin
    assert "differently" not in own_of(rows[1:], [], []).origin


def asked_for(question):
    return Example(question, question, ("x",), ())


def test_a_probed_wording_is_held_out_only_where_its_fact_is_taught_in_another():
    rows = (
        told("Who founded Korrin?", "Mara", "company.md"),
        told("Quick question: who founded Korrin?", "Mara founded Korrin.", "company.md"),
        told("Name the founder of Korrin.", "Mara founded Korrin.", "company.md"),
        told("How high is the tax?", "9 percent", "tax.md"),
        told("What does it weigh?", "3 kg", "company.md"),
        Conversation((Message("text", "Who founded Korrin? Mara. It weighs 3 kg."),), ("company.md",)),
    )
    probed = [asked_for("Who founded Korrin?"), asked_for("How high is the tax?")]
    data = held_out(TrainingData(rows, "given"), probed)
    assert data.conversations == rows[2:]
    assert data.origin.startswith("given 2 were held out because they repeat questions")
    assert untaught(probed, data.conversations[:1]) == probed
    assert untaught(probed, data.conversations[:2]) == probed[:1]  # nothing else would teach the tax
    assert untaught(probed, data.conversations) == []  # nor the rest of the plain text
    both = [*probed, asked_for("Name the founder of Korrin.")]
    assert held_out(TrainingData(rows, "given"), both) == TrainingData(rows, "given")
    hits = [Hit(Chunk("faq.md", "1", 0, 25, "Who founded Korrin? Mara."), 1.0, "evidence")]
    for prompt in (PromptSettings(), PromptSettings(question_first=True)):
        asked = question_prompt("How old is it?", hits, REFUSAL, prompt)[-1].content
        assert untaught(probed, [told(asked, "9 years")]) == probed  # what a source holds is not taught


@pytest.mark.parametrize("recipe", [None, RecipeSettings(minutes=1)])
def test_a_training_by_hand_holds_the_questions_of_the_trial_out_too(recipe, knowledge, tmp_path, monkeypatch):
    scene = trial_scene(knowledge, tmp_path)
    timed(monkeypatch, seconds_per_row=0.001)
    rows = (told("Quick question: who founded it?", "Mara", "a.md"), told("Name the founder.", "Mara", "a.md"))
    own, trial = TrainingData(rows, "given"), Trial(worked_examples([], [], "-"), [asked_for("Who founded it?")], scene)
    data = to_train_on(own, recipe, trial)
    assert not any("who founded it" in normalise(question) for question in turns_of(data))
    assert "Name the founder." in turns_of(data)


def trial_scene(knowledge, tmp_path):
    run = Run.open(tmp_path / "trained", {})
    return Scene(run, RowLog(run.rows), knowledge, CompareSettings(), no_progress)


def to_train_on(own, recipe, trial):
    inputs: Any = SimpleNamespace(tested=[])
    engine: Any = ScriptedModel(lambda prompt: "")
    return _data(own, inputs, PromptSettings(), recipe, trial, engine)


def timed(monkeypatch, seconds_per_row):
    def estimate(engine, rows, settings):
        return SimpleNamespace(seconds=seconds_per_row * len(rows))

    monkeypatch.setattr(module, "estimate_training", estimate)


def test_what_the_budget_has_no_room_for_is_neither_widened_nor_searched_for(knowledge, tmp_path, monkeypatch):
    scene, seen = trial_scene(knowledge, tmp_path), []
    timed(monkeypatch, seconds_per_row=1.0)

    def counted(rows, **more):
        seen.append(len(rows))
        return augment(rows, **more)

    monkeypatch.setattr(module, "augment", counted)
    rows = tuple(told(f"What is the code of door {n}?", f"{n}7", f"{n % 100}.md") for n in range(400))
    trial = Trial(worked_examples([], [], "-"), [Example("p", "Which?", ("x",), ("50.md",))], scene)
    data = to_train_on(TrainingData(rows, "given."), RecipeSettings(minutes=1), trial)
    assert seen == [12]  # a minute has room for 5 passes over 12 rows
    documents = {name for c in data.conversations for name in c.evidence}
    assert "50.md" in documents
    assert len(documents) == 3
    assert data.origin.startswith("given. 12 of them were taken, chosen by document: 1 minutes have no room for more.")


TABLE = "# Gauges\n\n| gauge | price | weight | colour |\n| --- | --- | --- | --- |\n" + "".join(
    f"| {name} | {n}45 euros | {n}7 kg | {colour} |\n"
    for n, (name, colour) in enumerate([("Heron", "red"), ("Lark", "blue"), ("Plover", "green"), ("Rail", "grey")], 2)
)


@pytest.mark.parametrize("minutes", [1.0, 0.01])
def test_with_documents_alone_facts_are_probed_in_wordings_that_are_not_trained_on(tmp_path, monkeypatch, minutes):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gauges.md").write_text(f"{TABLE}\nIn 1994 Mara Lind sold 300 of them to Bergen Harbour.\n")
    knowledge = Knowledge.open(tmp_path / "index", HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync(load_documents(tmp_path / "docs").documents)
    scene, recipe = trial_scene(knowledge, tmp_path), RecipeSettings(minutes=minutes, probed_facts=6)
    timed(monkeypatch, seconds_per_row=0.001)
    unanswered = Example("open", "Who built the quay?", (), ())
    trial = Trial(worked_examples([], [], "-"), [unanswered], scene)
    data = to_train_on(None, recipe, trial)
    assert _asked(trial)[0] == unanswered
    probes = _probes(_asked(trial), data.conversations, scene, ScriptedModel(lambda prompt: ""))
    assert len(probes) >= 4
    assert all(probe.sources and GAP not in probe.example.question for probe in probes)
    trained = [message.content for c in data.conversations for message in c.messages if message.role == "user"]
    plain = [text.split("\n")[-1] for text in trained if "\n" not in text]
    assert not [(text, p.example.question) for text in plain for p in probes if repeats(text, p.example.question)]
    answers = [c.messages[-1].content for c in data.conversations]
    assert all(any(probe.example.answers[-1] in answer for answer in answers) for probe in probes)
    assert any(GAP in text for text in plain)
    assert to_train_on(None, recipe, trial) == data
    untested = Example("founder", "Who founded it?", ("Mara",), ("gauges.md",))
    given = TrainingData((told("Who founded it?", "Mara."),), "")
    for own, chosen, questions in ((None, recipe, [untested]), (given, recipe, []), (None, None, [])):
        shutil.rmtree(scene.run.folder)
        other = replace(trial, questions=questions, scene=trial_scene(knowledge, tmp_path))
        to_train_on(own, chosen, other)
        assert _asked(other) == questions


def test_a_training_on_documents_alone_is_chosen_by_what_it_recalls(tmp_path, tiny, bge_folder):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gauges.md").write_text(TABLE)
    (tmp_path / "qa.jsonl").write_text(
        '{"id": "q", "question": "Who?", "answers": ["Mara"], "doc_ids": ["gauges.md"]}\n'
    )
    recipe = RecipeSettings(minutes=4, probed_facts=4, passes=2, wordings=4)
    finetune = FinetuneSettings(measure_forgetting=False, held_out_share=0.0, context_share=0.0)
    chat = ChatSettings(sampling=Sampling(max_tokens=8))
    compared = CompareSettings(recipe=recipe, finetune=finetune, chat=chat)
    knowledge = build.knowledge(tmp_path / "index", str(bge_folder), compared.chunks, compared.retrieval)
    knowledge.sync(load_documents(tmp_path / "docs").documents)
    run = Run.open(tmp_path / "run", {})
    scene = Scene(run, RowLog(run.rows), knowledge, compared, no_progress)
    inputs = read_inputs(tmp_path / "docs", tmp_path / "qa.jsonl", None, None, None, None, compared)
    trial = trial_of(None, inputs, scene, tiny)
    tuned = train_finetuned(None, inputs, trial.retrieval(scene.cached(tiny)), trial, tiny)
    assert isinstance(tuned, Finetuned)
    assert tuned.first.recipe is not None
    assert tuned.first.recipe.before.facts == tuned.first.recipe.final.probed.facts == 4
    assert len(tuned.first.adapter.recalls) == 2
    assert "in wordings not trained on" in tuned.facts["recipe"]
