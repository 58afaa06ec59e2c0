"""What the finetuned arms of a comparison learn from, decided by one rule and stated in the report.

Training conversations given by the user come first; else other wordings of the questions, else conversations
synthesised from the documents. Whatever the origin, no question of the test is ever trained on, nor one that is near to
it. A share of the conversations is trained a second time with sources in the prompt, as the "both" arm will be asked:
mostly with the passage that answers, for some without it, where the answer to learn is the refusal.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from lorag.chat.prompts import as_served, as_served_with_sources, has_sources, is_refusal
from lorag.evaluation.answers.metrics import contains
from lorag.evaluation.examples import not_to_be_taught
from lorag.files import draw, write_whole
from lorag.interfaces import LanguageModel, Progress
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import CompareSettings, PromptSettings, RecipeSettings
from lorag.training.data.conversations import read_conversations, write_conversations
from lorag.training.data.inspection import TestQuestions, contradictions, spoken_to
from lorag.training.data.qa_rules import RULES
from lorag.training.data.qa_synthesis import synthesize
from lorag.training.data.wordings.augmentation import augment, wordings_per_fact
from lorag.training.recipe import fills, fitting_conversations, fitting_wordings
from lorag.types import Conversation, Example, Message
from lorag.workflows.comparing.sourced import with_sources, within
from lorag.workflows.finetuning.adapter_training import estimate_training
from lorag.workflows.questions.apart import apart_from
from lorag.workflows.recipe_search import of_documents
from lorag.workflows.synthesize import ask_from, plain_words
from lorag.workspace import Run

_MOST_TIMED = 2_000
"""Conversations from which the time of a training is estimated before it is known how many are trained on."""
_MOST_SYNTHESISED = 400
"""Conversations trained on where none were given and no budget limits them; every further one costs time."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Conversations, and the sentence that says where they are from."""

    conversations: tuple[Conversation, ...]
    origin: str


def own_conversations(
    given: Sequence[Conversation] | None,
    examples: Sequence[Example],
    tested: Sequence[Example],
    refusal: str,
    option: str = "--train",
) -> TrainingData | None:
    """What the user brought to train on: conversations, or else other wordings of the questions; None without either.

    ``option`` is the one with which the conversations were given.

    No conversation repeats a tested question; there may be none left.
    """
    if given is not None:
        return _untested(TrainingData(tuple(given), f"{len(given)} conversations were given with {option}."), tested)
    return _rephrased(examples, tested, refusal)


def synthesised_conversations(
    knowledge: Knowledge,
    model: LanguageModel,
    tested: Sequence[Example],
    run: Run,
    settings: CompareSettings,
    progress: Progress,
    documents: Collection[str] | None = None,
    enough: Callable[[Sequence[Conversation]], bool] | None = None,
) -> TrainingData:
    """Conversations made from the documents alone, from all or from those named; without a budget only so many.

    Where those that rules make are ``enough``, the model writes only about documents in which rules find nothing: it
    takes seconds for each passage, for what could not be trained on. Raises ``InputError`` when no passage brings any.
    """
    log, exclude = run.synthesis_log(), not_to_be_taught(tested)
    chunks = [chunk for chunk in knowledge.chunks() if documents is None or chunk.document_id in documents]
    ruled = _not_tested(apart_from(synthesize(chunks, None, ask_from, exclude=exclude), tested).conversations, tested)
    are_enough = enough is not None and bool(ruled) and enough(ruled)
    found = {name for conversation in ruled for name in conversation.evidence} if are_enough else set()
    left = [chunk for chunk in chunks if chunk.document_id not in found]
    made = synthesize(chunks, model, ask_from, exclude=exclude, writes_about=left, log=log, progress=progress)
    made = apart_from(made, tested).require_pairs()
    asked = len({row["passage"] for row in log.rows} & {chunk.id for chunk in chunks})
    by_rules = sum(pair.origin == RULES for pair in made.pairs)
    most = len(made.conversations) if settings.recipe else _MOST_SYNTHESISED
    chosen = sorted(made.conversations, key=lambda conversation: draw(conversation.question))[:most]
    taken = f"; {most} of them were taken" if most < len(made.conversations) else ""
    origin = (
        f"No training data was given: {len(made.pairs)} conversations were synthesised from {made.passages} passages,"
        f" {by_rules} by rules and {len(made.pairs) - by_rules} by {model.name} itself, which was asked about"
        f" {asked} passages ({made.proposed} proposed,"
        f" {made.unsupported} refused as unsupported, {made.unanswerable} because it answers differently itself,"
        f" {made.repeated} as repeated){taken}. A finetune is only as good as such data; better data may change the"
        " verdict."
    )
    return _untested(TrainingData(tuple(chosen), origin), tested)


def brought(run: Run, own: TrainingData | None) -> TrainingData:
    """What the training data of a run was made from; runs of earlier versions kept only ``own``."""
    if run.brought.is_file():
        return TrainingData(tuple(read_conversations(run.brought)), "")
    return own or TrainingData((), "")


def widened(data: TrainingData, wordings: int, tested: Sequence[Example]) -> TrainingData:
    """Every conversation of one question in up to ``wordings`` wordings, made by rules; none is near a tested question.

    A fact that is told in one wording is learned in that wording (docs/training-data.md).
    """
    made = augment(data.conversations, plain=plain_words, exclude=not_to_be_taught(tested), wordings=wordings)
    counts, origin = made.counts, f"{data.origin}{_left_out(made.counts.left_out)}"
    if counts.by_rules:
        total = len(made.conversations)
        origin += f" Rules added {counts.by_rules} wordings, up to {wordings} for each: {total} conversations."
    return TrainingData(made.conversations, origin)


def affordable_wordings(
    data: TrainingData,
    prompt: PromptSettings,
    engine: TransformersModel,
    settings: CompareSettings,
    recipe: RecipeSettings,
) -> int:
    """In how many wordings the budget of ``recipe`` has room for each conversation."""
    seconds = _seconds_of_a_pass(data.conversations, prompt, engine, settings)
    return fitting_wordings(seconds, recipe, wordings_per_fact(data.conversations))


def affordable(
    data: TrainingData,
    first: Collection[str],
    prompt: PromptSettings,
    engine: TransformersModel,
    settings: CompareSettings,
    recipe: RecipeSettings,
) -> tuple[TrainingData, int]:
    """The conversations that the budget of ``recipe`` may have room for, and in how many wordings each.

    They are chosen by document, the documents ``first`` before the others.
    """
    seconds, count = _seconds_of_a_pass(data.conversations, prompt, engine, settings), len(data.conversations)
    given = wordings_per_fact(data.conversations)
    most = fitting_conversations(count, seconds, recipe, given)
    kept = tuple(of_documents(data.conversations, most, first)) if most < count else data.conversations
    if len(kept) < count:
        taken = f"{len(kept)} of them were taken, chosen by document: {recipe.minutes:g} minutes have no room for more."
        data = TrainingData(kept, f"{data.origin} {taken}")
    return data, fitting_wordings(seconds * len(data.conversations) / count, recipe, given)


def fill_the_budget(
    conversations: Sequence[Conversation],
    prompt: PromptSettings,
    engine: TransformersModel,
    settings: CompareSettings,
    recipe: RecipeSettings | None,
) -> bool:
    """Whether no more than these conversations are trained on: by the budget of ``recipe``, or without one."""
    if recipe is None:
        return len(conversations) >= _MOST_SYNTHESISED
    seconds = _seconds_of_a_pass(conversations, prompt, engine, settings)
    return fills(seconds, recipe, wordings_per_fact(conversations))


def _seconds_of_a_pass(
    conversations: Sequence[Conversation], prompt: PromptSettings, engine: TransformersModel, settings: CompareSettings
) -> float:
    """Estimated; of many conversations, from some of them."""
    some = conversations
    if len(some) > _MOST_TIMED:
        some = sorted(conversations, key=lambda each: draw(each.opening))[:_MOST_TIMED]
    served = [as_served(conversation, settings.chat.response_template, prompt) for conversation in some]
    seconds = estimate_training(engine, served, replace(settings.finetune, epochs=1)).seconds
    return seconds * len(conversations) / len(some)


def held_out(data: TrainingData, probed: Sequence[Example]) -> TrainingData:
    """``data`` without the conversations that repeat a question in ``probed``: these are wordings not trained on.

    A conversation stays where no other one about its documents states its answer: its fact would not be taught at all.
    So does plain text, which teaches more than one fact.
    """
    probes = _questions_of(probed)
    is_probed = list(map(probes.repeated_by, data.conversations))
    taught: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for each, repeats in zip(data.conversations, is_probed, strict=True):
        if not repeats:
            taught[each.evidence].add(each.messages[-1].content)

    def is_taught_elsewhere(conversation: Conversation) -> bool:
        reply = conversation.messages[-1].content
        return any(contains(other, [reply]) or contains(reply, [other]) for other in taught[conversation.evidence])

    kept = tuple(
        each
        for each, repeats in zip(data.conversations, is_probed, strict=True)
        if not repeats or each.is_text or not is_taught_elsewhere(each)
    )
    if (count := len(data.conversations) - len(kept)) == 0:
        return data
    origin = (
        f"{data.origin} {count} were held out because they repeat questions by which prompts or training are chosen."
    )
    return TrainingData(kept, origin)


def untaught(examples: Sequence[Example], conversations: Sequence[Conversation]) -> list[Example]:
    """Those of ``examples`` whose question no conversation repeats; sources in a prompt are read, not taught."""
    asked = _questions_of(examples)
    texts = [
        text for each in conversations for text in spoken_to(each) if not has_sources(text) and asked.repeats(text)
    ]
    return [example for example in examples if not any(map(_questions_of([example]).repeats, texts))]


def training_data(
    plain: TrainingData,
    knowledge: Knowledge,
    model: LanguageModel,
    prompt: PromptSettings,
    run: Run,
    settings: CompareSettings,
) -> TrainingData:
    """The conversations as they are served, without and with sources: made once and kept in the run folder.

    So a resumed run trains on the same.
    """
    if not run.training_facts.is_file():
        refusal = settings.chat.response_template
        served = [as_served(conversation, refusal, prompt) for conversation in plain.conversations]
        sourced, absent = _under_sources(plain, knowledge, model, prompt, settings) if served else ([], [])
        origin = plain.origin
        if served:
            taught = "refusal as the" if settings.finetune.refuse_absent else "same"
            origin += (
                f" {len(sourced)} were trained on once more under the sources that answer them, {len(absent)} under"
                f" sources that do not answer them, with the {taught} answer."
            )
        write_conversations(run.training, [*served, *sourced, *absent])
        write_whole(run.training_facts, json.dumps({"origin": origin}))
    origin = json.loads(run.training_facts.read_text())["origin"]
    return TrainingData(() if run.teaches_nothing else tuple(read_conversations(run.training)), origin)


_ABSENT_SHARE = 0.25
"""Share of the answered conversations with sources whose sources do not answer: without any a model learns to answer
from whatever is there."""
_MOST_ABSENT = 0.15
"""Most rows with sources that are refused though the fact is taught elsewhere: with a third of them a model of 0.5
billion weights refused a quarter of what it could read, with half of them everything (docs/log.md)."""
_MOST_DECLINED = 0.3
"""Most rows with sources that are refused at all. Refusals that were brought come first: nothing contradicts them."""


def _under_sources(
    plain: TrainingData, knowledge: Knowledge, model: LanguageModel, prompt: PromptSettings, settings: CompareSettings
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations to train a second time with sources: those that answer, and those whose sources do not."""
    refusal, share = settings.chat.response_template, settings.finetune.context_share
    ordered = sorted((c for c in plain.conversations if not c.is_text), key=lambda c: draw(c.question))
    declined = [c for c in ordered if is_refusal(c.messages[-1].content, refusal)]
    answered = [c for c in ordered if draw(c.question) < share and not is_refusal(c.messages[-1].content, refusal)]
    fit = within(model.count_tokens, settings.finetune.context_tokens)
    found = with_sources([*answered, *declined[: len(answered)]], knowledge, settings.retrieval.k, fit, refusal)
    with_answer, declines, absent = [], [], []
    for each in found:
        if each.refused:
            declines.append(as_served_with_sources(each.conversation, each.sources, refusal, prompt))
        elif each.without and draw(f"absent {each.conversation.question}") < _ABSENT_SHARE:
            turns = each.conversation
            if settings.finetune.refuse_absent:
                turns = replace(turns, messages=(*turns.messages[:-1], Message("assistant", refusal)))
            absent.append(as_served_with_sources(turns, each.without, refusal, prompt))
        else:
            with_answer.append(as_served_with_sources(each.conversation, each.sources, refusal, prompt))
    most_declined, most_absent = (
        math.ceil(len(with_answer) * share / (1 - share)) for share in (_MOST_DECLINED, _MOST_ABSENT)
    )
    refused = declines[:most_declined]
    return with_answer, [*refused, *absent[: max(0, most_absent - len(refused))]]


def _untested(data: TrainingData, tested: Sequence[Example]) -> TrainingData:
    """``data`` without what repeats a tested question; its origin counts these, and contradictions among the others."""
    kept = _not_tested(data.conversations, tested)
    left_out = _left_out(len(data.conversations) - len(kept))
    return _with_contradictions(TrainingData(kept, f"{data.origin}{left_out}"))


def _not_tested(conversations: Sequence[Conversation], tested: Sequence[Example]) -> tuple[Conversation, ...]:
    tests = _questions_of(tested)
    return tuple(conversation for conversation in conversations if not tests.repeated_by(conversation))


def _with_contradictions(data: TrainingData) -> TrainingData:
    """``data``, whose origin counts the contradictions in it."""
    unclear = len(contradictions(data.conversations, plain_words))
    if not unclear:
        return data
    kept = f" {unclear} ask the same as another but answer differently; all of them were kept."
    return replace(data, origin=data.origin + kept)


def _questions_of(examples: Sequence[Example]) -> TestQuestions:
    return TestQuestions(not_to_be_taught(examples), plain_words)


def _left_out(count: int) -> str:
    return f" {count} that ask, nearly ask or hold a test question were left out." if count else ""


_MOST_REFUSALS = 0.1
"""Share of refusals in what is made of other wordings: with 24 % a finetune refused 39 % of what it could answer."""


def _rephrased(examples: Sequence[Example], tested: Sequence[Example], refusal: str) -> TrainingData | None:
    """Conversations from other wordings of the questions that people brought; some refusals, where no test asks.

    Of each question the first wording that repeats no tested one is taken. None where there is no such wording.
    """
    tests, asked = _questions_of(tested), {example.id for example in tested}
    own = [example for example in examples if "made_by" not in example.meta]
    first = ((e, next((w for w in e.paraphrases if not tests.repeats(w)), "")) for e in own)
    worded = [(example, wording) for example, wording in first if wording]
    open_ones = sorted((e for e, _ in worded if not e.answers and e.id not in asked), key=lambda e: draw(e.question))
    answered = sum(bool(example.answers) for example, _ in worded)
    most = math.ceil(answered * _MOST_REFUSALS / (1 - _MOST_REFUSALS))
    refused = {example.id for example in open_ones[:most]}
    plain = tuple(
        Conversation(
            (Message("user", wording), Message("assistant", each.answers[0] if each.answers else refusal)),
            each.evidence,
        )
        for each, wording in worded
        if each.answers or each.id in refused
    )
    if not plain:
        return None
    facts = {example.id for example in examples if example.answers and example.id in asked}
    taught = sum(example.id in facts for example, _ in worded)
    share = "every answerable fact" if taught == len(facts) else f"{taught} of {len(facts)} answerable facts"
    origin = (
        f"Trained on the first other wording of {len(plain)} questions that does not nearly ask a tested one, with"
        f" their short references as answers. That taught {share} of the test in another wording, and refusals by"
        " unanswerable ones that are not in the test. It is finetuning at its best; data made from documents alone"
        " teaches less."
    )
    return _with_contradictions(TrainingData(plain, origin))
