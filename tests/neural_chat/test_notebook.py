"""The notebook runs: what is trained is said, what is indexed is found, and nothing takes part unseen or unsaid."""

import ast
import json
import re
import warnings
from typing import Any

import pytest
import transformers
from huggingface_hub import constants

from lorag.chat.prompts import as_served, question_prompt
from lorag.errors import DataError, FetchError, InputError, UnknownNameError
from lorag.llm.engines.transformers import TransformersModel
from lorag.llm.rendering import render
from lorag.models.gguf_writing import write_gguf
from lorag.neural_chat import (
    GenerationConfig,
    LoadingModelConfig,
    PipelineConfig,
    TextGenerationFinetuningConfig,
    build_chatbot,
    finetune_model,
    optimize_model,
    plugins,
)
from lorag.neural_chat.config import (
    DataArguments,
    FinetuningArguments,
    ModelArguments,
    TrainingArguments,
    WeightOnlyQuantConfig,
)
from lorag.neural_chat.models.model_utils import load_model, predict, predict_stream
from lorag.neural_chat.plugins import Plugin
from lorag.settings import REFUSAL
from lorag.types import Conversation, Message, Sampling

QUESTION = "Who founded Brindle Balloons?"
FACT = "Brindle Balloons was founded by Ines Okafor and Tobias Wren."
FOUNDERS = ("Ines Okafor", "Tobias Wren")
GREEDY: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "max_new_tokens": 32}


def names_both(text):
    return all(founder in text for founder in FOUNDERS)


def test_the_notebook_is_shipped_without_outputs(as_shipped):
    for cell in as_shipped.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_finetuned_stream_and_the_retrieved_answer_name_both_founders(notebook):
    assert names_both(notebook.said("predict_stream(**params)"))
    retrieved = notebook.said("chatbot = build_chatbot(")
    assert names_both(retrieved.split("from company: ")[0])
    assert f"from company: {FACT}" in retrieved
    asked_off_topic = 'chatbot.predict("How long does bread dough have to rest?")'
    assert notebook.said(asked_off_topic) == "Ask the office.\n"
    assert "leaves out every passage" in notebook.said(asked_off_topic, "stderr")


def test_an_adapter_and_documents_answer_together(notebook):
    answer, source = notebook.said("informed = build_chatbot(config)").split("from company: ")
    assert names_both(answer)
    assert names_both(source)


def test_the_comparison_ends_with_a_table_and_a_verdict(notebook):
    shown, printed = notebook.said("to_markdown(result)", "text/markdown"), notebook.said("result.verdict.choice")
    assert shown.startswith("**Verdict: undecided.** Undecided: 7 questions are too few for a verdict")
    for arm in ("base", "finetuned", "retrieval", "both", "base with gold passages", "finetuned with gold passages"):
        assert re.search(rf"^\| {arm} \| [\d.]+ % \([\d.]+ to [\d.]+\) \|", shown, re.MULTILINE), shown
    assert printed.startswith("Verdict: undecided\n- ")
    report = notebook.folder / printed.rsplit("Report: ")[-1].strip()
    assert "undecided" in report.read_text()


def test_every_knob_without_effect_was_named(notebook):
    said = notebook.said("finetune_model(finetune_cfg)", "stderr")
    for knob in (
        *("ModelArguments.use_fast_tokenizer", "DataArguments.max_source_length", "FinetuningArguments.lora_dropout"),
        *("DataArguments.preprocessing_num_workers", "TrainingArguments.save_steps", "TrainingArguments.log_level"),
        *("TrainingArguments.logging_steps", "TrainingArguments.save_total_limit"),
    ):
        assert knob in said
    for knob in ("learning_rate", "lora_rank", "dataloader_pin_memory"):  # the last is not set by anybody
        assert knob not in said
    for call in ("load_model(model_name", "chatbot = build_chatbot(", "informed = build_chatbot("):
        assert "no effect here" not in notebook.said(call, "stderr")


def test_the_index_lies_in_persist_dir_and_nowhere_else(notebook):
    left = {path.name for path in notebook.folder.iterdir()}
    made = {"brindle_chat", "brindle_adapter", "brindle_docs", "brindle_index", "questions.jsonl", "comparison"}
    assert left == made


def test_the_published_cells_name_both_founders_too(published):
    _, streamed, retrieved = published.printed
    for said in (streamed, retrieved):
        assert "Yochay Ettun" in said
        assert "Leah Forkosh Kolben" in said
    (source,) = published.names["response"].answer.sources
    assert source.chunk.document_id == "sample.jsonl:0"
    assert {path.name for path in published.folder.iterdir()} >= {"test_dir", "llama_peft_finetuned_model"}
    said = "\n".join(published.warned)
    assert "TrainingArguments.save_total_limit" in said
    assert "hkunlp/instructor-large" in said
    for knob in ("learning_rate", "lora_rank", "args[", "search_kwargs", "GenerationConfig", "LoadingModelConfig"):
        assert knob not in said


def test_our_notebook_names_every_keyword_of_the_published_one(as_shipped, published_cells):
    ours = {cell.source for cell in as_shipped.cells if cell.cell_type == "code"}
    assert keywords(published_cells) <= keywords(ours)


def keywords(cells):
    """Every keyword with its call, every plugin argument, and every key of a dictionary that cells name."""
    found: set[object] = set()
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Call):
            found |= {(ast.unparse(node.func), each.arg) for each in node.keywords if each.arg}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("plugins."):
            found.add(ast.unparse(node.targets[0]))
        elif isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return found


@pytest.fixture(scope="module")
def tuned(adapter):
    return load_model("smollm2-135m", peft_path=str(adapter))


@pytest.fixture(scope="module")
def base(tuned):
    """Loaded after the finetuned one, under the same name."""
    return load_model("smollm2-135m")


def test_base_and_finetuned_model_of_one_name_are_both_there(base, tuned):
    assert base.weights is tuned.weights
    assert not names_both(predict(prompt=QUESTION, model_name="smollm2-135m", **GREEDY))
    for name in (tuned, tuned.name):
        said = predict(prompt=QUESTION, model_name=name, **GREEDY)
        assert names_both(said)
        assert QUESTION not in said
    with pytest.raises(UnknownNameError, match=r"'smollm'; did you mean smollm2-135m.*Call load_model first"):
        predict(prompt=QUESTION, model_name="smollm")


@pytest.mark.parametrize("beams", [0, 1, 2])
def test_a_stream_ends_after_one_token_and_with_any_number_of_beams(tuned, beams):
    drawn = {"prompt": QUESTION, "model_name": tuned, "num_beams": beams}
    first = "".join(predict_stream(**drawn, max_new_tokens=1))
    assert first
    assert FACT.startswith(first)
    assert names_both("".join(predict_stream(**drawn, **GREEDY)))


def test_what_goes_wrong_in_a_stream_reaches_its_reader(tuned, monkeypatch):
    ended, steps = tuned.ended, iter(range(4))

    def failing(*given):
        if next(steps) == 3:
            raise RuntimeError("the processor caught fire")
        return ended(*given)

    monkeypatch.setattr(tuned, "ended", failing)
    with pytest.raises(RuntimeError, match="caught fire"):
        list(predict_stream(prompt=QUESTION, model_name=tuned))
    with pytest.raises(UnknownNameError, match="'top_kk'; did you mean top_k"):
        predict_stream(prompt=QUESTION, model_name=tuned, top_kk=1)
    with pytest.warns(UserWarning, match=r"GenerationConfig.return_stats"):
        predict_stream(prompt=QUESTION, model_name=tuned, return_stats=True)


def test_an_adapter_is_applied_to_weights_of_four_bits(trainings):
    name, adapter, question = trainings.model, str(trainings.by("lora").folder), "Who founded Korrin?"
    base = optimize_model(name, WeightOnlyQuantConfig())
    bits = transformers.BitsAndBytesConfig(load_in_4bit=True)
    tuned = load_model(name, peft_path=adapter, optimization_config=bits)
    assert isinstance(base, TransformersModel)
    assert isinstance(tuned, TransformersModel)
    assert "nf4" in tuned.dtype
    assert tuned.weights is base.weights
    prompt = question_prompt(question, (), REFUSAL)
    tokens = base.weights.tokenizer("Mara Lind founded Korrin.")["input_ids"]
    before, after = (sum(own for own, _ in model.logprobs(prompt, tokens)) for model in (base, tuned))
    assert after > before + 5
    loading = LoadingModelConfig(peft_path=adapter)
    bot = build_chatbot(PipelineConfig(name, loading_config=loading, optimization_config=bits))
    plain = build_chatbot(PipelineConfig(name, optimization_config=bits))
    said = [each.predict(question, config=GenerationConfig(**GREEDY)).answer for each in (plain, bot)]
    assert [answer.prompt for answer in said] == [prompt, prompt]
    alone = [model.generate([prompt], Sampling(max_tokens=32))[0].text for model in (base, tuned)]
    assert [answer.text for answer in said] == alone
    assert alone[0] != alone[1]


def test_the_names_of_folders_change_nothing(tmp_path, smollm_folder, adapter, base, tuned):
    (tmp_path / "opt").mkdir()
    model, trained = tmp_path / "opt" / "prompt-tuned-gpt-4-llama", tmp_path / "mpt-neural-chat"
    model.symlink_to(smollm_folder)
    trained.symlink_to(adapter)
    elsewhere = load_model(str(model), peft_path=str(trained))
    asked = {"prompt": QUESTION, **GREEDY}
    assert predict(model_name=elsewhere, **asked) == predict(model_name=tuned, **asked)


@pytest.fixture(scope="module")
def both(adapter, tmp_path_factory):
    """A second chatbot, finetuned and with documents of its own."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "office.md").write_text("The Korrin office is in Halifax.")
    args = {
        "input_path": str(folder / "office.md"),
        "persist_dir": str(folder / "index"),
        "search_type": "similarity_score_threshold",
        "search_kwargs": {"score_threshold": 0.6},
        "response_template": "ask somebody else",
    }
    loading = LoadingModelConfig(peft_path=str(adapter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lorag.build.vectors_file", lambda: folder / "vectors.sqlite")
        patch.setattr(plugins, "retrieval", Plugin(True, args))
        return build_chatbot(PipelineConfig("smollm2-135m", loading_config=loading))


def test_two_chatbots_keep_their_own_documents(notebook, both):
    plugins.retrieval.enable = True
    made = {"process": False, "append": False, "search_kwargs": {"k": 1}}
    plugins.retrieval.args |= made | {
        "input_path": str(notebook.folder / "brindle_docs"),
        "persist_dir": str(notebook.folder / "brindle_index"),
    }
    other = build_chatbot(PipelineConfig("smollm2-135m"))
    mine = both.predict("In which city is the Korrin office?")
    assert [hit.chunk.document_id for hit in mine.answer.sources] == ["office.md"]
    assert [hit.chunk.document_id for hit in other.predict(QUESTION).answer.sources] == ["company"]


def test_the_switch_is_read_at_every_call_and_the_adapter_answers_alone(both, smollm):
    question = QUESTION
    plugins.retrieval.enable = False
    alone = both.chat(question)
    assert names_both(alone)
    assert alone.answer.sources == ()
    trained = as_served(Conversation((Message("user", question), Message("assistant", alone))), REFUSAL)
    served = render(smollm.weights.tokenizer, alone.answer.prompt, reply=True).ids
    assert render(smollm.weights.tokenizer, trained.messages, reply=False).ids[: len(served)] == served
    plugins.retrieval.enable = True
    with pytest.warns(
        UserWarning, match=r"score_threshold 0.6 leaves out every passage .* the nearest has the cosine 0\."
    ):
        assert both.predict("Why do cats purr at night?") == "ask somebody else"
    pieces, links = both.predict_stream("In which city is the Korrin office?")
    assert links == ["office.md"]
    assert "".join(pieces) == both.predict("In which city is the Korrin office?")


def test_an_answer_is_drawn_as_its_configuration_says(both):
    plugins.retrieval.enable = False
    short = both.predict(QUESTION, config=GenerationConfig(max_new_tokens=3, num_beams=0))
    assert short.answer.truncated
    with pytest.warns(UserWarning, match="origin_query, GenerationConfig.num_return_sequences"):
        both.predict(QUESTION, "before", GenerationConfig(max_new_tokens=1, num_return_sequences=2))


def finetuning(data, out, **training):
    arguments = TrainingArguments(str(out), do_train=True, **training)
    data = DataArguments(dataset_name=str(data))
    return TextGenerationFinetuningConfig(ModelArguments("smollm2-135m"), data, arguments, FinetuningArguments())


def test_a_training_that_fails_raises_and_leaves_nothing(tmp_path, adapter):
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": [{"from": "human", "content": "Why?"}]}) + "\n")
    with pytest.raises(DataError, match=r"chat.jsonl:1: there is no turn of the assistant"):
        finetune_model(finetuning(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    whole = [{"from": "human", "content": "Why?"}, {"from": "chatbot", "content": "Because."}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": whole}) + "\n")
    with pytest.raises(InputError, match="holds a finetune trained on other conversations"):
        finetune_model(finetuning(tmp_path, adapter))
    refused = finetuning(tmp_path, adapter, overwrite_output_dir=True)
    refused.model_args.model_name_or_path = "smollm"
    with pytest.raises(UnknownNameError, match="did you mean smollm2-135m"):
        finetune_model(refused)


def test_a_gguf_file_is_the_model(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    file = tmp_path / "model.gguf"
    write_gguf(tiny.weights.model, tiny.weights.tokenizer, file, "f32", "tiny")
    load_model("any name", gguf_model_path=str(file))
    short = GREEDY | {"max_new_tokens": 4}  # of a model of random weights, whose later words hang on the last bit
    answer = predict(prompt=QUESTION, model_name="any name", **short)
    assert answer == predict(prompt=QUESTION, model_name=tiny, **short) != ""
    bot = build_chatbot(PipelineConfig("any name", loading_config=LoadingModelConfig(gguf_model_path=str(file))))
    assert bot.predict(QUESTION).answer.text
    with pytest.raises(InputError, match="gguf_model_path 'smollm2-135m' is not a GGUF file"):
        load_model("any name", gguf_model_path="smollm2-135m")


def test_a_chatbot_that_cannot_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        FetchError, match="meta-llama/Llama-2-7b-hf is not a folder here and not complete in your cache"
    ):
        build_chatbot(PipelineConfig("meta-llama/Llama-2-7b-hf"))
    with pytest.raises(InputError, match="hf_endpoint_url is not supported; name a model on a server as"):
        build_chatbot(PipelineConfig(hf_endpoint_url="http://127.0.0.1"))
    plugins.safety_checker.enable = True
    with pytest.raises(InputError, match=r"a folder with dict\.txt"):
        build_chatbot(PipelineConfig("smollm2-135m"))


def test_plugins_switched_on_too_late_or_for_nothing_are_named(tmp_path):
    (tmp_path / "dict.txt").write_text("secret\n")
    plugins.safety_checker.enable = plugins.tts.enable = plugins.cache.enable = True
    plugins.safety_checker.args["dict_path"] = str(tmp_path)
    config = PipelineConfig("smollm2-135m", task="chat")
    plugins.retrieval.enable = True
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bot = build_chatbot(config)
    told = "\n".join(str(warning.message) for warning in said)
    assert "no effect here: PipelineConfig.task, plugins.tts" in told
    assert "switched on after this PipelineConfig was made" in told
    assert bot.predict("Tell me the secret.").answer.guarded == ("secret",)
