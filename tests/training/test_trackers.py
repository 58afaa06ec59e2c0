"""A tracker is refused before anything is trained, or is shown every loss of the training."""

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from lorag.errors import InputError, MissingExtraError
from lorag.settings import FinetuneSettings, RecipeSettings
from lorag.training import trackers
from lorag.training.data.conversations import write_conversations
from lorag.workflows.finetune import finetune
from lorag.workflows.finetuning.adapter_training import train_adapter


class Shown(TrainerCallback):
    """Stands for a tracker's callback, of which the library makes one for a training."""

    losses: list[float] = []  # noqa: RUF012 - of the one training of a test
    named: list[str] = []  # noqa: RUF012

    def on_train_begin(self, args, state, control, **_):
        self.named.append(f"{args.project}/{args.run_name}")

    def on_log(self, args, state, control, logs=None, **_):
        self.losses.extend([logs["loss"]] if "loss" in logs else [])


def test_a_tracker_is_shown_every_loss(tiny, trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Shown)
    settings = FinetuneSettings(learning_rate=1e-4, epochs=1, held_out_share=0.0, measure_forgetting=False)
    adapter = train_adapter(tiny, trainings.data, tmp_path / "support", settings, report_to="trackio")
    assert tuple(Shown.losses) == adapter.loss_curve
    assert Shown.named == ["lorag/support"]


def test_files_of_tensorboard_lie_beside_the_adapter_unless_the_user_has_a_place(tmp_path, monkeypatch):
    class Board(TrainerCallback):
        logging_dir = None

    monkeypatch.setattr(trackers, "find_spec", lambda name: object() if name == "tensorboardX" else None)
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", Board)
    assert trackers.tracker("tensorboard", tmp_path / "support").logging_dir == str(tmp_path / "runs" / "support")
    monkeypatch.setattr(Board, "logging_dir", "mine")
    assert trackers.tracker("tensorboard", tmp_path / "support").logging_dir == "mine"


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
        ({"thoughts": "keep"}, InputError, "thoughts 'keep' is none of train, strip"),
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
