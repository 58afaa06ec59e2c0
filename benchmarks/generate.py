"""Answers are as fast as from llama.cpp, four times as fast as from `generate` of transformers, and the same.

Each candidate answers the same questions about the bundled documents, with greedy decoding and in its own process: some
one at a time with a passage, streamed; then others as a comparison asks them, with and without a passage, many at once.
llama.cpp itself gets the file that our quick engine wrote, and one in 8 bits. Agreement is that of llama.cpp with our
reference engine, both in float32; the cost of lower precision in right answers is shown beside it. The weights are read
once per token, so memory bandwidth, measured here, limits the speed at one question at a time. With ``--adapter``, all
candidates answer with it: transformers with the adapter beside its weights, llama.cpp with a file of the merged
weights. The last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.documents.load import load_documents
from lorag.errors import require
from lorag.evaluation.answers.metrics import contains
from lorag.evaluation.examples import read_examples
from lorag.evaluation.statistics import paired_difference
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import TransformersModel, adapter_fingerprint, load
from lorag.llm.rendering import render
from lorag.models import catalogue
from lorag.models.gguf_writing import write_gguf
from lorag.models.tokenizer import load_tokenizer
from lorag.settings import REFUSAL, CompareSettings
from lorag.types import Chunk, Document, Example, Hit, Prompt, Sampling
from lorag.workflows.export import merged_weights
from peers.memory import peak_bytes

CANDIDATES = ("transformers generate", "lorag transformers", "lorag llama.cpp", "llama.cpp", "llama.cpp q8_0")
ANSWERING = ("lorag transformers", "lorag llama.cpp f32", "lorag llama.cpp", "lorag llama.cpp q8_0")
BAR = {"of llama.cpp": 1.0, "of transformers generate": 4.0, "batches of generate": 5.0, "agreement": 0.99}
PASSAGE_CHARACTERS = 900
CONTEXT_TOKENS = 4096
ROUNDS = 3


def main() -> int:
    """Prints a row for each candidate and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--adapter", type=Path, help="of that model, which every candidate then answers with")
    parser.add_argument("--questions", type=int, default=40, help="asked in batches, each with and without a passage")
    parser.add_argument("--alone", type=int, default=8, help="asked one at a time")
    parser.add_argument("--compared", type=int, default=200, help="questions whose answers are held against each other")
    parser.add_argument("--tokens", type=int, default=48, help="longest answer")
    parser.add_argument("--candidate", choices={*CANDIDATES, *ANSWERING}, help=argparse.SUPPRESS)
    parser.add_argument("--answers", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        print(json.dumps(answers(options) if options.answers else speed(options)))
        return 0
    # Written and checked before any time is taken.
    build.answering_model(options.model, options.adapter, engine="llama.cpp")
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(ROUNDS):
        rounds.append({candidate: run(options, candidate) for candidate in CANDIDATES})
        for candidate, found in rounds[-1].items():
            print(f"{candidate:22}" + ", ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
    return verdict(options, rounds, {engine: run(options, engine, "--answers") for engine in ANSWERING})


def run(options: argparse.Namespace, candidate: str, *flags: str) -> Any:
    """What a process of its own finds of the candidate."""
    names = ("model", "adapter", "questions", "alone", "compared", "tokens")
    given = [f"--{name}={value}" for name in names if (value := getattr(options, name)) is not None]
    command = [sys.executable, __file__, *given, f"--candidate={candidate}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{candidate} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def speed(options: argparse.Namespace) -> dict[str, float]:
    """Seconds and tokens of one candidate, and the most memory it took; no question is asked twice."""
    stream, answer = candidate(options, Sampling(max_tokens=options.tokens))
    tokenizer = load_tokenizer(catalogue.fetch(options.model))
    asked = questions(options.alone + options.questions + 1)
    stream(with_passage(asked.pop()))
    firsts, read, rates = [], [], []
    for question in asked[: options.alone]:
        prompt = with_passage(question)
        start = time.perf_counter()
        first, tokens = stream(prompt)
        rates.append(max(tokens - 1, 1) / (time.perf_counter() - start - first))
        firsts.append(first)
        read.append(len(render(tokenizer, prompt, reply=True).ids) / first)
    slice_size = CompareSettings().slice_size
    seconds = 0.0
    for start_at in range(options.alone, len(asked), slice_size):
        for asks in (question_alone, with_passage):
            batch = [asks(question) for question in asked[start_at : start_at + slice_size]]
            start = time.perf_counter()
            answer(batch)
            seconds += time.perf_counter() - start
    return {
        "tokens/s": statistics.median(rates),
        "first token s": statistics.median(firsts),
        "prompt tokens/s": statistics.median(read),
        "batched answers/s": 2 * options.questions / seconds,
        "peak GB": peak_bytes() / 1e9,
    }


def answers(options: argparse.Namespace) -> list[str]:
    """What one of our engines says to each of the questions whose answers are compared."""
    _, answer = candidate(options, Sampling(max_tokens=options.tokens))
    return answer([with_passage(question) for question in questions(options.compared)])


Stream = Callable[[Prompt], tuple[float, int]]
Answer = Callable[[Sequence[Prompt]], list[str]]


def candidate(options: argparse.Namespace, sampling: Sampling) -> tuple[Stream, Answer]:
    """How the candidate streams one answer (seconds to the first token, tokens), and how it answers several."""
    model: Any
    match options.candidate:
        case "transformers generate":
            model = build.language_model(options.model, options.adapter)
            return generate(model, sampling)
        case "lorag transformers":
            model = build.language_model(options.model, options.adapter, dtype="float32")
        case "lorag llama.cpp":
            model = build.answering_model(options.model, options.adapter, engine="llama.cpp")
        case str(name) if name.startswith("lorag"):
            file, words = gguf_file(options), load_tokenizer(catalogue.fetch(options.model))
            model = LlamaCppModel(file, words, options.model, CONTEXT_TOKENS, exact=name.endswith("f32"))
        case _:
            return llama_cpp(options, sampling)
    return ours(model, sampling)


def ours(model: LlamaCppModel | TransformersModel, sampling: Sampling) -> tuple[Stream, Answer]:
    """One of our engines."""

    def stream(prompt: Prompt) -> tuple[float, int]:
        start, first, pieces = time.perf_counter(), 0.0, model.stream(prompt, sampling)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return first, end.value.completion_tokens
            first = first or time.perf_counter() - start

    return stream, lambda asked: [done.text for done in model.generate(asked, sampling)]


def generate(model: TransformersModel, sampling: Sampling) -> tuple[Stream, Answer]:
    """``generate`` of transformers, a prompt at a time, as tutorials do it."""
    import torch

    weights = model.weights

    def write(prompt: Prompt, most: int) -> tuple[str, int]:
        ids = torch.tensor([render(weights.tokenizer, prompt, reply=True).ids])
        with weights.applied(model.adapter) as causal:
            out = causal.generate(  # type: ignore[operator]
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=most, repetition_penalty=1.0
            )
        said = out[0, ids.shape[1] :]
        return str(weights.tokenizer.decode(said, skip_special_tokens=True)).strip(), len(said)

    def stream(prompt: Prompt) -> tuple[float, int]:
        start = time.perf_counter()
        write(prompt, 1)
        first = time.perf_counter() - start
        return first, write(prompt, sampling.max_tokens)[1]

    return stream, lambda asked: [write(prompt, sampling.max_tokens)[0] for prompt in asked]


def llama_cpp(options: argparse.Namespace, sampling: Sampling) -> tuple[Stream, Answer]:
    """llama.cpp's own chat endpoint, without a line of ours between; the answers of a batch one after the other."""
    xllamacpp = require("xllamacpp", "fast", "llama.cpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(gguf_file(options))
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity = CONTEXT_TOKENS, 1, -1
    server = xllamacpp.Server(parameters)

    def stream(prompt: Prompt) -> tuple[float, int]:
        start, times = time.perf_counter(), []
        usage: list[Any] = []

        def arrive(reply: dict[str, Any]) -> None:
            if reply["choices"] and reply["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter() - start)
            usage.append(reply.get("usage"))

        server.handle_chat_completions(request(prompt, sampling) | {"stream": True, **USAGE}, arrive)
        return times[0], usage[-1]["completion_tokens"]

    def answer(asked: Sequence[Prompt]) -> list[str]:
        replies = [server.handle_chat_completions(request(prompt, sampling)) for prompt in asked]
        return [reply["choices"][0]["message"]["content"].strip() for reply in replies]

    return stream, answer


USAGE = {"stream_options": {"include_usage": True}}


def request(prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """A greedy answer, asked for by messages."""
    return {"messages": [asdict(turn) for turn in prompt], "temperature": 0, "max_tokens": sampling.max_tokens}


def gguf_file(options: argparse.Namespace) -> Path:
    """The file that our quick engine uses, or the one in the candidate's dtype beside it."""
    name = options.candidate.split()[-1]
    if name == "llama.cpp":
        return max(build.verified_ggufs().glob("*/model.gguf"), key=lambda path: path.parent.stat().st_mtime)
    adapter, folder = options.adapter, catalogue.fetch(options.model)
    whose = f"{options.model}-{adapter_fingerprint(adapter)}" if adapter else options.model
    file = catalogue.cache_folder() / "benchmarks" / f"{whose}.{name}.gguf"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        weights = merged_weights(adapter) if adapter else load(folder, dtype="float32").weights
        write_gguf(weights.model, weights.tokenizer, file, name, options.model)
    return file


def questions(n: int) -> list[Example]:
    """Questions that the bundled documents answer: all in their first wording, then all in their second and third."""
    with as_file(files("lorag") / "corpus" / "questions.jsonl") as path:
        examples = [e for e in read_examples(path) if e.evidence and e.evidence[0] in documents()]
    worded = [replace(e, question=(e.question, *e.paraphrases)[i]) for i in range(3) for e in examples]
    if len(worded) < n:
        raise SystemExit(f"{n} questions are wanted, and there are {len(worded)}")
    return worded[:n]


def question_alone(example: Example) -> Prompt:
    """The question as arms without sources ask it."""
    return question_prompt(example.question, [], REFUSAL)


def with_passage(example: Example) -> Prompt:
    """The question with the beginning of the document that answers it."""
    text = documents()[example.evidence[0]].text[:PASSAGE_CHARACTERS]
    hit = Hit(Chunk(example.evidence[0], "1", 0, len(text), text), 1.0, "hybrid")
    return question_prompt(example.question, [hit], REFUSAL)


@cache
def documents() -> dict[str, Document]:
    """The bundled documents by name."""
    with as_file(files("lorag") / "corpus") as corpus:
        return {document.id: document for document in load_documents(corpus / "docs").documents}


def bandwidth() -> float:
    """Bytes a second that this machine reads from memory in float32 sums, on all cores."""
    import torch

    data = torch.ones(64 * 2**20)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        data.sum()
        times.append(time.perf_counter() - start)
    return data.numel() * 4 / min(times)


def verdict(
    options: argparse.Namespace, rounds: Sequence[dict[str, dict[str, float]]], said: dict[str, list[str]]
) -> int:
    """Prints the bound and the claim as JSON; 0 when all of it holds."""

    def median(candidate: str, figure: str) -> float:
        return float(statistics.median(found[candidate][figure] for found in rounds))

    def ratio(ours: str, theirs: str, figure: str) -> float:
        return round(float(statistics.median(found[ours][figure] / found[theirs][figure] for found in rounds)), 2)

    reference, same_numbers = said["lorag transformers"], said["lorag llama.cpp f32"]
    for engine in ANSWERING[2:]:
        print(f"{engine}: right answers more than the reference, in points: {points_gained(said[engine], reference)}")
    size = max(build.verified_ggufs().glob("*/model.gguf"), key=lambda path: path.parent.stat().st_mtime).stat().st_size
    bound = bandwidth() / size
    print(f"memory allows {bound:.0f} tokens/s at 16 bits; reached {median('lorag llama.cpp', 'tokens/s') / bound:.0%}")
    found = {
        "of llama.cpp": ratio("lorag llama.cpp", "llama.cpp", "tokens/s"),
        "of transformers generate": ratio("lorag llama.cpp", "transformers generate", "tokens/s"),
        "batches of generate": ratio("lorag transformers", "transformers generate", "batched answers/s"),
        "agreement": round(sum(a == b for a, b in zip(same_numbers, reference, strict=True)) / len(reference), 3),
    }
    holds = all(found[name] >= bar for name, bar in BAR.items())
    figures = ("tokens/s", "first token s", "prompt tokens/s", "batched answers/s", "peak GB")
    line = {
        "claim": f"answers of {options.model}: speed, and {len(reference)} questions with a passage the same",
        "ours": {figure: round(median("lorag llama.cpp", figure), 3) for figure in figures},
        "peer": {
            name: {f: round(median(name, f), 3) for f in figures} for name in CANDIDATES if name != "lorag llama.cpp"
        },
        "ratio": found,
        "bar": BAR,
        "holds": holds,
    }
    print(json.dumps(line))
    return 0 if holds else 1


def points_gained(said: Sequence[str], reference: Sequence[str]) -> str:
    """How many percentage points more of ``said`` are right, with its interval."""
    asked = questions(len(said))
    gained = [contains(text, e.answers) for text, e in zip(said, asked, strict=True)]
    known = [contains(text, e.answers) for text, e in zip(reference, asked, strict=True)]
    found = paired_difference(gained, known, [e.evidence[0] for e in asked])
    return f"{100 * found.mean:+.1f} ({100 * found.interval.low:+.1f} to {100 * found.interval.high:+.1f})"


if __name__ == "__main__":
    sys.exit(main())
