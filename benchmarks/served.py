"""A finetune behind llama.cpp's own server gets the answers and the verdict of the same weights run here.

smollm2-135m is finetuned on the bundled conversations, all weights for one pass. Base and finetune are exported to
GGUF files in float32 and served, each from a port of this machine. Then the bundled questions are compared twice,
greedily and in float32: with the weights here, and with both servers. It claims that every row has the same answer, and
that the verdicts are the same. The last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from lorag import build
from lorag.errors import require
from lorag.llm.engines.llamacpp import signals_kept
from lorag.models.gguf_writing import write_gguf
from lorag.settings import (
    ChatSettings,
    ChunkSettings,
    CompareSettings,
    FinetuneSettings,
    RemoteSettings,
    RetrievalSettings,
)
from lorag.types import Sampling
from lorag.workflows.compare import compare
from lorag.workflows.export import export
from lorag.workflows.finetune import finetune

MODEL = "smollm2-135m"


@contextmanager
def served(file: Path, name: str, adapter: Path | None = None, threads: int | None = None) -> Iterator[str]:
    """The address of ``file`` behind llama.cpp's server, which computes in float32 throughout.

    ``adapter`` is one of LoRA in llama.cpp's format; without ``threads`` all cores compute.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    xllamacpp = require("xllamacpp", "fast", "this benchmark")
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.model_alias = str(file), {name}
    parameters.hostnames, parameters.port = ["127.0.0.1"], port
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers, parameters.verbosity = 4096, 1, 0, -1
    parameters.fit_params = parameters.warmup = False
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if threads is not None:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        parameters.lora_adapters = [lora]
    with signals_kept():
        server = xllamacpp.Server(parameters)
        yield f"openai:{name}@{server.listening_address}/v1"
        del server


def questions(corpus: Path) -> Iterator[str]:
    """The lines of those questions whose documents are there before the update."""
    for line in (corpus / "questions.jsonl").read_text().splitlines(keepends=True):
        if all((corpus / "docs" / name).is_file() for name in json.loads(line)["doc_ids"]):
            yield line


def main() -> int:
    """Prints the rows that differ and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    os.environ["LORAG_NUMBER_FORMAT"] = "float32"
    corpus = Path(str(files("lorag") / "corpus"))
    settings = CompareSettings(
        limit=options.questions,
        prompt_questions=0,
        chunks=ChunkSettings(max_tokens=128),
        retrieval=RetrievalSettings(k=5),  # all fit, by the estimate for servers as well
        chat=ChatSettings(context_tokens=1000, sampling=Sampling(max_tokens=40)),
        remote=RemoteSettings(concurrency=1),
    )
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        (folder / "qa.jsonl").write_text("".join(questions(corpus)))
        training = FinetuneSettings(method="full", epochs=options.epochs, measure_forgetting=False)
        finetune(corpus / "train.jsonl", folder / "adapter", model=MODEL, settings=training)
        base = build.trainable_model(MODEL, training).weights
        write_gguf(base.model, base.tokenizer, folder / "base.gguf", "f32", MODEL)
        export(folder / "adapter", folder / "finetuned", form="gguf", precision="f32")
        asked: dict[str, Any] = {"documents": corpus / "docs", "questions": folder / "qa.jsonl", "settings": settings}
        start = time.perf_counter()
        here = compare(**asked, model=MODEL, adapter=folder / "adapter", out=folder / "here")
        middle = time.perf_counter()
        file = next((folder / "finetuned").glob("*.gguf"))
        with served(folder / "base.gguf", "base") as base_url, served(file, "support") as finetuned_url:
            there = compare(**asked, model=base_url, finetuned=finetuned_url, out=folder / "there")
        minutes = {"here": (middle - start) / 60, "served": (time.perf_counter() - middle) / 60}
    texts = [{(row.arm, row.example_id): row.answer.text for row in result.rows} for result in (here, there)]
    differing = [key for key in texts[0] if texts[0][key] != texts[1].get(key)]
    for arm, example in differing:
        print(f"{arm}, {example}: {texts[0][arm, example]!r} here, {texts[1].get((arm, example))!r} served")
    verdicts = [result.verdict.sentence for result in (here, there)]
    print(*(f"{name}: {value:.1f} minutes" for name, value in minutes.items()), sep="\n")
    print(*dict.fromkeys(verdicts), sep="\n")
    holds = not differing and len(texts[0]) == len(texts[1]) and verdicts[0] == verdicts[1]
    print(json.dumps({"rows": len(texts[0]), "differing": len(differing), "verdicts": verdicts, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
