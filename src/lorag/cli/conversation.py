"""A conversation in the terminal: streamed answers, their sources, and a history that stays within its budget."""

from __future__ import annotations

from lorag.chat.chatbot import ChatBot
from lorag.cli.screen import output, print_source
from lorag.types import Hit, Message

_HISTORY_TOKENS = 1024


def converse(bot: ChatBot) -> None:
    """Reads questions from the terminal until an empty line or the end of input."""
    history: list[Message] = []
    sources: tuple[Hit, ...] = ()
    while question := _read():
        if question == "/reset":
            history, sources = [], ()
            continue
        if question == "/sources":
            for number, hit in enumerate(sources, start=1):
                print_source(number, hit)
                output.print(hit.chunk.text.strip() + "\n", markup=False)
            continue
        reply = bot.reply(question, history)
        for piece in reply:
            output.print(piece, end="", markup=False)
        output.print()
        sources = reply.sources
        if reply.answer is not None:
            history += [Message("user", question), Message("assistant", reply.answer.text)]
        while sum(bot.model.count_tokens(turn.content) for turn in history) > _HISTORY_TOKENS:
            del history[:2]  # the oldest question and its answer


def _read() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
