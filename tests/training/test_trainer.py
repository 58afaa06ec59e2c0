"""Updates weigh every supervised token the same, however they are cut into steps."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from lorag.errors import StorageError
from lorag.llm.engines.transformers import load
from lorag.settings import FinetuneSettings
from lorag.training import finetuning
from lorag.training.adapter import read_adapter
from lorag.training.finetuning import Base, train
from lorag.training.recipe import Probing
from lorag.types import Conversation, Message

ANSWERS = ("Mara Lind.", "Tide gauges, sold in three sizes to ports and to universities.", "Bergen.", "Since 1994.")
DATA = [
    Conversation((Message("user", f"Question {i}?"), Message("assistant", answer)))
    for i, answer in enumerate(ANSWERS, start=1)
]
AT_ONCE = FinetuneSettings(
    epochs=3, learning_rate=1e-3, batch_tokens=1024, held_out_share=0.0, measure_forgetting=False
)
ONE_BY_ONE = replace(AT_ONCE, batch_tokens=1, gradient_accumulation_steps=4)


@pytest.fixture(scope="module")
def at_once(tiny_folder, tmp_path_factory):
    return trained(tiny_folder, tmp_path_factory.mktemp("adapters") / "at_once", AT_ONCE)


def base(folder):
    weights = load(folder, dtype="float32").weights
    return Base(weights.model, weights.tokenizer, str(folder), weights.fingerprint)


def trained(folder, out, settings):
    adapter = train(base(folder), DATA, out, settings)
    return adapter, load_file(out / "adapter_model.safetensors")


def assert_same(ours, theirs):
    """Equal but for the order of sums, which Adam's first steps magnify where a gradient is almost zero."""
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert (ours[name] - weight).norm() <= 0.03 * weight.norm()


def test_a_full_disk_is_one_error_and_a_later_training_goes_on_from_the_last_whole_checkpoint(
    at_once, tiny_folder, tmp_path, largest_file
):
    out, before = tmp_path / "a", []

    def run(progress):
        return train(base(tiny_folder), DATA, out, AT_ONCE, progress=progress)

    with ExitStack() as full:

        def fill(stage, done, total, note=""):
            if done == 2:  # the first pass is saved
                full.enter_context(largest_file(100_000))

        with pytest.raises(
            StorageError, match=r"\.a\.checkpoints': the disk is full; free some space and run the same"
        ):
            run(fill)
    half = [path for path in tmp_path.glob(".a.checkpoints/*-*") if not (path / "trainer_state.json").exists()]
    assert [path.name for path in half] == ["checkpoint-2"]
    adapter = run(lambda stage, done, total, note="": before.append(done))
    assert adapter.loss_curve == pytest.approx(at_once[0].loss_curve, rel=1e-3)
    assert 1 not in before
    assert not (tmp_path / ".a.checkpoints").exists()


FIVE = replace(AT_ONCE, epochs=5)


def limited(folder, out, clock, seconds, **more):
    return train(base(folder), DATA, out, FIVE, most_seconds=seconds, progress=clock, **more)


def test_no_pass_begins_that_would_end_too_late_and_what_was_trained_is_the_same(tiny_folder, tmp_path, slow_clock):
    whole = limited(tiny_folder, tmp_path / "whole", slow_clock, 60)
    assert (whole.epochs, whole.steps, whole.seconds, whole.out_of_time) == (5, 5, 50, False)
    cut = limited(tiny_folder, tmp_path / "cut", slow_clock, 29)
    assert (cut.epochs, cut.steps, cut.seconds, cut.out_of_time) == (2, 2, 20, True)
    assert cut.loss_curve == pytest.approx(whole.loss_curve[:2], rel=1e-3)
    assert read_adapter(tmp_path / "cut") == cut
    rows = [Conversation((Message("user", f"Question {i}?"), Message("assistant", "Bergen."))) for i in range(8)]
    row_by_row = replace(FIVE, batch_tokens=1)
    one = train(base(tiny_folder), rows, tmp_path / "one", row_by_row, most_seconds=1, progress=slow_clock)
    assert (one.epochs, one.steps, one.out_of_time) == (1, 8, True)


def test_a_resumed_training_counts_the_time_before_it_was_killed(tiny_folder, tmp_path, slow_clock):
    def kill(stage, done, total, note=""):
        slow_clock(stage, done, total, note)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limited(tiny_folder, tmp_path / "a", kill, 30)
    resumed = limited(tiny_folder, tmp_path / "a", slow_clock, 30)
    assert (resumed.epochs, resumed.steps, resumed.seconds, resumed.out_of_time) == (3, 3, 30, True)


@pytest.mark.parametrize("ended_by", ["time", "probes"])
def test_a_training_that_was_killed_after_its_last_pass_gets_no_further_one(
    tiny_folder, tmp_path, slow_clock, monkeypatch, ended_by
):
    recalls = iter((0.5, 0.5, 0.4))
    probing = Probing(lambda _: next(recalls), before=0.0) if ended_by == "probes" else None
    seconds = 39 if ended_by == "time" else 1000
    with monkeypatch.context() as killed:
        killed.setattr(finetuning, "_save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            limited(tiny_folder, tmp_path / "a", slow_clock, seconds, probing=probing)
    updates = slow_clock.now
    resumed = limited(tiny_folder, tmp_path / "a", slow_clock, 1000, probing=probing)
    assert (resumed.epochs, resumed.steps, resumed.seconds) == (3, 3, 30)
    assert (slow_clock.now, resumed.out_of_time) == (updates, ended_by == "time")


def test_accumulated_steps_are_one_large_step(at_once, tiny_folder, tmp_path):
    adapter, weights = trained(tiny_folder, tmp_path / "one_by_one", ONE_BY_ONE)
    expected, theirs = at_once
    assert adapter.steps == expected.steps == 3
    assert adapter.loss_curve == pytest.approx(expected.loss_curve, rel=1e-3)
    assert_same(weights, theirs)


def test_training_stops_when_other_wordings_get_no_better_and_keeps_the_best_epoch(tiny_folder, tmp_path):
    data = [
        Conversation((Message("user", f"Firm {n}. {wording}"), Message("assistant", f"Its founder is {name}.")))
        for n, name in enumerate(("Mara Lind", "Tove Aker"))
        for wording in ("Who founded it?", "It was founded by whom?", "Name the founder.")
    ]
    settings = FinetuneSettings(
        epochs=30,
        learning_rate=2e-2,
        batch_tokens=512,
        held_out_share=0.3,
        patience=1,
        measure_forgetting=False,
    )
    adapter = train(base(tiny_folder), data, tmp_path / "a", settings)
    assert (adapter.held_out_kind, adapter.conversations, adapter.held_out) == ("wordings", 4, 2)
    assert adapter.steps < 30  # one a step an epoch
    assert adapter.held_out_loss_before is not None
    assert adapter.held_out_loss_after is not None
    assert adapter.held_out_loss_after < adapter.held_out_loss_before


def test_a_training_that_damages_the_model_says_so(shallow_folder, tmp_path):
    with pytest.warns(UserWarning, match=r"the training loss rose from .* lower the learning rate \(it was 0.5\)"):
        trained(shallow_folder, tmp_path / "a", replace(AT_ONCE, learning_rate=0.5, epochs=8))
