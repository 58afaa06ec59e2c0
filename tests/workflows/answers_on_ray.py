"""Asks models in this process and on a Ray cluster, and compares both ways, as ``test_on_ray.py`` starts it.

Its arguments: the address of the cluster, the processes that started its machines, a model, an adapter of it, the model
with all of its weights trained, a folder of documents and questions, and a folder for both runs and ``found.json``.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from lorag import build
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import ChatSettings, CompareSettings, FinetuneSettings
from lorag.training.adapter import read_adapter
from lorag.types import LinearProbe, Message, Sampling
from lorag.workflows.compare import compare
from lorag.workflows.finetuning.strength import weaker
from lorag.workflows.on_ray.answering import workers

BRIEF, LONGER = Sampling(max_tokens=8), Sampling(max_tokens=300)
SETTINGS = CompareSettings(prompt_questions=0, chat=ChatSettings(sampling=BRIEF))
QUESTIONS = ("Who founded Korrin?", "What does Korrin make?", "Where is Halifax?", "Who are you?", "Why?")
PROMPTS = [(Message("user", question),) for question in QUESTIONS]


def texts(generate, sampling=BRIEF):
    return [done.text for done in generate(PROMPTS, sampling)]


def never(*_):
    raise AssertionError("the process that compares answers itself")


def processes(cluster):
    """Those of a cluster that hold a model."""
    every = [each for started in cluster.split(",") for each in psutil.Process(int(started)).children(recursive=True)]
    return [each for each in every if each.name().startswith("ray::_Worker")]


address, cluster, model, adapter, whole, case, out = sys.argv[1:]
paths = (Path(case) / "docs", Path(case) / "qa.jsonl")
base = build.trainable_model(model, FinetuneSettings())
refusing = LinearProbe(base.name, 2, (0.0,) * 64, -1.0, 24, 0.1, 0.5, 0, 0.0)  # everything
models = {
    "base": base,
    "adapter": base.with_adapter(Path(adapter)),
    "whole": build.finetuned_model(base, read_adapter(Path(whole))),
}
models["probed"] = base.probing(refusing)
here = {name: texts(each.generate) for name, each in models.items()}
compare(*paths, model=model, adapter=adapter, out=Path(out) / "here", settings=SETTINGS)
expected = texts(base.generate, LONGER)
with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as other, workers(address) as on_cluster:
    generating = {name: on_cluster.generating(each) for name, each in models.items()}
    with weaker(base, read_adapter(Path(adapter)), 0.5) as half:
        here["half"], generating["half"] = texts(half.generate), on_cluster.generating(half)
    patch.setattr(TransformersModel, "generate", never)
    there = {name: texts(generate) for name, generate in generating.items()}
    running, waiting = processes(cluster), other.submit(texts, generating["base"], LONGER)
    time.sleep(0.1)
    running[0].kill()
    killed, again = not waiting.done(), waiting.result() == expected
    counted = [on_cluster.count, len(running)]
    patch.setattr("lorag.workflows.compare.workers", lambda address: nullcontext(on_cluster))  # they have started
    compare(*paths, model=model, adapter=adapter, out=Path(out) / "there", settings=SETTINGS, ray=address)
found = {"here": here, "there": there, "workers": counted, "was killed": killed, "again": again}
(Path(out) / "found.json").write_text(json.dumps(found))
