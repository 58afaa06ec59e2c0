"""Clients of others get answers whole and as a stream; a framework's test is skipped where its package is missing."""

import json
import os
import subprocess

import pytest

from lorag.chat.bot import ChatBot
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.serving.routes import Service

REPLY = "It lasts 28 months."
# What the frameworks warn of in themselves is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


LLAMA_INDEX = """
import asyncio, json, sys
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

def client(chats):
    return OpenAILike(
        model="support+documents", api_base=sys.argv[1], api_key="any", is_chat_model=chats, context_window=4096
    )

turns = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="How long?")]
llm = client(True)
answers = [
    llm.chat(turns).message.content,
    asyncio.run(llm.achat(turns)).message.content,
    "".join(chunk.delta or "" for chunk in llm.stream_chat(turns)),
    "".join(chunk.delta or "" for chunk in llm.stream_complete("How long?")),
    llm.complete("How long?").text,
    client(False).complete("How long?").text,
]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def support(serve):
    model = ScriptedModel(lambda prompt: REPLY, "support")
    return serve(Service({"support+documents": ChatBot(model)}, embedder=HashEmbedder()))


def test_langchain(support):
    import langchain_openai as langchain
    from langchain_core.messages import HumanMessage
    from pydantic import SecretStr

    key = SecretStr("any")
    chat = langchain.ChatOpenAI(model="support+documents", base_url=support.url, api_key=key, max_retries=0)
    turns = [("system", "Be brief."), ("human", "How long?"), ("ai", REPLY), ("human", "Really?")]
    said = chat.invoke(turns)
    assert said.content == REPLY
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_tokens"] == 4
    assert "".join(str(chunk.content) for chunk in chat.stream("How long?")) == REPLY
    assert [answer.content for answer in chat.batch(["How long?"] * 4)] == [REPLY] * 4
    drawn = langchain.ChatOpenAI(model="support+documents", base_url=support.url, api_key=key, n=2, temperature=0.5)
    assert [each.text for each in drawn.generate([[HumanMessage("How long?")]]).generations[0]] == [REPLY] * 2
    embeddings = langchain.OpenAIEmbeddings(
        model="hash-256", base_url=support.url, api_key=key, check_embedding_ctx_length=False
    )
    assert embeddings.embed_documents(["a b", "c"]) == HashEmbedder().embed(["a b", "c"], "passage").tolist()
    for opened in (chat.root_client, drawn.root_client, embeddings.client._client):
        opened.close()


@pytest.mark.skipif(
    "LORAG_LLAMA_INDEX" not in os.environ,
    reason="llama-index-llms-openai-like requires openai below 3 and Lorag's extra brings 3, so both do not install"
    " together: set LORAG_LLAMA_INDEX to the Python of a virtual environment that has it; the clients of OpenAI and"
    " LangChain are tested anyway",
)
def test_llama_index(support):
    """The client runs in an environment of its own: its package takes openai below 3, and Lorag's extra takes 3."""
    done = subprocess.run(
        [os.environ["LORAG_LLAMA_INDEX"], "-c", LLAMA_INDEX, support.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [REPLY] * 6


def test_calls_as_open_webui_sends_them(support):
    user = {f"X-OpenWebUI-User-{name}": name.lower() for name in ("Name", "Id", "Email", "Role")}
    headers = user | {"Authorization": "Bearer any", "X-OpenWebUI-Chat-Id": "7d"}
    _, models = support.send("GET", "/v1/models", **headers)
    assert [model["id"] for model in models["data"]] == ["support+documents", "hash-256"]
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How long?"}]},
        {"role": "assistant", "content": REPLY},
        {"role": "user", "content": "Really?"},
    ]
    chat = {"stream": True, "model": "support+documents", "messages": turns, "stream_options": {"include_usage": True}}
    with support.streaming(
        "/v1/chat/completions", chat | {"temperature": 0.8, "top_p": 0.9, "seed": 1}, **headers
    ) as got:
        events = [json.loads(line.removeprefix(b"data: ")) for line in got if line.startswith(b"data: {")]
    assert "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"]) == REPLY
    assert events[-1]["usage"]["completion_tokens"] == 4
    title = {"role": "user", "content": "### Task:\nWrite a title of 3 to 5 words.\n### Chat History:\nUSER: How long?"}
    asked = {"model": "support+documents", "messages": [title], "stream": False, "max_completion_tokens": 1000}
    status, body = support.send("POST", "/v1/chat/completions", asked, **headers)
    assert (status, body["choices"][0]["message"]["content"]) == (200, REPLY)
    status, body = support.send("POST", "/v1/embeddings", {"input": ["a b", "c"], "model": "hash-256"}, **headers)
    assert (status, len(body["data"])) == (200, 2)
