"""A GGUF file from anywhere answers through llama.cpp as it is, and trains once it is converted."""

import pytest

from lorag import build
from lorag.errors import InputError, ModelError
from lorag.llm.engines import llamacpp
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import load
from lorag.models import naming
from lorag.models.gguf_reading import gguf_fingerprint, read_header
from lorag.models.gguf_writing import write_gguf
from lorag.settings import FinetuneSettings
from lorag.types import Message, Sampling

PROMPTS = [(Message("user", "List three colours."),), (Message("system", "Be brief."), Message("user", "Who are you?"))]
SHORT = Sampling(max_tokens=5)


@pytest.fixture(scope="module")
def file(tiny_folder, tmp_path_factory):
    path, written = tmp_path_factory.mktemp("wild") / "wild.gguf", load(tiny_folder, "tiny", "float32").weights
    write_gguf(written.model, written.tokenizer, path, "f16", "wild")
    return path


def texts(model):
    return [done.text for done in model.generate(PROMPTS, SHORT)]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_answers_at_once_as_the_model_it_was_written_from(file, tiny, own_cache):
    model = build.answering_model(str(file), engine="llama.cpp")
    assert isinstance(model, LlamaCppModel)
    assert texts(model) == texts(tiny)
    assert model.context_tokens == tiny.weights.context_tokens
    assert not own_cache.exists()  # nothing was converted


def test_a_file_is_converted_once_to_train_and_to_compare(file, tiny, own_cache, monkeypatch):
    model = build.trainable_model(str(file), FinetuneSettings())
    assert texts(model) == texts(tiny)
    folder = naming.resolve(str(file), "llm")
    assert folder.parent == own_cache / "gguf"
    monkeypatch.setattr("lorag.models.gguf_reading.convert", lambda *_: pytest.fail("it was converted again"))
    assert naming.resolve(str(file), "llm") == folder


def test_the_context_is_as_long_as_memory_allows(file, monkeypatch):
    header, size = read_header(file), file.stat().st_size
    assert (header.architecture, header.context_tokens) == ("llama", 8192)
    assert header.cache_bytes == 4 * 2 * (16 + 16) * 2
    monkeypatch.setattr(llamacpp, "free_bytes", lambda device: size + 2 * 3000 * header.cache_bytes)
    assert LlamaCppModel.from_file(file, "wild").context_tokens == 3000
    monkeypatch.setattr(llamacpp, "free_bytes", lambda device: size + header.cache_bytes)
    with pytest.raises(ModelError, match=r"wild needs about .* GB of memory, and .* GB are free; choose a smaller"):
        LlamaCppModel.from_file(file, "wild")


def test_a_tokenizer_that_cuts_otherwise_than_llama_cpp_is_refused(file, monkeypatch):
    monkeypatch.setattr(llamacpp, "read_tokenizer", lambda file: lambda text: {"input_ids": text.split()})
    with pytest.raises(ModelError, match=r"the tokenizer of wild splits a text into .* tokens, and llama\.cpp into"):
        LlamaCppModel.from_file(file, "wild")


def test_a_damaged_file_and_an_unknown_architecture_are_refused_with_the_reason(file, tmp_path, own_cache):
    data = file.read_bytes()
    (tmp_path / "short.gguf").write_bytes(data[:5000])
    with pytest.raises(ModelError, match=r"short\.gguf' is not a complete GGUF file"):
        build.answering_model(str(tmp_path / "short.gguf"), engine="llama.cpp")
    (tmp_path / "half.gguf").write_bytes(data[: len(data) // 2])
    for engine in ("auto", "llama.cpp", "transformers"):
        with pytest.raises(ModelError, match=r"half\.gguf' is cut short: .* bytes of .*; fetch it again"):
            build.answering_model(str(tmp_path / "half.gguf"), engine=engine)
    unknown = data[:40_000].replace(b"llama", b"lemma") + data[40_000:]
    (tmp_path / "unknown.gguf").write_bytes(unknown)
    with pytest.raises(ModelError, match=r"architecture lemma cannot be converted .*it answers through llama\.cpp"):
        build.trainable_model(str(tmp_path / "unknown.gguf"), FinetuneSettings())
    assert gguf_fingerprint(tmp_path / "unknown.gguf") != gguf_fingerprint(file)
    with pytest.raises(InputError, match="is a GGUF file, which cannot be used as embedder"):
        build.embedder(str(file))
