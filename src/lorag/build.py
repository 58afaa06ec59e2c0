"""Assembles the parts: names and settings in; engines, indexes and chatbots out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache as remembering
from functools import partial
from pathlib import Path
from typing import get_args

from lorag.chat.answer_cache import AnswerCache
from lorag.chat.bot import ChatBot
from lorag.chat.kept_prompt import KeptPrompt
from lorag.errors import InputError, ModelError, StorageError
from lorag.files import fingerprint
from lorag.interfaces import Embedder, LanguageModel, Progress, Retriever, no_progress
from lorag.llm.engines.base_model import Dtype, asked_dtype, fits
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.openai import PREFIXES, Address, RemoteModel
from lorag.llm.engines.transformers import TransformersModel, adapter_fingerprint, load
from lorag.llm.engines.verified_gguf import FORM, Made, llamacpp_is_quickest, verified_gguf
from lorag.models import catalogue, naming
from lorag.models.adapter_fit import CONFIG, base_named, require_fitting
from lorag.models.fingerprint import weights_fingerprint
from lorag.retrieval.backends.location import IndexLocation, made_with
from lorag.retrieval.encoders.cross_encoder import CrossEncoder
from lorag.retrieval.encoders.local_embedder import local_embedder
from lorag.retrieval.encoders.remote_embedder import RemoteEmbedder
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import Knowledge, chunks_of
from lorag.settings import (
    DEFAULT_EMBEDDER,
    CacheSettings,
    ChatSettings,
    ChunkSettings,
    Engine,
    FinetuneSettings,
    PromptSettings,
    RemoteSettings,
    RetrievalSettings,
)
from lorag.training.adapter import MANIFEST, Adapter, read_adapter, require_base, trained_model
from lorag.types import Hit


def language_model(
    name: str | None = None,
    adapter: Path | str | None = None,
    progress: Progress = no_progress,
    remote: RemoteSettings | None = None,
    dtype: Dtype = "auto",
    load: Callable[[Path, str, Dtype], TransformersModel] = load,
) -> LanguageModel:
    """The model of that name, with ``adapter`` applied where one is given.

    Args:
        name: A name of the catalogue, a folder, a ``.gguf`` file, ``OWNER/NAME[@REVISION]`` of a hub,
            ``openai:MODEL@URL`` or ``ollama:MODEL``. None: the base of ``adapter``, or else the default.
        adapter: The folder of an adapter. One of another program, in PEFT's format, needs its base as ``name``.
        progress: Called as the work proceeds, with a stage and how much of it is done.
        remote: How a model behind an address is asked.
        dtype: Of the weights. With ``auto``, what was trained has the one that its manifest records.
        load: Loads the weights of the base from a folder.

    Returns:
        The model; its weights are loaded unless a server answers for it.

    Raises:
        ModelError: The adapter was trained on another base.
        InputError: An adapter or a dtype is given for a remote model.

    Examples:
        >>> model = lorag.language_model("smollm2-135m")
        >>> print(model.generate([(lorag.Message("user", "Where is Halifax?"),)], lorag.Sampling())[0].text)
    """
    if name is not None and is_remote(name):
        if adapter is not None:
            raise InputError(f"{str(adapter)!r} cannot be applied to {name}; give its base model, or let it be served")
        if dtype != "auto":
            raise InputError(f"{name} computes where it is served; its dtype {dtype!r} is chosen there")
        return RemoteModel(name, remote)
    if adapter is None:
        name = model_name(name, progress)
        folder = naming.resolve(name, "llm", progress)
        return load(folder, name, _kept_dtype(folder, dtype))
    adapter = Path(adapter)
    trained = None if is_foreign(adapter) else read_adapter(adapter)
    name, folder = base_folder(adapter, trained, name, progress)
    if trained is not None and trained.spec.is_whole_model:
        return _whole_model(trained, name, dtype)
    if trained is not None and dtype == "auto":
        dtype = trained.dtype
    return load(folder, name, _kept_dtype(folder, dtype)).with_adapter(adapter)


def answering_model(
    name: str | None = None,
    adapter: Path | None = None,
    engine: Engine = "auto",
    progress: Progress = no_progress,
    dtype: Dtype = "auto",
    shared: Callable[[Path, str, Dtype], TransformersModel] | None = None,
) -> LanguageModel:
    """The model on the quickest engine that answers as the reference does: to talk with, not to compare by.

    ``auto`` takes llama.cpp where it is installed and there is no GPU; where it cannot take the model or fails its
    check, a warning gives the reason, and transformers answers, with the adapter merged where that is as good. A GGUF
    file without an adapter is taken as it is. A ``dtype`` that is given here or in the environment chooses
    transformers. With ``shared``, which gives the base of a folder, transformers' adapters stay unmerged over its
    weights.
    """
    _require_engine(engine)
    remote = name is not None and is_remote(name)
    if engine == "llama.cpp" and not remote:
        return _llamacpp_model(name, adapter, progress)
    unnamed = dtype == asked_dtype() == "auto"
    reason: str | None = None
    if engine == "auto" and unnamed and not remote and llamacpp_is_quickest():
        try:
            return _llamacpp_model(name, adapter, progress)
        except (ModelError, StorageError) as error:
            reason = str(error)  # the error itself would keep what was loaded in memory
    model = language_model(name, adapter, progress, dtype=dtype, load=shared or load)
    if reason is not None:
        warnings.warn(f"{reason}; transformers answers, which is slower", stacklevel=2)
    if shared is None and isinstance(model, TransformersModel) and model.is_mergeable:
        return model.merged()
    return model


def _require_engine(engine: str) -> None:
    if engine not in get_args(Engine):
        raise InputError(f"engine {engine!r} is not one of {', '.join(get_args(Engine))}")


def _llamacpp_model(name: str | None, adapter: Path | None, progress: Progress) -> LlamaCppModel:
    """The model over llama.cpp. Raises ``ModelError`` where it has no quick form, or one that fails its check."""
    if adapter is not None and is_foreign(adapter):
        raise ModelError(
            f"llama.cpp takes adapters of `lorag finetune`, and {str(adapter)!r} was made by another program"
        )
    trained = read_adapter(adapter) if adapter is not None else None
    if trained is not None and not trained.spec.fits_published_base:
        raise ModelError(f"llama.cpp does not take what was trained by {trained.method}")
    name = model_name(trained.base if trained is not None and name is None else name, progress)
    if trained is None and (file := naming.located(name, "llm", progress)).suffix == naming.GGUF:
        return LlamaCppModel.from_file(file, name)
    base = naming.resolve(name, "llm", progress)
    told, full_name = [weights_fingerprint(base), FORM], name
    if trained is not None:
        require_base(trained, name, told[0])
        folder = Path(trained.folder)
        mark = weights_fingerprint(folder) if trained.spec.is_whole_model else adapter_fingerprint(folder)
        told, full_name = [*told, mark], f"{name}+{mark}"

    def make() -> Made:
        progress("preparing llama.cpp", 0, 1)
        reference = load(base, name, "float32")
        if trained is None:
            return Made(reference, None, reference.weights)
        adapted = finetuned_model(reference, trained, "float32")
        return Made(adapted, reference, adapted.merged().weights)

    return verified_gguf(verified_ggufs() / fingerprint(told), base, full_name, make)


def finetuned_model(base: TransformersModel, trained: Adapter, dtype: Dtype = "auto") -> TransformersModel:
    """``base`` with what was trained of it: its adapter applied, or a model of its own that replaces all weights.

    ``dtype`` is that of its weights; ``auto`` is the one that its manifest records.
    """
    if not trained.spec.is_whole_model:
        return base.with_adapter(Path(trained.folder))
    return _whole_model(trained, base.name, dtype)


def _whole_model(trained: Adapter, base: str, dtype: Dtype) -> TransformersModel:
    folder = Path(trained.folder)
    return load(folder, f"{base}+{weights_fingerprint(folder)}", _kept_dtype(folder, dtype))


def _kept_dtype(folder: Path, dtype: Dtype) -> Dtype:
    """``dtype``, or, where it is ``auto``, the one in which the model in ``folder`` keeps what it learned.

    A warning where memory is too small for that.
    """
    trained = trained_model(folder) if dtype == "auto" else None
    if trained is None or trained.dtype == "auto":
        return dtype
    kept = trained.dtype
    if fits(folder, kept):
        return kept
    warnings.warn(
        f"the model in {str(folder)!r} needs {kept} to keep what it learned, but too little memory is free; loaded in a"
        " coarser dtype, it may answer differently. To avoid this, end other programs",
        stacklevel=3,
    )
    return "auto"


def trainable_model(
    name: str | None, settings: FinetuneSettings, progress: Progress = no_progress, start: Adapter | None = None
) -> TransformersModel:
    """The model of that name in the dtype in which its method trains, and is served afterwards.

    Where the training begins from the adapter ``start``, its base. Raises ``InputError`` for a remote model, and
    ``ModelError`` when ``start`` was trained on another base; both before weights are loaded.
    """
    if name is not None and is_remote(name):
        raise InputError(f"{name} is a remote model; finetuning needs weights on this machine, see `lorag models list`")
    name = model_name(start.base if name is None and start is not None else name, progress)
    folder = naming.resolve(name, "llm", progress)
    if start is not None:
        require_base(start, name, weights_fingerprint(folder))
    dtype = _kept_dtype(folder, "nf4" if settings.spec.on_four_bits else "auto")
    return load(folder, name, dtype, off_device=settings.shard)


def is_remote(name: str) -> bool:
    """Whether a model's name says that it is reached under an address: ``openai:MODEL@URL`` or ``ollama:MODEL``."""
    return name.startswith(PREFIXES)


def model_name(name: str | None, progress: Progress = no_progress) -> str:
    """``name`` when it is a model's, with the commit of a hub's, or the default's.

    Raises ``UnknownNameError`` with the nearest names, and for a hub's model what ``lorag.models.hub.snapshot`` does.
    """
    if name is None:
        return catalogue.available_model(progress)
    if is_remote(name):
        Address.parse(name)
        return name
    return naming.pinned(name, "llm", progress)


def embedder(
    name: str = DEFAULT_EMBEDDER, progress: Progress = no_progress, cache: CacheSettings | None = None
) -> CachedEmbedder:
    """The embedder of that name, here or behind an address; the vectors of passages are kept beside the models."""
    return cached(RemoteEmbedder(name) if is_remote(name) else local_embedder(name, progress), cache)


def cached(embedder: Embedder, cache: CacheSettings | None = None) -> CachedEmbedder:
    """``embedder``, asked only for passages whose vectors are not in the folder of the models yet."""
    return CachedEmbedder(embedder, vectors_file(), (cache or CacheSettings()).max_bytes)


def verified_ggufs() -> Path:
    """The folder of the models as llama.cpp takes them."""
    return catalogue.cache_folder() / "quick"


def vectors_file() -> Path:
    """Where vectors of passages are kept."""
    return catalogue.cache_folder() / "vectors.sqlite"


def reranker(name: str, progress: Progress = no_progress) -> CrossEncoder:
    """The cross-encoder of that name: a catalogue's, a folder, or a hub's."""
    return CrossEncoder(naming.resolve(name, "reranker", progress), name)


def knowledge(
    place: IndexLocation,
    by: Embedder | str = DEFAULT_EMBEDDER,
    chunks: ChunkSettings | None = None,
    retrieval: RetrievalSettings | None = None,
    progress: Progress = no_progress,
) -> Knowledge:
    """The index in a folder or database, to search and to update. It is made where there is none.

    Args:
        place: A folder, ``postgresql://USER@HOST/DATABASE``, or ``s3://BUCKET/PREFIX``.
        by: The embedder, or its name; the one that the index was made with.
        chunks: How documents are cut. None: as the index was made, or by the defaults.
        retrieval: How passages are found; its reranker is loaded.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        The index; many processes may read it while one writes.

    Raises:
        StoreError: The index was made with another embedder or chunk size, or it is damaged.

    Examples:
        >>> indexed = lorag.index("docs", "index")
        >>> lorag.knowledge("index").documents()
        ['office.md', 'warranty.md']
    """
    retrieval = retrieval or RetrievalSettings()
    if by == DEFAULT_EMBEDDER and (made := made_with(place)):
        by = catalogue.available_embedder(by, made)
    return Knowledge.open(
        place,
        embedder(by, progress) if isinstance(by, str) else by,
        chunks or chunks_of(place) or ChunkSettings(),
        retrieval,
        reranker(retrieval.reranker, progress) if retrieval.reranker is not None else None,
    )


def search(
    query: str,
    place: IndexLocation,
    k: int = 5,
    *,
    where: Mapping[str, str | Sequence[str]] | None = None,
    by: Embedder | str = DEFAULT_EMBEDDER,
    chunks: ChunkSettings | None = None,
    retrieval: RetrievalSettings | None = None,
    progress: Progress = no_progress,
) -> list[Hit]:
    """The passages of an index that fit ``query`` best, the best first; for many queries, open ``knowledge`` once.

    Args:
        query: A question, or any other text.
        place: The index: a folder, or the URL of a database or bucket.
        k: Maximum number of passages; there may be fewer.
        where: Restricts the search to documents, as in ``Knowledge.retrieve``.
        by: The embedder, or its name; the one that the index was made with.
        chunks: How documents were cut. None takes it from the index.
        retrieval: How passages are found.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        At most ``k`` hits. A higher score is a better fit; scores of different settings are not comparable.

    Raises:
        InputError: ``k`` is below 1, or there is no document like ``where``.
        StoreError: As ``knowledge`` does.

    Examples:
        >>> indexed = lorag.index("docs", "index")
        >>> best, *rest = lorag.search("How long is the warranty?", "index")
        >>> best.chunk.document_id, "28 months" in best.chunk.text
        ('warranty.md', True)
    """
    return knowledge(place, by, chunks, retrieval, progress).retrieve([query], k, where)[0]


def chatbot(
    model: str | None = None,
    adapter: Path | str | None = None,
    index: IndexLocation | None = None,
    settings: ChatSettings | None = None,
    chunks: ChunkSettings | None = None,
    retrieval: RetrievalSettings | None = None,
    engine: Engine = "auto",
    progress: Progress = no_progress,
    where: Mapping[str, str | Sequence[str]] | None = None,
    by: str = DEFAULT_EMBEDDER,
    dtype: Dtype = "auto",
    prompt: KeptPrompt | None = None,
) -> ChatBot:
    """A chatbot over a model, with an adapter, an index, both or neither.

    Args:
        model: The name of a model, as in ``language_model``.
        adapter: The folder of an adapter.
        index: The index to search before each answer: a folder, or the URL of a database or bucket.
        settings: How a question becomes a prompt and an answer.
        chunks: How the documents of the index were cut. None takes it from the index.
        retrieval: How passages are found.
        engine: What computes the answers. ``auto`` takes llama.cpp where it is quicker and answers the same, and
            transformers where ``prompt`` has a probe.
        progress: Called as the work proceeds, with a stage and how much of it is done.
        where: Restricts the search to documents of the index, as in ``Knowledge.retrieve``.
        by: The name of the embedder that the index was made with.
        dtype: As in ``language_model``.
        prompt: What stands around each question. None: what ``settings`` give; where that is the default, the prompt
            that the adapter, or the model, was trained under.

    Returns:
        The chatbot, with its model loaded.

    Raises:
        InputError: ``where`` is given without an index, or the prompt lacks the worked examples that it is to show.
        ModelError: The adapter was trained on another base.

    Examples:
        >>> answer = lorag.chatbot(index="index").ask("How long is the warranty?")
        >>> print(answer.text, [hit.chunk.document_id for hit in answer.sources])
    """
    settings, retrieval = settings or ChatSettings(), retrieval or RetrievalSettings()
    (prompt or KeptPrompt(settings.prompt)).require_examples()
    adapter = Path(adapter) if adapter is not None else None
    known = knowledge(index, by, chunks, retrieval, progress) if index is not None else None
    retriever = _only(known, where)
    if engine == "auto" and retriever is not None and prompt is not None and prompt.probe is not None:
        engine = "transformers"  # the only one whose hidden states can be read
    llm = answering_model(model, adapter, engine, progress, dtype)
    cache = None
    if settings.cache_similarity is not None:
        index_state = known.state if known is not None else str
        cache = AnswerCache(embedder(by, progress), settings.cache_similarity, index_state)
    prompt = prompt or KeptPrompt(_usual_prompt(settings, model, adapter))
    return prompt.chatbot(llm, retriever, settings, retrieval, cache)


def base_of(model: str | None, adapters: Iterable[Path]) -> str | None:
    """``model``, or else the base of the first of ``adapters``. Raises ``InputError`` where that is not known here."""
    bases = [(path, None if is_foreign(path) else read_adapter(path).base) for path in adapters]
    if model is not None or not bases:
        return model
    path, base = bases[0]
    return base if base is not None else base_named(path, None)


def base_folder(adapter: Path, trained: Adapter | None, name: str | None, progress: Progress) -> tuple[str, Path]:
    """The name and the folder of an adapter's base; nothing is loaded. ``trained`` is None for another program's.

    Raises ``ModelError`` where the adapter was made for another base, ``InputError`` where it is not named here.
    """
    if trained is None:
        name = model_name(base_named(adapter, name), progress)
        folder = naming.resolve(name, "llm", progress)
        require_fitting(adapter, folder, name)
    else:
        name = model_name(trained.base if name is None else name, progress)
        folder = naming.resolve(name, "llm", progress)
        require_base(trained, name, weights_fingerprint(folder))
    return name, folder


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds an adapter of another program, in PEFT's format."""
    return not (folder / MANIFEST).is_file() and (folder / CONFIG).is_file()


def chatbots(
    model: str | None,
    adapters: Mapping[str, Path],
    known: Knowledge | None = None,
    settings: ChatSettings | None = None,
    retrieval: RetrievalSettings | None = None,
    engine: Engine = "auto",
    progress: Progress = no_progress,
    where: Mapping[str, str | Sequence[str]] | None = None,
    prompt: KeptPrompt | None = None,
    tuned: KeptPrompt | None = None,
) -> dict[str, ChatBot]:
    """Chatbots over one base: ``base``, and each of ``adapters`` by its name.

    Each stands there once more, as ``NAME+documents``, where it searches what is ``known``. Without a ``model`` the
    base is that of the first adapter. All are asked under ``prompt``; without one each as ``chatbot`` has it, the base
    with documents under the one that was ``tuned`` for it.

    The weights of the base are loaded once, by transformers; the engine ``llama.cpp``, and what has weights of its own
    (trained by ``full`` or ``qlora``), takes a copy for each.
    """
    _require_engine(engine)
    settings, retrieval = settings or ChatSettings(), retrieval or RetrievalSettings()
    (prompt or KeptPrompt(settings.prompt)).require_examples()
    retriever = _only(known, where)
    model = model_name(base_of(model, adapters.values()), progress)
    open_model: Callable[[Path | None], LanguageModel] = (
        partial(answering_model, model, engine=engine, progress=progress)
        if engine == "llama.cpp"
        else partial(language_model, model, progress=progress, load=remembering(load))
    )
    bots = {}
    for name, path in {"base": None, **adapters}.items():
        llm, usual = open_model(path), KeptPrompt(_usual_prompt(settings, model, path))
        bots[name] = (prompt or usual).chatbot(llm, None, settings, retrieval)
        if retriever is not None:
            usual = tuned if tuned is not None and path is None else usual
            bots[f"{name}+documents"] = (prompt or usual).chatbot(llm, retriever, settings, retrieval)
    return bots


def _only(known: Knowledge | None, where: Mapping[str, str | Sequence[str]] | None) -> Retriever | None:
    """What searches the documents that ``where`` means; ``InputError`` where there are none to choose from."""
    if not where:
        return known
    if known is None:
        raise InputError(f"documents are chosen by {', '.join(where)}, but no index is searched; leave one of them out")
    return known.only(where)


def _usual_prompt(settings: ChatSettings, model: str | None, adapter: Path | None) -> PromptSettings:
    """The prompt of ``settings``; where that is the default, the one that adapter or model was trained under."""
    if settings.prompt != PromptSettings():
        return settings.prompt
    if adapter is not None:
        return settings.prompt if is_foreign(adapter) else read_adapter(adapter).prompt
    folder = None if model is None or is_remote(model) else naming.local_folder(model)
    trained = trained_model(folder) if folder is not None else None
    return trained.prompt if trained is not None else settings.prompt
