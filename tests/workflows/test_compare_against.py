"""A run beside another one takes its answers, and asks a model on this machine only what is new."""

import json
import shutil

from safetensors.torch import load_file, save_file

from lorag.evaluation.comparison import FINETUNED_EVIDENCE
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import ChatSettings, CompareSettings
from lorag.types import Sampling
from lorag.workflows.compare import compare

SETTINGS = CompareSettings(limit=1, prompt_questions=0, chat=ChatSettings(sampling=Sampling(max_tokens=8)))
WEIGHTS = "adapter_model.safetensors"


def test_a_run_against_another_one_asks_only_the_changed_adapter_of_a_model_on_this_machine(
    case, peft_folder, bge_folder, tmp_path, monkeypatch
):
    other = shutil.copytree(peft_folder, tmp_path / "other")
    save_file(
        {name: -each if "lora_B" in name else each for name, each in load_file(other / WEIGHTS).items()},
        other / WEIGHTS,
    )
    generated: list[tuple[bool, str]] = []
    generate = TransformersModel.generate

    def noted(model, prompts, sampling):
        generated.extend((model.adapter_folder is None, str(prompt)) for prompt in prompts)
        return generate(model, prompts, sampling)

    monkeypatch.setattr(TransformersModel, "generate", noted)

    def asked(name, adapter, against=None):
        """The texts of the answers, and what the base and the adapter were asked, each prompt once."""
        generated.clear()
        given = {"model": case.model, "adapter": adapter, "settings": SETTINGS, "against": against}
        compare(case.folder / "docs", case.folder / "qa.jsonl", **given, out=tmp_path / name)
        assert len(set(generated)) == len(generated)
        by_base, by_adapter = ({prompt for is_base, prompt in generated if is_base == base} for base in (True, False))
        rows = [json.loads(line) for line in (tmp_path / name / "rows.jsonl").read_text().splitlines()]
        return {(row["arm"], row["example_id"]): row["answer"]["text"] for row in rows}, by_base, by_adapter

    first, by_base, by_adapter = asked("first", peft_folder)
    assert by_base
    assert by_base == by_adapter
    second, *again = asked("second", other, tmp_path / "first")
    assert again == [set(), by_adapter]
    changed = {arm for arm, name in first if first[arm, name] != second[arm, name]}
    assert changed == {"finetuned", "both", FINETUNED_EVIDENCE}
