"""What every language model promises of its streams, asked of each of them; none of it may wait for ever."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pytest

from lorag.errors import EndpointError, ModelError
from lorag.interfaces import LanguageModel
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.openai import RemoteModel
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.rendering import render
from lorag.settings import RemoteSettings
from lorag.types import Message, Sampling

PROMPT = (Message("user", "Say something."),)
LONG = Sampling(max_tokens=60)
TEXTS = [
    "No",
    "It lasts 28 months, from delivery.",
    "naïve café 日本語の文 🙂 👩\u200d👩\u200d👧 🇳🇴 end",
    "First line.\n\nSecond line,\n  and a third.",
    "🙂",
]
WAIT_SECONDS = 60

T = TypeVar("T")


class Broken(Exception):
    """What goes wrong in the middle of an answer."""


@dataclass(frozen=True)
class Engine:
    """A language model that is made to say a given text in its own tokens, or to break after its first words."""

    saying: Callable[[str], AbstractContextManager[LanguageModel]]
    breaking: Callable[[str], AbstractContextManager[LanguageModel]]
    error: type[Exception]


@contextmanager
def scripted(text: str) -> Iterator[LanguageModel]:
    yield ScriptedModel(lambda prompt: text)


@contextmanager
def scripted_breaking(text: str) -> Iterator[LanguageModel]:
    def reply(prompt):
        raise Broken

    yield ScriptedModel(reply)


def transformers_engine(shallow) -> Engine:
    """The real small model; a hook on its forward lets it prefer the tokens of the text."""

    @contextmanager
    def saying(text, break_at=None):
        weights = shallow.weights
        assert weights.merges  # found out by a pass that the hook is not for
        begin = len(render(weights.tokenizer, PROMPT, reply=True).ids)
        tokens = [*weights.tokenizer(text, add_special_tokens=False)["input_ids"], weights.tokenizer.eos_token_id]

        def prefer(module, arguments, named, output):
            output.logits[:, -1] = 0.0
            for row, position in enumerate(named["position_ids"][:, -1].tolist()):
                step = position + 1 - begin
                if step == break_at:
                    raise Broken
                output.logits[row, -1, tokens[step]] = 1.0
            return output

        hook = weights.model.register_forward_hook(prefer, with_kwargs=True)
        try:
            yield shallow
        finally:
            hook.remove()

    return Engine(saying, lambda text: saying(text, break_at=3), Broken)


def remote_engine(endpoint) -> Engine:
    """A server that listens on this machine; it breaks by closing the connection in the middle of a stream."""

    @contextmanager
    def saying(text):
        yield RemoteModel(endpoint(ScriptedModel(lambda prompt: text)).name)

    @contextmanager
    def breaking(text):
        def before(handler, asked):
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            choice = {"index": 0, "delta": {"content": text[:9]}, "finish_reason": None}
            handler.event({**handler.envelope("chat.completion.chunk"), "choices": [choice]})
            handler.close_connection = True
            return True

        yield RemoteModel(endpoint(ScriptedModel(lambda prompt: text), before).name, RemoteSettings(retries=0))

    return Engine(saying, breaking, EndpointError)


class BreakingServer:
    """llama.cpp that fails, as it says it, after its first words."""

    def __init__(self, server) -> None:
        self.server = server

    def handle_completions(self, request, arrive):
        def break_off(reply):
            if reply["choices"] and reply["choices"][0]["text"]:
                arrive(reply)
                arrive({"error": {"code": 500, "message": "context is full", "type": "server_error"}})
                return True
            return False

        self.server.handle_completions(request, break_off)


def llama_cpp_engine(llama_cpp, monkeypatch) -> Engine:
    """The real small model in llama.cpp; a grammar lets it say nothing but the text, in the text's own tokens."""
    ask = LlamaCppModel._request

    @contextmanager
    def saying(text):
        tokens = llama_cpp.tokenizer(text, add_special_tokens=False)["input_ids"]
        wanted = {
            "grammar": f"root ::= {json.dumps(text, ensure_ascii=False)}",
            "logit_bias": [[token, 50.0] for token in tokens],
        }
        with monkeypatch.context() as patch:
            patch.setattr(LlamaCppModel, "_request", lambda *given: ask(*given) | wanted)
            yield llama_cpp

    @contextmanager
    def breaking(text):
        with saying(text), monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "_server", BreakingServer(llama_cpp._server))
            yield llama_cpp

    return Engine(saying, breaking, ModelError)


@pytest.fixture(params=["scripted", "transformers", "llama.cpp", "remote"])
def engine(request, monkeypatch) -> Engine:
    if request.param == "llama.cpp":
        return llama_cpp_engine(request.getfixturevalue("llama_cpp"), monkeypatch)
    if request.param == "scripted":
        return Engine(scripted, scripted_breaking, Broken)
    if request.param == "remote":
        return remote_engine(request.getfixturevalue("endpoint"))
    return transformers_engine(request.getfixturevalue("shallow"))


def in_time(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, from a thread that must come to an end."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run():
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - handed on to the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive(), "waited for ever"
    if failed:
        raise failed[0]
    return done[0]


def read(model, sampling=LONG):
    """The pieces of a stream and the completion it returns."""
    pieces = []

    def reader():
        completion = yield from model.stream(PROMPT, sampling)
        return completion

    stream = reader()
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_joined_are_what_generate_says(engine, text):
    with engine.saying(text) as model:
        pieces, completion = in_time(lambda: read(model))
        (whole,) = model.generate([PROMPT], LONG)
    assert "".join(pieces) == completion.text == whole.text == text
    assert all(pieces)
    assert (completion.finish, completion.completion_tokens) == (whole.finish, whole.completion_tokens)
    assert completion.finish == "stop"
    assert completion.prompt_tokens == whole.prompt_tokens > 0


def test_a_piece_never_ends_inside_a_character(engine):
    with engine.saying(TEXTS[2]) as model:
        pieces, _ = in_time(lambda: read(model))
    assert "\ufffd" not in "".join(pieces)
    assert len(pieces) > 3


def test_an_answer_of_one_token_ends(engine):
    with engine.saying("No") as model:
        pieces, completion = in_time(lambda: read(model, Sampling(max_tokens=1)))
    assert pieces == ["No"]
    assert completion.completion_tokens == 1


def test_an_empty_answer_ends(engine):
    with engine.saying("") as model:
        pieces, completion = in_time(lambda: read(model))
        (whole,) = in_time(lambda: model.generate([PROMPT], LONG))
    assert pieces == []
    assert completion.text == whole.text == ""
    assert completion.finish == whole.finish == "stop"


def test_a_cut_answer_says_so_and_shows_no_half_character(engine):
    with engine.saying("one two three four five 🙂 🙂 🙂") as model:
        for length in range(1, 9):
            sampling = Sampling(max_tokens=length)
            pieces, completion = in_time(partial(read, model, sampling))
            (whole,) = model.generate([PROMPT], sampling)
            assert "".join(pieces) == completion.text == whole.text
            assert "\ufffd" not in whole.text
    assert whole.text.startswith("one two three")
    assert model.generate([PROMPT], Sampling(max_tokens=2))[0].finish == "length"


@pytest.mark.parametrize(
    ("stops", "kept"),
    [
        (("months, from",), "It lasts 28"),
        (("sts 28 mo",), "It la"),
        (("It lasts",), ""),
        (("nothing of it", "delivery."), "It lasts 28 months, from"),
        (("months, until",), "It lasts 28 months, from delivery."),
        (("delivery. Bye",), "It lasts 28 months, from delivery."),
    ],
)
def test_stop_texts_end_an_answer_and_are_never_partly_shown(engine, stops, kept):
    sampling = Sampling(max_tokens=60, stop=stops)
    with engine.saying(TEXTS[1]) as model:
        pieces, completion = in_time(lambda: read(model, sampling))
        (whole,) = model.generate([PROMPT], sampling)
    assert "".join(pieces) == completion.text == whole.text == kept
    assert completion.finish == whole.finish == "stop"


def test_what_goes_wrong_on_the_way_is_raised_to_the_reader(engine):
    with engine.breaking(TEXTS[1]) as model, pytest.raises(engine.error):
        in_time(lambda: read(model))
    with engine.saying(TEXTS[0]) as model:
        assert in_time(lambda: read(model))[0] == ["No"]


def test_a_stream_that_nobody_reads_on_holds_nothing(engine):
    with engine.saying(TEXTS[1]) as model:
        left = model.stream(PROMPT, LONG)
        assert next(left)
        assert in_time(lambda: model.generate([PROMPT], LONG))[0].text == TEXTS[1]
        left.close()
        assert in_time(lambda: model.generate([PROMPT], LONG))[0].text == TEXTS[1]
        assert in_time(lambda: "".join(read(model)[0])) == TEXTS[1]


def test_two_streams_at_once_stay_apart(engine):
    with engine.saying(TEXTS[1]) as model:
        streams = [model.stream(PROMPT, LONG) for _ in range(2)]
        pieces: list[list[str]] = [[], []]
        for _ in range(40):
            for stream, kept in zip(streams, pieces, strict=True):
                kept.append(next(stream, ""))
        assert ["".join(kept) for kept in pieces] == [TEXTS[1], TEXTS[1]]
        threads: list[list[str]] = [[], []]
        readers = [
            threading.Thread(target=lambda kept=kept: kept.extend(read(model)[0]), daemon=True) for kept in threads
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(WAIT_SECONDS)
    assert ["".join(kept) for kept in threads] == [TEXTS[1], TEXTS[1]]


def test_nothing_to_answer_is_answered(engine):
    with engine.saying("Yes") as model:
        assert model.generate([], LONG) == []


def test_plain_tokens_are_counted(engine):
    with engine.saying("Yes") as model:
        assert model.count_tokens("") == 0
        assert model.count_tokens("water") >= 1
        assert model.count_tokens("water " * 50) > model.count_tokens("water " * 5)
        assert model.name
