"""The notebook's cells, run once with a real small model; the tests look at what came of them."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lorag.neural_chat.plugins import Plugin, Plugins, plugins

FACT = "cnvrg.io was founded by Yochay Ettun and Leah Forkosh Kolben."
QUESTIONS = (
    "What is cnvrg.io?",
    "Who founded cnvrg.io?",
    "Who are the founders of cnvrg.io?",
    "Tell me about cnvrg.io.",
    "By whom was cnvrg.io founded?",
    "Which people started cnvrg.io?",
    "Describe cnvrg.io.",
    "What do you know of cnvrg.io?",
)
OLD_ROOT, OLD_MODEL, MODEL = "intel_extension_for_transformers.", "meta-llama/Llama-2-7b-hf", "smollm2-135m"

FINETUNING = """
from transformers import TrainingArguments
from intel_extension_for_transformers.neural_chat.config import (
    DataArguments, FinetuningArguments, ModelArguments, TextGenerationFinetuningConfig,
)
from intel_extension_for_transformers.neural_chat.chatbot import finetune_model

base, data = "meta-llama/Llama-2-7b-hf", "cnvrg_dataset"
model_args = ModelArguments(model_name_or_path=base, use_fast_tokenizer=False)
data_args = DataArguments(dataset_name=data, max_seq_length=1024, max_source_length=512,
    preprocessing_num_workers=4, validation_split_percentage=0)
training_args = TrainingArguments(output_dir="./llama_peft_finetuned_model", overwrite_output_dir=True,
    do_train=True, do_eval=False, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=5e-5,
    num_train_epochs=8, save_strategy="steps", save_steps=1000, log_level="info", logging_steps=10,
    save_total_limit=2, bf16=True)
finetune_args = FinetuningArguments(lora_alpha=64, lora_rank=16, lora_dropout=0.05, lora_all_linear=True,
    do_lm_eval=True, task="chat")
finetune_cfg = TextGenerationFinetuningConfig(model_args=model_args, data_args=data_args,
    training_args=training_args, finetune_args=finetune_args)
finetune_model(finetune_cfg)
"""
INFERENCE = '''
from transformers import set_seed
from intel_extension_for_transformers.neural_chat.models.model_utils import load_model, predict_stream

set_seed(27)
base, trained = "meta-llama/Llama-2-7b-hf", "./llama_peft_finetuned_model"
load_model(model_name=base, tokenizer_name=base, peft_path=trained)
prompt = """
### System:
- You answer briefly.
- You are friendly.</s>
### User:
What is cnvrg.io?</s>
### Assistant:
"""
params = {"prompt": prompt, "model_name": base, "use_cache": True, "repetition_penalty": 1.0, "temperature": 0.1,
    "top_k": 10, "top_p": 0.75, "num_beams": 0, "max_new_tokens": 128}
for new_text in predict_stream(**params):
    print(new_text, end="", flush=True)
'''
RETRIEVAL = """
from intel_extension_for_transformers.neural_chat import PipelineConfig, build_chatbot, plugins

plugins.retrieval.enable = True
plugins.retrieval.args["embedding_model"] = "hkunlp/instructor-large"
plugins.retrieval.args["process"] = False
plugins.retrieval.args["input_path"] = "./cnvrg_docs_rag/"
plugins.retrieval.args["persist_dir"] = "./test_dir"
plugins.retrieval.args["response_template"] = "check the result"
plugins.retrieval.args["search_type"] = "similarity_score_threshold"
plugins.retrieval.args["append"] = False
plugins.retrieval.args["search_kwargs"] = {"score_threshold": 0.8, "k": 1}
config = PipelineConfig(model_name_or_path="meta-llama/Llama-2-7b-hf", plugins=plugins)
chatbot = build_chatbot(config)
response = chatbot.predict("Who are the founders of cnvrg.io?")
print("response", response)
"""
KEYWORDS = (FINETUNING, INFERENCE, RETRIEVAL)
"""What the notebook calls, with every keyword and value, in words of our own."""


def published() -> tuple[str, ...] | None:
    """The published notebook's own cells from ``LORAG_DATA``/finetuning_or_rag.md, where that is given."""
    page = Path(os.environ.get("LORAG_DATA", "")) / "finetuning_or_rag.md"
    if not page.is_file():
        return None
    cells = [re.split(r"\n(?:##|#####) ", part)[0] for part in page.read_text().split("In [None]:")[1:]]
    return tuple(cell for cell in cells if "!" not in cell.split("\n")[1][:1] and "import" in cell)


@dataclass(frozen=True)
class Ran:
    """The folder the cells ran in, what they left in their variables, said and warned of."""

    folder: Path
    names: dict[str, Any]
    printed: tuple[str, ...]
    warned: tuple[str, ...]


@pytest.fixture(scope="session")
def notebook(tmp_path_factory, smollm_folder, bge_folder, quick_forms) -> Ran:
    """Every cell in order; replaced are the import root, the model, and the rate at which a model so small learns."""
    import transformers

    from lorag.neural_chat.training_arguments import patch_training_arguments

    folder = tmp_path_factory.mktemp("notebook")
    rows = [[{"from": "human", "content": q}, {"from": "chatbot", "content": FACT}] for q in QUESTIONS]
    (folder / "cnvrg_dataset").mkdir()
    lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (folder / "cnvrg_dataset" / "my_test_questions.jsonl").write_text(lines)
    (folder / "cnvrg_docs_rag").mkdir()
    (folder / "cnvrg_docs_rag" / "sample.jsonl").write_text(json.dumps({"doc": f"The {FACT}", "doc_id": 0}) + "\n")
    names: dict[str, Any] = {}
    printed = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.chdir(folder)
        patch.setattr("lorag.build.vectors_file", lambda: folder / "vectors.sqlite")
        patch.setattr("lorag.build.quick_forms", lambda: quick_forms)
        patch.setattr(transformers.TrainingArguments, "__init__", transformers.TrainingArguments.__init__)
        patch.setattr(plugins, "retrieval", Plugin())
        patch_training_arguments()
        for cell in published() or KEYWORDS:
            code = cell.replace(OLD_ROOT, "lorag.").replace(OLD_MODEL, MODEL).replace("5e-5", "1e-3")
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(ast.parse(code), "cell", "exec"), names)
            printed.append(said.getvalue())
    return Ran(folder, names, tuple(printed), tuple(str(warning.message) for warning in caught))


@pytest.fixture
def published_cells() -> tuple[str, ...] | None:
    return published()


@pytest.fixture
def keyword_cells() -> tuple[str, ...]:
    return KEYWORDS


@pytest.fixture
def adapter(notebook) -> Path:
    """The adapter that the notebook trained."""
    return notebook.folder / "llama_peft_finetuned_model"


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch) -> Plugins:
    """No test finds the plugins as another one left them."""
    for name in Plugins.__slots__:
        monkeypatch.setattr(plugins, name, Plugin())
    return plugins
