"""Finetune a model on conversations by LoRA, then stream an answer with the adapter.

Run it by ``python examples/finetune_and_ask.py adapter/``.
"""

import argparse
from pathlib import Path

import lorag

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", help="folder for the adapter")
    parser.add_argument("--model", help="any name that `lorag finetune --model` takes")
    parser.add_argument("--question", default="What does the Brisa cost?")
    options = parser.parse_args()

    settings = lorag.FinetuneSettings(learning_rate=1e-3, epochs=10)  # few conversations take many passes
    adapter = lorag.finetune(HERE / "chat.jsonl", options.adapter, model=options.model, settings=settings)
    print(f"Loss: {adapter.loss_first:.2f} before, {adapter.loss_last:.2f} after the training.")

    bot = lorag.chatbot(options.model, adapter=options.adapter)
    for piece in bot.reply(options.question):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
