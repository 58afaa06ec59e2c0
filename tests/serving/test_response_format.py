"""An answer keeps to the JSON schema that the client gives, where the engine can hold it to one."""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from lorag.chat.bot import ChatBot
from lorag.errors import InputError
from lorag.llm.engines.openai import RemoteModel
from lorag.serving.routes import Service
from lorag.types import Message, Sampling

SCHEMA = {
    "type": "object",
    "properties": {"months": {"type": "integer", "maximum": 99}, "unit": {"enum": ["months", "years"]}},
    "required": ["months", "unit"],
    "additionalProperties": False,
}
NAMED = {"type": "json_schema", "json_schema": {"name": "warranty", "schema": SCHEMA, "strict": True}}
QUESTION = [{"role": "user", "content": "How long is the warranty of the pump, in months?"}]


@pytest.fixture(scope="module", params=["llama.cpp", "transformers"])
def served(request, serve, llama_cpp, smollm):
    return serve(Service({"small": ChatBot(llama_cpp if request.param == "llama.cpp" else smollm)}))


def test_the_official_client_gets_what_its_schema_describes(served):
    with openai.OpenAI(base_url=served.url, api_key="none") as client:
        asked = {"model": served.model, "messages": QUESTION, "response_format": NAMED, "max_tokens": 60}
        whole = client.chat.completions.create(**asked).choices[0].message.content
        pieces = [chunk.choices[0].delta.content for chunk in client.chat.completions.create(**asked, stream=True)]
        begun = asked | {"max_tokens": 4}
        anything = client.chat.completions.create(**begun | {"response_format": {"type": "json_object"}})
        free = client.chat.completions.create(**begun | {"response_format": {"type": "text"}})
    answer = json.loads(whole)
    assert answer.keys() == {"months", "unit"}
    assert isinstance(answer["months"], int)
    assert answer["unit"] in ("months", "years")
    assert "".join(piece or "" for piece in pieces) == whole
    assert anything.choices[0].message.content.startswith("{")
    assert not free.choices[0].message.content.startswith("{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "#/definitions/missing"},
        {"type": "string", "pattern": "(unclosed"},
        {"$ref": "https://example.invalid/schema.json"},
        {"not": {"type": "string"}},
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_and_the_server_answers_on(served, schema):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = {"model": served.model, "messages": QUESTION, "max_tokens": 8}
    status, body = served.send("POST", "/v1/chat/completions", asked | {"response_format": form})
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert served.send("POST", "/v1/chat/completions", asked)[0] == 200


@pytest.mark.parametrize(
    "form",
    [
        "json",
        {"type": "xml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": "object"}},
        {"type": "json_schema", "json_schema": {"schema": {"description": "x" * 20_000}}},
    ],
)
def test_a_format_that_is_none_is_refused_by_its_name(served, form):
    asked = {"model": served.model, "messages": QUESTION, "response_format": form}
    status, body = served.send("POST", "/v1/chat/completions", asked)
    assert (status, body["error"]["param"]) == (400, "response_format")


def test_both_engines_say_the_same_under_a_schema_and_beside_free_answers(smollm, llama_cpp):
    prompt = (Message("user", "How long is the warranty of the pump, in months?"),)
    sampling = Sampling(max_tokens=60, json_schema=json.dumps(SCHEMA))
    (ours,), (theirs,) = (model.generate([prompt], sampling) for model in (smollm, llama_cpp))
    assert json.loads(ours.text) == json.loads(theirs.text)
    free = smollm.generate([prompt], Sampling(max_tokens=20))
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda each: "".join(smollm.stream(prompt, each)), [sampling, Sampling(max_tokens=20)])
    assert list(both) == [ours.text, free[0].text]


def test_beams_are_not_held_to_a_schema(tiny):
    with pytest.raises(InputError, match="num_beams 2 does not support answers under a JSON schema"):
        tiny.generate([(Message("user", "How long?"),)], Sampling(num_beams=2, json_schema="{}"))


def test_a_remote_model_is_asked_for_the_schema(endpoint, llama_cpp):
    server = endpoint(llama_cpp)
    model = RemoteModel(server.name)
    for schema in (SCHEMA, {"type": "object"}):
        model.generate([(Message("user", "How long?"),)], Sampling(max_tokens=5, json_schema=json.dumps(schema)))
    first, second = (request["response_format"] for request in server.requests)
    assert (first["json_schema"]["schema"], second) == (SCHEMA, {"type": "json_object"})


def test_a_schema_that_is_not_an_object_is_refused():
    for text in ("[1]", "{", "nan"):
        with pytest.raises(InputError, match="is not valid; expected a JSON object as text"):
            Sampling(json_schema=text)
