"""The log probabilities of an answer's tokens, where the engine has them."""

from dataclasses import replace

import openai
import pytest

from lorag.chat.bot import ChatBot
from lorag.errors import InputError
from lorag.llm.engines.openai import RemoteModel
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.routes import Service
from lorag.settings import ChatSettings
from lorag.types import Message, Sampling

QUESTION = "How long is the warranty of the pump, in months?"
ASKED = {"messages": [{"role": "user", "content": QUESTION}], "logprobs": True, "top_logprobs": 3, "max_tokens": 12}


@pytest.fixture(scope="module")
def served(serve, shallow_llama_cpp, shallow):
    return serve(Service({"llama.cpp": ChatBot(shallow_llama_cpp), "transformers": ChatBot(shallow)}))


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=served.url, api_key="none") as opened:
        yield opened


@pytest.mark.parametrize("model", ["llama.cpp", "transformers"])
def test_the_official_client_gets_the_model_s_own_log_probabilities_whole_and_streamed(client, model, shallow):
    choice = client.chat.completions.create(model=model, **ASKED).choices[0]
    told = choice.logprobs.content
    assert "".join(said.token for said in told).strip() == choice.message.content
    assert all(said.token == said.top_logprobs[0].token for said in told)  # greedy
    for said in told:
        assert sorted(said.top_logprobs, key=lambda each: -each.logprob) == said.top_logprobs
    assert {len(said.top_logprobs) for said in told} == {3}
    assert bytes(byte for said in told for byte in said.bytes).decode().strip() == choice.message.content
    prompt = ChatBot(shallow)._prompt(QUESTION)
    words = "".join(said.token for said in told)
    tokens = shallow.weights.tokenizer(words, add_special_tokens=False)["input_ids"]
    known = [own for own, _ in shallow.logprobs(prompt, tokens)]
    assert [said.logprob for said in told] == pytest.approx(known, abs=0.1 if model == "llama.cpp" else 0.02)
    chunks = list(client.chat.completions.create(model=model, **ASKED, stream=True))
    streamed = [said for chunk in chunks if chunk.choices[0].logprobs for said in chunk.choices[0].logprobs.content]
    assert [said.token for said in streamed] == [said.token for said in told]
    assert (
        client.chat.completions.create(model=model, **ASKED | {"logprobs": False, "top_logprobs": 0})
        .choices[0]
        .logprobs
        is None
    )


@pytest.mark.parametrize("model", ["llama.cpp", "transformers"])
def test_they_end_before_a_stop_text_and_every_answer_has_its_own(client, model):
    whole = client.chat.completions.create(model=model, **ASKED).choices[0]
    stop = whole.message.content.split()[2]
    cut = client.chat.completions.create(model=model, **ASKED, stop=stop).choices[0]
    assert "".join(said.token for said in cut.logprobs.content).strip() == cut.message.content
    drawn = client.chat.completions.create(model=model, **ASKED, n=2, temperature=0.8, seed=3).choices
    for choice in drawn:
        assert "".join(said.token for said in choice.logprobs.content).strip() == choice.message.content
    assert drawn[0].message.content != drawn[1].message.content


def test_the_older_protocol_has_them_as_lists(client):
    choice = client.completions.create(model="transformers", prompt=QUESTION, logprobs=2, max_tokens=6).choices[0]
    told = choice.logprobs
    assert "".join(told.tokens).strip() == choice.text
    assert [max(likeliest.values()) for likeliest in told.top_logprobs] == told.token_logprobs
    assert told.text_offset[:2] == [0, len(told.tokens[0])]
    alone = client.completions.create(model="transformers", prompt=QUESTION, logprobs=0, max_tokens=6).choices[0]
    assert (alone.logprobs.token_logprobs, set(map(len, alone.logprobs.top_logprobs))) == (told.token_logprobs, {0})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": "yes"}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"logprobs": False}, "top_logprobs"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_by_the_name_of_the_field(served, fields, param):
    status, body = served.send("POST", "/v1/chat/completions", ASKED | {"model": "transformers"} | fields)
    assert (status, body["error"]["param"]) == (400, param)


def test_words_that_are_masked_are_not_given_away_and_an_engine_without_them_gives_none(serve, shallow):
    open_to_all = ChatSettings(sampling=Sampling(max_tokens=8, logprobs=1))
    said = ChatBot(shallow, settings=open_to_all).ask("How long is it?")
    word = max(said.text.split(), key=len).strip(".,")
    masked = ChatBot(shallow, settings=replace(open_to_all, blocked_words=(word,))).ask("How long is it?")
    assert said.logprobs
    assert (masked.guarded, masked.logprobs) == ((word.lower(),), ())
    scripted = serve(Service({"scripted": ChatBot(ScriptedModel(lambda prompt: "Two years."))}))
    _, body = scripted.send("POST", "/v1/chat/completions", ASKED | {"model": "scripted"})
    assert body["choices"][0]["logprobs"] is None


def test_a_remote_model_passes_them_on(served):
    remote, prompt = RemoteModel(f"openai:transformers@{served.url}"), (Message("user", QUESTION),)
    sampling = Sampling(max_tokens=8, logprobs=2)
    (whole,) = remote.generate([prompt], sampling)
    assert "".join(said.text for said in whole.logprobs).strip() == whole.text
    assert {len(said.likeliest) for said in whole.logprobs} == {2}
    streamed = []

    def read():
        streamed.append((yield from remote.stream(prompt, sampling)))

    assert "".join(read()) == whole.text
    assert streamed[0].logprobs == whole.logprobs


def test_beams_have_none_and_numbers_out_of_range_are_refused(tiny):
    with pytest.raises(InputError, match="num_beams 2 does not support log probabilities"):
        tiny.generate([(Message("user", "How long?"),)], Sampling(num_beams=2, logprobs=0))
    with pytest.raises(InputError, match="logprobs 21 is not valid; expected 0 to 20"):
        Sampling(logprobs=21)
