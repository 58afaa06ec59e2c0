"""A conversation with a chatbot: the turns so far, and the last answer."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from lorag.chat.bot import ChatBot
from lorag.chat.history import read_history, write_history
from lorag.types import Answer, Message


class Session:
    """Asks one question after another; only whole exchanges enter the history, and its file when there is one."""

    def __init__(self, bot: ChatBot, file: Path | None = None) -> None:
        """Goes on from the history in ``file`` where there is one. Raises ``DataError`` when it holds none."""
        self.history: list[Message] = read_history(file) if file is not None else []
        self.answer: Answer | None = None
        self._bot, self._file = bot, file

    def ask(self, question: str) -> Generator[str]:
        """The pieces of an answer that knows the earlier turns; when they end, ``answer`` holds the whole."""
        reply = self._bot.reply(question, self.history)
        yield from reply
        if reply.answer is not None:
            turns = (Message("user", question), Message("assistant", reply.answer.text))
            self._keep([*self.history, *turns], reply.answer)

    def reset(self) -> None:
        """Forgets every turn, also in the file."""
        self._keep([], None)

    def _keep(self, history: list[Message], answer: Answer | None) -> None:
        self.history, self.answer = history, answer
        if self._file is not None:
            write_history(self._file, history)
