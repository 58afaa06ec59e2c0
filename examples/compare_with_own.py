"""Compare base, finetuned, retrieval, both and a system of your own on the same questions.

Run it by ``python examples/compare_with_own.py run/``.

Eight questions are too few for a verdict; they show the calls. A system of your own is any function from questions to
answers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import lorag

HERE = Path(__file__).parent


def first_paragraph(questions: Sequence[str]) -> list[str]:
    """A system to compare with: the first paragraph of the page that shares most words with the question."""
    pages = [page.read_text().split("\n\n")[1] for page in sorted((HERE / "handbook").glob("*.md"))]
    words = [set(page.lower().split()) for page in pages]
    return [pages[max(range(len(pages)), key=lambda i: len(words[i] & set(q.lower().split())))] for q in questions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder for the run; the same command resumes it")
    parser.add_argument("--model", help="any name that `lorag compare --model` takes")
    parser.add_argument("--minutes", type=float, default=5, help="budget of the finetune")
    options = parser.parse_args()

    result = lorag.compare(
        HERE / "handbook",
        HERE / "questions.jsonl",
        train=HERE / "chat.jsonl",
        model=options.model,
        arms={"first paragraph": first_paragraph},
        settings=lorag.CompareSettings(recipe=lorag.RecipeSettings(minutes=options.minutes)),
        out=options.run,
    )
    for arm in result.arms:
        print(f"{arm.arm}: {100 * arm.accuracy.mean:.0f} % right")
    print(result.verdict.sentence)
    for reason in result.warnings:
        print(f"- {reason}")


if __name__ == "__main__":
    main()
