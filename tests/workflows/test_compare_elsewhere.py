"""Finetunes made elsewhere, arms of one's own, all documents in one prompt; servers that fail, and what they cost."""

import json
import re
import threading
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from harbour import CountingHashes
from listening import listening
from lorag.chat.bot import ChatBot
from lorag.cli.commands import app
from lorag.cli.compare_command import assistant_command
from lorag.errors import BudgetError, EndpointError, InputError, ModelError
from lorag.evaluation.comparison import EVIDENCE, FINETUNED_EVIDENCE
from lorag.evaluation.marks.marking import add_mark, answers_to_mark, marks_path
from lorag.evaluation.report.json_record import read_result
from lorag.evaluation.row_log import Row
from lorag.files import LineLog
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import load
from lorag.serving.routes import Service, application, by_name
from lorag.settings import ChatSettings, CompareSettings, RemoteSettings
from lorag.types import Answer, Sampling
from lorag.workflows.compare import compare

SIX = ("base", "finetuned", "retrieval", "both", EVIDENCE, FINETUNED_EVIDENCE)
BRIEF = CompareSettings(
    prompt_questions=0, chat=ChatSettings(sampling=Sampling(max_tokens=8)), remote=RemoteSettings(retries=0)
)


def rows_of(run):
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def answers_of(run):
    return {(row["moment"], row["arm"], row["example_id"]): row["answer"] for row in rows_of(run)}


def reader(prompt):
    """Reads the office's city from a source; knows nothing else."""
    found = re.search(r"office is in (\w+)", prompt[-1].content)
    return found[1] if found else "I do not know."


def taught(prompt):
    """Was taught the office's city of before the update, and looks at nothing, not even at its instruction."""
    return "Halifax"


@pytest.fixture
def paths(case):
    return {"documents": case.folder / "docs", "questions": case.folder / "qa.jsonl"}


def test_a_served_finetune_gives_the_rows_and_the_verdict_of_the_same_weights_at_home(
    paths, peft_folder, tiny_folder, endpoint, bge_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    home = compare(**paths, model=str(tiny_folder), adapter=peft_folder, out=tmp_path / "home", settings=BRIEF)
    base, adapted = load(tiny_folder, "m", "float32"), load(tiny_folder, "m", "float32").with_adapter(peft_folder)
    base, finetuned = endpoint(base), endpoint(adapted)
    far = compare(**paths, model=base.name, finetuned=finetuned.name, out=tmp_path / "far", settings=BRIEF)
    ours, theirs = answers_of(tmp_path / "home"), answers_of(tmp_path / "far")
    assert Counter(arm for _, arm, _ in ours) == dict.fromkeys(SIX, 3)
    same = ("text", "prompt", "sources", "refused", "truncated", "error")
    assert {key: [answer[name] for name in same] for key, answer in ours.items()} == {
        key: [answer[name] for name in same] for key, answer in theirs.items()
    }
    texts = {arm: [ours["before", arm, name]["text"] for name in ("harbour", "price")] for arm in ("base", "finetuned")}
    assert texts["base"] != texts["finetuned"]
    assert (home.verdict.choice, home.verdict.sentence) == (far.verdict.choice, far.verdict.sentence)
    assert [(arm.arm, arm.estimates) for arm in home.arms] == [(arm.arm, arm.estimates) for arm in far.arms]
    assert "lora, rank 4, on k_proj, o_proj, q_proj" in home.facts["finetuning"]
    for result in (home, far):
        assert any("made elsewhere" in note for note in result.notes)
    assert not (tmp_path / "home" / "adapter").exists()


def test_a_comparison_searches_by_a_served_embedder_and_rereads_by_the_reranker_that_is_named(
    paths, endpoint, local_hub, reranker_folder, tmp_path
):
    local_hub.publish("owner/reranker", reranker_folder)
    chat, embedder, out = endpoint(ScriptedModel(reader, name="m")), CountingHashes(), tmp_path / "run"
    service = Service(by_name(ChatBot(ScriptedModel(reader))), embedder=embedder)
    with listening(application(service)) as port:
        given = {**paths, "model": chat.name, "out": out}
        searching = ["--embedder", f"openai:{embedder.name}@http://127.0.0.1:{port}/v1", "--reranker", "owner/reranker"]
        command = ["compare", *(f"--{key}={value}" for key, value in given.items()), *searching]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        local_hub.publish("owner/reranker", reranker_folder)
        again = CliRunner().invoke(app, command)
    assert embedder.passages
    sources = [hit for row in rows_of(out) if row["arm"] == "retrieval" for hit in row["answer"]["sources"]]
    assert {hit["via"] for hit in sources} == {"reranked"}
    assert set(searching) <= set(assistant_command("retrieval", out))
    assert (again.exit_code, "other settings" in again.stderr) == (2, True)  # another commit is another reranker


def test_an_adapter_of_finetune_knows_its_base_and_stands_beside_a_long_context(
    paths, tiny_folder, tiny_adapter, bge_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    settings = replace(BRIEF, limit=1, long_context=True)
    result = compare(**paths, adapter=tiny_adapter, out=tmp_path / "run", settings=settings)
    assert str(tiny_folder) in result.facts["model"]  # its manifest knows the base
    assert "trained by `lorag finetune` (lora)" in result.facts["finetuning"]
    assert [arm.arm for arm in result.arms] == [*SIX[:4], "long context", *SIX[4:]]
    answer = next(row.answer for row in result.rows if row.arm == "long context")
    assert {hit.chunk.document_id for hit in answer.sources} == {"harbour.md", "warranty.md"}
    assert "evidence_in_prompt" not in result.at("before")["long context"].estimates  # everything is, always


def test_arms_of_ones_own_and_a_long_context_join_a_run_and_nothing_is_asked_twice(
    case, paths, endpoint, bge_folder, tmp_path
):
    base, finetuned = (endpoint(ScriptedModel(reply, name=name)) for reply, name in ((reader, "m"), (taught, "m-ft")))
    given = {**paths, "update": case.folder / "docs_v2", "model": base.name, "finetuned": finetuned.name}
    first = compare(**given, out=tmp_path / "run", settings=BRIEF)
    assert {arm.arm for arm in first.at("after").values()} == set(SIX)
    texts = {key: answer["text"] for key, answer in answers_of(tmp_path / "run").items()}
    assert (texts["after", "finetuned", "price"], texts["after", "both", "harbour"]) == ("Halifax", "Halifax")
    assert first.at("after")["finetuned"].estimates["hallucination"].mean == 1  # it ignores what the prompt asks for
    asked, calls = len(base.requests), []

    def ours(questions):
        calls.append(questions)
        return ["Bergen" if "office" in question else "I do not know." for question in questions]

    settings = replace(BRIEF, long_context=True, remote=replace(BRIEF.remote, context_tokens=400))
    both = compare(**given, arms={"ours": ours}, out=tmp_path / "run", settings=settings)
    assert len(calls) == 1  # after the update, where it decides
    assert {*both.at("after")} == {*SIX, "ours", "long context"}
    assert "ours" not in both.at("before")
    assert both.at("after")["ours"].estimates["uptake"].mean == 1
    assert (both.at("after")["ours"].prompt_tokens, both.at("after")["base"].prompt_tokens is None) == (None, False)
    rows = answers_of(tmp_path / "run")
    assert rows["after", "ours", "price"]["refused"] is True
    for phase, city in (("before", "Halifax"), ("after", "Bergen")):
        answer = rows[phase, "long context", "warranty"]
        assert {source["chunk"]["document_id"] for source in answer["sources"]} == {"harbour.md", "warranty.md"}
        assert f"office is in {city}" in answer["prompt"][-1]["content"]
    assert len(base.requests) <= asked + 6
    requests = Counter(json.dumps(request["messages"]) for request in (*base.requests, *finetuned.requests))
    assert max(requests.values()) <= 2  # once of each model
    again = compare(**given, arms={"ours": ours}, out=tmp_path / "run", settings=settings)
    assert (again.verdict, len(calls)) == (both.verdict, 1)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "ours" in page
    assert "long context" in page


def test_documents_that_do_not_fit_are_not_asked_about_in_one_prompt_and_the_reason_is_given(
    paths, endpoint, bge_folder, tmp_path
):
    server = endpoint(ScriptedModel(reader, name="m"))
    for context, reason in ((None, "context of openai:m@.* is not known"), (60, "exceed the context of openai:m@")):
        settings = replace(BRIEF, long_context=True, remote=RemoteSettings(retries=0, context_tokens=context))
        result = compare(**paths, model=server.name, out=tmp_path / str(context), settings=settings)
        assert "long context" not in result.at("before")
        assert any(re.search(f"long context was left out: .*{reason}", note) for note in result.notes)


def test_a_budget_of_tokens_stops_with_everything_kept_and_more_of_it_resumes(paths, endpoint, bge_folder, tmp_path):
    server = endpoint(ScriptedModel(reader, name="m"))
    tight = replace(BRIEF, remote=RemoteSettings(retries=0, concurrency=1, max_cost_tokens=150))
    for _ in range(2):
        with pytest.raises(BudgetError, match=r"of 150 tokens are spent, .*--max-cost-tokens to resume"):
            compare(**paths, model=server.name, out=tmp_path / "run", settings=tight)
    kept = [json.loads(line) for line in (tmp_path / "run" / "asked.jsonl").read_text().splitlines()]
    spent = sum(row["completion"]["prompt_tokens"] + row["completion"]["completion_tokens"] for row in kept)
    assert 0 < spent <= 150
    assert len(kept) == len(server.requests)
    wide = replace(tight, remote=replace(tight.remote, max_cost_tokens=5000))
    compare(**paths, model=server.name, out=tmp_path / "run", settings=wide)
    assert len({json.dumps(request["messages"]) for request in server.requests}) == len(server.requests)


def test_a_server_that_stops_in_mid_run_ends_it_in_one_line_and_it_resumes(paths, endpoint, bge_folder, tmp_path):
    lock, left = threading.Lock(), [4]

    def before(handler, asked):
        with lock:
            left[0] -= 1
            if left[0] < 0:
                handler.close_connection = True
                return True
        return None

    server = endpoint(ScriptedModel(reader, name="m"), before)
    with pytest.raises(EndpointError) as caught:
        compare(**paths, model=server.name, out=tmp_path / "run", settings=BRIEF)
    assert "\n" not in str(caught.value)
    assert "start the server" in str(caught.value)
    left[0] = 1000
    answered = len(rows_of(tmp_path / "run")), (tmp_path / "run" / "asked.jsonl").read_text().count("\n")
    assert answered[1] == 4
    before_resumption = len(server.requests)
    result = compare(**paths, model=server.name, out=tmp_path / "run", settings=BRIEF)
    assert result.at("before")["retrieval"].questions == 3
    unique = {json.dumps(request["messages"]) for request in server.requests}
    assert len(server.requests) - before_resumption == len(unique) - 4


def test_a_server_with_another_model_or_none_is_refused_before_the_other_one_is_asked(
    paths, endpoint, bge_folder, tmp_path
):
    server = endpoint(ScriptedModel(reader, name="m"))
    down = "openai:m-ft@http://127.0.0.1:9/v1"
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1 cannot be reached"):
        compare(**paths, model=server.name, finetuned=down, out=tmp_path / "a", settings=BRIEF)
    assert server.requests == []
    other = server.name.replace("openai:m@", "openai:m-ft@")
    with pytest.raises(EndpointError, match="was asked for 'm-ft' but answered as 'm'"):
        compare(**paths, model=server.name, finetuned=other, out=tmp_path / "b", settings=BRIEF)


def test_a_finetune_that_answers_as_its_base_is_reported(paths, endpoint, bge_folder, tmp_path):
    base, finetuned = (endpoint(ScriptedModel(reader, name=name)) for name in ("m", "m-ft"))
    result = compare(**paths, model=base.name, finetuned=finetuned.name, out=tmp_path / "run", settings=BRIEF)
    assert any("answered every question as the base did" in note for note in result.notes)


def test_a_judge_is_asked_once_beside_the_rule_and_one_that_talks_nonsense_changes_nothing(
    paths, smollm_folder, endpoint, bge_folder, tmp_path, monkeypatch
):
    def wordy(prompt):
        return f"{reader(prompt)}. The office has nine floors."

    served = endpoint(ScriptedModel(wordy, name="m"))
    given = {**paths, "model": served.name, "out": tmp_path / "run", "settings": BRIEF}
    by_rule, asked, told = compare(**given), len(served.requests), []

    def progress(stage, done, total, note=""):
        if stage.startswith("judging"):
            told.append((done, total, note))

    judged = compare(**given, judge="smollm2-135m", progress=progress)
    count = told[0][1]
    assert told[0] == (0, count, told[0][2])
    assert told[0][2].startswith(f"{count} claims, about ")
    assert told[-1][:2] == (count, count)
    assert judged.facts["judge"] == f"smollm2-135m, asked about {count} claims"
    assert judged.support != by_rule.support
    assert [[c.claim for c in row] for row in judged.support] == [[c.claim for c in row] for row in by_rule.support]
    monkeypatch.setattr("lorag.build.language_model", lambda *_, **__: pytest.fail("the judge was loaded again"))
    assert compare(**given, judge="smollm2-135m").support == judged.support
    babbler = endpoint(ScriptedModel(lambda prompt: "banana", name="b"))
    unheard = compare(**given, judge=babbler.name)
    assert len(babbler.requests) == count
    assert unheard.support == by_rule.support
    assert any(f"gave no judgement of {count} of {count} claims" in reason.text for reason in unheard.verdict.reasons)
    strict = endpoint(ScriptedModel(lambda prompt: "No.", name="s"))
    refused = compare(**given, judge=strict.name).at("before")["retrieval"].estimates["unsupported"]
    assert refused.mean >= by_rule.at("before")["retrieval"].estimates["unsupported"].mean
    assert len(served.requests) == asked  # only judges were asked
    with pytest.raises(InputError, match="did you mean"):
        compare(**given | {"out": tmp_path / "other"}, judge="smollm2-135n")
    with pytest.raises(EndpointError, match="cannot be reached"):
        compare(**given | {"out": tmp_path / "other"}, judge=REMOTE)
    assert not (tmp_path / "other").exists()


def write_adapter(folder, shapes, base="org/other-7b"):
    """An adapter of LoRA with factors of these shapes."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": base})
    )
    names = {f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{side}.weight": s for n, side, s in shapes}
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            [(0, "A", (4, 4096)), (0, "B", (4096, 4))],
            "q_proj has 4096 inputs, and 'smollm2-135m' has one of 576 by 576",
        ),
        ([(0, "A", (4, 576)), (40, "A", (4, 576))], "layers.40.self_attn.q_proj has 576 inputs, .* has no such layer"),
    ],
)
def test_an_adapter_for_another_base_is_refused_before_weights_are_loaded(
    paths, smollm_folder, tmp_path, monkeypatch, shapes, message
):
    from lorag import build

    monkeypatch.setattr(build, "load", lambda *_, **__: pytest.fail("weights were loaded"))
    adapter = write_adapter(tmp_path / "adapter", shapes)
    with pytest.raises(ModelError, match=f"was made for another base: its .*{message}"):
        compare(**paths, model="smollm2-135m", adapter=adapter, out=tmp_path / "run", settings=BRIEF)
    assert not (tmp_path / "run").exists()


REMOTE = "openai:m@http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"finetuned": REMOTE}, "has to be served as well"),
        ({"finetuned": REMOTE, "model": REMOTE}, "under another name"),
        ({"finetuned": "adapters/x", "model": REMOTE}, "expected openai:MODEL@URL"),
        ({"finetuned": REMOTE, "adapter": "PEFT", "model": REMOTE}, "one finetune is compared"),
        ({"adapter": "PEFT", "model": REMOTE}, "let its server load it, and name it with --finetuned"),
        ({"adapter": "PEFT"}, "name its base with --model \\(the adapter names 'org/other-7b'\\)"),
        ({"adapter": "EMPTY", "model": "smollm2-135m"}, "holds no adapter: adapter_config.json is missing"),
        ({"adapter": "PEFT", "model": "smollm2-135m", "train": "QUESTIONS"}, "leave out the training data"),
        ({"adapter": "PEFT", "model": "smollm2-135m", "settings": CompareSettings(seeds=2)}, "the further seeds"),
        (
            {"settings": CompareSettings(remote=RemoteSettings(max_cost_tokens=9))},
            "max_cost_tokens limits the tokens on servers",
        ),
        ({"arms": {"both": str.upper}}, "'both' cannot be the name of an arm"),
        ({"arms": {"undecided": str.upper}}, "'undecided' cannot be the name of an arm"),
        ({"arms": {"a\nb": str.upper}}, "cannot be the name of an arm"),
        ({"arms": {"ours": "a name"}}, "the arm 'ours' is str; expected a function"),
        ({"metrics": {"correct": str.count}}, "'correct' cannot be the name of a metric"),
        ({"metrics": {"words": len}}, "'words', given a reference to question 'harbour', failed with TypeError"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_model_is_loaded(paths, tmp_path, monkeypatch, given, message):
    from lorag.models import catalogue

    monkeypatch.setattr(catalogue, "available_model", lambda *_: pytest.fail("a model was fetched"))
    folders = {
        "PEFT": write_adapter(tmp_path / "peft", [(0, "A", (4, 576))]),
        "EMPTY": tmp_path,
        "QUESTIONS": paths["questions"],
    }
    with pytest.raises(InputError, match=message):
        compare(
            **paths,
            out=tmp_path / "run",
            **{key: folders.get(value, value) if isinstance(value, str) else value for key, value in given.items()},
        )
    assert not (tmp_path / "run").exists()


def test_an_arm_of_ones_own_that_answers_wrongly_is_refused_and_what_was_asked_is_kept(
    paths, endpoint, bge_folder, tmp_path
):
    server = endpoint(ScriptedModel(reader, name="m"))
    given = {**paths, "model": server.name, "out": tmp_path / "run", "settings": BRIEF}
    for function, message in (
        (lambda questions: ["one"], "arm 'ours' returned 1 answers to 3 questions"),
        (lambda questions: [None] * len(questions), "an answer of type NoneType"),
    ):
        with pytest.raises(InputError, match=message):
            compare(**given, arms={"ours": function})  # type: ignore[dict-item]
    asked = len(server.requests)
    result = compare(**given, arms={"ours": lambda questions: [Answer("28 months") for _ in questions]})
    assert (result.at("before")["ours"].questions, len(server.requests)) == (3, asked)


def test_metrics_of_ones_own_join_a_finished_run_whose_rows_are_read_once(
    paths, endpoint, bge_folder, tmp_path, monkeypatch
):
    server, run = endpoint(ScriptedModel(reader, name="m")), tmp_path / "run"
    given = {**paths, "model": server.name, "out": run, "settings": BRIEF}
    plain = compare(**given)
    asked, read, from_json = len(server.requests), [], Row.from_json

    def reading(value):
        read.append(value)
        return from_json(value)

    monkeypatch.setattr(Row, "from_json", reading)
    result = compare(**given, metrics={"words": lambda text, example: len(text.split())})
    assert (len(server.requests), len(read)) == (asked, len(rows_of(run)))
    assert (result.verdict, result.folder) == (plain.verdict, run)
    for name, arm in result.at("before").items():
        texts = [answer["text"] for (_, each, _), answer in answers_of(run).items() if each == name]
        assert arm.estimates["words"].mean == pytest.approx(sum(len(text.split()) for text in texts) / 3)
    shown = CliRunner().invoke(app, ["report", str(run), "--verbose"])
    assert "words" in shown.output
    assert "words" in (run / "report.html").read_text()
    with pytest.raises(InputError, match="'odd', given the answer of 'base' to question 'harbour', failed with Key"):
        compare(**given, metrics={"odd": lambda text, example: {"Halifax": 1}[text]})
    assert len(server.requests) == asked


def test_the_command_compares_what_is_served_and_ends_where_the_tokens_are_spent(
    paths, endpoint, bge_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    base, finetuned = (endpoint(ScriptedModel(reply, name=name)) for reply, name in ((reader, "m"), (taught, "m-ft")))
    named = [part for key, path in paths.items() for part in (f"--{key}", str(path))]
    command = ["compare", *named, "--model", base.name, "--finetuned", finetuned.name, "--concurrency", "1"]
    spent = CliRunner().invoke(app, [*command, "--out", "run", "--max-cost-tokens", "10"])
    assert (spent.exit_code, base.requests) == (1, [])
    assert "raise --max-cost-tokens to resume" in " ".join(spent.stderr.split())
    done = CliRunner().invoke(app, [*command, "--out", "run", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [arm["arm"] for arm in result["arms"]] == list(SIX)
    again = CliRunner().invoke(app, ["compare", "--config", "run/run.toml", "--out", "again", "--limit", "2", "--json"])
    assert again.exit_code == 0, again.output
    assert [len(each["questions"]) for each in (result, json.loads(again.stdout))] == [3, 2]
    first, second = (tomllib.loads(Path(run, "run.toml").read_text()) for run in ("run", "again"))
    assert second == {**first, "limit": 2}
    assert (first["model"], first["concurrency"]) == (base.name, 1)
    refused = CliRunner().invoke(app, [*command, "--out", "other", "--adapter", "x"])
    assert (refused.exit_code, "one finetune is compared" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "m"', "unknown option 'modle'; did you mean model"),
        ("limit = ", "broken TOML"),
        ('limit = "many"', "Invalid value for '--limit'"),
        ('config = "run.toml"', "unknown option 'config'"),
    ],
)
def test_a_file_of_options_with_a_mistake_is_refused(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    refused = CliRunner().invoke(app, ["compare", "--documents", "docs", "--config", str(tmp_path / "run.toml")])
    assert (refused.exit_code, message in " ".join(refused.stderr.split())) == (2, True), refused.stderr


def test_a_run_against_another_one_asks_only_the_arm_that_changed(paths, endpoint, bge_folder, tmp_path):
    base, finetuned, other = (
        endpoint(ScriptedModel(reply, name=name))
        for reply, name in ((reader, "m"), (taught, "m-ft"), (lambda _: "Bergen", "m-ft2"))
    )

    def asked(name, tuned, against=None, settings=BRIEF):
        """What each arm was asked, and how many requests each server got."""
        servers = (base, finetuned, other)
        before = [len(server.requests) for server in servers]
        given = {"model": base.name, "finetuned": tuned.name, "settings": settings, "against": against}
        compare(**paths, **given, out=tmp_path / name)
        prompts = {key: json.dumps(answer["prompt"]) for key, answer in answers_of(tmp_path / name).items()}
        return prompts, [len(server.requests) - count for server, count in zip(servers, before, strict=True)]

    first, counts = asked("first", finetuned)
    distinct = len({prompt for (_, arm, _), prompt in first.items() if arm in ("base", "retrieval", EVIDENCE)})
    assert counts == [distinct, distinct, 0]
    second, counts = asked("second", other, tmp_path / "first")
    assert (second, counts) == (first, [0, 0, distinct])
    fewer = replace(BRIEF, retrieval=replace(BRIEF.retrieval, k=1))
    third, counts = asked("third", other, tmp_path / "second", fewer)
    changed = {arm for (_, arm, _), prompt in third.items() if prompt not in first.values()}
    new = len({*third.values()} - {*first.values()})
    # The ceilings have the passages of the search for a question without evidence.
    assert (changed, counts) == ({"retrieval", "both", EVIDENCE, FINETUNED_EVIDENCE}, [new, 0, new])


def test_marks_in_the_folder_of_a_run_are_in_the_verdict_that_it_gives_and_not_in_its_files(
    paths, endpoint, bge_folder, tmp_path
):
    run = tmp_path / "run"
    asked = {**paths, "model": endpoint(ScriptedModel(reader, name="m")).name, "settings": BRIEF, "out": run}
    first = compare(**asked)
    add_mark(LineLog(marks_path(run, "ann")), answers_to_mark(first, 1)[0], "right")
    assert compare(**asked).verdict.reasons[0].term == "Marks"
    assert "Too few answers are marked" in (run / "report.html").read_text()
    assert read_result(run / "result.json").verdict == first.verdict
