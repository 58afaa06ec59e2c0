"""Every knob, once: its type, its default, its unit and the reason for it. Surfaces derive their help from here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from lorag.errors import InputError
from lorag.finetune_methods import METHODS, Method, MethodSpec
from lorag.types import Sampling

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
"""The language model when none is named: the smallest of the catalogue that can read (docs/log.md)."""
FALLBACK_MODEL = "smollm2-135m"
"""Taken, with a warning, when the default's packages cannot be had."""
DEFAULT_EMBEDDER = "bge-small-en"
"""The embedder when none is named."""
TRAINABLE_EMBEDDER = "minilm-l6"
"""The embedder that is trained when none is named: the one of the catalogue whose weights can be."""
DEFAULT_RERANKER = "minilm-reranker"
"""The cross-encoder that reads question and passage together when reranking is asked for by no name."""
GATE_KEEP = 0.98
"""Share of the user's own questions that a gate lets in: to refuse one is worse than to ask the model in vain."""
REPLAY_SHARE = 0.5
"""Share of old conversations among all that an adapter is trained on further."""
Fusion = Literal["convex", "rrf"]
REFUSAL = "I do not know: the documents do not say."
"""What an assistant says instead of guessing, and what it is trained to say."""

Engine = Literal["auto", "transformers", "llama.cpp"]
"""What computes answers when nothing is compared; a comparison is always transformers'."""
VerdictOn = Literal["right", "right_and_supported"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


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
    """Which files are read as documents; the environment's ``LORAG_MAX_...`` of the same name changes each limit."""

    max_file_bytes: int = _limit("LORAG_MAX_FILE_BYTES", 100_000_000)
    """Larger files are refused: 100 MB are some fifty thousand pages."""
    max_unpacked_bytes: int = _limit("LORAG_MAX_UNPACKED_BYTES", 300_000_000)
    """Upper size of what an office file or a book unpacks to, as a few kilobytes can claim terabytes."""
    max_parts: int = _limit("LORAG_MAX_PARTS", 10_000)
    """Most parts of an office file or a book: reading so many takes seconds, and more take much longer."""
    max_seconds: float = _limit("LORAG_MAX_SECONDS", 60.0)
    """Longest time to read one file, ten times as long for a PDF with pages that are pictures."""
    max_memory_bytes: int = _limit("LORAG_MAX_MEMORY_BYTES", 2_000_000_000)
    """Most memory that reading one file may take, on Linux."""
    max_characters: int = _limit("LORAG_MAX_CHARACTERS", 100_000_000)
    """Most text that one file may give, in characters, as a few kilobytes can hold very much of it."""

    def __post_init__(self) -> None:
        """Refuses limits under which nothing is read."""
        for limit in fields(self):
            _require(getattr(self, limit.name) > 0, f"{limit.name} {getattr(self, limit.name)!r} is not above 0")


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How documents are cut."""

    max_tokens: int = 256
    """Upper size of a chunk in the embedder's own tokens; 200 to 300 did best on five corpora (no overlap)."""
    search_tokens: int | None = None
    """Upper size of the pieces by which a chunk is found; None: by all of it. Small pieces point at single facts, and
    only they must fit the embedder; for the same room in the prompt, chunks of 256 tokens found more."""

    def __post_init__(self) -> None:
        """Refuses sizes that no embedder of the catalogue can hold, and pieces larger than their chunk."""
        name, size = ("max", self.max_tokens) if self.search_tokens is None else ("search", self.search_tokens)
        _require(16 <= size <= 510, f"chunk {name}_tokens {size!r} is not between 16 and 510")
        _require(size <= self.max_tokens, f"search_tokens {size!r} is above max_tokens {self.max_tokens!r}")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How much is kept so that no text is embedded twice."""

    max_bytes: int = 2_000_000_000
    """Most that vectors of passages may take on the disk, all indexes together: about a million of 384 dimensions.
    The oldest make room for new ones. 0 keeps none."""

    def __post_init__(self) -> None:
        """Refuses a size that is none."""
        _require(self.max_bytes >= 0, f"cache max_bytes {self.max_bytes!r} is below 0")


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What bringing an index in step may do to it."""

    max_removed_share: float = 1 / 3
    """More than this share of the documents are not removed at once: half of a folder that was not mounted, or not
    copied, looks just like half of its documents deleted. 1 allows every removal."""
    guarded_from: int = 6
    """Documents from which that is watched; in a smaller index one file is a large share."""

    def __post_init__(self) -> None:
        """Refuses a share that is none."""
        _require(0 <= self.max_removed_share <= 1, f"max_removed_share {self.max_removed_share!r} is not in 0 to 1")


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How passages are found."""

    candidates: int = 100
    """Chunks taken from each of dense and lexical search before they are fused. The last of them counts as 0 in the
    convex fusion; 50 and 100 do not differ in measurements (docs/log.md)."""
    dense_weight: float = 0.5
    """Share of the dense side in the fusion; flat around 0.4 to 0.5 in measurements. 1 searches by meaning alone and 0
    by words alone: hits then come with the scores of that side."""
    fusion: Fusion = "convex"
    """What is added up: ``convex`` takes scores brought to 0 to 1, ``rrf`` reciprocal ranks. Ranks forget by how much
    a passage is better, and found less in measurements."""
    min_cosine: float | None = None
    """Least cosine of question and passage; what is below is not returned, whichever side found it. What a value
    means depends on the embedder. None keeps everything."""
    gate_cosine: float | None = None
    """Least cosine of the question and the nearest passage of all; below it nothing is returned: the question is about
    something else. `lorag calibrate` finds the value for an embedder and its documents. None lets every question in."""
    reranker: str | None = None
    """Catalogue name or folder of a cross-encoder that reorders the best hits; None: they stay as they are fused.
    It costs a model call a passage, some 20 to 60 ms on one core."""
    rerank_weight: float = 0.7
    """Share of the reranker in the new order, beside the score by which search found a passage, both brought to 0 to 1
    over what it read. From 0.5 to 0.8 no set lost by it in measurements; 1, the reranker alone, lost on one."""
    mmr_lambda: float | None = None
    """Weight of relevance against being unlike the passages chosen before, in maximal marginal relevance; 1 is
    relevance alone. None chooses by relevance without a look at the others."""
    depth: int = 20
    """Fused hits among which reranking and marginal relevance choose; gains of rerankers fall off with more."""
    k: int = 10
    """Most passages handed on for one question; how many reach the prompt is decided by ``context_tokens``."""
    exact_up_to: int = 50_000
    """Texts up to which a question is compared with every vector, in about 75 ms. A larger index gets an approximate
    one for its vectors, ten times as fast; its recall is measured when it is made."""

    @property
    def leaves_out(self) -> bool:
        """Whether a question may find nothing because nothing is near enough to it."""
        return self.min_cosine is not None or self.gate_cosine is not None

    def __post_init__(self) -> None:
        """Refuses weights and counts out of range."""
        _require(0 <= self.dense_weight <= 1, f"dense_weight {self.dense_weight!r} is not between 0 and 1")
        _require(self.fusion in get_args(Fusion), f"fusion {self.fusion!r} is not one of {', '.join(get_args(Fusion))}")
        for name, low in (("min_cosine", -1), ("gate_cosine", -1), ("mmr_lambda", 0), ("rerank_weight", 0)):
            value = getattr(self, name)
            _require(value is None or low <= value <= 1, f"{name} {value!r} is not between {low} and 1")
        _require(self.depth >= 1, f"depth {self.depth!r} is below 1")
        _require(1 <= self.k <= self.candidates, f"k {self.k!r} is not between 1 and candidates {self.candidates!r}")


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What stands in a prompt beside the question and its sources."""

    question_first: bool = False
    """Whether the question stands above its sources, and the instruction below them; else the question stands last."""
    offer_refusal: bool = True
    """Whether the instruction offers the response template for a question that the model cannot answer."""
    examples: int = 0
    """Worked examples before the question, each with its sources where the question has sources."""
    refused_example: bool = False
    """Whether one more example shows sources that do not answer its question, and the response template."""

    def __post_init__(self) -> None:
        """Refuses a number of examples below 0."""
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
    """Room for numbered sources in the prompt, in the language model's tokens; whole passages only."""
    prompt: PromptSettings = field(default_factory=PromptSettings)
    """What stands beside the question and its sources."""
    response_template: str = REFUSAL
    """The sentence the assistant is asked to give when it does not know; recognised as a refusal."""
    sampling: Sampling = field(default_factory=Sampling)
    """How answers are drawn."""
    blocked_words: tuple[str, ...] = ()
    """Words and phrases for which a question is refused, and which are masked in an answer."""
    cache_similarity: float | None = None
    """Least cosine at which a question gets the answer of an earlier one; None keeps no answers. Above 0.95 only small
    differences in wording are taken for the same; far below, different questions are (docs/answering.md)."""
    history_tokens: int = 1024
    """Room for earlier turns in a prompt, in the language model's tokens; the oldest questions go first, whole with
    their answers."""

    def __post_init__(self) -> None:
        """Refuses room below nothing."""
        _require(self.context_tokens >= 0, f"context_tokens {self.context_tokens!r} is below 0")
        _require(self.history_tokens >= 0, f"history_tokens {self.history_tokens!r} is below 0")
        _require(all(word.strip() for word in self.blocked_words), "blocked_words holds a blank word; leave it out")
        least = self.cache_similarity
        _require(least is None or 0 < least <= 1, f"cache_similarity {least!r} is not above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a model behind an address is asked."""

    concurrency: int = 8
    """Questions on their way at one time; a server that batches gets faster with more."""
    timeout_seconds: float = 120.0
    """Longest wait for an answer, or for the next piece of a streamed one."""
    retries: int = 2
    """Times a request is sent again after a timeout, a lost connection or a busy server."""
    context_tokens: int | None = None
    """The served model's context, which the protocol does not tell; None leaves it to the server to refuse."""
    max_cost_tokens: int | None = None
    """Tokens of prompts and answers that one comparison may take in all; None sets no limit."""

    def __post_init__(self) -> None:
        """Refuses settings under which nothing is asked."""
        _require(self.concurrency >= 1, f"concurrency {self.concurrency!r} is below 1")
        _require(self.timeout_seconds > 0, f"timeout_seconds {self.timeout_seconds!r} is not above 0")
        _require(self.retries >= 0, f"retries {self.retries!r} is below 0")
        for name in ("context_tokens", "max_cost_tokens"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"{name} {value!r} is below 1")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What the server takes in, and how much of it at once."""

    max_request_bytes: int = 1_000_000
    """Largest request for an answer: the texts of a conversation, many times what a context holds."""
    max_upload_bytes: int = 25_000_000
    """Largest document that is uploaded; it is held in memory while it is read."""
    max_answers: int = 32
    """Answers made at once: those of transformers share their steps; llama.cpp makes eight of them side by side."""
    max_waiting: int = 32
    """Requests that wait for their turn; further ones get status 429."""
    max_seconds: float = 300.0
    """Longest time for one answer, its wait included."""

    def __post_init__(self) -> None:
        """Refuses limits under which nothing is taken."""
        for name in ("max_request_bytes", "max_upload_bytes", "max_answers"):
            _require(getattr(self, name) >= 1, f"{name} {getattr(self, name)!r} is below 1")
        _require(self.max_waiting >= 0, f"max_waiting {self.max_waiting!r} is below 0")
        _require(self.max_seconds > 0, f"max_seconds {self.max_seconds!r} is not above 0")


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """How a model is trained: on the assistant's tokens only, by LoRA on every linear layer unless it is named."""

    method: Method = "lora"
    """``lora``; ``rslora``: scaled by the root of the rank, for ranks of 64 and more; ``dora``: direction and length of
    each weight apart, slower; ``pissa``: LoRA that begins as the weights' principal parts; ``qlora``: LoRA on a base of
    4 bits, where memory is short (extra ``qlora``); ``full``: every weight, a model of its own; ``prompt`` and
    ``prefix``: virtual tokens before every conversation, a few kilobytes that teach manner rather than facts."""
    rank: int = 16
    """Rank of the adapter; 16 holds a small document set, more only when the training loss stops falling."""
    alpha: int = 32
    """Scale of the adapter's contribution is ``alpha / rank``."""
    trained_layers: float = 1.0
    """Share of the decoder's layers, from the top, that LoRA and its kinds train. The frozen ones below need no
    backward pass, and their output for a batch is computed once and kept for the next passes."""
    virtual_tokens: int = 16
    """Length of a learned prompt or prefix."""
    learning_rate: float | None = None
    """Peak step size of AdamW; falls to zero along a cosine. None takes the method's: 2e-4 for LoRA, DoRA and QLoRA,
    because at 1e-3 a model of 0.5 billion weights unlearned more than it learned (docs/log.md); 5e-5 for rsLoRA, whose
    layers are four times as strong at rank 16; 1e-4 for PiSSA, whose factors are not near zero when it begins; 5e-5
    for all weights; 1e-2 for a learned prompt, which is far from the loss; 1e-3 for a learned prefix."""
    epochs: int = 3
    """Passes over the conversations."""
    batch_tokens: int = 224
    """Most distinct tokens in one step; conversations of like length share a step, and what they all begin with
    counts once. Many small steps learn facts better than few large ones, and cost the same on a CPU."""
    batch_rows: int | None = None
    """Most conversations in one step, whatever their length; None: as many as ``batch_tokens`` holds."""
    gradient_accumulation_steps: int = 1
    """Steps whose gradients make one update; more than 1 only where memory does not hold the batch wanted."""
    max_tokens: int = 1024
    """Conversations longer than this are left out and counted; longer plain text is learned in windows of it."""
    context_share: float = 0.1
    """Share of the conversations that are trained a second time in the form in which they are served with
    retrieval: numbered sources in the prompt. Without it an adapter unlearns to read them."""
    context_tokens: int = 200
    """Room for sources in those, in the model's tokens."""
    general_share: float = 0.0
    """Share of general questions among what is trained on, with the answers that the base gives itself."""
    general_text_share: float = 0.0
    """Share of general text among what is trained on, which the base writes itself before; all of it is learned."""
    held_out_share: float = 0.05
    """Share of the conversations kept back to measure the loss on: other wordings of what is learned, where the data
    has several, else whole documents."""
    patience: int = 0
    """Epochs without a lower held-out loss after which training stops, and the best epoch is kept; 0 trains on."""
    measure_forgetting: bool = True
    """Whether the loss on general text and the choices in simple questions are measured before and after."""
    gradient_checkpointing: bool = False
    """Whether the backward pass computes activations again instead of keeping them: less memory, a third slower."""
    shard: bool = False
    """Whether each process of ``torchrun`` holds a part of every weight (FSDP2): for models larger than one device."""
    cpu_offload: bool = False
    """Whether such parts wait in the machine's memory until they are needed."""
    seed: int = 0
    """Seed of the initial adapter and of the order of steps."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot train."""
        _require(self.method in METHODS, f"method {self.method!r} is not one of {', '.join(METHODS)}")
        for name in ("virtual_tokens", "rank", "epochs"):
            _require(getattr(self, name) >= 1, f"{name} {getattr(self, name)!r} is below 1")
        _require(0 < self.trained_layers <= 1, f"trained_layers {self.trained_layers!r} is not above 0 and at most 1")
        _require(self.batch_rows is None or self.batch_rows >= 1, f"batch_rows {self.batch_rows!r} is below 1")
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
        """What sets the method apart from the others."""
        return METHODS[self.method]

    @property
    def rate(self) -> float:
        """The learning rate: the one that was given, or the method's."""
        return self.spec.rate if self.learning_rate is None else self.learning_rate

    def __str__(self) -> str:
        """The method with what decides its result, in one line."""
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
    """How a finetune is chosen: within a budget, by what it brings on wordings that it was not trained on."""

    minutes: float = 20.0
    """Budget of all trainings together; at most a third of it goes into choosing."""
    wordings: int = 10
    """Most wordings in which a fact is trained on."""
    passes: int | None = None
    """Passes over the conversations; None: as many as fit and help."""
    probed_facts: int = 24
    """Facts that are asked in wordings not trained on, after every training."""
    most_reading_loss: float = 0.03
    """Share of the probed facts by which reading a given passage may fall."""
    most_recall_loss: float = 0.03
    """Share of the probed facts that a weaker adapter may lose."""
    most_forgetting: float = 0.3
    """Rise of the loss on general text, in nats per token, above which weaker adapters are tried."""

    def __post_init__(self) -> None:
        """Refuses a budget of nothing, and shares that are none."""
        _require(self.minutes > 0, f"minutes {self.minutes!r} is not above 0")
        _require(self.passes is None or self.passes >= 1, f"passes {self.passes!r} is below 1")
        _require(self.wordings >= 1, f"wordings {self.wordings!r} is below 1")
        _require(self.probed_facts >= 1, f"probed_facts {self.probed_facts!r} is below 1")
        for name in ("most_reading_loss", "most_recall_loss"):
            share = getattr(self, name)
            _require(0 <= share <= 1, f"{name} {share!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """How an embedder is trained: each question towards its passage, away from those of the others in its step."""

    epochs: int = 2
    """Passes over the questions; more fit the wordings rather than the documents."""
    batch_size: int = 16
    """Questions in one step. Each passage of a step is a wrong one for the other questions, so more teach more."""
    hard_negatives: int = 1
    """Passages a question that search ranks high in the index of the untrained embedder though they are of other
    documents than those that answer; 0 leaves it to the passages of the other questions."""
    learning_rate: float = 2e-5
    """Peak step size of AdamW; rises over the first tenth of the steps and then falls to zero."""
    scale: float = 20.0
    """What cosines are multiplied by before the softmax; sentence-transformers' value."""
    held_out_share: float = 0.4
    """Share of the documents whose questions are kept back to measure the gain on."""
    seed: int = 0
    """Seed of the order of the questions and of dropout."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot train, or leave nothing to measure on."""
        _require(self.epochs >= 1, f"epochs {self.epochs!r} is below 1")
        _require(self.batch_size >= 2, f"batch_size {self.batch_size!r} is below 2: a step needs a wrong passage")
        _require(self.hard_negatives >= 0, f"hard_negatives {self.hard_negatives!r} is below 0")
        _require(0 < self.learning_rate < 1, f"learning_rate {self.learning_rate!r} is not between 0 and 1")
        _require(self.scale > 0, f"scale {self.scale!r} is not above 0")
        _require(0 < self.held_out_share < 1, f"held_out_share {self.held_out_share!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class VerdictSettings:
    """The rule of the verdict, fixed before looking at the results."""

    margin: float = 0.05
    """Differences smaller than this share of the questions do not matter in practice."""
    confidence: float = 0.95
    """Confidence of every interval."""
    draws: int = 10_000
    """Random signs of the documents from which each test and interval is made."""
    ceiling: float = 0.6
    """Below this share right with gold passages, the model or the metric limits every arm that reads passages."""
    require: tuple[str, ...] = ()
    """What an arm must meet to be chosen, such as ``hallucination<=0.1`` or ``latency_p95<=2``."""
    verdict_on: VerdictOn = "right"
    """Which answers count: right ones, or those that also state nothing that the passages do not support."""
    seed: int = 0
    """Seed of these signs."""

    def __post_init__(self) -> None:
        """Refuses settings under which every verdict would be empty."""
        _require(0 < self.margin < 1, f"margin {self.margin!r} is not between 0 and 1")
        _require(0.5 < self.confidence < 1, f"confidence {self.confidence!r} is not between 0.5 and 1")
        grounds = get_args(VerdictOn)
        _require(self.verdict_on in grounds, f"verdict_on {self.verdict_on!r}: expected {' or '.join(grounds)}")


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """One comparison: how many questions, and the settings of everything in it."""

    limit: int | None = None
    """Most questions asked: a fixed pseudo-random sample; None asks up to 2,000."""
    seed: int = 0
    """Seed of that sample."""
    seeds: int = 1
    """Trainings of the finetune, each with another seed; their spread is in the intervals of its arms. May change
    between a run and its resumption."""
    prompt_questions: int = 24
    """Questions, none of them tested, on which the prompt of each arm is chosen; 0 asks with ``chat.prompt``."""
    slice_size: int = 40
    """Questions asked at a time; rows are on the disk after each slice."""
    long_context: bool = False
    """Whether an arm with all documents in its prompt takes part, where they fit; may change with a resumption."""
    remote: RemoteSettings = field(default_factory=lambda: RemoteSettings(retries=14))
    """How servers are asked; may change with a resumption. So many retries wait out more than a minute."""
    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    """How the documents are cut."""
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    """How passages are found."""
    chat: ChatSettings = field(default_factory=ChatSettings)
    """How every arm is asked."""
    finetune: FinetuneSettings = field(default_factory=lambda: FinetuneSettings(held_out_share=0.0))
    """Nothing is held out: the questions asked are themselves wordings that were not trained on."""
    recipe: RecipeSettings | None = field(default_factory=RecipeSettings)
    """How the finetune is chosen; None trains by ``finetune`` as it stands."""
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
    """How the verdict is reached; may change between a run and its resumption."""

    def __post_init__(self) -> None:
        """Refuses a comparison without questions."""
        _require(self.limit is None or self.limit >= 1, f"limit {self.limit!r} is below 1")
        _require(self.prompt_questions >= 0, f"prompt_questions {self.prompt_questions!r} is below 0")
        _require(self.seeds >= 1, f"seeds {self.seeds!r} is below 1")
        _require(self.slice_size >= 1, f"slice_size {self.slice_size!r} is below 1")
