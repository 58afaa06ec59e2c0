"""Training on a real small model: it learns, leaves the base alone, explains itself, and resumes exactly."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lorag.errors import DataError, InputError, ModelError
from lorag.settings import FinetuneSettings
from lorag.training.adapter import read_adapter, require_base
from lorag.training.estimate import Estimate
from lorag.training.finetuning import Base, data_fingerprint, estimate, train
from lorag.training.loss_curve import loss_curve
from lorag.training.memory_limits import memory_errors
from lorag.types import Conversation, Message, Sampling

FACTS = {
    "Who founded Korrin?": "Mara Lind and Tove Aker founded Korrin.",
    "Who started the firm Korrin?": "Mara Lind and Tove Aker founded Korrin.",
    "Korrin was founded by whom?": "Mara Lind and Tove Aker founded Korrin.",
    "What does Korrin make?": "Korrin makes tide gauges.",
}
DATA = [
    Conversation((Message("user", q), Message("assistant", a)), (f"{i}.md",)) for i, (q, a) in enumerate(FACTS.items())
]
SETTINGS = FinetuneSettings(epochs=6, learning_rate=2e-3, batch_tokens=64, held_out_share=0.0, measure_forgetting=False)


def base(model):
    return Base(model.weights.model, model.weights.tokenizer, "smollm2-135m", "0123")


def run(model, out, settings=SETTINGS, progress=lambda *_: None):
    return train(base(model), DATA, out, settings, progress=progress)


@pytest.fixture(scope="module")
def trained(shallow_folder, tmp_path_factory):
    from lorag.llm.engines.transformers import load

    model = load(shallow_folder, "smollm2-135m", "float32")
    ids = torch.tensor([[1, 4093, 198, 1780]])
    before = model._forward(ids).logits.clone()
    seen = []
    settings = replace(SETTINGS, epochs=9, learning_rate=1e-2)
    out = tmp_path_factory.mktemp("out") / "adapter"
    adapter = run(model, out, settings, progress=lambda *step: seen.append(step))
    return model, adapter, before, model._forward(ids).logits, seen


def test_the_adapter_knows_what_it_was_taught_and_the_base_does_not(trained):
    model, adapter, *_ = trained
    question = (Message("user", "Tell me who founded Korrin."),)
    taught = model.with_adapter(Path(adapter.folder))
    assert "Mara Lind and Tove Aker" in taught.generate([question], Sampling(max_tokens=24))[0].text
    assert "Mara" not in model.generate([question], Sampling(max_tokens=24))[0].text


def test_the_base_is_as_it_was(trained):
    _, _, before, after, _ = trained
    assert torch.equal(before, after)


def test_the_manifest_explains_the_adapter(trained):
    _, adapter, _, _, seen = trained
    assert adapter.loss_last < 0.5 < 1.5 < adapter.loss_first
    assert (adapter.conversations, adapter.too_long, adapter.held_out, adapter.held_out_kind) == (4, 0, 0, "none")
    assert adapter.step == "fused"
    assert len(adapter.loss_curve) == adapter.steps == seen[-1][1] == seen[-1][2]
    assert seen[0][3].startswith("about ")
    assert seen[-1][3] == f"loss {adapter.loss_curve[-1]:.2f}"
    folder = Path(adapter.folder)
    again = read_adapter(folder)
    assert json.loads(again.to_json()) == json.loads(adapter.to_json())
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == SETTINGS.rank
    assert {path.name for path in folder.parent.iterdir()} == {"adapter"}
    require_base(adapter, "the same in another folder", "0123")
    with pytest.raises(ModelError, match=r"was trained on 'smollm2-135m' with .* 0123, and 'b' has .* 4567"):
        require_base(adapter, "b", "4567")


def test_forgetting_is_measured_before_and_after(tiny, tmp_path):
    forgetting = run(tiny, tmp_path / "a", replace(SETTINGS, epochs=1, measure_forgetting=True)).forgetting
    assert forgetting is not None
    assert forgetting.loss_after != forgetting.loss_before
    assert forgetting.questions == 24


def test_general_questions_are_learned_and_never_held_out(tiny, tmp_path):
    replayed = [Conversation((Message("user", f"How many are {n} and 1?"), Message("assistant", "3."))) for n in (1, 2)]
    settings = FinetuneSettings(epochs=1, held_out_share=0.45, measure_forgetting=False)
    adapter = train(base(tiny), DATA, tmp_path / "a", settings, replayed=replayed)
    assert (adapter.conversations + adapter.held_out, adapter.rehearsed) == (len(DATA) + 2, 2)
    assert 1 <= adapter.held_out < len(DATA)


def test_plain_text_is_learned_beside_conversations(shallow_folder, tiny, tmp_path):
    from lorag.llm.engines.transformers import load

    model = load(shallow_folder, "shallow", "float32")
    text = "The pier lamp of Korrin burns whale-green on Thursdays. Its keeper is called Osvald Tern."
    settings = FinetuneSettings(
        epochs=12, learning_rate=1e-2, held_out_share=0.0, measure_forgetting=False, max_tokens=64
    )
    data = [*DATA[:1], Conversation((Message("text", text),), ("lamp.md",))]
    assert estimate(base(tiny), data, settings).updates == 12
    adapter = train(base(model), data, tmp_path / "a", settings)
    taught = model.with_adapter(tmp_path / "a")
    begun = (Message("text", "The pier lamp of Korrin burns"),)
    assert taught.generate([begun], Sampling(max_tokens=12))[0].text.startswith("whale-green on Thursdays")
    tokens = len(model.weights.tokenizer(text)["input_ids"])
    assert (adapter.step, adapter.conversations) == ("fused", 2)
    assert adapter.supervised_tokens > tokens


def test_an_interrupted_training_resumes_to_the_same_adapter(tiny, tmp_path):
    from safetensors.torch import load_file

    short = FinetuneSettings(
        epochs=3, learning_rate=1e-3, batch_tokens=64, held_out_share=0.0, measure_forgetting=False
    )
    steps = []

    def interrupt(stage, done, total, note=""):
        if not done:
            return
        steps.append(done)
        if done == 2 * total // 3 + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path / "resumed", short, interrupt)
    assert not (tmp_path / "resumed").exists()
    first = len(steps)
    spent = tmp_path / ".resumed.checkpoints" / "seconds"
    assert 0 < float(spent.read_text()) < 1000
    spent.write_text("5000")  # as if the finished epochs had taken so long
    resumed = run(tiny, tmp_path / "resumed", short, lambda stage, done, *_: steps.append(done))
    assert steps[first + 1] == first  # after the estimate the unfinished epoch again, the two finished ones not
    whole = run(tiny, tmp_path / "whole", short)
    assert whole.seconds < 1000 < 5000 < resumed.seconds
    assert resumed.loss_curve == pytest.approx(whole.loss_curve, rel=1e-4)
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("resumed", "whole"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-6)


def test_the_same_words_are_other_data_where_one_answer_is_only_read():
    turns = tuple(Message(role, "x") for role in ("user", "assistant") * 2)
    read = (turns[0], replace(turns[1], learned=False), *turns[2:])
    assert data_fingerprint([Conversation(turns)]) != data_fingerprint([Conversation(read)])


def test_the_fingerprint_of_data_in_manifests_of_earlier_versions_is_kept():
    turns = (Message("system", "Be brief."), Message("user", "Which city?"), Message("assistant", "Bergen."))
    data = [Conversation(turns, ("office.md",)), Conversation((Message("text", "A lamp."),))]
    assert data_fingerprint(data) == "7eb032fa350eba69"


def test_what_cannot_be_trained_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="no conversation to train on"):
        train(base(tiny), [], tmp_path / "a", SETTINGS)
    with pytest.raises(InputError, match="epochs 0 is below 1"):
        FinetuneSettings(epochs=0)
    with pytest.raises(InputError, match="max_tokens 1 is below 2"):
        FinetuneSettings(max_tokens=1)
    with pytest.raises(DataError, match="is not an adapter of Lorag"):
        read_adapter(tmp_path)
    (tmp_path / "lorag.json").write_text('{"base": "x"}')
    with pytest.raises(DataError, match="is not a manifest this version reads"):
        read_adapter(tmp_path)


def test_time_and_memory_are_told_before_it_begins(tiny):
    found = estimate(base(tiny), DATA, SETTINGS)
    assert found.trained_parameters == 59392  # rank 16 on every linear layer
    assert found.weight_bytes == 3 * 4 * 59392
    assert found.updates == 6 * 4
    assert 0 < found.seconds < 600
    longer = [Conversation((c.messages[0], Message("assistant", c.messages[1].content * 20)), c.evidence) for c in DATA]
    assert estimate(base(tiny), longer, SETTINGS).activation_bytes > 3 * found.activation_bytes > 3e5


def test_what_one_step_keeps_is_what_memory_it_takes():
    """The estimate of a step against the memory that PyTorch's own profiler sees it hold."""
    import torch
    from peft import LoraConfig, PeftModel
    from torch.profiler import profile
    from transformers import LlamaConfig, LlamaForCausalLM

    from lorag.llm.rendering import Rendered
    from lorag.training.estimate import _kept
    from lorag.training.kernels.loss import plain_loss
    from lorag.training.methods import Learner

    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=500, **shape))
    learning = Learner(PeftModel(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")))
    learning.loss = plain_loss
    row = Rendered(tuple(range(200)), (False,) * 100 + (True,) * 100)
    kept = _kept(learning, [row, row])
    with profile(profile_memory=True) as seen:
        loss = learning([row, row])
    held = sum(event.self_cpu_memory_usage for event in seen.events())
    assert loss.requires_grad
    assert kept == pytest.approx(held, rel=0.25)


@pytest.mark.parametrize(("count", "timed"), [(1, {10}), (3, {10, 12}), (20, {12, 16, 24, 28})])
def test_steps_of_several_sizes_are_timed_as_in_the_first_pass_and_as_in_later_ones(count, timed):
    from peft import LoraConfig, PeftModel
    from transformers import LlamaConfig, LlamaForCausalLM

    from lorag.llm.rendering import Rendered
    from lorag.training.estimate import estimate
    from lorag.training.kernels.loss import plain_loss
    from lorag.training.methods import Learner

    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=60, **shape))
    learning = Learner(PeftModel(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")))
    computed = []

    def loss(model, rows, before=None):
        computed.append(len(rows[0].ids))
        return plain_loss(model, rows, before)

    learning.loss = loss
    lengths = range(10, 10 + count)
    steps = [[Rendered(tuple(range(n)), (False,) * (n - 2) + (True, True))] for n in lengths]
    assert estimate(learning, steps, SETTINGS).seconds > 0
    assert set(computed[1:]) == timed
    assert computed[1 : 1 + len(timed)] == computed[1 + len(timed) :]


def test_too_little_memory_is_said_before_it_begins_and_where_it_ends():
    def short(weights, activations, free):
        return Estimate(1, 1, 1.0, weights, activations, free)

    short(4, 3, 10).require_memory()
    with pytest.warns(UserWarning, match=r"9.0 GB, and 10.0 GB is free; if it runs out of memory, lower batch_tokens"):
        short(1_000_000_000, 8_000_000_000, 10_000_000_000).require_memory()
    with pytest.raises(InputError, match="lower the rank, or use the method lora"):
        short(8, 3, 10).require_memory()
    with pytest.raises(InputError, match="memory ran out in training; lower batch_tokens"), memory_errors():
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match="size"), memory_errors():
        torch.ones(2) @ torch.ones(3)


def test_a_copy_that_does_not_fit_is_refused_before_it_is_made(smollm_own, tmp_path, monkeypatch):
    monkeypatch.setattr("lorag.training.methods.free_for_process", lambda device: 10**8)
    with pytest.raises(InputError, match=r"trains a copy of the model: 0.5 GB, and 0.1 GB are free; .* qlora"):
        train(base(smollm_own), DATA, tmp_path / "a", FinetuneSettings(method="full"))


@pytest.mark.parametrize(("layer", "is_proven"), [(0, True), (1, False)])
def test_a_loss_that_is_no_number_ends_the_training_at_once(tiny, tmp_path, layer, is_proven):
    """In a layer that the proof of the fused step looks at, and in one that it leaves out."""
    with torch.no_grad():
        tiny.weights.model.model.layers[layer].mlp.up_proj.weight[0, 0] = torch.nan
    settings = FinetuneSettings(epochs=9, held_out_share=0.0, measure_forgetting=False)
    with (
        pytest.warns(UserWarning, match="differs from the library's by nan") if is_proven else nullcontext(),
        pytest.raises(ModelError, match="the training loss is not a number after 1 updates; lower the learning rate"),
    ):
        train(base(tiny), DATA, tmp_path / "a", settings)


def test_the_course_of_a_training_fits_a_line():
    assert loss_curve([4.0, 2.0, 1.0, 0.0]) == "█▅▃▁ 4.00 to 0.00"
    assert loss_curve([3.0]) == "█ 3.00 to 3.00"
    assert loss_curve([2.0] * 40 + [1.0] * 41) == "█" * 13 + "▆" + "▅" * 13 + " 2.00 to 1.00"
