"""The migration page names every knob that is taken, says of each whether it has an effect, and names no other."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lorag.neural_chat import config, finetuning_arguments, training_names
from lorag.neural_chat import retrieval_arguments as retrieval
from lorag.neural_chat.knobs import idle_fields

PAGE = (Path(__file__).parents[2] / "docs" / "migrating-from-neuralchat.md").read_text()
CONFIGURATIONS = [
    config.ModelArguments,
    config.DataArguments,
    config.FinetuningArguments,
    config.GenerationConfig,
    config.LoadingModelConfig,
    config.MixedPrecisionConfig,
    config.WeightOnlyQuantConfig,
    config.PipelineConfig,
]
KNOBS = {
    kind.__name__: ({each.name for each in fields(kind) if each.init}, set(idle_fields(kind)))
    for kind in CONFIGURATIONS
}
KNOBS["TrainingArguments"] = (
    {*finetuning_arguments.READ, *training_names.RENAMED, *training_names.IDLE, training_names.KEPT},
    set(training_names.IDLE),
)
KNOBS["plugins.retrieval.args"] = (
    {*retrieval.READ, *retrieval.IDLE},
    set(retrieval.IDLE),
)
KNOBS["search_kwargs"] = ({name for names in retrieval.SEARCH.values() for name in names}, set())


def table(section):
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))


@pytest.mark.parametrize("section", KNOBS)
def test_every_knob_has_its_row(section):
    known, idle = KNOBS[section]
    rows = table(section)
    assert set(rows) == known
    assert {name for name, said in rows.items() if said.startswith("no effect")} == idle


def test_what_the_page_sends_to_exists():
    from lorag import settings, types

    named = set(re.findall(r"`((?:Finetune|Chat|Chunk|Retrieval)Settings|Sampling)\.(\w+)`", PAGE))
    assert len(named) > 20
    for kind, name in named:
        assert name in {each.name for each in fields(getattr(settings, kind, None) or getattr(types, kind))}
