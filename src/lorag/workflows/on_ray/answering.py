"""A Ray cluster that answers the prompts of a comparison: one worker for each GPU, or for each machine where none has.

A worker finds the base by its name, as this process does, and gets from here what was trained of it.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lorag.errors import InputError, ModelError
from lorag.llm.engines.base_model import Dtype
from lorag.llm.engines.completion_cache import Generate
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.models import naming
from lorag.models.fingerprint import weights_fingerprint
from lorag.types import Completion, LinearProbe, Prompt, Sampling
from lorag.workflows.on_ray.cluster import Cluster, cluster

_START_SECONDS = 300.0
"""Within which a worker must have started; Ray itself waits for ever where other jobs hold its machine."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A model, and how a worker comes to it."""

    name: str
    base: str
    """The name of the weights that are loaded."""
    located_at: str
    """The name or folder by which every machine finds the base."""
    fingerprint: str
    dtype: str
    stored_dtype: Dtype
    is_trained_whole: bool
    """Whether all weights were trained, and are sent."""
    probe: LinearProbe | None


class Workers:
    """The workers of a cluster, which answer prompts with the models of this process."""

    def __init__(self, on: Cluster, actors: Sequence[Any]) -> None:
        """``actors`` are those of ``_Worker``, at least one."""
        self.count = len(actors)
        self._cluster, self._actors = on, actors
        self._sent: dict[str, Any] = {}
        """What was trained, by the name of its model, as the cluster holds it."""

    def generating(self, model: TransformersModel) -> Generate:
        """``model.generate``, computed on the cluster. What was trained is read now, and may be deleted afterwards."""
        import ray

        weights, adapter = model.weights, model.adapter_folder
        is_whole = adapter is None and weights.name.endswith(f"+{weights.fingerprint}")
        if model.name not in self._sent:
            trained = weights.folder.glob("*") if is_whole else adapter.glob("adapter_*") if adapter is not None else ()
            files = {path.name: path for path in trained if path.is_file()}
            self._sent[model.name] = {name: ray.put(path.read_bytes()) for name, path in files.items()}
        folder = Path(weights.name).expanduser()
        located_at = str(folder.absolute()) if folder.is_dir() or folder.suffix == naming.GGUF else weights.name
        told = (weights.fingerprint, model.dtype, model.stored_dtype, is_whole, model.probe)
        return partial(self._generate, _Source(model.name, weights.name, located_at, *told), self._sent[model.name])

    def _generate(
        self, source: _Source, files: dict[str, Any], prompts: Sequence[Prompt], sampling: Sampling
    ) -> list[Completion]:
        share = max(1, -(-len(prompts) // self.count))
        parts = [list(prompts[start : start + share]) for start in range(0, len(prompts), share)]
        work = [
            actor.generate.remote(source, files, part, sampling)
            for actor, part in zip(self._actors, parts, strict=False)
        ]
        return [completion for part in self._cluster.results(work) for completion in part]


@contextmanager
def workers(address: str) -> Iterator[Workers]:
    """The workers of the cluster at ``address``; see ``cluster``.

    Raises ``InputError`` where none starts, or one has another version of Lorag.
    """
    with cluster(address) as on:
        import ray

        starting = {actor.lorag_version.remote(): actor for actor in _actors()}
        ready: list[Any] = []
        late = list(starting)
        if starting:
            ready, late = ray.wait(late, num_returns=len(late), timeout=_START_SECONDS)
        for each in late:
            ray.kill(starting[each])
        if not ready:
            raise InputError(f"no worker could start on the Ray cluster at {address}; end other jobs, or add machines")
        if others := {*on.results(ready)} - {version("lorag")}:
            raise InputError(
                f"the machines of the Ray cluster have lorag {', '.join(sorted(others))}, and this one"
                f" {version('lorag')}; install the same version"
            )
        yield Workers(on, [starting[each] for each in ready])


def _actors() -> Iterator[Any]:
    """An actor for each GPU, or for each machine where none has one; Ray starts it again where its process ends."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    actor: Any = ray.remote(max_restarts=3, max_task_retries=3)(_Worker)
    any_gpu = any(node["Resources"].get("GPU", 0) >= 1 for node in alive)
    for node in alive:
        cores, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        count = gpus if any_gpu else 1
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        for _ in range(count):
            made = actor.options(num_cpus=1, num_gpus=1 if any_gpu else 0, scheduling_strategy=place)
            yield made.remote(max(1, cores // count))


class _Worker:
    """Answers prompts with the models that it is asked for: the base with every adapter, and one trained whole."""

    def __init__(self, threads: int) -> None:
        """``threads`` are those of its machine that are its own."""
        import torch

        torch.set_num_threads(threads)
        self._models: dict[str, TransformersModel] = {}
        """The base, and the base with each adapter, by name."""
        self._whole: TransformersModel | None = None

    def lorag_version(self) -> str:
        """That of this machine."""
        return version("lorag")

    def generate(
        self, source: _Source, files: dict[str, Any], prompts: Sequence[Prompt], sampling: Sampling
    ) -> list[Completion]:
        """See ``LanguageModel``; ``files`` are references to what was trained, by the name of the file."""
        model = self._trained_whole(source, files) if source.is_trained_whole else self._adapted(source, files)
        return model.probing(source.probe).generate(prompts, sampling)

    def _adapted(self, source: _Source, files: dict[str, Any]) -> TransformersModel:
        if source.base not in self._models:
            self._models[source.base] = _base(source)
        if source.name not in self._models:
            with _written(files) as folder:
                self._models[source.name] = self._models[source.base].with_adapter(folder)
        return self._models[source.name]

    def _trained_whole(self, source: _Source, files: dict[str, Any]) -> TransformersModel:
        if self._whole is None or self._whole.name != source.name:
            self._whole = None
            gc.collect()  # a model is part of a circle, and its memory is needed
            with _written(files) as folder:
                self._whole = _loaded(folder, source)
        return self._whole


@contextmanager
def _written(files: dict[str, Any]) -> Iterator[Path]:
    """A folder of the files, until the block ends."""
    import ray

    with TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(ray.get(content))
        yield Path(name)


def _base(source: _Source) -> TransformersModel:
    machine = socket.gethostname()
    if Path(source.located_at).is_absolute() and not Path(source.located_at).exists():
        raise ModelError(f"{source.located_at} is not on {machine}; copy the model there, to the same place")
    folder = naming.resolve(source.located_at, "llm")
    if weights_fingerprint(folder) != source.fingerprint:
        raise ModelError(
            f"the model {source.base} has other weights on {machine} than where the command runs; fetch it there again"
        )
    return _loaded(folder, source)


def _loaded(folder: Path, source: _Source) -> TransformersModel:
    model = load(folder, source.base, source.stored_dtype)
    if model.dtype != source.dtype:
        raise ModelError(
            f"{source.base} is {model.dtype} on {socket.gethostname()}, and {source.dtype} where the command runs; set"
            " the environment variable LORAG_NUMBER_FORMAT to one dtype for this command and for `ray start` there"
        )
    return model
