"""Forgetting is measured on what no training taught: nothing where nothing changed, something where weights broke."""

import json
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PeftModel

from lorag.errors import DataError
from lorag.training.adapter import read_adapter
from lorag.training.control_questions import MultipleChoice, read_control
from lorag.training.forgetting import forgetting, measure
from lorag.training.methods import Learner

ROWS = [
    {"question": "The capital of France is", "choices": ["Rome", "Paris", "Madrid"], "label": 1},
    {"question": "Bread is made from", "choices": ["flour", "stones"], "answers": ["flour"]},
    {"question": "Ice is frozen", "choices": ["sand", "wood", "water"], "answers": ["water"], "label": 2, "id": "x"},
]


def written(tmp_path, rows):
    path = tmp_path / "control.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def measured(smollm_folder):
    from lorag.llm.engines.transformers import load

    weights = load(smollm_folder, dtype="float32").weights
    model = Learner(PeftModel(weights.model, LoraConfig(target_modules=["v_proj"], task_type="CAUSAL_LM")))
    before = measure(model.causal, weights.tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return before, measure(model.causal, weights.tokenizer)


def test_a_model_knows_general_text_and_simple_things(measured):
    before, _ = measured
    assert len(before.losses) == 8
    assert all(1 < loss < 5 for loss in before.losses)
    assert len(before.right) == 24
    assert sum(before.right) > 12  # six by chance


def test_what_did_not_change_was_not_forgotten(measured):
    before, _ = measured
    same = forgetting(before, before)
    assert same.loss_before == same.loss_after
    assert same.rise_low == same.rise_high == 0
    assert same.right_before == same.right_after == sum(before.right)


def test_a_broken_model_shows_it(measured):
    before, after = measured
    found = forgetting(before, after)
    assert 0 < found.rise_low < found.loss_after - found.loss_before < found.rise_high
    assert found.right_after < found.right_before
    assert f"to {found.right_after} of 24" in str(found)


def test_the_questions_of_the_file_decide_the_figure(smollm, tmp_path):
    model, tokenizer = Learner(smollm.weights.model), smollm.weights.tokenizer
    seen = []
    control = read_control(written(tmp_path, ROWS))
    assert [question.right for question in control] == [1, 0, 2]
    wrong = [replace(control[1], right=1), replace(control[2], right=0)]
    other = MultipleChoice(control[0].question, ("Paris", "Rome"), 1)
    asked = [*control, *wrong, other]
    found = measure(model.causal, tokenizer, asked, lambda *told: seen.append(told), "after")
    assert found.control == (True, True, True, False, False, False)
    assert seen[-1] == ("control questions after", 6, 6)


def test_long_questions_are_asked_one_at_a_time_and_answered_alike(tiny, monkeypatch, tmp_path):
    model, tokenizer = Learner(tiny.weights.model), tiny.weights.tokenizer
    control = read_control(written(tmp_path, ROWS))
    together, seen = measure(model.causal, tokenizer, control), []
    monkeypatch.setattr("lorag.training.forgetting._CHARACTERS_AT_ONCE", 1)
    assert measure(model.causal, tokenizer, control, lambda *told: seen.append(told)) == together
    assert [told[1] for told in seen if told[0] == "control questions before"] == [1, 2, 3]


def test_the_change_in_control_questions_is_paired(measured):
    from lorag.evaluation.statistics import tango

    before, _ = measured
    start = replace(before, control=(True,) * 40 + (False,) * 20)
    end = replace(before, control=(False,) * 12 + (True,) * 28 + (False,) * 18 + (True,) * 2)
    found = forgetting(start, end)
    assert found.control is not None
    assert (found.control.questions, found.control.right_before, found.control.right_after) == (60, 40, 30)
    interval = tango(2, 12, 60, 0.95)
    assert found.control.low <= interval.low < -10 / 60 < interval.high <= found.control.high < 0
    assert f"control questions right 40 to 30 of 60 (change {100 * found.control.low:+.1f} to " in str(found)
    assert forgetting(before, before).control is None
    assert "control" not in str(forgetting(before, before))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["a", "b"], "label": 0}, r"'question' is None; expected \"question\", two or more different"),
        ({"question": " ", "choices": ["a", "b"], "label": 0}, "'question' is ' '"),
        ({"question": "q", "label": 0}, "'choices' is None"),
        ({"question": "q", "choices": ["a"], "label": 0}, r"'choices' is \['a'\]"),
        ({"question": "q", "choices": ["a", ""], "label": 0}, r"'choices' is \['a', ''\]"),
        ({"question": "q", "choices": ["a", 3], "label": 0}, r"'choices' is \['a', 3\]"),
        ({"question": "q", "choices": ["a", "b", "a"], "label": 0}, "'choices' holds a text twice"),
        ({"question": "q", "choices": ["a", "b"]}, "marks no choice as right"),
        ({"question": "q", "choices": ["a", "b"], "answers": []}, r"'answers' is \[\], not one of the choices"),
        ({"question": "q", "choices": ["a", "b"], "answers": ["c"]}, r"'answers' is \['c'\], not one of the choices"),
        ({"question": "q", "choices": ["a", "b"], "answers": ["a", "b"]}, r"'answers' is \['a', 'b'\]"),
        ({"question": "q", "choices": ["a", "b"], "label": 2}, "'label' is 2, not a number from 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "label": -1}, "'label' is -1"),
        ({"question": "q", "choices": ["a", "b"], "label": True}, "'label' is True"),
        ({"question": "q", "choices": ["a", "b"], "label": 1.0}, "'label' is 1.0"),
        (
            {"question": "q", "choices": ["a", "b"], "answers": ["a"], "label": 1},
            "'label' 1 is 'b', but 'answers' says 'a'",
        ),
        ("{", "broken JSON"),
    ],
)
def test_a_row_that_is_no_such_question_is_refused_by_its_line(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"control\.jsonl:4: {message}"):
        read_control(written(tmp_path, [*ROWS, row]))


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"control\.jsonl: holds no questions; expected"):
        read_control(written(tmp_path, []))


def test_manifests_with_and_without_control_questions_are_read(trainings, measured, tmp_path):
    before, after = measured
    adapter = trainings.by("lora").adapter
    asked = replace(before, control=(True, False)), replace(after, control=(False, False))
    for measurement in (forgetting(before, after), forgetting(*asked)):
        (tmp_path / "lorag.json").write_text(replace(adapter, forgetting=measurement).to_json())
        assert read_adapter(tmp_path).forgetting == measurement
    fields = json.loads((tmp_path / "lorag.json").read_text())
    del fields["forgetting"]["control"]  # as it was written before there were control questions
    (tmp_path / "lorag.json").write_text(json.dumps(fields))
    assert read_adapter(tmp_path).forgetting == forgetting(before, after)
