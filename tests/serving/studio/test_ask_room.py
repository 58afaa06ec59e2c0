"""The models behind the columns of a question: what they share, and when one is freed."""

import gc
import json
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from listening import listening, wait_for
from lorag import build
from lorag.chat.kept_prompt import KeptPrompt
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.routes import Service, answer_failures
from lorag.serving.studio.assistants import COLUMNS, Assistants
from lorag.serving.studio.studio_app import add_page, studio_application
from lorag.serving.studio.workplace import Workplace
from lorag.settings import ChunkSettings, RetrievalSettings, ServeSettings
from lorag.types import Document, LinearProbe
from studio_place import Page, SlowEmbedder, write_adapter


def asked(page, column, adapter=""):
    body = {"model": column, "messages": [{"role": "user", "content": "How long?"}]}
    return page.post(f"/studio/ask/{column}?adapter={adapter}", json=body).status_code


@pytest.fixture
def place(tmp_path):
    for name in ("one", "two"):
        write_adapter(tmp_path / ".lorag" / "adapters" / name)
    return Workplace.of(tmp_path, "documents")


def test_a_model_is_freed_when_another_adapter_is_asked(place):
    opened = {}

    def model_of(name, adapter):
        model = ScriptedModel(lambda prompt: "yes", adapter.name)
        opened[adapter.name] = weakref.ref(model)
        return model

    application = studio_application(place, Assistants(place.workspace, model_of=model_of))
    with TestClient(application, base_url="http://127.0.0.1") as page:
        for name in ("one", "two"):
            assert asked(page, "finetuned", f".lorag/adapters/{name}") == 200
        gc.collect()
        assert opened["one"]() is None
        assert opened["two"]() is not None


def test_an_unknown_column_is_refused_and_counted_nowhere(place):
    application = studio_application(place, Assistants(place.workspace))
    with TestClient(application, base_url="http://127.0.0.1") as page:
        assert asked(page, "x123") == 404
        assert "x123" not in page.get("/metrics").text


def test_a_model_is_loaded_in_the_turn_of_those_who_ask_for_it(place):
    loaded = threading.Event()

    def model_of(name, adapter):
        assert loaded.wait(30)
        return ScriptedModel(lambda prompt: "yes")

    settings = ServeSettings(max_answers=2, max_waiting=1, max_seconds=1)
    application = FastAPI()
    answer_failures(application)
    add_page(application, place, Assistants(place.workspace, model_of=model_of), Service({}, settings=settings))
    with listening(application) as port, ThreadPoolExecutor() as pool:
        page = Page(port, place, SlowEmbedder())
        body = {"model": "base", "messages": [{"role": "user", "content": "How long?"}]}
        asking = [pool.submit(page.send, "POST", "ask/base", body) for _ in range(4)]
        wait_for(lambda: all(each.done() for each in asking))
        assert sorted(each.result()[0] for each in asking) == [429, 504, 504, 504]
        loaded.set()
        wait_for(lambda: page.send("POST", "ask/base", body)[0] == 200)


def test_tokenizers_of_two_columns_are_used_one_at_a_time(place):
    together = []
    using = []

    class Watched(ScriptedModel):
        def room(self, prompt, sampling):
            using.append(self)
            time.sleep(0.2)
            together.append(len(using))
            using.pop()

    assistants = Assistants(place.workspace, model_of=lambda *_: Watched(lambda prompt: "yes"))
    with (
        TestClient(studio_application(place, assistants), base_url="http://127.0.0.1") as page,
        ThreadPoolExecutor() as pool,
    ):
        columns = [pool.submit(asked, page, column, ".lorag/adapters/one") for column in ("base", "finetuned")]
        assert [column.result() for column in columns] == [200, 200]
    assert len(together) >= 2
    assert set(together) == {1}


def model_of(bot):
    """The model of a chatbot, on transformers."""
    assert isinstance(bot.model, TransformersModel)
    return bot.model


def test_an_adapter_of_a_base_that_the_server_keeps_shares_its_weights(adapter, tiny_folder, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / ".lorag" / "adapters" / "further")
    assistants = Assistants(Workplace.of(tmp_path, "documents").workspace, str(tiny_folder))
    base = build.language_model(str(tiny_folder))
    assert isinstance(base, TransformersModel)
    assistants.share(base, None)
    model = model_of(assistants.bot("finetuned", folder))
    assert model.weights is base.weights
    assert model.adapter is not None


def test_columns_with_sources_refuse_by_the_probe_of_their_comparison_and_the_base_does_not(
    adapter, tiny_folder, tmp_path
):
    run = tmp_path / ".lorag" / "runs" / "one"
    folder = shutil.copytree(adapter, run / "adapter")
    base = build.language_model(str(tiny_folder))
    assert isinstance(base, TransformersModel)
    tuned = build.language_model(str(tiny_folder), folder)
    for column, name in (("retrieval", base.name), ("both", tuned.name)):
        probe = LinearProbe(name, 2, (0.0,) * 64, -1.0, 24, 0.1, 0.5, 0, 0.0)  # which refuses everything
        (run / "prompts").mkdir(exist_ok=True)
        (run / "prompts" / f"{column}.json").write_text(json.dumps(KeptPrompt(probe=probe).to_json()))
    workspace = Workplace.of(tmp_path, "documents").workspace
    index = Knowledge.open(workspace.index, HashEmbedder(), ChunkSettings(), RetrievalSettings())
    index.sync([Document("a.md", "The quay is 5 km away.", "a.md")])
    assistants = Assistants(workspace, str(tiny_folder), index_of=lambda: index)
    assistants.share(base.probing(probe := replace(probe, model=base.name)), None)
    bots = {column: assistants.bot(column, folder) for column in COLUMNS}
    assert model_of(bots["retrieval"]).probe == probe
    refused = {column for column, bot in bots.items() if bot.ask("How far is the quay?").refused}
    assert refused == {"retrieval", "both"}


def test_base_and_adapters_share_one_copy_of_the_weights_until_another_comparison_is_asked(
    adapter, tiny_folder, tmp_path
):
    for run, name, alpha in (("one", "adapter", 8), ("one", "adapter-both", 4), ("two", "adapter", 2)):
        folder = shutil.copytree(adapter, tmp_path / ".lorag" / "runs" / run / name)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": alpha}))
    workspace = Workplace.of(tmp_path, "documents").workspace
    index = Knowledge.open(workspace.index, HashEmbedder(), ChunkSettings(), RetrievalSettings())
    assistants = Assistants(workspace, str(tiny_folder), engine="transformers", index_of=lambda: index)
    first = workspace.runs / "one" / "adapter"
    models = [model_of(assistants.bot(column, first)) for column in ("base", "finetuned", "both")]
    weights = weakref.ref(models[0].weights)
    assert all(model.weights is weights() for model in models)
    assert len({model.adapter for model in models}) == 3
    del models
    second = model_of(assistants.bot("finetuned", workspace.runs / "two" / "adapter"))
    gc.collect()
    assert weights() is None
    assert model_of(assistants.bot("base", workspace.runs / "two" / "adapter")).weights is second.weights
