"""Every prompt Lorag sends, in one place: training and serving, with sources and without, use these functions.

With and without sources the instruction is the same, so that two arms of a comparison differ in their sources and
in nothing else. Sources are quoted as numbered data below the instruction: a line of theirs that has the form of the
prompt's own (a source's number, "Question:") is marked as quoted, and control tokens are text to an engine. Whether a
model obeys what a source says all the same is the model's affair, and is measured (docs/answering.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lorag.evaluation.answers.matching.refusals import declines
from lorag.settings import PromptSettings
from lorag.types import Conversation, Hit, Message, Prompt

_SHORT_SENTENCE = "Answer the question in one short sentence from the sources."
_OWN_LINE = re.compile(
    r"^(?=[ \t]*(?:Sources:|Question:|Answer from the sources\.|Answer the question in one short|\[\d+\]))",
    re.MULTILINE,
)
"""Where a line begins as a line of the prompt itself does."""
_DEFAULT = PromptSettings()


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """A question with its sources and the answer that it should get: shown to the model before the question."""

    question: str
    sources: tuple[Hit, ...]
    reply: str


def system_message(response_template: str, prompt: PromptSettings = _DEFAULT) -> Message:
    """The instruction of every arm."""
    if not prompt.offer_refusal:
        return Message("system", "Answer the question briefly.")
    return Message("system", f"Answer the question briefly. If you do not know the answer, reply: {response_template}")


def question_prompt(
    question: str,
    sources: Sequence[Hit],
    response_template: str,
    prompt: PromptSettings = _DEFAULT,
    examples: Sequence[WorkedExample] = (),
) -> Prompt:
    """The messages that ask ``question``, with numbered sources when there are any.

    ``examples`` come before it as turns of the conversation, in the same form: with their sources where the question
    has sources, without where it has none.
    """
    shown = [
        turn
        for example in examples
        for turn in (
            Message("user", _asked(example.question, example.sources if sources else (), prompt)),
            Message("assistant", example.reply),
        )
    ]
    return (system_message(response_template, prompt), *shown, Message("user", _asked(question, sources, prompt)))


def _asked(question: str, sources: Sequence[Hit], prompt: PromptSettings) -> str:
    """What the user's message holds."""
    if not sources:
        return question
    quoted = "\n\n".join(source_text(number, hit) for number, hit in enumerate(sources, start=1))
    if prompt.question_first:
        return f"Question: {question}\n\nSources:\n{quoted}\n\n{_SHORT_SENTENCE}"
    return f"Sources:\n{quoted}\n\nAnswer from the sources.\nQuestion: {question}"


def has_sources(question: str) -> bool:
    """Whether a user's message holds sources as ``question_prompt`` numbers them."""
    return "Sources:\n[1]" in question


def source_text(number: int, hit: Hit) -> str:
    """One source as the prompt quotes it: its number, its heading path, the header of its table, and its text."""
    heading = f" {hit.chunk.heading}" if hit.chunk.heading else ""
    header = f"{hit.chunk.table_header}\n" if hit.chunk.table_header else ""
    return f"[{number}]{heading}\n{header}{_OWN_LINE.sub('> ', hit.chunk.text.strip())}"


def fitting_sources(hits: Sequence[Hit], count_tokens: Callable[[str], int], room: int) -> tuple[Hit, ...]:
    """The first hits that fit into ``room`` tokens whole; the best one always goes in."""
    fitting: list[Hit] = []
    for number, hit in enumerate(hits, start=1):
        room -= count_tokens(source_text(number, hit))
        if fitting and room < 0:
            break
        fitting.append(hit)
    return tuple(fitting)


def without_examples(prompt: PromptSettings) -> PromptSettings:
    """The prompt that is trained under: worked examples stand only in prompts that are answered."""
    return replace(prompt, examples=0, refused_example=False)


def with_own(instruction: Message, own: str) -> Message:
    """The instruction with the system's text of a conversation below it, unless that begins with it."""
    if not own:
        return instruction
    begun = own.startswith(instruction.content)
    return replace(instruction, content=own if begun else f"{instruction.content}\n\n{own}")


def as_served(conversation: Conversation, response_template: str, prompt: PromptSettings = _DEFAULT) -> Conversation:
    """A training conversation in the form in which it is served: under the instruction, with its own below that.

    Plain text stays as it is.
    """
    if conversation.is_text:
        return conversation
    instruction = with_own(system_message(response_template, prompt), conversation.instruction)
    spoken = (message for message in conversation.messages if message.role != "system")
    return Conversation((instruction, *spoken), conversation.evidence)


def as_served_with_sources(
    conversation: Conversation, sources: Sequence[Hit], response_template: str, prompt: PromptSettings = _DEFAULT
) -> Conversation:
    """A one-question conversation as it is served with retrieval: the question with its sources."""
    instruction, *asked = question_prompt(conversation.question, sources, response_template, prompt)
    messages = (with_own(instruction, conversation.instruction), *asked, conversation.messages[-1])
    return Conversation(messages, conversation.evidence)


def is_refusal(text: str, response_template: str) -> bool:
    """Whether an answer declines, by the template or in other words, and states nothing beside."""
    return declines(text, response_template)
