"""A tracker is refused before anything is trained, or is shown every loss of the training."""

import struct

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from lorag.errors import InputError, MissingExtraError, OperationError
from lorag.settings import FinetuneSettings, RecipeSettings
from lorag.training import trackers
from lorag.training.data.conversations import write_conversations
from lorag.workflows.finetune import finetune
from lorag.workflows.finetuning.adapter_training import train_adapter

SETTINGS = FinetuneSettings(learning_rate=1e-4, epochs=3, held_out_share=0.0, measure_forgetting=False)


class Shown(TrainerCallback):
    """Stands for a tracker's callback, of which the library makes one for a training."""

    losses: list[float] = []  # noqa: RUF012 - of the one training of a test
    named: list[str] = []  # noqa: RUF012

    def on_train_begin(self, args, state, control, **_):
        self.named.append(f"{args.project}/{args.run_name}")
        print("* a tracker greets")  # noqa: T201

    def on_log(self, args, state, control, logs=None, **_):
        self.losses.extend([logs["loss"]] if "loss" in logs else [])


def test_a_tracker_is_shown_every_loss(tiny, trainings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Shown)
    adapter = train_adapter(tiny, trainings.data, tmp_path / "support", SETTINGS, report_to="trackio")
    assert tuple(Shown.losses) == adapter.loss_curve
    assert Shown.named == ["lorag/support"]
    printed = capsys.readouterr()
    assert ("greets" in printed.out, "greets" in printed.err) == (False, True)


def losses_in(folder):
    """The training losses of the event files in ``folder``: each record is a length, its checksum, an event, its own.

    https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
    """
    events = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is missing: `make test` has it")
    losses = []
    for file in folder.glob("events.out.tfevents.*"):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = events.Event.FromString(data[12 : 12 + length])
            losses += [value.simple_value for value in event.summary.value if value.tag == "train/loss"]
            data = data[16 + length :]
    return losses


@pytest.mark.parametrize("own", [False, True])
def test_files_of_tensorboard_lie_beside_the_adapter_unless_the_user_has_a_place(
    own, tiny, trainings, tmp_path, monkeypatch
):
    pytest.importorskip("tensorboardX", reason="tensorboardX is missing: `make test` has it")
    if own:
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    adapter = train_adapter(tiny, trainings.data, tmp_path / "support", SETTINGS, report_to="tensorboard")
    folder = tmp_path / "mine" if own else tmp_path / "runs" / "support"
    assert losses_in(folder) == pytest.approx(adapter.loss_curve)
    assert (tmp_path / "runs").exists() != own


def test_a_tracker_that_does_not_start_ends_the_training_in_a_line(tiny, trainings, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is missing: `make test` has it")
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(OperationError, match=r"^the tracker tensorboard does not start: .*; correct its setup.*$"):
        train_adapter(tiny, trainings.data, tmp_path / "support", SETTINGS, report_to="tensorboard")
    assert not (tmp_path / "support").exists()


def test_a_tracker_that_fails_later_costs_no_training(tiny, trainings, tmp_path, monkeypatch):
    class Unreachable(TrainerCallback):
        calls = 0

        def on_log(self, args, state, control, **_):
            Unreachable.calls += 1
            raise ConnectionError("the server\nis gone")

    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Unreachable)
    with pytest.warns(
        UserWarning, match="trackio failed, and the training continues.*: ConnectionError: the server is"
    ):
        adapter = train_adapter(tiny, trainings.data, tmp_path / "support", SETTINGS, report_to="trackio")
    assert (len(adapter.loss_curve) > 1, Unreachable.calls) == (True, 1)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"report_to": "wandb"},
            MissingExtraError,
            "wandb needs the package 'wandb'; install it with `pip install wandb`",
        ),
        ({"report_to": "tensorbored"}, InputError, "unknown tracker 'tensorbored'; did you mean tensorboard"),
        ({"report_to": "wandb", "recipe": RecipeSettings()}, InputError, "a tracker shows one; leave"),
        ({"thoughts": "keep"}, InputError, "thoughts 'keep' is not one of train, strip"),
    ],
)
def test_what_cannot_be_tracked_is_refused_before_a_model_is_loaded(
    options, kind, message, trainings, tmp_path, monkeypatch
):
    installed = "recipe" in options
    monkeypatch.setattr(trackers, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr("lorag.build.trainable_model", lambda *_: pytest.fail("a model was loaded"))
    write_conversations(tmp_path / "talks.jsonl", trainings.data)
    with pytest.raises(kind, match=message):
        finetune(tmp_path / "talks.jsonl", tmp_path / "out", **options)
