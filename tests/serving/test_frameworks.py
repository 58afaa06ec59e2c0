"""Clients of two frameworks get answers whole and as a stream; each test is skipped where its package is missing."""

import pytest

from lorag.chat.bot import ChatBot
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.serving.routes import Service

REPLY = "It lasts 28 months."
# What the frameworks warn of in themselves is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def support(serve):
    model = ScriptedModel(lambda prompt: REPLY, "support")
    return serve(Service({"support+documents": ChatBot(model)}, embedder=HashEmbedder()))


def test_langchain(support):
    langchain = pytest.importorskip(
        "langchain_openai", reason="LangChain is a client of the server, no part of it: pip install langchain-openai"
    )
    from langchain_core.messages import HumanMessage

    chat = langchain.ChatOpenAI(model="support+documents", base_url=support.url, api_key="any", max_retries=0)
    turns = [("system", "Be brief."), ("human", "How long?"), ("ai", REPLY), ("human", "Really?")]
    said = chat.invoke(turns)
    assert said.content == REPLY
    assert said.usage_metadata["output_tokens"] == 4
    assert "".join(str(chunk.content) for chunk in chat.stream("How long?")) == REPLY
    assert [answer.content for answer in chat.batch(["How long?"] * 4)] == [REPLY] * 4
    drawn = langchain.ChatOpenAI(model="support+documents", base_url=support.url, api_key="any", n=2, temperature=0.5)
    assert [each.text for each in drawn.generate([[HumanMessage("How long?")]]).generations[0]] == [REPLY] * 2
    embeddings = langchain.OpenAIEmbeddings(
        model="hash-256", base_url=support.url, api_key="any", check_embedding_ctx_length=False
    )
    assert embeddings.embed_documents(["a b", "c"]) == HashEmbedder().embed(["a b", "c"], "passage").tolist()


def test_llama_index(support):
    module = pytest.importorskip(
        "llama_index.llms.openai_like", reason="llama-index-llms-openai-like is not installed (it takes openai below 3)"
    )
    from llama_index.core.llms import ChatMessage

    llm = module.OpenAILike(
        model="support+documents", api_base=support.url, api_key="any", is_chat_model=True, context_window=4096
    )
    turns = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="How long?")]
    assert llm.chat(turns).message.content == REPLY
    assert "".join(chunk.delta or "" for chunk in llm.stream_chat(turns)) == REPLY
    assert llm.complete("How long?").text == REPLY
