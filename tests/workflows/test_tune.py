"""Tuning finds what is there to be found, on indexes of the words of a small invented world."""

import json
import random
import re

import pytest

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt
from lorag.errors import InputError
from lorag.evaluation.search.best_settings import Way
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.settings import REFUSAL
from lorag.workflows.tune import IN_CONTEXT, OF_DOCUMENTS, tune


class Knowing(HashEmbedder):
    """Counts what it embeds, and knows that whoever asks for ``ask1`` means ``key1``; words alone lead astray."""

    def __init__(self):
        super().__init__(2048)
        self.passages = 0

    def embed(self, texts, kind):
        self.passages += len(texts) if kind == "passage" else 0
        return super().embed([text.replace("ask", "key") if kind == "query" else text for text in texts], kind)


class Oracle:
    """Knows which passage a question wants."""

    def __init__(self, name):
        self.name = name

    def score(self, query, passages):
        wanted = query.split()[-1].rstrip("?").replace("ask", "key")
        return [float(wanted in passage.split()) for passage in passages]


@pytest.fixture
def world(tmp_path, monkeypatch):
    embedder = Knowing()
    monkeypatch.setattr(build, "embedder", lambda name, progress: embedder)
    monkeypatch.setattr(build, "reranker", lambda name, progress: Oracle(name))
    rng = random.Random(0)
    filler = [f"word{i}" for i in range(400)]
    (tmp_path / "docs").mkdir()
    rows = []
    for d in range(24):
        words = [rng.choice(filler) for _ in range(60)]
        for q in range(2):
            words += [f"key{d}x{q}", "is", f"value{d}x{q}.", *(rng.choice(filler) for _ in range(40))]
            words += [f"ask{(d + 7) % 24}x{q}", *(rng.choice(filler) for _ in range(40))]
            row = {"question": f"What is ask{d}x{q}?", "answers": [f"value{d}x{q}"], "doc_ids": [f"d{d}.txt"]}
            rows.append({"id": f"{d}-{q}", **row})
        (tmp_path / "docs" / f"d{d}.txt").write_text(" ".join(words))
    rows.append({"id": "none", "question": "What is nothing?", "answers": [], "doc_ids": []})
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path, embedder


def test_a_weight_that_finds_more_is_chosen_and_its_gain_is_told(world):
    folder, _ = world
    found = tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False, context_tokens=150)
    assert found.measure == IN_CONTEXT
    assert (found.questions, found.unfit) == (48, ("none",))
    assert found.choice.way.dense_weight > 0.5
    assert found.choice.gain.interval.low > 0
    assert (found.rerank_gain, found.reranker) == (None, None)
    assert len(found.tried) == 15
    by_way = {tried.way: tried.scores for tried in found.tried}
    assert by_way[Way(128, 1.0)][IN_CONTEXT].mean > by_way[Way(128, 0.0)][IN_CONTEXT].mean + 0.3
    assert by_way[Way(128, 1.0)][OF_DOCUMENTS].mean > 0.9
    kept = json.loads((folder / "out" / "result.json").read_text())
    assert kept["choice"]["way"] == {
        "max_tokens": found.chunks.max_tokens,
        "dense_weight": found.choice.way.dense_weight,
    }


def test_passages_are_embedded_once_for_each_size(world):
    folder, embedder = world
    tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False)
    embedded = embedder.passages
    assert embedded > 48
    tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False)
    assert embedder.passages == embedded


def test_reranking_is_tried_on_what_was_chosen(world):
    folder, _ = world
    found = tune(folder / "docs", folder / "qa.jsonl", folder / "out", reranker="owner/oracle", context_tokens=130)
    assert [tried.way for tried in found.tried if tried.reranked] == [found.choice.way]
    reread = found.tried[-1].scores[IN_CONTEXT].mean
    plain = next(tried for tried in found.tried if tried.way == found.choice.way).scores[IN_CONTEXT].mean
    assert found.rerank_gain is not None
    assert found.rerank_gain.mean == pytest.approx(reread - plain)
    assert found.rerank_gain.interval.low > 0
    assert found.reranker == "owner/oracle"


def reading(first_only):
    """A model that finds the value of a key in its sources, or only where the question stands above them."""

    def reply(prompt):
        asked = prompt[-1].content
        key = re.search(r"What is ask(\w+)\?", asked)
        found = re.search(rf"key{key[1]} is (value\w+)", asked) if key else None
        return found[1] if found and (asked.startswith("Question:") or not first_only) else REFUSAL

    return ScriptedModel(reply, name="hosted")


def test_with_a_model_the_prompt_is_chosen_on_one_half_and_measured_on_the_other(world, endpoint):
    folder, _ = world
    server = endpoint(reading(first_only=True))
    found = tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False, model=server.name).prompt
    assert found is not None
    assert found.gain is not None
    assert found.best.settings.question_first
    assert found.kept == found.best
    assert found.kept.model == server.name
    assert found.gain.interval.low > 0
    assert set(found.rooms) == {250, 400, 800, 1200}
    assert found.rooms[800].right == max(room.right for room in found.rooms.values())
    assert (found.measured_on, found.choice.tried[0].questions) == (23, 26 - 3)  # three are shown
    asked = len(server.requests)
    again = tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False, model=server.name).prompt
    assert again is not None
    assert (again.choice, again.best, again.gain) == (found.choice, found.best, found.gain)
    assert len(server.requests) - asked < asked  # the trials of prompts are kept, the rest is asked again


def test_a_prompt_that_is_no_better_leaves_the_default(world, endpoint):
    folder, _ = world
    server = endpoint(ScriptedModel(lambda prompt: "no idea", name="hosted"))
    found = tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False, model=server.name).prompt
    assert found is not None
    assert found.gain is not None
    assert found.gain.mean == 0  # of own examples, which are measured where the trial does not speak against them
    assert found.kept == KeptPrompt(model=server.name)


def test_where_answers_stand_nowhere_documents_decide(world):
    folder, _ = world
    rows = [json.loads(line) for line in (folder / "qa.jsonl").read_text().splitlines()]
    long = [row | {"answers": ["It is the one that was meant."]} if row["answers"] else row for row in rows]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    found = tune(folder / "docs", folder / "qa.jsonl", folder / "out", rerank=False)
    assert found.measure == OF_DOCUMENTS
    assert found.choice.way.dense_weight > 0.5


def test_too_few_questions_are_refused_before_anything_is_embedded(world):
    folder, embedder = world
    lines = (folder / "qa.jsonl").read_text().splitlines()
    (folder / "few.jsonl").write_text("\n".join([*lines[:15], lines[-1]]))
    with pytest.raises(InputError, match=r"few.jsonl' holds 15 questions .* expected at least 16"):
        tune(folder / "docs", folder / "few.jsonl", folder / "out")
    assert embedder.passages == 0
