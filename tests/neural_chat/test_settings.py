"""Old settings in the core's terms: what is read, what is only named, and what is refused."""

import copy
import sys
import warnings
from typing import Any

import pytest
import transformers

from lorag.errors import InputError, UnknownNameError
from lorag.neural_chat import config as module
from lorag.neural_chat.alias import install_alias
from lorag.neural_chat.config import (
    AutoRoundConfig,
    DataArguments,
    FinetuningArguments,
    GenerationConfig,
    MixedPrecisionConfig,
    ModelArguments,
    PipelineConfig,
    TextGenerationFinetuningConfig,
    TrainingArguments,
    WeightOnlyQuantConfig,
)
from lorag.neural_chat.finetuning_arguments import finetune_settings, idle_knobs
from lorag.neural_chat.knobs import made
from lorag.neural_chat.loading import check_device, dtype_of
from lorag.neural_chat.models.model_utils import sampling
from lorag.neural_chat.plugins import plugins
from lorag.neural_chat.training_arguments import patch_training_arguments
from lorag.neural_chat.training_names import IDLE, RENAMED
from lorag.settings import FinetuneSettings


def finetuning(training=None, data=None, **tuning):
    training = {"do_train": True, "output_dir": "out", **(training or {})}
    data = DataArguments(dataset_name="data", **(data or {}))
    return TextGenerationFinetuningConfig(
        ModelArguments("m"), data, TrainingArguments(**training), FinetuningArguments(**tuning)
    )


def test_a_finetuning_is_what_its_arguments_say():
    training = {"learning_rate": 1e-4, "num_train_epochs": 5, "per_device_train_batch_size": 2, "seed": 7}
    training |= {"gradient_accumulation_steps": 3, "do_eval": True}
    data = {"max_seq_length": 256, "validation_split_percentage": 10}
    config = finetuning(training, data, lora_rank=4, lora_alpha=8, do_lm_eval=True)
    assert finetune_settings(config) == FinetuneSettings(
        rank=4,
        alpha=8,
        virtual_tokens=10,
        learning_rate=1e-4,
        epochs=5,
        batch_rows=2,
        batch_tokens=512,
        gradient_accumulation_steps=3,
        max_tokens=256,
        held_out_share=0.1,
        measure_forgetting=True,
        seed=7,
    )
    assert idle_knobs(config) == []


@pytest.mark.parametrize(
    ("tuning", "method"),
    [({"qlora": True}, "qlora"), ({"full_finetune": True}, "full"), ({"peft": "prefix"}, "prefix"), ({}, "lora")],
)
def test_the_method_is_the_one_that_is_named(tuning, method):
    assert finetune_settings(finetuning(**tuning)).method == method


def test_what_is_not_evaluated_is_not_held_out_and_half_an_epoch_is_a_whole_one():
    with pytest.warns(UserWarning, match=r"num_train_epochs 0.5 is rounded up to 1"):
        settings = finetune_settings(finetuning({"num_train_epochs": 0.5}))
    assert (settings.held_out_share, settings.epochs) == (0, 1)


def test_knobs_without_effect_are_named():
    config = finetuning({"save_steps": 7, "weight_decay": 0.1}, {"max_source_length": 9}, lora_all_linear=False)
    expected = ["DataArguments.max_source_length", "FinetuningArguments.lora_all_linear"]
    assert idle_knobs(config) == [*expected, "TrainingArguments.weight_decay", "TrainingArguments.save_steps"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (lambda: finetuning(peft="ptun"), "unknown peft method 'ptun'"),
        (lambda: finetuning(task="chatt"), "did you mean chat"),
        (lambda: finetuning(qlora=True, peft="prompt"), "peft is 'prompt'"),
        (lambda: finetuning({"do_train": False}), "do_train is False"),
    ],
)
def test_a_finetuning_that_cannot_be_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        finetune_settings(config())


def test_the_data_has_one_source():
    assert DataArguments(train_file="x.jsonl").source == "x.jsonl"
    none_and_two: tuple[dict[str, Any], ...] = ({}, {"train_file": "a", "dataset_name": "b"})
    for given in none_and_two:
        with pytest.raises(InputError, match="expected one of dataset_name"):
            _ = DataArguments(**given).source


def test_training_arguments_take_every_name_they_ever_had():
    given = {"evaluation_strategy": "no", "no_cuda": True, "per_gpu_train_batch_size": 3, "overwrite_output_dir": True}
    with pytest.warns(UserWarning, match="TrainingArguments.fp16_backend, .*TrainingArguments.warmup_ratio"):
        made = TrainingArguments("out", **given, **dict.fromkeys(IDLE, 0))
    assert (made.use_cpu, made.per_device_train_batch_size, made.overwrite_output_dir) == (True, 3, True)
    assert copy.deepcopy(made).overwrite_output_dir
    assert not TrainingArguments("out").overwrite_output_dir
    with pytest.raises(UnknownNameError, match="'learning_rat'; did you mean learning_rate"):
        TrainingArguments("out", learning_rat=1)
    assert not {*RENAMED, *IDLE} & {*transformers.TrainingArguments.__dataclass_fields__}


def test_bf16_without_a_gpu_falls_back_and_says_so(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="there is none: training uses the dtype"):
        made = TrainingArguments("out", bf16=True, fp16=True)
    assert (made.use_cpu, made.fp16) == (True, False)
    with pytest.warns(UserWarning, match="there is none"):
        assert idle_knobs(finetuning({"bf16": True})) == []


def test_the_patch_is_made_once_and_only_when_asked_for(monkeypatch):
    before = transformers.TrainingArguments.__init__
    monkeypatch.setattr(transformers.TrainingArguments, "__init__", before)  # undone after the test
    with pytest.raises(TypeError, match="overwrite_output_dir"):
        transformers.TrainingArguments("out", overwrite_output_dir=True)  # type: ignore[call-arg]
    patch_training_arguments()
    patched = transformers.TrainingArguments.__init__
    patch_training_arguments()
    assert transformers.TrainingArguments.__init__ is patched
    given: dict[str, Any] = {"overwrite_output_dir": True}
    made: Any = transformers.TrainingArguments(output_dir="out", **given | {"evaluation_strategy": "no"})
    assert made.overwrite_output_dir
    assert "overwrite_output_dir" not in made.to_dict()
    trained = transformers.TrainingArguments("out", do_train=True, learning_rate=1e-4, **given)
    config = TextGenerationFinetuningConfig(ModelArguments("m"), DataArguments("data"), trained, FinetuningArguments())
    assert (finetune_settings(config).learning_rate, idle_knobs(config)) == (1e-4, [])
    with pytest.raises(TypeError, match="learning_rat"):
        transformers.TrainingArguments("out", learning_rat=1)  # type: ignore[call-arg]


def test_drawing_is_what_the_configuration_says_and_follows_torchs_seed():
    config = GenerationConfig(temperature=0.5, top_k=3, num_beams=0, max_new_tokens=5)
    transformers.set_seed(27)
    first, second = sampling(config), sampling(config)
    transformers.set_seed(27)
    assert sampling(config) == first
    assert first.seed != second.seed
    assert (first.temperature, first.top_k, first.num_beams, first.max_tokens) == (0.5, 3, 0, 5)
    assert sampling(GenerationConfig(do_sample=False)).temperature == 0


def test_a_pipeline_keeps_the_arguments_of_its_time_and_follows_the_switch():
    plugins.retrieval.args["input_path"] = "first"
    config = PipelineConfig()
    plugins["retrieval"]["args"]["input_path"] = "second"
    plugins.retrieval.enable = True
    assert config.plugins.retrieval.args == {"input_path": "first"}
    assert (config.plugins.retrieval.enable, config.switches.retrieval.enable) == (False, True)
    with pytest.raises(UnknownNameError, match="'retreival'; did you mean retrieval"):
        plugins["retreival"]
    with pytest.raises(UnknownNameError, match="'enabled'; did you mean enable"):
        plugins.retrieval["enabled"] = True


def test_number_formats_are_the_engines_or_refused():
    assert dtype_of(None) == "auto"
    assert dtype_of(MixedPrecisionConfig("float32")) == "float32"
    assert dtype_of(WeightOnlyQuantConfig()) == "nf4"
    assert dtype_of(transformers.BitsAndBytesConfig(load_in_4bit=True)) == "nf4"
    for config in (AutoRoundConfig(bits=8), transformers.BitsAndBytesConfig(load_in_8bit=True), object()):
        with pytest.raises(InputError, match="is not supported; expected weights of 4 bits"):
            dtype_of(config)
    with pytest.raises(UnknownNameError, match="'bfloat61'; did you mean bfloat16"):
        dtype_of(MixedPrecisionConfig("bfloat61"))


def test_another_device_than_there_is_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="'cuda' is not used: this machine computes on 'cpu'"):
        check_device("cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_device("auto")
        check_device("cpu")
    with pytest.raises(UnknownNameError, match="'cdua'; did you mean cuda"):
        check_device("cdua")
    with pytest.raises(UnknownNameError, match="'temprature'; did you mean temperature"):
        made(GenerationConfig, {"temprature": 1})


@pytest.fixture
def old_root():
    """The old import root, which is gone again after the test."""
    name = "intel_extension_for_transformers"
    assert name not in sys.modules
    yield name
    for module_name in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[module_name]


def test_the_old_root_is_there_when_asked_for(old_root):
    with pytest.raises(ModuleNotFoundError):
        __import__(f"{old_root}.neural_chat")
    install_alias()
    install_alias()
    from intel_extension_for_transformers.neural_chat.config import DataArguments as ThroughAlias
    from intel_extension_for_transformers.neural_chat.models.model_utils import load_model
    from intel_extension_for_transformers.transformers import MixedPrecisionConfig as Mixed

    assert (ThroughAlias, Mixed) == (DataArguments, MixedPrecisionConfig)
    assert load_model.__module__ == "lorag.neural_chat.models.model_utils"
    assert module.TrainingArguments is TrainingArguments


def test_the_old_root_is_not_taken_from_the_package_that_has_it(old_root, monkeypatch, tmp_path):
    (tmp_path / old_root).mkdir()
    (tmp_path / old_root / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="is itself installed"):
        install_alias()
