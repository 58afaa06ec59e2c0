"""An embedder learns which passage answers which question: softmax over the passages of a step.

The loss is the multiple negatives ranking loss of sentence-transformers (Henderson et al., "Efficient Natural Language
Response Suggestion for Smart Reply", 2017, arXiv:1705.00652, section 4.4), with hard negatives beside those of the
other questions. A passage that is known to answer a question too is never a wrong one for it. Every weight is trained.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.interfaces import LossNote, Progress, no_progress
from lorag.models.quiet import quiet_transformers
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder
from lorag.settings import EmbedderSettings

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = (".safetensors", ".bin", ".onnx", ".h5", ".msgpack", ".ot", ".index.json")
"""Ends of the names of files with weights, which those that were trained take the place of."""
_LONGEST_GRADIENT = 1.0
_WARMUP = 0.1


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A question, a passage that answers it, passages that do not, and all that are not to be taken for wrong ones."""

    question: str
    passage: str
    negatives: tuple[str, ...]
    answering: frozenset[str]


def train(
    embedder: TorchEmbedder,
    pairs: Sequence[TrainingPair],
    settings: EmbedderSettings,
    progress: Progress = no_progress,
) -> tuple[float, ...]:
    """Trains the embedder in place and returns the mean loss of each epoch.

    Raises ``ModelError`` when the loss is no number, ``ValueError`` for fewer than two pairs.
    """
    import torch

    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} pairs are too few: a question needs the passage of another one")
    order, losses = random.Random(settings.seed), []
    steps = settings.epochs * len(_batches(pairs, settings, order))
    optimizer = torch.optim.AdamW(embedder.model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    warmup = max(1, round(_WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    done = 0
    embedder.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        for _ in range(settings.epochs):
            total = 0.0
            for batch in _batches(pairs, settings, order):
                loss = ranking_loss(embedder, batch, settings.scale)
                if not torch.isfinite(loss):
                    raise ModelError(f"the loss became {loss.item()} in step {done + 1}; lower the learning rate")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(embedder.model.parameters(), _LONGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
                progress("training", done := done + 1, steps, LossNote(loss.item()))
            losses.append(total / len(pairs))
    embedder.model.eval()
    return tuple(losses)


def ranking_loss(embedder: TorchEmbedder, pairs: Sequence[TrainingPair], scale: float) -> Tensor:
    """Mean cross entropy of each question's own passage among all passages of the pairs, by scaled cosines."""
    import torch

    passages = [pair.passage for pair in pairs] + [text for pair in pairs for text in pair.negatives]
    questions = embedder.trained_on([pair.question for pair in pairs], "query")
    scores = scale * questions @ embedder.trained_on(passages, "passage").T
    not_wrong = torch.tensor(
        [
            [column != row and passage in pair.answering for column, passage in enumerate(passages)]
            for row, pair in enumerate(pairs)
        ]
    )
    return torch.nn.functional.cross_entropy(scores.masked_fill(not_wrong, -torch.inf), torch.arange(len(pairs)))


def save(embedder: TorchEmbedder, base: Path, folder: Path) -> None:
    """Writes the embedder as a folder like ``base``: its tokenizer and configuration, with the weights as they are."""
    for path in base.iterdir():
        if path.is_dir():
            if (path / "config.json").is_file() and not any(file.name.endswith(_WEIGHTS) for file in path.iterdir()):
                shutil.copytree(path, folder / path.name)
        elif path.suffix in (".json", ".txt", ".model") and not path.name.endswith((*_WEIGHTS, "lorag.json")):
            shutil.copyfile(path, folder / path.name)
    with quiet_transformers():
        embedder.model.save_pretrained(folder)


def _batches(
    pairs: Sequence[TrainingPair], settings: EmbedderSettings, order: random.Random
) -> list[list[TrainingPair]]:
    """All pairs in a new order, in steps of as equal size as possible, at least two each."""
    shuffled = order.sample(pairs, len(pairs))
    count = max(1, min(len(pairs) // 2, -(-len(pairs) // settings.batch_size)))
    return [shuffled[number::count] for number in range(count)]
