"""The arm with all documents in its prompt: the third way to give a model knowledge, where its context holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorag.chat.prompts import question_prompt
from lorag.evaluation.results import LONG_CONTEXT
from lorag.evaluation.row_log import Phase
from lorag.interfaces import LanguageModel
from lorag.llm.engines.one_by_one import one_by_one
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.whole_index import WholeIndex
from lorag.types import Example
from lorag.workflows.comparing.asking import Arm, Scene, ask_arms, recall
from lorag.workflows.comparing.inputs import Inputs
from lorag.workflows.comparing.prompt_trials import Prompting


def long_context_arm(engine: LanguageModel, retrieval: Prompting, scene: Scene) -> Arm:
    """The arm, asked as retrieval is, with the question last: what stands before it is computed once.

    A server decides itself what it keeps of a prompt.
    """
    prompt = replace(retrieval.choice.prompt, question_first=False)
    model = scene.cached(engine, one_by_one(engine) if isinstance(engine, TransformersModel) else None)
    return Arm(model, replace(retrieval, choice=replace(retrieval.choice, prompt=prompt, room=None)))


def ask_long_context(phase: Phase, inputs: Inputs, arm: Arm, scene: Scene) -> tuple[str, list[str]]:
    """Asks the arm where the documents, as they are indexed now, fit; what was done, and a caveat where they do not."""
    examples = inputs.asked(phase)
    if (reason := _why_not(arm, examples, scene)) is not None:
        when = f" {phase} the update" if inputs.update is not None else ""
        return "left out", [f"A long context was left out{when}: {reason}."]
    arms = {LONG_CONTEXT: arm}
    recall(arms, scene)
    ask_arms(phase, examples, arms, scene)
    return "all documents in every prompt", []


def _why_not(arm: Arm, examples: Sequence[Example], scene: Scene) -> str | None:
    """Why the documents are not asked about in one prompt; None where they fit beside the longest question."""
    chat = scene.settings.chat
    longest = max((example.question for example in examples), key=len)
    (sources,) = WholeIndex(scene.knowledge.chunks()).retrieve([longest], 0)
    prompt = question_prompt(longest, sources, chat.response_template, arm.prompting.choice.prompt)
    room = arm.model.room(prompt, chat.sampling)
    if room is None:
        return f"the context of {arm.model.name} is not known; give it as RemoteSettings(context_tokens=...)"
    if room < 0:
        return (
            f"all documents, a question and an answer of {chat.sampling.max_tokens} tokens exceed the context of"
            f" {arm.model.name} by {-room:,} tokens"
        )
    return None
