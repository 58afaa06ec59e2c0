"""What the finetuned arms of a comparison learn from, decided by one rule and said in the report.

Training conversations given by the user come first; else other wordings of the questions, else conversations
synthesised from the documents. Whatever the origin, no question of the test is ever trained on word for word, and a
share of the conversations is repeated with sources in the prompt, as the "both" arm will be asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.chat.prompts import as_served, as_served_with_sources, fitting_sources, is_refusal
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.evaluation.answers.metrics import NewContentRecall, normalise
from lorag.files import draw, write_whole
from lorag.interfaces import LanguageModel, Progress
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import CompareSettings
from lorag.training.data.conversations import read_conversations, write_conversations
from lorag.training.data.qa_rules import RULES
from lorag.training.data.qa_synthesis import synthesize
from lorag.types import Conversation, Example, Message
from lorag.workflows.synthesize import ask_from
from lorag.workspace import Run

_MOST_SYNTHESISED = 400
"""Conversations trained on where none were given; every further one costs time, and the first few teach most."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Conversations as they are served, without and with sources, and the sentence that says where they are from."""

    conversations: tuple[Conversation, ...]
    origin: str


def training_data(
    given: Sequence[Conversation] | None,
    examples: Sequence[Example],
    tested: Sequence[Example],
    knowledge: Knowledge,
    model: LanguageModel,
    run: Run,
    settings: CompareSettings,
    progress: Progress,
) -> TrainingData:
    """The conversations of this run, made once and kept in its folder, so that a resumed run trains on the same."""
    if not run.training_facts.is_file():
        plain, origin = _plain(given, examples, tested, knowledge, model, run, settings, progress)
        tests = {normalise(example.question) for example in tested}
        kept = [c for c in plain if normalise(c.question) not in tests]
        if len(kept) < len(plain):
            origin += f" {len(plain) - len(kept)} that ask a test question word for word were left out."
        served = [as_served(conversation, settings.chat.response_template) for conversation in kept]
        with_sources = _with_sources(kept, knowledge, model, settings)
        origin += f" {len(with_sources)} were trained on once more under the sources they are to be answered from."
        write_conversations(run.training, [*served, *with_sources])
        write_whole(run.training_facts, json.dumps({"origin": origin}))
    origin = json.loads(run.training_facts.read_text())["origin"]
    return TrainingData(tuple(read_conversations(run.training)), origin)


def _plain(
    given: Sequence[Conversation] | None,
    examples: Sequence[Example],
    tested: Sequence[Example],
    knowledge: Knowledge,
    model: LanguageModel,
    run: Run,
    settings: CompareSettings,
    progress: Progress,
) -> tuple[list[Conversation], str]:
    if given is not None:
        return list(given), f"Trained on {len(given)} conversations given with --train."
    rephrased = _rephrased(examples, tested, settings.chat.response_template)
    if rephrased:
        return rephrased, (
            f"Trained on the first other wording of {len(rephrased)} questions, with their short references as answers:"
            " every answerable fact of the test was taught in another wording, and refusals by unanswerable questions"
            " that are not in the test. That is finetuning at its best; data made from documents alone teaches less."
        )
    return _synthesised(knowledge, model, [e.question for e in tested], run, progress)


def _synthesised(
    knowledge: Knowledge, model: LanguageModel, exclude: Sequence[str], run: Run, progress: Progress
) -> tuple[list[Conversation], str]:
    """Conversations made from the documents alone, at most so many that training ends."""
    log = run.synthesis_log()
    made = synthesize(knowledge.chunks(), model, ask_from, exclude=exclude, log=log, progress=progress).require_pairs()
    by_rules = sum(pair.origin == RULES for pair in made.pairs)
    chosen = sorted(made.conversations, key=lambda conversation: draw(conversation.question))[:_MOST_SYNTHESISED]
    return chosen, (
        f"No training data was given: {len(made.pairs)} conversations were synthesised from {made.passages} passages,"
        f" {by_rules} by rules and {len(made.pairs) - by_rules} by {model.name} itself ({made.proposed} proposed,"
        f" {made.unsupported} refused as unsupported, {made.unanswerable} because it answers otherwise itself,"
        f" {made.repeated} as repeated); {len(chosen)} were trained on. A finetune is only as good as such data; better"
        " data may change the verdict."
    )


def _rephrased(examples: Sequence[Example], tested: Sequence[Example], refusal: str) -> list[Conversation]:
    """Conversations from the first other wording of each question; refusals only where the test does not ask."""
    asked = {example.id for example in tested}
    conversations = []
    for example in examples:
        if not example.paraphrases or (not example.answers and example.id in asked):
            continue
        reply = example.answers[0] if example.answers else refusal
        turns = (Message("user", example.paraphrases[0]), Message("assistant", reply))
        conversations.append(Conversation(turns, example.evidence))
    return conversations


def _with_sources(
    conversations: Sequence[Conversation], knowledge: Knowledge, model: LanguageModel, settings: CompareSettings
) -> list[Conversation]:
    """A share of the one-question conversations as they are served with retrieval.

    Sources that do not hold the answer would teach a model to answer past them. So the passage that holds it is
    always among them; a conversation whose answer no passage holds is left out, unless its answer is a refusal.
    """
    refusal, share = settings.chat.response_template, settings.finetune.context_share
    chosen = [c for c in conversations if len(c.messages) == 2 and draw(c.question) < share]
    examples = [Example(c.question, c.question, (c.messages[-1].content,), c.evidence) for c in chosen]
    holds = NewContentRecall.fit(examples).is_right
    found = knowledge.retrieve([c.question for c in chosen], settings.retrieval.k)
    evidence = EvidenceRetriever(knowledge.chunks(), examples).retrieve(
        [c.question for c in chosen], settings.retrieval.k
    )
    served = []
    for conversation, example, hits, known in zip(chosen, examples, found, evidence, strict=True):
        best = list(hits)
        if not is_refusal(conversation.messages[-1].content, refusal):
            held = [hit for hit in (*hits, *known) if holds(hit.chunk.text, example.question, example.answers)]
            if not held:
                continue
            best = [held[0], *(hit for hit in hits if hit.chunk != held[0].chunk)]
        sources = fitting_sources(best, model.count_tokens, settings.finetune.context_tokens)
        mixed = sorted(sources, key=lambda hit: draw(hit.chunk.id))
        served.append(as_served_with_sources(conversation, mixed, refusal))
    return served
