"""Conversations with the sources they are answered from: for training rows, worked examples and probes.

Sources that do not hold the answer would teach a model to answer past them. So the passage that holds it is always
among them; a conversation whose answer no passage holds is left out, unless its answer is a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lorag.chat.prompts import fitting_sources, is_refusal
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.files import draw
from lorag.retrieval.knowledge import Knowledge
from lorag.types import Conversation, Example, Hit, Prompt


@dataclass(frozen=True, slots=True)
class Sourced:
    """A one-question conversation and sources for it, in an order that says nothing."""

    conversation: Conversation
    sources: tuple[Hit, ...]
    best: tuple[Hit, ...]
    """The one passage that holds the answer, or, of a refusal, the one that search ranks first, if any."""
    without: tuple[Hit, ...]
    """What search finds beside passages that hold the answer: sources under which the right answer is a refusal."""
    refused: bool
    """Whether the conversation's answer is a refusal."""


def with_sources(
    conversations: Sequence[Conversation],
    knowledge: Knowledge,
    k: int,
    fit: Callable[[Sequence[Hit]], tuple[Hit, ...]],
    refusal: str,
) -> list[Sourced]:
    """The one-question conversations that have sources; ``fit`` cuts hits to the room that they get."""
    asked = [c for c in conversations if len([m for m in c.messages if m.role != "system"]) == 2]
    questions = [c.question for c in asked]
    examples = [Example(c.question, c.question, (c.messages[-1].content,), c.evidence) for c in asked]
    holds = NewContentRecall.fit(examples).holds
    found = knowledge.retrieve(questions, k)
    evidence = EvidenceRetriever(knowledge.chunks(), examples).retrieve(questions, k)
    sourced = []
    for conversation, example, hits, known in zip(asked, examples, found, evidence, strict=True):
        if is_refusal(conversation.messages[-1].content, refusal):
            sources = _mixed(fit(hits))
            sourced.append(Sourced(conversation, sources, tuple(hits[:1]), sources, refused=True))
            continue
        held = [hit for hit in (*hits, *known) if holds(hit.chunk.text, example.question, example.answers)]
        if held:
            best = [held[0], *(hit for hit in hits if hit.chunk != held[0].chunk)]
            others = [hit for hit in hits if hit not in held and hit.chunk.document_id not in conversation.evidence]
            absent = fit(others) if others else ()
            sourced.append(Sourced(conversation, _mixed(fit(best)), (held[0],), _mixed(absent), refused=False))
    return sourced


def with_and_without(
    examples: Sequence[Example],
    knowledge: Knowledge,
    k: int,
    prompt: Callable[[str, Sequence[Hit]], tuple[Prompt, tuple[Hit, ...]]],
) -> list[tuple[Example, Prompt, Prompt]]:
    """Examples with two prompts that ask their question: with the passage that answers it, and without.

    ``prompt`` gives the prompt of a question and hits, and those of the hits that it shows. Left out are examples for
    which search finds no passage that holds the answer, or no other. An example without evidence gets the document of
    that passage.
    """
    holds = NewContentRecall.fit(examples).holds
    found = []
    for example, hits in zip(examples, knowledge.retrieve([e.question for e in examples], k), strict=True):
        held = [hit for hit in hits if holds(hit.chunk.text, example.question, example.answers)]
        others = [hit for hit in hits if hit not in held]
        if not held or not others:
            continue
        answered, shown = prompt(example.question, hits)
        if not any(hit in held for hit in shown):
            answered, _ = prompt(example.question, [held[0], *others])
        if not example.evidence:
            example = replace(example, evidence=(held[0].chunk.document_id,))
        found.append((example, answered, prompt(example.question, others)[0]))
    return found


def within(count_tokens: Callable[[str], int], room: int) -> Callable[[Sequence[Hit]], tuple[Hit, ...]]:
    """A ``fit`` for ``with_sources``: the first hits that fit into ``room`` tokens whole."""
    return lambda hits: fitting_sources(hits, count_tokens, room)


def _mixed(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    return tuple(sorted(hits, key=lambda hit: draw(hit.chunk.id)))
