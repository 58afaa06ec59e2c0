"""A Modelfile for Ollama: the chat template in Ollama's own language, with the instruction and what ends a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorag.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTENTS = ("\ue000s\ue000", "\ue000u\ue000", "\ue000a\ue000", "\ue000v\ue000")


def modelfile(tokenizer: PreTrainedTokenizerBase, gguf: str, system: str) -> str:
    """The text of the file beside ``gguf``; ``system`` is what the model is told where nothing else is.

    The template is read off a conversation that the model's own one renders. Raises ``ModelError`` for a template
    whose turns depend on more than their role.
    """
    before, after_system, user, assistant, after_assistant = _pieces(tokenizer)
    template = (
        f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after_system}{{{{ end }}}}"
        f"{{{{ if .Prompt }}}}{user}{{{{ .Prompt }}}}{{{{ end }}}}"
        f"{assistant}{{{{ .Response }}}}{after_assistant}"
    )
    if '"""' in template + system:
        raise ModelError(
            "a chat template or an instruction with three quotation marks cannot be written to a Modelfile"
        )
    lines = (
        f"FROM ./{gguf}",
        f'TEMPLATE """{template}"""',
        f'SYSTEM """{system}"""',
        f'PARAMETER stop "{tokenizer.eos_token}"',
        "PARAMETER temperature 0",
    )
    return "\n".join(lines) + "\n"


def _pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str, str, str, str]:
    """What stands before and after the system's text, before a question, and before and after an answer.

    What ends one turn and what begins the next look alike from outside; a question begins as far back as all of them
    begin alike.
    """
    from jinja2 import TemplateError

    roles = ("system", "user", "assistant", "user")
    turns = [{"role": role, "content": text} for role, text in zip(roles, _CONTENTS, strict=True)]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        raise ModelError(
            f"the chat template cannot be written for Ollama, because it supports no system turn: {error}"
        ) from error
    gaps = []
    for content in _CONTENTS:
        gap, found, text = text.partition(content)
        if not found:
            raise ModelError("the chat template cannot be written for Ollama, because it changes the text of messages")
        gaps.append(gap)
    before, to_first, to_answer, to_second = gaps
    if to_answer != text:
        raise ModelError("the chat template cannot be written for Ollama, because its turns depend on their place")
    alike = 0
    while alike < min(len(to_first), len(to_second)) and to_first[-alike - 1] == to_second[-alike - 1]:
        alike += 1
    return (
        before,
        to_first[: len(to_first) - alike],
        to_first[len(to_first) - alike :],
        to_answer,
        to_second[: len(to_second) - alike],
    )
