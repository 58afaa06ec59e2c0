"""After a training what was saved is loaded again: what came of that is recorded, and said where it is not the same."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lorag import build
from lorag.errors import ModelError
from lorag.llm.engines.base_model import FORMAT_VARIABLE
from lorag.llm.engines.transformers import load
from lorag.settings import FinetuneSettings
from lorag.training.adapter import NOISE, read_adapter
from lorag.training.finetuning import checked_batches
from lorag.types import Conversation, Message
from lorag.workflows import finetune
from lorag.workflows.finetune import train_adapter


@pytest.fixture
def saved(trainings, tmp_path):
    """A copy of an adapter as it is before it is loaded again, and the rows that this is checked by."""
    done = trainings.by("lora")
    folder = shutil.copytree(done.folder, tmp_path / "adapter")
    engine = build.language_model("smollm2-135m")
    adapter = replace(done.adapter, folder=str(folder), served_format=None, served_loss=None)
    return engine, adapter, checked_batches(engine.weights.tokenizer, trainings.data, trainings.settings("lora"))


def test_what_was_measured_is_recorded_and_the_base_is_as_it_was(saved):
    engine, adapter, checked = saved
    measured = finetune._as_served(engine, adapter, checked)
    assert measured.served_loss == pytest.approx(adapter.held_out_loss_after, abs=NOISE)
    assert measured.served_format == engine.dtype
    assert read_adapter(Path(adapter.folder)) == measured
    assert engine.weights.adapted is None
    assert not any("lora" in name for name, _ in engine.weights.model.named_modules())


def test_another_loss_is_said_and_recorded(saved):
    engine, adapter, checked = saved
    with pytest.warns(
        UserWarning, match=r"what is served is not what was trained: loss 0\.50 when training ended, 2\."
    ):
        measured = finetune._as_served(engine, replace(adapter, checked_loss=0.5), checked)
    assert read_adapter(Path(adapter.folder)).served_loss == measured.served_loss > 1


def test_where_it_does_not_load_again_the_training_stands(saved, monkeypatch):
    engine, adapter, checked = saved
    before = Path(adapter.folder, "lorag.json").read_text()

    def fail(*_):
        raise ModelError("memory is full")

    monkeypatch.setattr(build, "finetuned_model", fail)
    with pytest.warns(UserWarning, match="is saved, and could not be loaded again to be checked: memory is full"):
        assert finetune._as_served(engine, adapter, checked) == adapter
    assert Path(adapter.folder, "lorag.json").read_text() == before


def test_without_held_out_rows_trained_ones_are_checked_and_one_engine_trains_again(smollm_folder, tmp_path):
    engine = load(smollm_folder, "smollm2-135m", "float32")
    data = [Conversation((Message("user", f"What is {n}?"), Message("assistant", f"Gauge {n}."))) for n in range(70)]
    settings = FinetuneSettings(epochs=1, batch_tokens=2048, held_out_share=0.0, measure_forgetting=False)
    checked = checked_batches(engine.weights.tokenizer, data, settings)
    assert sum(map(len, checked)) == 24  # every third
    assert max(map(len, checked)) <= 8
    adapters = [train_adapter(engine, data[:3], tmp_path / name, settings) for name in ("once", "again")]
    for adapter in adapters:
        assert adapter.held_out_loss_after is None
        assert adapter.served_loss == pytest.approx(adapter.checked_loss, abs=1e-4)
    assert adapters[0].checked_loss == pytest.approx(adapters[1].checked_loss, abs=1e-4)


@pytest.mark.parametrize(("lost", "expected"), [(0.5, "float32"), (0.005, "bfloat16")])
def test_all_weights_are_served_in_float32_only_where_the_other_loses(trainings, tmp_path, monkeypatch, lost, expected):
    """The loss in bf16 is put in; the real one is measured in tests/training/test_methods.py."""
    monkeypatch.setenv(FORMAT_VARIABLE, "bfloat16")
    done = trainings.by("full")
    adapter = replace(done.adapter, folder=str(shutil.copytree(done.folder, tmp_path / "a")))
    losses = {"bfloat16": adapter.checked_loss + lost, "float32": adapter.checked_loss}
    monkeypatch.setattr(finetune, "_loss", lambda served, checked: losses[served.dtype])
    measured = finetune._as_served(build.language_model("smollm2-135m"), adapter, [])
    assert (measured.served_format, measured.served_loss) == (expected, losses[expected])
    assert build.language_model(adapter=Path(adapter.folder)).dtype == expected
