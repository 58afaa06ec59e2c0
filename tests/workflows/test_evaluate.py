"""lm-evaluation-harness on local tasks: its figures are ours, and where it fails nothing that was trained is lost."""

import json
import re
import shutil
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag import build
from lorag.cli.commands import app
from lorag.errors import DataError, InputError, MissingExtraError, OperationError
from lorag.evaluation.lm_eval_harness import require_tasks, task_changes
from lorag.training.adapter import read_adapter
from lorag.workflows.evaluate import check_tasks, evaluate, read_changes

harness = pytest.mark.skipif(
    find_spec("lm_eval") is None,
    reason="runs the real lm-evaluation-harness, an optional extra of 37 packages (316 MB) that `make test` does not"
    " install; `pip install 'lorag[lm-eval]'` runs it, and what Lorag does without it is tested here anyway",
)
noisy = pytest.mark.filterwarnings("ignore")  # of the harness and what it imports
PAGE = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
(TASK,) = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)


def make_tasks(more=""):
    """The task of the page over the general questions that come with Lorag, the right choice in changing places."""
    folder = Path("tasks")
    folder.mkdir()
    lines = (files("lorag.training") / "general" / "choices.jsonl").read_text(encoding="utf-8").splitlines()
    with (folder / "control.jsonl").open("w") as file:
        for number, row in enumerate(map(json.loads, lines)):
            label = number % (len(row["wrong"]) + 1)
            choices = [*row["wrong"][:label], row["right"], *row["wrong"][label:]]
            file.write(json.dumps({"question": row["question"], "choices": choices, "label": label}) + "\n")
    (folder / "control.yaml").write_text(TASK + more)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(trainings, tmp_path) -> Path:
    return Path(shutil.copytree(trainings.by("lora").folder, tmp_path / "adapter"))


@pytest.fixture
def chat(here, tiny_folder):
    Path("tiny").symlink_to(tiny_folder)
    Path("chat.jsonl").write_text('{"question": "Who founded Korrin?", "answer": "Mara Lind."}\n')
    return ["finetune", "chat.jsonl", "--model", "tiny", "--epochs", "1", "--out", "adapter"]


@harness
@noisy
def test_the_harness_and_our_own_measurement_choose_alike(trained, smollm):
    from lorag.training.control_questions import read_control
    from lorag.training.forgetting import measure

    tasks = make_tasks()
    changes = evaluate(trained, tasks)
    own = measure(smollm.weights.model, smollm.weights.tokenizer, read_control(tasks / "control.jsonl"))
    report = json.loads((trained / "lm_eval.json").read_text())
    before, after = (sorted(report[m]["samples"]["control"], key=lambda s: s["doc_id"]) for m in ("before", "after"))
    assert tuple(sample["acc_norm"] == 1 for sample in before) == own.control
    assert len(before) == 24
    assert [sample["resps"] for sample in before] != [sample["resps"] for sample in after]
    (change,) = changes
    assert (change.task, change.metric, change.before) == ("control", "acc_norm", sum(own.control) / 24)
    assert change.error_before is not None
    assert 0 < change.error_before < 0.2
    assert read_changes(trained) == changes
    assert build.language_model(adapter=trained).name.startswith("smollm2-135m+")  # the folder is still an adapter


@harness
@noisy
def test_a_training_is_scored_before_and_after(chat):
    done = CliRunner().invoke(app, [*chat, "--tasks", str(make_tasks())])
    assert done.exit_code == 0, done.output
    assert "lm-evaluation-harness (± standard error)" in done.stdout
    assert " ± " in done.stdout.split("acc_norm")[1]


@harness
@noisy
def test_a_task_that_fails_fails_no_training(chat):
    tasks = make_tasks("process_results: !function broken.score\n")
    (tasks / "broken.py").write_text("def score(doc, results):\n    raise ValueError('no such score')\n")
    done = CliRunner().invoke(app, [*chat, "--tasks", str(tasks)])
    assert done.exit_code == 0, done.output
    assert "lm-evaluation-harness failed on" in done.stderr
    assert "ValueError: no such score; the finished training is in 'adapter'" in done.stderr
    assert read_adapter(Path("adapter")).base == "tiny"
    again = CliRunner().invoke(app, ["evaluate", "adapter", "--tasks", str(tasks)])
    assert (again.exit_code, "ValueError: no such score" in again.stderr) == (1, True)


@harness
@noisy
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [", "x.yaml: is not a task that lm-evaluation-harness can read with its data: ParserError"),
        (
            "color: red",
            "x.yaml: is not a task that lm-evaluation-harness can read .*ValueError: Unknown config",
        ),
        (TASK.replace("control.jsonl", "gone.jsonl"), "x.yaml: is not a task .*gone.jsonl"),
        (TASK, "x.yaml: holds the task 'control', as 'control.yaml' does; give one of the files"),
    ],
)
def test_what_is_no_task_is_refused_by_its_file(text, message):
    tasks = make_tasks()
    (tasks / "x.yaml").write_text(text)
    require_tasks(tasks / "control.yaml")
    with pytest.raises(DataError, match=message):
        require_tasks(tasks)


def test_a_failure_after_a_training_is_said_and_leaves_it_whole(chat, monkeypatch):
    def fail(*_):
        raise OperationError("lm-evaluation-harness failed on 'tasks': KeyError: 'label'")

    monkeypatch.setattr("lorag.workflows.evaluate.require_tasks", lambda path: None)
    monkeypatch.setattr("lorag.workflows.evaluate.run_tasks", fail)
    done = CliRunner().invoke(app, [*chat, "--tasks", "tasks"])
    assert done.exit_code == 0, done.output
    assert "Trained tiny with lora on 1 conversations" in done.stdout
    said = " ".join(done.stderr.split())
    assert "warning: lm-evaluation-harness failed on 'tasks': KeyError: 'label'; the finished training is in" in said
    assert "`lorag evaluate adapter --tasks tasks` tries that again" in said
    assert read_adapter(Path("adapter")).base == "tiny"
    assert not Path("adapter", "lm_eval.json").exists()
    assert build.language_model(adapter=Path("adapter")).name.startswith("tiny+")


def test_without_the_harness_its_extra_is_named_before_a_model_is_loaded(chat, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr(build, "trainable_model", lambda *_: pytest.fail("a model was loaded"))
    tasks = make_tasks()
    with pytest.raises(MissingExtraError, match=r"needs the package 'lm_eval'; .* `pip install 'lorag\[lm-eval\]'`"):
        check_tasks(tasks, "lora")
    for more in ((), ("--dry-run",)):
        wrong = CliRunner().invoke(app, [*chat, "--tasks", str(tasks), *more])
        assert (wrong.exit_code, "pip install 'lorag[lm-eval]'" in wrong.stderr) == (2, True)
    assert not Path("adapter").exists()


def test_what_cannot_be_scored_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"gone: no such file or folder; expected tasks"):
        check_tasks(tmp_path / "gone", "lora")
    with pytest.raises(DataError, match=r"empty: holds no \*\.yaml; expected tasks"):
        check_tasks(tmp_path / "empty", "lora")
    with pytest.raises(InputError, match="does not see the virtual tokens of a prefix; leave the tasks out"):
        check_tasks(tmp_path, "prefix")
    with pytest.raises(DataError, match="is not an adapter of Lorag"):
        evaluate(tmp_path, tmp_path)


def test_the_metrics_of_two_reports_stand_side_by_side():
    def report(share):
        figures = {"alias": "t", "sample_len": 5, "acc,none": share, "acc_stderr,none": 0.1, "em,first": share}
        return {"results": {"t": {**figures, "em_stderr,first": "N/A"}}}

    acc, exact = task_changes(report(0.25), report(0.5))
    assert (acc.task, acc.metric, acc.before, acc.after, acc.error_before) == ("t", "acc", 0.25, 0.5, 0.1)
    assert (exact.metric, exact.error_after) == ("em (first)", None)
