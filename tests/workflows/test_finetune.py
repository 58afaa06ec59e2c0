"""After a training what was saved is loaded again: what came of that is recorded, and said where it is not the same."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag import build
from lorag.chat.prompts import as_served
from lorag.errors import InputError, ModelError
from lorag.llm.engines.base_model import DTYPE_VARIABLE
from lorag.llm.engines.transformers import TransformersModel, adapter_fingerprint
from lorag.settings import REFUSAL, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import MANIFEST, NOISE, Parent, read_adapter
from lorag.training.data.conversations import write_conversations
from lorag.training.finetuning import checked_batches, data_fingerprint
from lorag.types import Conversation, Message
from lorag.workflows import finetune as finetune_workflow
from lorag.workflows.finetuning import adapter_training as workflow
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.finetuning.strength import set_strength


@pytest.fixture
def saved(trainings, tmp_path):
    """A copy of an adapter as it is before it is loaded again, and the rows that this is checked by."""
    done = trainings.by("lora")
    folder = shutil.copytree(done.folder, tmp_path / "adapter")
    engine = build.language_model(trainings.model)
    assert isinstance(engine, TransformersModel)
    adapter = replace(done.adapter, folder=str(folder), served_format=None, served_loss=None)
    return engine, adapter, checked_batches(engine.weights.tokenizer, trainings.data, trainings.settings("lora"))


def test_what_was_measured_is_recorded_and_the_base_is_as_it_was(saved):
    engine, adapter, checked = saved
    measured = workflow._as_served(engine, adapter, checked)
    assert measured.served_loss == pytest.approx(adapter.held_out_loss_after, abs=NOISE)
    assert measured.served_format == engine.stored_dtype
    assert read_adapter(Path(adapter.folder)) == measured
    assert engine.weights.adapted is None
    assert not any("lora" in name for name, _ in engine.weights.model.named_modules())


def test_another_loss_is_said_and_recorded(saved):
    engine, adapter, checked = saved
    with pytest.warns(UserWarning, match=r"does not keep what it learned: loss 0\.50 at the end of training, \d+\."):
        measured = workflow._as_served(engine, replace(adapter, checked_loss=0.5), checked)
    assert measured.served_loss is not None
    assert read_adapter(Path(adapter.folder)).served_loss == measured.served_loss > 1


def test_where_it_does_not_load_again_the_training_stands(saved, monkeypatch):
    engine, adapter, checked = saved
    before = Path(adapter.folder, "lorag.json").read_text()

    def fail(*_):
        raise ModelError("memory is full")

    monkeypatch.setattr(build, "finetuned_model", fail)
    with pytest.warns(UserWarning, match="are saved, but could not be loaded again to check them: memory is full"):
        assert workflow._as_served(engine, adapter, checked) == adapter
    assert Path(adapter.folder, "lorag.json").read_text() == before


def test_without_held_out_rows_trained_ones_are_checked_and_one_engine_trains_again(tiny, tmp_path):
    data = [Conversation((Message("user", f"What is {n}?"), Message("assistant", f"Gauge {n}."))) for n in range(70)]
    settings = FinetuneSettings(epochs=1, batch_tokens=2048, held_out_share=0.0, measure_forgetting=False)
    checked = checked_batches(tiny.weights.tokenizer, data, settings)
    assert sum(map(len, checked)) == 24  # every third
    assert max(map(len, checked)) <= 8
    adapters = [train_adapter(tiny, data[:3], tmp_path / name, settings) for name in ("once", "again")]
    for adapter in adapters:
        assert adapter.held_out_loss_after is None
        assert adapter.served_loss == pytest.approx(adapter.checked_loss, abs=1e-4)
    assert adapters[0].checked_loss == pytest.approx(adapters[1].checked_loss, abs=1e-4)


@pytest.mark.parametrize(("lost", "expected"), [(0.5, "float32"), (0.005, "bfloat16")])
def test_all_weights_are_served_in_float32_only_where_the_other_loses(trainings, tmp_path, monkeypatch, lost, expected):
    """The loss in bf16 is put in; the real one is measured in tests/training/test_methods.py."""
    monkeypatch.setenv(DTYPE_VARIABLE, "bfloat16")
    done = trainings.by("full")
    adapter = replace(done.adapter, folder=str(shutil.copytree(done.folder, tmp_path / "a")))
    losses = {"bfloat16": adapter.checked_loss + lost, "float32": adapter.checked_loss}
    monkeypatch.setattr(workflow, "_loss", lambda served, checked: losses[served.dtype])
    engine = build.language_model(trainings.model)
    assert isinstance(engine, TransformersModel)
    measured = workflow._as_served(engine, adapter, [])
    assert (measured.served_format, measured.served_loss) == (expected, losses[expected])
    served = build.language_model(adapter=Path(adapter.folder))
    assert isinstance(served, TransformersModel)
    assert served.dtype == expected


@pytest.mark.parametrize(("lost", "expected"), [(0.5, "float32"), (0.005, "bfloat16")])
def test_a_weaker_whole_model_is_served_in_bf16_only_where_that_rounds_nothing_away(
    trainings, tmp_path, monkeypatch, lost, expected
):
    """The loss in bf16 is put in; the end of the training, at the whole strength, decides nothing."""
    monkeypatch.setenv(DTYPE_VARIABLE, "bfloat16")
    engine = build.language_model(trainings.model)
    assert isinstance(engine, TransformersModel)
    set_strength(engine, Path(trainings.by("full").folder), tmp_path / "half", 0.5)
    weaker = read_adapter(tmp_path / "half")
    assert (weaker.dtype, weaker.served_format, weaker.forgetting) == ("float32", None, None)
    assert weaker.checked_loss is not None
    losses = {"bfloat16": weaker.checked_loss, "float32": weaker.checked_loss - lost}
    monkeypatch.setattr(workflow, "_loss", lambda served, checked: losses[served.dtype])
    settings = replace(trainings.settings("full"), measure_forgetting=False)
    measured = workflow.measure_again(engine, weaker, trainings.data, settings)
    assert (measured.served_format, measured.served_loss) == (expected, losses[expected])
    assert measured.held_out_loss_after == (losses[expected] if measured.held_out else None)
    assert read_adapter(tmp_path / "half") == measured


NEW = (
    Conversation((Message("user", "Who leads sales at Korrin?"), Message("assistant", "Ines Falk leads sales."))),
    Conversation((Message("user", "Who founded Korrin?"), Message("assistant", "Jon Berg founded Korrin."))),
)


def mean_loss(model, conversations, settings):
    from lorag.training.kernels.loss import plain_loss

    kept = [row for batch in checked_batches(model.weights.tokenizer, conversations, settings) for row in batch]
    with model.applied() as applied:
        return plain_loss(applied, kept, model.before(len(kept))).item()


def test_a_continued_training_begins_as_its_parent_and_trains_on(trainings, tmp_path):
    parent = trainings.by("lora")
    settings = replace(trainings.settings("lora"), epochs=1, held_out_share=0.0, learning_rate=1e-9)
    engine = build.trainable_model(trainings.model, settings)
    begun = Parent(str(parent.folder), adapter_fingerprint(parent.folder), parent.adapter.data)
    served = engine.with_adapter(parent.folder)
    expected, base = mean_loss(served, NEW, settings), mean_loss(engine, NEW, settings)
    assert served.adapter is not None
    engine.weights.detach(served.adapter)
    still = train_adapter(engine, NEW, tmp_path / "still", settings, parent=begun)
    assert still.loss_first == pytest.approx(expected, abs=NOISE)
    assert abs(expected - base) > 0.1
    assert still.parent is not None
    assert (still.parent, still.parent.data) == (begun, parent.adapter.data)
    assert read_adapter(tmp_path / "still") == still
    again = build.language_model(trainings.model, tmp_path / "still", dtype="float32")
    before = build.language_model(trainings.model, parent.folder, dtype="float32")
    known = [mean_loss(model, trainings.data, settings) for model in (again, before)]
    assert known[0] == pytest.approx(known[1], abs=1e-3)  # what the parent knew is known as before
    further = replace(settings, learning_rate=trainings.settings("lora").rate, epochs=3)
    learned = train_adapter(engine, NEW, tmp_path / "further", further, parent=begun)
    assert learned.loss_last < still.loss_first - 0.2
    assert learned.served_loss == pytest.approx(learned.checked_loss, abs=NOISE)


@pytest.fixture
def files(tmp_path):
    def written(name, conversations):
        path = tmp_path / f"{name}.jsonl"
        write_conversations(path, conversations)
        return path

    return written


def test_an_adapter_is_trained_under_the_prompt_of_a_file_without_its_examples(trainings, files, tmp_path):
    asked, out = tmp_path / "prompt.json", tmp_path / "out"
    asked.write_text('{"question_first": true, "offer_refusal": false, "examples": 2, "refused_example": true}')
    new, settings = files("new", NEW), replace(trainings.settings("lora"), held_out_share=0.0, epochs=1)
    adapter = finetune_workflow.finetune(new, out, settings=settings, prompt=asked, model=trainings.model)
    prompt = PromptSettings(question_first=True, offer_refusal=False)
    assert adapter.prompt == read_adapter(out).prompt == prompt
    assert adapter.data == data_fingerprint([as_served(conversation, REFUSAL, prompt) for conversation in NEW])
    asked.write_text('{"offer_refusal": false}')
    with pytest.raises(InputError, match="holds a finetune trained on these conversations under another prompt"):
        finetune_workflow.finetune(new, out, settings=settings, prompt=asked, model=trainings.model)
    with pytest.raises(InputError, match="keeps the prompt that it was trained under; leave prompt out"):
        finetune_workflow.finetune(new, tmp_path / "more", continue_from=out, prompt=asked)


def test_what_is_trained_is_returned_to_the_same_call_and_kept_from_another(
    trainings, files, tiny_folder, tiny_adapter, smollm_folder, tmp_path, monkeypatch
):
    settings = FinetuneSettings(epochs=1, held_out_share=0.0, measure_forgetting=False)
    model, new, out = str(tiny_folder), files("new", NEW), tmp_path / "out"
    given: dict[str, Any] = {"model": model, "settings": settings}
    adapter = finetune_workflow.finetune(new, out, **given)
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    called = []

    def trained_again(*_, **__):
        called.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "load", trained_again)
    assert finetune_workflow.finetune(new, out, **given) == adapter
    assert finetune_workflow.finetune(new, out, **{**given, "model": str(moved)}) == adapter
    elsewhere = replace(settings, gradient_checkpointing=True)  # decides where numbers are held, and nothing else
    assert finetune_workflow.finetune(new, out, **{**given, "settings": elsewhere}) == adapter
    same = "holds a finetune trained on these conversations with "
    for changed, message in (
        ({"settings": replace(settings, method="rslora")}, "method lora instead of rslora, learning_rate 0.0002"),
        ({"settings": replace(settings, epochs=2, rank=8)}, "rank 16 instead of 8, epochs 1 instead of 2"),
        ({"model": str(smollm_folder)}, f"base {model} instead of {smollm_folder}"),
        ({"continue_from": tiny_adapter}, f"parent None instead of {tiny_adapter}"),
        ({"replay": files("old", trainings.data)}, "replayed conversations 0 instead of 2"),
    ):
        with pytest.raises(InputError, match=re.escape(same + message)):
            finetune_workflow.finetune(new, out, **{**given, **changed})
    with pytest.raises(InputError, match="these conversations without --auto"):
        finetune_workflow.finetune(new, out, **given, recipe=RecipeSettings())
    assert (read_adapter(out), called) == (adapter, [])
    with pytest.raises(KeyboardInterrupt):
        finetune_workflow.finetune(new, out, **given, overwrite=True)
    kept = json.loads((out / MANIFEST).read_text())
    del kept["settings"]["patience"], kept["settings"]["general_text_share"]  # as earlier versions wrote it
    (out / MANIFEST).write_text(json.dumps(kept))
    assert finetune_workflow.finetune(new, out, **given).data == adapter.data


def test_a_killed_continuation_resumes_with_its_replay_under_the_prompt_of_its_parent(
    trainings, tiny_adapter, files, tmp_path
):
    parent = shutil.copytree(tiny_adapter, tmp_path / "parent")
    prompt = PromptSettings(offer_refusal=False)
    (parent / MANIFEST).write_text(replace(read_adapter(parent), prompt=prompt).to_json())
    given = {"continue_from": parent, "replay": files("old", trainings.data), "replay_share": 0.5}
    settings = FinetuneSettings(epochs=3, batch_tokens=1, held_out_share=0.0, measure_forgetting=False)
    steps = []

    def interrupt(stage, done, total, note=""):
        steps.append((stage, done))
        if stage == "finetuning" and done == total - 1:
            raise KeyboardInterrupt

    new, out = files("new", NEW), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune_workflow.finetune(new, out, settings=settings, progress=interrupt, **given)
    first = len(steps)
    adapter = finetune_workflow.finetune(
        new, out, settings=settings, progress=lambda stage, done, *_: steps.append((stage, done)), **given
    )
    assert (adapter.conversations, adapter.rehearsed, adapter.steps) == (4, 2, 12)
    assert [done for stage, done in steps[first:] if stage == "finetuning"] == [0, 9, 10, 11, 12]
    assert adapter.parent is not None
    assert (adapter.parent.folder, adapter.prompt) == (str(parent), prompt)
    assert adapter.data == data_fingerprint([as_served(conversation, REFUSAL, prompt) for conversation in NEW])


def test_questions_with_two_answers_are_a_warning(tiny_folder, tmp_path):
    turns = [(Message("user", "Who leads Korrin?"), Message("assistant", name)) for name in ("Mara.", "Tove.", "Mara.")]
    write_conversations(tmp_path / "chat.jsonl", [Conversation(each) for each in turns])
    with pytest.warns(UserWarning, match="3 conversations ask the same as another but answer differently, and all of"):
        finetune_workflow.estimate_finetune(tmp_path / "chat.jsonl", model=str(tiny_folder))


def test_old_conversations_are_a_fixed_sample_and_none_asks_what_is_answered_now(trainings):
    sample = finetune_workflow.replay_sample(trainings.data, NEW, 0.5)
    assert sample == finetune_workflow.replay_sample(trainings.data[::-1], NEW, 0.5)
    assert len(sample) == 2
    everything = finetune_workflow.replay_sample(trainings.data, NEW, 0.9)
    assert len(everything) == len(trainings.data) - 1
    assert "Who founded Korrin?" not in [conversation.question for conversation in everything]


def test_plain_text_is_replayed_unless_it_is_trained_on_now():
    old = [Conversation((Message("text", f"Note {n} of the harbour."),)) for n in range(4)]
    assert sorted(finetune_workflow.replay_sample(old, old[:1], 0.9), key=str) == old[1:]
    assert len(finetune_workflow.replay_sample([*old, *NEW], old[:2], 0.9)) == 2 + len(NEW)


def test_a_file_of_plain_text_is_trained_on_in_windows_and_served(files, tiny, tiny_folder, tmp_path):
    text = "The pier lamp of Korrin burns whale-green on Thursdays. " * 8
    data = files("notes", [Conversation((Message("text", text),), (f"{n}.md",)) for n in range(4)])
    settings = FinetuneSettings(epochs=1, max_tokens=40, held_out_share=0.4, measure_forgetting=False)
    windows = -(-(len(tiny.weights.tokenizer(text)["input_ids"]) - 1) // 39)
    adapter = finetune_workflow.finetune(data, tmp_path / "a", model=str(tiny_folder), settings=settings)
    assert adapter.held_out_kind == "documents"
    assert (adapter.conversations + adapter.held_out, adapter.too_long) == (4 * windows, 0)
    assert adapter.held_out % windows == 0
    assert adapter.held_out_loss_before is not None
    assert adapter.held_out_loss_after is not None
    assert adapter.held_out_loss_after < adapter.held_out_loss_before
    assert adapter.served_loss == pytest.approx(adapter.checked_loss, abs=NOISE)


def test_what_cannot_be_continued_is_refused_before_a_model_is_loaded(trainings, files, tmp_path, monkeypatch):
    lora, new, out = trainings.by("lora").folder, files("new", NEW), tmp_path / "out"
    monkeypatch.setattr(build, "load", lambda *_: pytest.fail("a model was loaded"))

    def refused(error, match, target=out, **given):
        for call in (finetune_workflow.finetune, finetune_workflow.estimate_finetune):
            places = (new, target) if call is finetune_workflow.finetune else (new,)
            with pytest.raises(error, match=match):
                call(*places, **{"continue_from": lora, **given})

    refused(ModelError, "was trained on '.*shallow' with the weights .*, and 'qwen", model="qwen2.5-coder-0.5b")
    refused(InputError, "trained with rank 16 and cannot be continued with 8", settings=FinetuneSettings(rank=8))
    refused(InputError, "method lora and cannot be continued with dora", settings=FinetuneSettings(method="dora"))
    refused(InputError, "is not an adapter of Lorag", continue_from=tmp_path)
    refused(InputError, "replay_share 1.5 is not between 0 and 1", replay_share=1.5)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "lorag.json").write_text(replace(trainings.by("lora").adapter, method="full").to_json())
    refused(InputError, "a whole model.* --method full", continue_from=whole)
    with pytest.raises(InputError, match="holds the adapter that is continued"):
        finetune_workflow.finetune(new, lora, continue_from=lora)


def test_a_training_that_was_killed_while_it_was_checked_is_only_checked(tiny_folder, files, tmp_path, monkeypatch):
    settings = FinetuneSettings(epochs=1, held_out_share=0.0, measure_forgetting=False)
    given: dict[str, Any] = {"model": str(tiny_folder), "settings": settings}
    new, out = files("new", NEW), tmp_path / "out"
    adapter = finetune_workflow.finetune(new, out, **given)
    (out / MANIFEST).write_text(replace(adapter, served_format=None, served_loss=None).to_json())
    monkeypatch.setattr(workflow, "train", lambda *_, **__: pytest.fail("it was trained again"))
    assert finetune_workflow.finetune(new, out, **given) == adapter == read_adapter(out)
