"""Answer questions from a folder of documents, with numbered sources.

Run it by ``python examples/documents_chatbot.py index/``.
"""

import argparse
from pathlib import Path

import lorag

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", help="folder for the index")
    parser.add_argument("--model", help="any name that `lorag ask --model` takes")
    parser.add_argument("--question", default="How high is the deposit?")
    options = parser.parse_args()

    lorag.index(HERE / "handbook", options.index)  # again after a change: only what changed is embedded
    bot = lorag.chatbot(options.model, index=options.index)
    reply = bot.reply(options.question)
    for number, source in enumerate(reply.sources, 1):
        print(f"[{number}] {source.chunk.document_id}")
    for piece in reply:
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
