"""A conversation in the terminal: streamed answers with their sources, and commands that begin with a slash."""

from __future__ import annotations

from lorag.chat.session import Session
from lorag.cli.screen import output, print_pieces, print_source, print_sources


def converse(session: Session) -> None:
    """Reads questions from the terminal until an empty line or the end of input."""
    while question := _read():
        sources = session.answer.sources if session.answer is not None else ()
        if question == "/reset":
            session.reset()
        elif question == "/sources":
            for number, hit in enumerate(sources, start=1):
                print_source(number, hit)
                output.print(hit.chunk.text.strip() + "\n", markup=False)
        elif question.startswith("/"):
            output.print("Commands are /reset and /sources; an empty line ends.", markup=False)
        else:
            print_pieces(session.ask(question))
            print_sources(session.answer.sources if session.answer is not None else ())


def _read() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
