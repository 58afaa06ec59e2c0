"""The whole comparison for real: every arm takes part with what it should have, and a killed run goes on."""

import html
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from lorag.chat.kept_prompt import KeptPrompt, read_prompt, text_source
from lorag.chat.prompts import WorkedExample
from lorag.cli.commands import app
from lorag.cli.compare_command import assistant_command
from lorag.errors import BudgetError, DataError, InputError, RunMismatchError
from lorag.evaluation.comparison import EVIDENCE, FINETUNED_EVIDENCE
from lorag.evaluation.cost.arm_costs import arm_costs
from lorag.evaluation.report.json_record import read_result
from lorag.evaluation.results import FOLLOWING
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import load
from lorag.settings import (
    ChatSettings,
    CompareSettings,
    FinetuneSettings,
    PromptSettings,
    RecipeSettings,
    RemoteSettings,
    VerdictSettings,
)
from lorag.training.adapter import read_adapter
from lorag.types import Message, Sampling
from lorag.workflows import compare as comparing
from lorag.workflows.compare import compare
from lorag.workflows.comparing.inputs import input_notes, read_inputs


def rows_of(run):
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def by_key(rows):
    return {(row["moment"], row["arm"], row["example_id"]): row["answer"] for row in rows}


def sent(answer):
    return answer["prompt"][-1]["content"]


@pytest.fixture(scope="module")
def answers(finished):
    return by_key(rows_of(finished))


def test_every_arm_is_asked_every_question_in_both_phases(answers):
    arms = ("base", "finetuned", "retrieval", "both", EVIDENCE, FINETUNED_EVIDENCE)
    asked = [(phase, arm) for phase in ("before", "after") for arm in arms]
    asked += [("after", "continued"), ("after", "retrained")]
    assert Counter((phase, arm) for phase, arm, _ in answers) == dict.fromkeys(asked, 3)
    assert all(answer["error"] is None for answer in answers.values())


def test_arms_with_retrieval_hold_the_passage_and_arms_without_hold_none(answers):
    for phase, passage in (("before", "office is in Halifax"), ("after", "office is in Bergen")):
        for arm in ("retrieval", "both", EVIDENCE, FINETUNED_EVIDENCE):
            answer = answers[phase, arm, "harbour"]
            assert passage in sent(answer)
            assert any(passage in source["chunk"]["text"] for source in answer["sources"])
        for arm in ("base", "finetuned"):
            answer = answers[phase, arm, "harbour"]
            assert sent(answer) == "In which city is the Korrin office?"
            assert answer["sources"] == []


def test_answers_without_sources_are_checked_against_the_documents_of_their_phase(finished):
    for row in rows_of(finished):
        assert bool(row.get("found")) == (not row["answer"]["sources"] and bool(row["answer"]["text"].strip()))
        stale = "Bergen" if row["moment"] == "before" else "Halifax"
        assert not any(stale in hit["chunk"]["text"] for hit in row.get("found", ()))


def test_what_one_user_waits_is_measured_once_for_every_arm_that_can_be_chosen(finished):
    waits = json.loads((finished / "waits.json").read_text())
    assert set(waits) == {"base", "finetuned", "retrieval", "both"}
    assert all(0 < first <= whole for arm in waits.values() for first, whole in arm)
    result = read_result(finished / "result.json")
    assert all(arm.latency is None for arm in result.at("before").values())
    for name, seconds in waits.items():
        latency = result.at("after")[name].latency
        assert latency is not None
        assert latency.questions == 3
        assert latency.answer == pytest.approx(median(whole for _, whole in seconds))
        assert latency.first_token == pytest.approx(median(first for first, _ in seconds))


def test_after_the_update_nothing_is_answered_from_the_old_text(answers):
    for (phase, _, _), answer in answers.items():
        stale = "Bergen" if phase == "before" else "Halifax"
        assert stale not in sent(answer)


def test_the_prompts_of_two_arms_differ_in_nothing_but_their_model(answers):
    for phase in ("before", "after"):
        for name in ("harbour", "warranty", "price"):
            assert answers["after", "continued", name]["prompt"] == answers["after", "finetuned", name]["prompt"]
            assert answers[phase, "base", name]["prompt"] == answers[phase, "finetuned", name]["prompt"]
            assert answers[phase, "retrieval", name]["prompt"] == answers[phase, "both", name]["prompt"]
    differing = [name for (phase, arm, name) in answers if answers[phase, "base", name] != answers[phase, arm, name]]
    assert differing


def test_the_finetuned_arms_answer_with_their_adapter_and_the_others_without(case, answers, finished):
    base = load(Path(case.model))
    adapted = base.with_adapter(finished / "adapter")
    sampling = Sampling(max_tokens=case.max_tokens)
    following = [("after", arm, "finetuned", base.with_adapter(finished / arm / "adapter")) for arm in FOLLOWING]
    for at, arm, other, model in (
        ("before", "finetuned", "base", adapted),
        ("before", "both", "retrieval", adapted),
        ("before", "base", "", base),
        *following,
    ):
        asked = [answer for (phase, name, _), answer in answers.items() if (phase, name) == (at, arm)]
        prompts = [tuple(Message(**turn) for turn in answer["prompt"]) for answer in asked]
        assert [c.text for c in model.generate(prompts, sampling)] == [answer["text"] for answer in asked]
        if other == "finetuned":
            assert [c.text for c in adapted.generate(prompts, sampling)] != [answer["text"] for answer in asked]
        if other:
            assert [c.text for c in base.generate(prompts, sampling)] != [answer["text"] for answer in asked]


@pytest.mark.parametrize(("choice", "arm"), [("retrieval", "retrieval"), ("finetuning", "finetuned"), ("both", "both")])
def test_the_command_to_use_what_was_chosen_asks_as_that_arm_was_asked(choice, arm, answers, finished):
    program, _, *options = assistant_command(choice, finished)
    question = "In which city is the Korrin office?"
    done = CliRunner().invoke(app, ["ask", question, *options, "--engine", "transformers", "--json"])
    answer, recorded = json.loads(done.stdout), answers["after", arm, "harbour"]
    assert program == "lorag"
    assert [turn["content"] for turn in answer["prompt"]] == [turn["content"] for turn in recorded["prompt"]]
    assert answer["text"].startswith(recorded["text"][:20])


def test_a_verdict_that_names_no_arm_of_the_run_has_no_such_command(finished, tmp_path):
    assert [assistant_command(choice, finished) for choice in ("undecided", "neither", "ours")] == [[], [], []]
    assert assistant_command("both", tmp_path) == []


def test_the_command_searches_as_the_run_did(finished, tmp_path):
    for name in ("index", "prompts"):
        shutil.copytree(finished / name, tmp_path / name)
    (tmp_path / "run.json").write_text((finished / "run.json").read_text())
    (tmp_path / "run.toml").write_text('search = "lexical"\nrerank = true\nmin-cosine = 0.4\n')
    options = assistant_command("retrieval", tmp_path)
    assert options[-5:] == ["--search", "lexical", "--min-cosine", "0.4", "--rerank"]


def test_a_finetune_follows_the_update_on_what_changed_or_from_the_base_on_what_holds(finished):
    first, continued, retrained = (
        read_adapter(finished / folder) for folder in ("adapter", "continued/adapter", "retrained/adapter")
    )
    assert continued.parent is not None
    assert (Path(continued.parent.folder), continued.parent.data) == (finished / "adapter", first.data)
    assert retrained.parent is None
    assert 0 < continued.rehearsed <= continued.conversations / 2
    rate = first.settings["learning_rate"]
    assert isinstance(rate, float)
    assert continued.settings["learning_rate"] == rate / 2
    assert retrained.settings["learning_rate"] == rate
    for arm in FOLLOWING:
        rows = [json.loads(line) for line in (finished / arm / "train.jsonl").read_text().splitlines()]
        replies = " ".join(row["messages"][-1]["content"] for row in rows)
        assert "Bergen" in replies
        assert "Halifax" not in replies
        assert ("28 months" in replies) == (arm == "retrained")
    result = json.loads((finished / "result.json").read_text())
    seconds = {arm["arm"]: arm["update_seconds"] for arm in result["arms"] if arm["moment"] == "after"}
    assert seconds == pytest.approx(
        {
            **dict.fromkeys(("base", "finetuned", "both", EVIDENCE, FINETUNED_EVIDENCE)),
            "retrieval": seconds["retrieval"],
            "continued": continued.seconds,
            "retrained": retrained.seconds,
        }
    )
    page = (finished / "report.html").read_text()
    assert "Following the update" in page
    (note,) = (note for note in result["notes"] if note.startswith("After the update: "))
    assert note in html.unescape(page)


def test_the_result_holds_every_row_with_its_scores(case, finished):
    result = json.loads((finished / "result.json").read_text())
    assert len(result["rows"]) == 42
    assert result["verdict"]["choice"] == "undecided"
    assert case.model in result["facts"]["model"]
    page = (finished / "report.html").read_text()
    assert "undecided" in page.lower()
    assert "first other wording" in page
    assert ", control questions right 1 to " in page
    assert "Rules added" in page
    assert result["tried"]["recipe"]["final"]["passes"] >= 1
    assert "Trials before the comparison" in page


def test_where_no_prompt_could_be_chosen_a_note_says_so(finished):
    told = json.loads((finished / "result.json").read_text())
    assert any(note.startswith("No prompts were chosen: fewer than 6 untested questions") for note in told["notes"])
    assert "No prompts were chosen" in (finished / "report.html").read_text()


def test_training_never_holds_a_test_question_and_holds_the_served_form(case, finished):
    lines = [json.loads(line) for line in (finished / "train.jsonl").read_text().splitlines()]
    asked = {json.loads(line)["question"] for line in (case.folder / "qa.jsonl").read_text().splitlines()}
    assert len(asked) == 3
    assert all(turn["content"] not in asked for line in lines for turn in line["messages"])
    assert all(line["messages"][0]["role"] == "system" for line in lines)


def test_a_run_killed_in_the_middle_resumes_without_asking_twice_and_ends_the_same(case, finished, tmp_path):
    out = tmp_path / "killed"
    shutil.copytree(finished, out)
    for name in ("rows.jsonl", "result.json", "report.html", "facts.json"):
        (out / name).unlink()
    command = [sys.executable, "-m", "lorag", *case.command(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ((out / "rows.jsonl").is_file() and len(rows_of(out)) >= 10):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (out / "rows.jsonl").open("a") as file:
        file.write('{"moment": "before", "arm": "torn')
    (out / "rows.jsonl").write_text("".join(f"{line}\n" for line in (out / "rows.jsonl").read_text().split("\n")[:7]))
    kept = rows_of(out)
    assert case.run(out).exit_code == 0
    after = rows_of(out)
    assert after[: len(kept)] == kept
    assert Counter((r["moment"], r["arm"], r["example_id"]) for r in after).most_common(1)[0][1] == 1
    ours, theirs = by_key(after), by_key(rows_of(finished))
    assert {key: answer["text"] for key, answer in ours.items()} == {key: a["text"] for key, a in theirs.items()}
    results = [json.loads((run / "result.json").read_text()) for run in (out, finished)]
    tables = [{(arm["arm"], arm["moment"]): arm["estimates"] for arm in result["arms"]} for result in results]
    assert tables[0] == tables[1]


def shown_again(case, run, monkeypatch, judge=None, remote=None, **verdict):
    """The comparison of a finished run, for which no model may be loaded."""
    from lorag import build

    monkeypatch.setattr(build, "language_model", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.setattr(build, "trainable_model", lambda *_, **__: pytest.fail("a model was loaded"))
    names = {"documents": "docs", "questions": "qa.jsonl", "update": "docs_v2", "style": "style.json"}
    paths = {key: case.folder / name for key, name in (*names.items(), ("control", "control.jsonl"))}
    chat = ChatSettings(sampling=Sampling(max_tokens=case.max_tokens))
    settings = CompareSettings(chat=chat, recipe=RecipeSettings(minutes=4.0), verdict=VerdictSettings(**verdict))
    settings = replace(settings, remote=remote or settings.remote)
    return compare(**paths, model=case.model, out=run, settings=settings, judge=judge)


def test_a_finished_run_is_shown_again_without_a_model(case, finished, monkeypatch):
    result = shown_again(case, finished, monkeypatch)
    assert result.verdict.choice == "undecided"
    built = {each.arm: each.build_seconds for each in arm_costs(result)}
    recipe = result.tried["recipe"]
    trained = recipe["final"]["seconds"] + sum(rung["seconds"] for rung in recipe["rungs"])
    assert built["finetuned"] == pytest.approx(trained)
    assert built["both"] == pytest.approx(trained + built["retrieval"])
    sizes = {each.arm: each.bytes or 0 for each in arm_costs(result)}
    assert 0 < sizes["base"] < sizes["finetuned"] < sizes["both"]


def test_what_the_model_on_this_machine_answered_is_not_in_the_budget_of_a_judge_on_a_server(
    case, finished, tmp_path, monkeypatch, endpoint
):
    run = shutil.copytree(finished, tmp_path / "run")
    answered = [json.loads(line)["completion"] for line in (run / "asked.jsonl").read_text().splitlines()]
    tokens = sum(done["prompt_tokens"] + done["completion_tokens"] for done in answered)
    judge = endpoint(ScriptedModel(lambda prompt: "yes", name="judge"))
    facts = shown_again(case, run, monkeypatch, judge.name, RemoteSettings(max_cost_tokens=tokens)).facts
    assert facts["judge"].startswith(judge.name)
    assert judge.requests
    with pytest.raises(BudgetError):
        shown_again(
            case, shutil.copytree(finished, tmp_path / "b"), monkeypatch, judge.name, RemoteSettings(max_cost_tokens=9)
        )


def test_a_finished_run_is_judged_by_other_requirements_without_a_model(case, finished, tmp_path, monkeypatch):
    run = shutil.copytree(finished, tmp_path / "run")
    reasons = shown_again(case, run, monkeypatch, require=("latency_p95<=0.001",)).verdict.reasons
    assert any(str(reason).startswith("Requirements: latency_p95<=0.001: retrieval is out with ") for reason in reasons)


def test_a_run_of_an_earlier_version_opens_without_a_model(case, finished, tmp_path, monkeypatch):
    run = shutil.copytree(finished, tmp_path / "run")
    rows = [row for row in rows_of(run) if row["arm"] != FINETUNED_EVIDENCE]
    earlier = [{**row, "arm": "gold context"} if row["arm"] == EVIDENCE else row for row in rows]
    (run / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in earlier))
    arms = shown_again(case, run, monkeypatch).at("after")
    assert list(arms) == ["base", "finetuned", "retrieval", "both", EVIDENCE]


def test_a_folder_of_another_run_is_refused(case, finished):
    differing = "control questions, settings, style, update"
    with pytest.raises(RunMismatchError, match=rf"holds a run with other {differing}; choose another"):
        compare(
            case.folder / "docs",
            case.folder / "qa.jsonl",
            model=case.model,
            out=finished,
            settings=CompareSettings(limit=2),
        )


def test_wrong_input_is_refused_before_a_model_is_loaded(case, tmp_path, monkeypatch):
    from lorag.models import catalogue

    monkeypatch.setattr(catalogue, "available_model", lambda *_: pytest.fail("a model was fetched"))
    bad = tmp_path / "qa.jsonl"
    bad.write_text('{"id": "a", "question": "?", "answers": ["x"], "doc_ids": ["harbor.md"]}\n')
    with pytest.raises(DataError, match=r"'harbor\.md'.*harbour\.md"):
        compare(case.folder / "docs", bad, out=tmp_path / "run")
    with pytest.raises(DataError, match="no such file"):
        compare(case.folder / "docs", tmp_path / "gone.jsonl", out=tmp_path / "run")
    with pytest.raises(DataError, match="'choices' is None; expected"):
        compare(case.folder / "docs", case.folder / "qa.jsonl", control=case.folder / "qa.jsonl", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_remote_model_is_compared_without_the_arms_that_need_its_weights(case, endpoint, bge_folder, tmp_path):
    def reply(prompt):
        found = re.search(r"office is in (\w+)", prompt[-1].content)
        return found[1] if found else "I do not know."

    server = endpoint(ScriptedModel(reply, name="hosted"))
    names = {"documents": "docs", "questions": "qa.jsonl", "update": "docs_v2"}
    paths = {key: case.folder / name for key, name in names.items()}
    result = compare(**paths, model=server.name, out=tmp_path / "run")
    measured = {(arm.phase, arm.arm) for arm in result.arms}
    assert measured == {(m, a) for m in ("before", "after") for a in ("base", "retrieval", EVIDENCE)}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Finetuning was not measured, alone or with retrieval: the weights of openai:hosted@http://" in page
    assert any("not measured: finetuning and both" in reason.text for reason in result.verdict.reasons)
    right = by_key(rows_of(tmp_path / "run"))["after", "retrieval", "harbour"]
    assert right["text"] == "Bergen"
    asked = len(server.requests)
    assert compare(**paths, model=server.name, out=tmp_path / "run").verdict == result.verdict
    assert len(server.requests) == asked
    with pytest.raises(InputError, match="cannot be trained here; leave out the training data"):
        compare(**paths, train=case.folder / "qa.jsonl", model=server.name, out=tmp_path / "other")
    full = CompareSettings(finetune=FinetuneSettings(method="full"))
    with pytest.raises(InputError, match="cannot be trained here; leave out how to finetune"):
        compare(**paths, model=server.name, out=tmp_path / "other", settings=full)


def test_documents_that_give_nothing_to_train_on_are_compared_without_the_finetuned_arms(case, tmp_path, monkeypatch):
    for version, mass in (("docs", 12), ("docs_v2", 14)):
        (tmp_path / version).mkdir()
        text = f"The Ebbmark R9 weighs {mass} kg. Mara Lind founded the company in 2014. The office is in Bergen.\n"
        (tmp_path / version / "gauge.txt").write_text(text)  # one section, which the made questions ask about
    folders = ["--documents", str(tmp_path / "docs"), "--update", str(tmp_path / "docs_v2")]
    shape = [
        "--model",
        case.model,
        "--max-tokens",
        "8",
        "--budget",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(app, ["compare", *folders, *shape])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {arm["arm"] for arm in result["arms"]} == {"base", "retrieval", EVIDENCE}
    note = result["not_finetuned"]
    assert note.startswith("Finetuning was not measured, alone or with retrieval: ")
    assert note in result["notes"]
    assert "there was nothing to train on. No training data was given, and no usable question came from" in note
    assert html.escape(note) in (tmp_path / "run" / "report.html").read_text()
    assert f"- Note: {note}" in " ".join(done.output.split())
    monkeypatch.setattr(comparing, "_fill", lambda *_: pytest.fail("it was asked again"))
    again = CliRunner().invoke(app, ["compare", *folders, *shape])
    assert again.exit_code == 0, again.output
    for options in ([], ["--verbose"]):
        shown = CliRunner().invoke(app, ["report", str(tmp_path / "run"), *options])
        assert " ".join(shown.output.split()).count(f"- Note: {note}") == 1


def test_a_prompt_set_by_hand_is_that_of_every_arm_and_of_the_training(case, tmp_path):
    told = WorkedExample("How far is the pier?", (text_source("The pier is 5 km away."),), "5 km.")
    prompt = KeptPrompt(PromptSettings(question_first=True, offer_refusal=False, examples=1), (told,), 300)
    chat = ChatSettings(sampling=Sampling(max_tokens=4))
    settings = CompareSettings(limit=1, chat=chat, recipe=RecipeSettings(minutes=0.5, passes=4))
    paths = (case.folder / "docs", case.folder / "qa.jsonl")
    result = compare(*paths, model=case.model, out=tmp_path / "run", settings=settings, prompt=prompt)
    answers = [row["answer"]["prompt"] for row in rows_of(tmp_path / "run")]
    assert len(answers) == 6
    for instruction, shown, reply, asked in answers:
        assert (instruction["content"], reply["content"]) == ("Answer the question briefly.", "5 km.")
        assert told.question in shown["content"]
        assert asked["content"].startswith("Question:") == shown["content"].startswith("Question:")
    assert sum(asked["content"].startswith("Question:") for *_, asked in answers) == 4
    without = PromptSettings(question_first=True, offer_refusal=False)
    assert read_adapter(tmp_path / "run" / "adapter").prompt == without
    trained = (tmp_path / "run" / "train.jsonl").read_text()
    assert "I do not know" not in json.loads(trained.splitlines()[0])["messages"][0]["content"]
    assert result.tried["recipe"]["before"]["facts"] >= 1  # probed though no prompt is chosen
    assert read_prompt(tmp_path / "run" / "prompts" / "both.json") == prompt
    with pytest.raises(RunMismatchError, match="other prompt, settings"):
        compare(*paths, model=case.model, out=tmp_path / "run", settings=settings)


def test_a_run_is_resumed_with_further_seeds_whose_spread_is_in_the_result(case, tmp_path):
    settings = CompareSettings(
        limit=2,
        prompt_questions=0,
        chat=ChatSettings(sampling=Sampling(max_tokens=4)),
        recipe=RecipeSettings(0.5, passes=4),
        finetune=FinetuneSettings(batch_tokens=1024),  # one update a pass: the losses of single rows differ
    )
    paths = {
        "documents": case.folder / "docs",
        "questions": case.folder / "qa.jsonl",
        "update": case.folder / "docs_v2",
    }
    run = tmp_path / "run"
    one = compare(**paths, model=case.model, out=run, settings=replace(settings, seeds=1))
    first = rows_of(run)
    two = compare(**paths, model=case.model, out=run, settings=replace(settings, seeds=2))
    assert rows_of(run) == first
    further = rows_of(run / "seed-1")
    asked = {(row["moment"], row["arm"], row["example_id"]) for row in further}
    assert len(asked) == len(further) == 8
    for row in further:
        holds = {"before": "Bergen", "after": "Halifax"}[row["moment"]]
        assert holds not in sent(row["answer"])
        assert ("office is in" in sent(row["answer"])) <= (row["arm"] == "both")
    seeds = [read_adapter(run / name).settings["seed"] for name in ("adapter", "seed-1/adapter")]
    assert seeds == [0, 1]
    measured = {arm.arm: len(arm.trainings) for arm in two.arms if arm.phase == "before"}
    assert {name for name, trainings in measured.items() if trainings} == {"finetuned", "both"}
    assert all(trainings in (0, 2) for trainings in measured.values())
    assert all(not arm.trainings for arm in one.arms)
    assert compare(**paths, model=case.model, out=run, settings=settings) == two  # as many as there are


def test_a_prompt_that_tells_what_is_tested_is_refused_before_a_model_is_loaded(case, tmp_path, monkeypatch):
    from lorag.models import catalogue

    monkeypatch.setattr(catalogue, "available_model", lambda *_: pytest.fail("a model was fetched"))
    told = WorkedExample("Which city?", (text_source("The Korrin office is in Halifax."),), "Halifax.")
    with pytest.raises(InputError, match=r"worked example 'Which city\?' states an answer to a tested question"):
        compare(
            case.folder / "docs", case.folder / "qa.jsonl", out=tmp_path / "run", prompt=KeptPrompt(examples=(told,))
        )
    assert not (tmp_path / "run").exists()


@pytest.fixture
def mixed(tmp_path):
    """A folder with a document, a picture, and a text in a code page; and a question on the document."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The office is in Halifax.")
    (tmp_path / "docs" / "logo.png").write_bytes(b"x")
    (tmp_path / "docs" / "b.txt").write_bytes("Гарантия на прибор составляет два года.".encode("cp1251"))
    (tmp_path / "qa.jsonl").write_text('{"id": "a", "question": "?", "answers": ["Halifax"], "doc_ids": ["a.md"]}\n')
    return tmp_path


def test_a_verdict_is_over_all_documents_or_none(mixed):
    for name in ("broken.pdf", "broken.txt"):
        (mixed / "docs" / name).write_bytes(b"\0")
    for documents, update in (("docs", None), ("docs_v2", "docs")):
        shutil.copytree(mixed / "docs", mixed / "docs_v2", ignore=shutil.ignore_patterns("broken*"))
        with pytest.raises(InputError) as caught:
            compare(mixed / documents, mixed / "qa.jsonl", update=update and mixed / update, out=mixed / "run")
        assert [f"{name}: is " in str(caught.value) for name in ("broken.pdf", "broken.txt")] == [True, True]
        shutil.rmtree(mixed / "docs_v2")
    assert not (mixed / "run").exists()


def test_what_is_not_in_the_documents_stands_among_the_caveats(mixed):
    inputs = read_inputs(mixed / "docs", mixed / "qa.jsonl", None, mixed / "docs", None, None, CompareSettings())
    guessed, other = inputs.notes
    assert guessed.startswith("Of the documents, ")
    assert "b.txt is not UTF-8 and was read as cp1251" in guessed
    assert other == "Files of other kinds were skipped: logo.png."


def test_questions_about_documents_that_the_update_lacks_stand_among_the_caveats(tmp_path):
    for folder, name in (("docs", "a.md"), ("docs_v2", "renamed.md")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("The pier is 40 metres long.")
    row = {"id": "q", "question": "How long is the pier?", "answers": ["40 metres"], "doc_ids": ["a.md"]}
    (tmp_path / "qa.jsonl").write_text(json.dumps(row))
    given = (tmp_path / "docs", tmp_path / "qa.jsonl", None)
    renamed, same, alone = (
        "\n".join(input_notes(read_inputs(*given, update, None, None, CompareSettings())))
        for update in (tmp_path / "docs_v2", tmp_path / "docs", None)
    )
    assert "it contains none of their documents, such as a.md: the ceilings" in renamed
    assert "none of their documents" not in same + alone


@pytest.mark.parametrize(("limit", "asked"), [(None, 2_000), (2_500, 2_500)])
def test_of_many_questions_a_sample_is_asked_and_the_run_says_so(tmp_path, limit, asked):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The pier is 40 metres long.")
    row = {"question": "How long is the pier?", "answers": ["40 metres"], "doc_ids": ["a.md"]}
    lines = (json.dumps({"id": f"q{number}", **row, "question": f"{number}: how long?"}) for number in range(50_000))
    (tmp_path / "qa.jsonl").write_text("\n".join(lines))
    settings = CompareSettings(limit=limit)
    inputs = read_inputs(tmp_path / "docs", tmp_path / "qa.jsonl", None, None, None, None, settings)
    assert (len(inputs.examples), len(inputs.tested)) == (50_000, asked)
    assert f"{asked} of 50000 questions were asked: a fixed pseudo-random sample" in "\n".join(input_notes(inputs))
