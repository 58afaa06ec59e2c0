"""All settings of Lorag: type, default and unit of each, and why the default is what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from lorag.errors import InputError
from lorag.finetune_methods import METHODS, Method, MethodSpec
from lorag.types import Sampling

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
"""Language model used if none is named: the smallest in the catalogue that answers well from passages (docs/log.md)."""
FALLBACK_MODEL = "smollm2-135m"
"""Language model used, with a warning, if the default cannot be downloaded."""
DEFAULT_EMBEDDER = "bge-small-en"
"""Embedder used if none is named."""
TRAINABLE_EMBEDDER = "minilm-l6"
"""Embedder that is trained if none is named: the one in the catalogue whose weights can be trained."""
DEFAULT_RERANKER = "minilm-reranker"
"""Cross-encoder used if reranking is on and no cross-encoder is named."""
GATE_KEEP = 0.98
"""Share of your questions that must pass the relevance threshold; a refusal is worse than a wasted model call."""
REPLAY_SHARE = 0.5
"""Share of old conversations among all training conversations when an adapter is trained further."""
Fusion = Literal["convex", "rrf"]
REFUSAL = "I do not know: the documents do not say."
"""The sentence with which an assistant refuses, and which it is trained to give."""

Engine = Literal["auto", "transformers", "llama.cpp"]
"""The engine that computes answers outside of comparisons; a comparison always uses transformers."""
VerdictOn = Literal["right", "right_and_supported"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


def _require_counts(settings: object, *names: str) -> None:
    """Raises ``InputError`` for a field that is below 1; None is allowed where its type has it."""
    for name in names:
        value = getattr(settings, name)
        _require(value is None or value >= 1, f"{name} {value!r} is below 1")


def _limit(name: str, usual: float) -> Any:
    """The field of a limit. Raises ``InputError`` where the environment gives something else than a number."""

    def chosen() -> float:
        given = os.environ.get(name) or str(usual)
        try:
            return type(usual)(float(given))
        except ValueError as error:
            raise InputError(f"the environment variable {name} is {given!r}; expected a number, or nothing") from error

    return field(default_factory=chosen)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Limits on the files that are read as documents; ``LORAG_MAX_...`` in the environment overrides each."""

    max_file_bytes: int = _limit("LORAG_MAX_FILE_BYTES", 100_000_000)
    """Largest file, in bytes; larger ones are refused. 100 MB are about fifty thousand pages."""
    max_unpacked_bytes: int = _limit("LORAG_MAX_UNPACKED_BYTES", 300_000_000)
    """Largest unpacked size of an office file or a book, in bytes: a few kilobytes can expand to gigabytes."""
    max_parts: int = _limit("LORAG_MAX_PARTS", 10_000)
    """Largest number of parts in an office file or a book; so many take seconds to read, more take much longer."""
    max_seconds: float = _limit("LORAG_MAX_SECONDS", 60.0)
    """Seconds to read one file; ten times as many for a PDF with scanned pages and for old office files."""
    max_memory_bytes: int = _limit("LORAG_MAX_MEMORY_BYTES", 2_000_000_000)
    """Memory for reading one file, in bytes; enforced on Linux only."""
    max_characters: int = _limit("LORAG_MAX_CHARACTERS", 100_000_000)
    """Largest text of one file, in characters: a file of a few kilobytes can expand to gigabytes of text."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a limit that is not above 0."""
        for limit in fields(self):
            _require(getattr(self, limit.name) > 0, f"{limit.name} {getattr(self, limit.name)!r} is not above 0")


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How documents are split into chunks, which do not overlap."""

    max_tokens: int = 256
    """Maximum size of a chunk, in the embedder's tokens (16 to 510). 200 to 300 did best on five corpora."""
    search_tokens: int | None = None
    """Maximum size of the pieces that are embedded for each chunk. None embeds whole chunks, which found more at equal
    prompt length. With pieces, only the pieces must fit the embedder, so chunks may be larger."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a size outside 16 to 510, and for pieces larger than a chunk."""
        name, size = ("max", self.max_tokens) if self.search_tokens is None else ("search", self.search_tokens)
        _require(16 <= size <= 510, f"chunk {name}_tokens {size!r} is not between 16 and 510")
        _require(size <= self.max_tokens, f"search_tokens {size!r} is above max_tokens {self.max_tokens!r}")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How much disk space keeps vectors, so that no text is embedded twice."""

    max_bytes: int = 2_000_000_000
    """Disk space for vectors of passages, in bytes, shared by all indexes: 2 GB hold about a million vectors of 384
    dimensions. When it is full, the oldest are deleted, but none while an index is being written. 0 keeps none."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a negative size."""
        _require(self.max_bytes >= 0, f"cache max_bytes {self.max_bytes!r} is below 0")


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What may be removed from an index when it is brought up to date."""

    max_removed_share: float = 1 / 3
    """Largest share of the documents that one update may remove (0 to 1). A folder that is only half mounted or copied
    looks as if half of its documents were deleted. 1 allows every removal."""
    guarded_from: int = 6
    """Smallest number of documents to which the limit applies; in a smaller index, one file is a large share."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a share outside 0 to 1."""
        _require(0 <= self.max_removed_share <= 1, f"max_removed_share {self.max_removed_share!r} is not in 0 to 1")


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How passages are found and ranked."""

    candidates: int = 100
    """Number of chunks that dense and lexical search each return before fusion. The last one counts as 0 in the convex
    fusion. 50 and 100 gave the same results (docs/log.md)."""
    dense_weight: float = 0.5
    """Weight of dense search in the fusion (0 to 1); results change little from 0.4 to 0.5. 1 searches by meaning only,
    0 by words only, and hits then keep the scores of that search."""
    fusion: Fusion = "convex"
    """How both rankings are combined: ``convex`` adds scores scaled to 0 to 1, ``rrf`` adds reciprocal ranks, which
    discard score differences. ``rrf`` found less in measurements."""
    min_cosine: float | None = None
    """Smallest cosine of question and passage (-1 to 1); passages below it are dropped, whichever search found them.
    Values are comparable for one embedder only. None keeps every passage."""
    gate_cosine: float | None = None
    """The relevance threshold: smallest cosine of the question and its nearest passage (-1 to 1). Below it, the
    question is off topic and gets no passages. `lorag calibrate` chooses the value. None lets every question pass."""
    reranker: str | None = None
    """Cross-encoder that reranks the best hits: a catalogue name, OWNER/NAME of a hub, or a folder. It takes one model
    call per passage, 20 to 60 ms on one core. None keeps the fused order."""
    rerank_weight: float = 0.7
    """Weight of reranker against search, both scaled to 0 to 1. 0.5 to 0.8 worsened no test set; 1 worsened one."""
    mmr_lambda: float | None = None
    """Weight of relevance against diversity (maximal marginal relevance), 0 to 1. None skips this step."""
    depth: int = 20
    """Number of fused hits that are reranked or diversified; a reranker gains less and less from more."""
    k: int = 10
    """Maximum number of passages per question. ``context_tokens`` limits how many of them reach the prompt."""
    exact_up_to: int = 50_000
    """Number of texts up to which search compares every vector, in about 75 ms. A larger index gets an approximate
    vector index, ten times as fast, whose recall is measured when it is built."""
    second_search: bool = True
    """Search again with names from the best passage if a question has an English relative clause; not with
    ``min_cosine``. It found more for questions that need two documents, no less for others, in 35 to 50 ms."""

    @property
    def leaves_out(self) -> bool:
        """Whether a question may get no passages because none is similar enough."""
        return self.min_cosine is not None or self.gate_cosine is not None

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a weight, a cosine or a count out of range."""
        _require(0 <= self.dense_weight <= 1, f"dense_weight {self.dense_weight!r} is not between 0 and 1")
        _require(self.fusion in get_args(Fusion), f"fusion {self.fusion!r} is not one of {', '.join(get_args(Fusion))}")
        for name, low in (("min_cosine", -1), ("gate_cosine", -1), ("mmr_lambda", 0), ("rerank_weight", 0)):
            value = getattr(self, name)
            _require(value is None or low <= value <= 1, f"{name} {value!r} is not between {low} and 1")
        _require(self.depth >= 1, f"depth {self.depth!r} is below 1")
        _require(1 <= self.k <= self.candidates, f"k {self.k!r} is not between 1 and candidates {self.candidates!r}")


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What a prompt contains beside the question and its sources."""

    question_first: bool = False
    """Whether the question comes before its sources, and the instruction after them."""
    offer_refusal: bool = True
    """Whether the instruction offers the response template for questions that the model cannot answer."""
    examples: int = 0
    """Number of worked examples before the question, each with sources if the question has sources."""
    refused_example: bool = False
    """Whether another example shows sources without an answer, and the response template as its reply."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a negative number of examples."""
        _require(self.examples >= 0, f"examples {self.examples!r} is below 0")

    def __str__(self) -> str:
        """The prompt in a few words."""
        shown = [f"{self.examples} example{'s' * (self.examples != 1)}"] if self.examples else []
        shown += ["1 refused example"] if self.refused_example else []
        order = "question before sources" if self.question_first else "question after sources"
        return ", ".join([order, *([] if self.offer_refusal else ["no refusal offered"]), *shown])


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How a question becomes a prompt and an answer."""

    context_tokens: int = 400
    """Maximum size of the sources in a prompt, in the language model's tokens; only whole passages are used."""
    prompt: PromptSettings = field(default_factory=PromptSettings)
    """What a prompt contains beside the question and its sources."""
    response_template: str = REFUSAL
    """The sentence that the model should give if it does not know; an answer with it counts as a refusal."""
    sampling: Sampling = field(default_factory=Sampling)
    """How answers are generated."""
    blocked_words: tuple[str, ...] = ()
    """Words and phrases that are refused in a question and masked in an answer."""
    cache_similarity: float | None = None
    """Smallest cosine at which a question gets the cached answer to an earlier one. Above 0.95, only small differences
    in wording match; far below, different questions do (docs/answering.md). None caches no answers."""
    history_tokens: int = 1024
    """Maximum size of earlier turns in a prompt, in the model's tokens. The oldest go first, question with answer."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for negative sizes, a blank blocked word, and a similarity outside 0 to 1."""
        _require(self.context_tokens >= 0, f"context_tokens {self.context_tokens!r} is below 0")
        _require(self.history_tokens >= 0, f"history_tokens {self.history_tokens!r} is below 0")
        _require(all(word.strip() for word in self.blocked_words), "blocked_words holds a blank word; leave it out")
        least = self.cache_similarity
        _require(least is None or 0 < least <= 1, f"cache_similarity {least!r} is not above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a model on a server is asked."""

    concurrency: int = 8
    """Maximum number of concurrent requests, fewer while a server is busy. One that batches is faster with more."""
    timeout_seconds: float = 120.0
    """Seconds to wait for an answer, or for the next piece of a streamed one."""
    retries: int = 2
    """Number of further attempts after a timeout, a lost connection, an error of the server or a busy server."""
    outage_seconds: float | None = None
    """Seconds without an answer until a busy server, or one that loses connections, is given up; None: ``retries``."""
    context_tokens: int | None = None
    """The model's context, in tokens. No protocol reports it; with None, the server rejects longer prompts."""
    max_cost_tokens: int | None = None
    """Maximum number of tokens of prompts and answers on servers; a comparison stops there. None sets no limit."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a value that allows no request."""
        _require_counts(self, "concurrency", "outage_seconds", "context_tokens", "max_cost_tokens")
        _require(self.timeout_seconds > 0, f"timeout_seconds {self.timeout_seconds!r} is not above 0")
        _require(self.retries >= 0, f"retries {self.retries!r} is below 0")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The size and number of requests that the server accepts."""

    max_request_bytes: int = 1_000_000
    """Largest request for an answer, in bytes: many times the text that fits into a context."""
    max_upload_bytes: int = 25_000_000
    """Largest uploaded document, in bytes; it is held in memory while it is read."""
    max_answers: int = 32
    """Maximum number of answers generated at once; transformers batches them all, llama.cpp eight at a time."""
    max_waiting: int = 32
    """Maximum number of waiting requests; further ones get status 429."""
    max_seconds: float = 300.0
    """Maximum seconds for one answer, including its wait."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for limits that allow no request."""
        _require_counts(self, "max_request_bytes", "max_upload_bytes", "max_answers")
        _require(self.max_waiting >= 0, f"max_waiting {self.max_waiting!r} is below 0")
        _require(self.max_seconds > 0, f"max_seconds {self.max_seconds!r} is not above 0")


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """How a model is trained: on the assistant's tokens only; by default with LoRA on every linear layer."""

    method: Method = "lora"
    """Method of finetuning. ``rslora``: LoRA scaled by the root of the rank, for ranks of 64 and more; ``dora``: learns
    direction and length of weights separately, slower; ``pissa``: LoRA initialised with the principal components of the
    weights; ``qlora``: on a 4-bit base, for little memory (extra ``qlora``); ``full``: all weights, a new model;
    ``prompt`` and ``prefix``: virtual tokens before every row, a few kilobytes that teach manner rather than facts."""
    rank: int = 16
    """Rank of the adapter; 16 is enough for a small document set. Raise it if the training loss stops falling."""
    alpha: int = 32
    """Scale of the adapter: its output is multiplied by ``alpha / rank``, with ``rslora`` by alpha / sqrt(rank)."""
    trained_layers: float = 1.0
    """Share of the decoder's layers, from the top, that LoRA methods train (above 0, up to 1). The frozen layers below
    need no backward pass; their output is computed once per batch and reused in later epochs."""
    virtual_tokens: int = 16
    """Number of virtual tokens of a learned prompt or prefix."""
    learning_rate: float | None = None
    """Peak learning rate of AdamW, which falls to zero along a cosine. None takes the method's: 2e-4 for LoRA, DoRA and
    QLoRA, because at 1e-3 a model of 0.5 billion weights forgot more than it learned (docs/log.md); 5e-5 for rsLoRA,
    whose layers are four times as strong at rank 16; 1e-4 for PiSSA, whose factors do not start near zero; 5e-5 for all
    weights; 1e-2 for a learned prompt, whose gradient passes through every layer; 1e-3 for a learned prefix."""
    epochs: int = 3
    """Number of passes over the conversations."""
    batch_tokens: int = 224
    """Maximum number of distinct tokens in one step; conversations of similar length share a step, and their common
    beginning counts once. Many small steps learn facts better than a few large ones, and cost the same on a CPU."""
    batch_rows: int | None = None
    """Maximum number of conversations in one step; None: as many as ``batch_tokens`` allows."""
    gradient_accumulation_steps: int = 1
    """Steps per update of the weights. Raise it only if the batch that you want does not fit into memory."""
    max_tokens: int = 1024
    """Maximum length in tokens. Longer conversations are left out and counted; longer plain text is split."""
    context_share: float = 0.1
    """Share of the conversations that are trained a second time with sources, so that reading them is not forgotten."""
    context_tokens: int = 200
    """Maximum size of the sources in these conversations, in the model's tokens."""
    refuse_absent: bool = True
    """Teach to refuse where the sources do not answer; otherwise, to answer from memory if the fact is taught."""
    general_share: float = 0.0
    """Share of general questions in the training data, answered by the base before training, against forgetting."""
    general_text_share: float = 0.0
    """Share of general text in the training data, generated by the base, against forgetting; every token is learned."""
    held_out_share: float = 0.05
    """Share of the conversations held out to measure the loss: other wordings if facts have several, or documents."""
    patience: int = 0
    """Epochs without a lower held-out loss after which training stops; the best epoch is kept. 0 never stops early."""
    measure_forgetting: bool = True
    """Measure the loss on general text and answers to simple questions before and after training."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them: less memory, a third slower."""
    shard: bool = False
    """Split the weights among the processes of ``torchrun`` (FSDP2), for models larger than one device."""
    cpu_offload: bool = False
    """Keep the weights that ``shard`` splits in main memory until they are needed."""
    seed: int = 0
    """Seed of the adapter's initial weights and of the order of steps."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for settings that cannot train."""
        _require(self.method in METHODS, f"method {self.method!r} is not one of {', '.join(METHODS)}")
        _require_counts(self, "virtual_tokens", "rank", "epochs", "batch_rows")
        _require(0 < self.trained_layers <= 1, f"trained_layers {self.trained_layers!r} is not above 0 and at most 1")
        _require(self.patience >= 0, f"patience {self.patience!r} is below 0")
        _require(0 < self.rate < 1, f"learning_rate {self.rate!r} is not between 0 and 1")
        _require(0 <= self.context_share <= 1, f"context_share {self.context_share!r} is not between 0 and 1")
        _require(self.max_tokens >= 2, f"max_tokens {self.max_tokens!r} is below 2")
        for name in ("general_share", "general_text_share"):
            _require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)!r} is not between 0 and 1")
        general = self.general_share + self.general_text_share
        _require(general < 1, f"general_share and general_text_share are {general:g} together, not below 1")
        _require(0 <= self.held_out_share < 0.5, f"held_out_share {self.held_out_share!r} is not below 0.5")
        _require(not self.shard or self.spec.shards, f"the method {self.method} does not support shard")
        _require(self.shard or not self.cpu_offload, "cpu_offload needs weights split by shard; set shard as well")

    @property
    def spec(self) -> MethodSpec:
        """The properties of the method."""
        return METHODS[self.method]

    @property
    def rate(self) -> float:
        """The learning rate: the given one, or the method's default."""
        return self.spec.rate if self.learning_rate is None else self.learning_rate

    def __str__(self) -> str:
        """The method and the settings that matter most, in one line."""
        share = self.trained_layers
        part = f"linear layers of the upper {share:.0%}" if share < 1 else "all linear layers"
        sizes = {
            "low-rank layers": f"rank {self.rank}, alpha {self.alpha}, {part}",
            "all weights": "all weights",
            "virtual tokens": f"{self.virtual_tokens} tokens",
        }
        return f"{self.method}, {sizes[self.spec.trains]}, rate {self.rate:g}, {self.epochs} epochs"


@dataclass(frozen=True, slots=True)
class RecipeSettings:
    """How a finetune is chosen within a budget: by recall of facts in wordings that are not trained on."""

    minutes: float = 20.0
    """Minutes for all trainings together, of which at most a third is spent on choosing."""
    wordings: int = 10
    """Maximum number of wordings of each fact, including the given ones."""
    passes: int | None = None
    """Number of passes over the conversations; None: as many as fit into the budget and help."""
    probed_facts: int = 24
    """Number of facts that are asked after every training, in wordings that are not trained on."""
    most_reading_loss: float = 0.03
    """Largest acceptable drop in facts answered right with the passage, as a share of the probed facts."""
    most_recall_loss: float = 0.03
    """Largest acceptable loss of recalled facts when the adapter is weakened, as a share of the probed facts."""
    most_forgetting: float = 0.3
    """Largest acceptable rise of the loss on general text, in nats per token; above it, weaker adapters are tried."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a budget or a count of nothing, and for shares outside 0 to 1."""
        _require(self.minutes > 0, f"minutes {self.minutes!r} is not above 0")
        _require_counts(self, "passes", "wordings", "probed_facts")
        for name in ("most_reading_loss", "most_recall_loss"):
            share = getattr(self, name)
            _require(0 <= share <= 1, f"{name} {share!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """How an embedder is trained: each question towards its passage and away from other passages in its step."""

    epochs: int = 2
    """Number of passes over the questions; more passes fit the wordings rather than the documents."""
    batch_size: int = 16
    """Questions per step, at least 2. The passages of the other questions are the negatives, so more teach more."""
    hard_negatives: int = 1
    """Number of hard negatives per question: passages that the untrained embedder ranks high, from documents that do
    not answer the question. 0 uses only the passages of the other questions."""
    learning_rate: float = 2e-5
    """Peak learning rate of AdamW; it rises over the first tenth of the steps and then falls to zero."""
    scale: float = 20.0
    """Factor on the cosines before the softmax; 20 is the default of sentence-transformers."""
    held_out_share: float = 0.4
    """Share of the documents whose questions are held out to measure the gain."""
    seed: int = 0
    """Seed of the order of the questions and of dropout."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for settings that cannot train, or that hold out no documents or all of them."""
        _require(self.epochs >= 1, f"epochs {self.epochs!r} is below 1")
        _require(self.batch_size >= 2, f"batch_size {self.batch_size!r} is below 2: a step needs a wrong passage")
        _require(self.hard_negatives >= 0, f"hard_negatives {self.hard_negatives!r} is below 0")
        _require(0 < self.learning_rate < 1, f"learning_rate {self.learning_rate!r} is not between 0 and 1")
        _require(self.scale > 0, f"scale {self.scale!r} is not above 0")
        _require(0 < self.held_out_share < 1, f"held_out_share {self.held_out_share!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class VerdictSettings:
    """The rule of the verdict, fixed before the results are known."""

    margin: float = 0.05
    """Smallest difference that matters in practice, as a share of the questions."""
    confidence: float = 0.95
    """Confidence level of every interval."""
    draws: int = 10_000
    """Number of random sign flips for each test and interval. With few documents, all sign flips are computed."""
    ceiling: float = 0.6
    """If fewer answers than this share are right with gold passages, the model or the metric limits the arms."""
    require: tuple[str, ...] = ()
    """Limits that an arm must meet to be chosen, such as ``hallucination<=0.1`` or ``latency_p95<=2`` (seconds)."""
    verdict_on: VerdictOn = "right"
    """Which answers count: ``right``, or ``right_and_supported``, whose claims are also supported by passages."""
    seed: int = 0
    """Seed of the random sign flips."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for settings under which no verdict is possible."""
        _require(0 < self.margin < 1, f"margin {self.margin!r} is not between 0 and 1")
        _require(0.5 < self.confidence < 1, f"confidence {self.confidence!r} is not between 0.5 and 1")
        grounds = get_args(VerdictOn)
        _require(self.verdict_on in grounds, f"verdict_on {self.verdict_on!r}: expected {' or '.join(grounds)}")


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """The number of questions of a comparison, and the settings of each of its parts."""

    limit: int | None = None
    """Maximum number of questions, chosen as a fixed pseudo-random sample; by default 2,000."""
    seed: int = 0
    """Seed of that sample."""
    seeds: int | None = None
    """Number of trainings, each with another seed; their spread widens the intervals. By default 3 if the budget has
    room for them, else 1. May change on resuming."""
    prompt_questions: int = 24
    """Number of untested questions on which the prompt of each arm is chosen; 0 uses ``chat.prompt`` for all arms."""
    slice_size: int = 40
    """Number of questions asked at a time; their answers are saved before the next ones are asked."""
    long_context: bool = False
    """Add an arm with all documents in the prompt, if they fit. May change on resuming."""
    remote: RemoteSettings = field(default_factory=lambda: RemoteSettings(retries=14, outage_seconds=300.0))
    """How servers are asked; a busy one is given up after five minutes without an answer. May change on resuming."""
    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    """How the documents are split."""
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    """How passages are found."""
    chat: ChatSettings = field(default_factory=ChatSettings)
    """How every arm is asked."""
    finetune: FinetuneSettings = field(default_factory=lambda: FinetuneSettings(held_out_share=0.0))
    """How the finetune is trained. Nothing is held out: the tested questions are wordings that are not trained on."""
    recipe: RecipeSettings | None = field(default_factory=RecipeSettings)
    """How the recipe of the finetune is chosen; None trains with ``finetune`` unchanged."""
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
    """How the verdict is reached. May change on resuming."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a comparison without questions."""
        _require_counts(self, "limit", "seeds", "slice_size")
        _require(self.prompt_questions >= 0, f"prompt_questions {self.prompt_questions!r} is below 0")
