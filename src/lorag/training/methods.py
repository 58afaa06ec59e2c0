"""How a model is made trainable, and what of it is kept: PEFT's layers in it, virtual tokens before it, or all of it.

Every method ends as files that apply to the base as it is published: PiSSA is trained as a LoRA adapter of twice the
rank, a full finetune is a model of its own. Not here: merging, other methods of PEFT.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.modules.module import _IncompatibleKeys

from lorag.errors import InputError, ModelError
from lorag.llm.rendering import Rendered
from lorag.llm.virtual_tokens import virtual_tokens
from lorag.machine import free_for_process
from lorag.models.quiet import quiet_transformers
from lorag.settings import FinetuneSettings
from lorag.training.kernels.loss import Loss, plain_loss
from lorag.training.memory_limits import require_memory_for_copy
from lorag.training.processes.sharding import gathered, part_of

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


class Learner(torch.nn.Module):
    """What is trained, as a module whose forward is the loss of a batch of rows.

    Everything a step computes goes through ``forward``, so that wrappers for several processes see it. Its state is
    what is trained and nothing else: no checkpoint holds a frozen weight.
    """

    loss: Loss

    def __init__(self, model: PeftModel | PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.train()

    @property
    def causal(self) -> PreTrainedModel:
        """The causal model, with the layers that PEFT put into it."""
        return cast("PreTrainedModel", cast("PeftModel", self.model).get_base_model() if self._adapted else self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.causal.device

    @property
    def _adapted(self) -> bool:
        return hasattr(self.model, "peft_config")

    @property
    def _virtual(self) -> bool:
        return self._adapted and cast("PeftModel", self.model).active_peft_config.is_prompt_learning

    def before(self, rows: int) -> DynamicCache | None:
        """The virtual tokens before each of ``rows`` rows; None where the method has none."""
        return virtual_tokens(cast("PeftModel", self.model), rows) if self._virtual else None

    def forward(self, rows: Sequence[Rendered]) -> torch.Tensor:
        """Mean cross entropy a supervised token, a scalar."""
        return self.loss(self.causal, rows, self.before(len(rows)))

    def library_loss(self, rows: Sequence[Rendered]) -> torch.Tensor:
        """The same by the library's own forward, which serves what is saved: a step may round otherwise."""
        return plain_loss(self.causal, rows, self.before(len(rows)))

    def trained(self) -> dict[str, torch.Tensor]:
        """The weights that are trained, by name; they share memory with the model."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """The trained weights, whole: where processes hold parts of them, each must call this."""
        return gathered(self.trained())

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Puts whole trained weights back; frozen ones are not missed."""
        trained = self.trained()
        parts = {name: part_of(w, trained[name]) if name in trained else w for name, w in state_dict.items()}
        found = super().load_state_dict(parts, strict=False, assign=assign)
        missing = [name for name in found.missing_keys if name in trained]
        return _IncompatibleKeys(missing, found.unexpected_keys)

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase, base: str, whole: dict[str, torch.Tensor]) -> None:
        """Writes what an engine loads: an adapter of ``base`` in PEFT's format, or a whole model.

        ``whole`` are the trained weights where this process holds parts of them; empty where it holds all.
        """
        named = {name.removeprefix("model."): weight for name, weight in whole.items()} or None
        if not self._adapted:
            with quiet_transformers():
                self.causal.save_pretrained(folder, state_dict=named)
            tokenizer.save_pretrained(folder)
            return
        model = cast("PeftModel", self.model)
        # Named only now: PEFT asks a model hub about a name it is given. It keeps a hub's commit apart.
        config, (repository, _, commit) = model.peft_config["default"], base.rpartition("@")
        pinned = re.fullmatch(r"[0-9a-f]{40}", commit)
        config.base_model_name_or_path, config.revision = (repository, commit) if pinned else (base, None)
        # No method here changes the vocabulary, so there is nothing to ask about either.
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=named)


@contextmanager
def learner(
    model: PreTrainedModel, first: Rendered, settings: FinetuneSettings, start: Path | None = None
) -> Iterator[Learner]:
    """``model`` made trainable by ``settings.method``, initialised from its seed; as it was when the block ends.

    With ``start`` it begins as the adapter in that folder, of the same method and shape. All weights are trained in a
    copy, in float32. Virtual tokens begin as the tokens that ``first`` begins with: from meaningful ones learning is
    steadier than from noise (Li and Liang 2021, section 7.5). Raises ``ModelError`` where ``start`` does not load.
    """
    from peft import PeftConfig, PeftModel

    spec = settings.spec
    if spec.needs_whole_base and getattr(model, "is_quantized", False):
        raise InputError(
            f"method {settings.method!r} needs unquantised weights, but the base is held in 4 bits; load it in float32"
            " or bfloat16, or use the method qlora"
        )
    torch.manual_seed(settings.seed)
    if spec.is_whole_model:
        size = 4 * sum(weight.numel() for weight in model.parameters())
        require_memory_for_copy(size, free_for_process(model.device.type))
        # bf16 would round small updates away.
        with _checkpointing(copied := copy.deepcopy(model).float().requires_grad_(True), settings):
            yield Learner(copied)
        return
    config = _config(settings, model) if start is None else PeftConfig.from_pretrained(str(start))
    config.inference_mode = False
    try:
        adapted = PeftModel(model, config)
    except ValueError as error:  # PEFT knows parts of some models that its layers do not fit
        raise ModelError(f"{type(model).__name__} cannot be trained by {settings.method}: {error}") from error
    try:
        if start is not None:
            _begin_as_saved(adapted, start)
        elif spec.is_virtual:
            _begin_as(adapted, first.ids[: settings.virtual_tokens])
        elif spec.principal_parts:
            _begin_as_principal_parts(adapted, settings.rank)
        if spec.principal_parts:
            _train_as_principal_parts(adapted, settings.rank)
        with _checkpointing(model, settings):
            yield Learner(adapted)
    finally:
        if not adapted.active_peft_config.is_prompt_learning:
            adapted.unload()
        model.eval()


@contextmanager
def _checkpointing(model: PreTrainedModel, settings: FinetuneSettings) -> Iterator[None]:
    """Lets the layers of ``model`` keep only their inputs for the backward pass, where ``settings`` ask for it."""
    if not settings.gradient_checkpointing:
        yield
        return
    if settings.spec.is_virtual:
        raise InputError(f"the method {settings.method} does not support gradient_checkpointing; leave it out")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def _config(settings: FinetuneSettings, model: PreTrainedModel) -> PeftConfig:
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    if settings.spec.is_virtual:
        kind = PrefixTuningConfig if settings.spec.in_every_layer else PromptTuningConfig
        return kind(task_type="CAUSAL_LM", num_virtual_tokens=settings.virtual_tokens)
    if model.config.get_text_config() is not model.config:
        raise ModelError(f"{type(model).__name__} reads more than text and cannot be trained; choose a model of text")
    layers = model.config.num_hidden_layers
    first = layers - max(1, round(settings.trained_layers * layers))
    times = settings.spec.kept_rank
    return LoraConfig(
        r=times * settings.rank,
        lora_alpha=times * settings.alpha,
        lora_dropout=0.0,
        target_modules=_linear_layers(model) if first else "all-linear",
        layers_to_transform=list(range(first, layers)) if first else None,
        task_type="CAUSAL_LM",
        use_rslora=settings.spec.root_scale,
        use_dora=settings.spec.length_apart,
    )


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """The names of the linear layers inside the decoder's layers, as they repeat in each of them."""
    inside = re.compile(r"\.\d+\..*?([^.]+)$")
    found = (inside.search(name) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear))
    return sorted({match[1] for match in found if match is not None})


def _begin_as_saved(model: PeftModel, folder: Path) -> None:
    """Puts in the weights of the adapter in ``folder``. Raises ``ModelError`` unless all of them are there and fit."""
    from peft import load_peft_weights, set_peft_model_state_dict

    try:
        found: Any = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the adapter in {str(folder)!r} cannot be loaded to continue it: {error}") from error
    if model.active_peft_config.is_prompt_learning:
        return  # one weight, which fits or does not
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if found.unexpected_keys or trained.intersection(found.missing_keys):
        raise ModelError(f"the adapter in {str(folder)!r} loads only partly, so it cannot be continued; train it again")


def _begin_as_principal_parts(model: PeftModel, rank: int) -> None:
    """Lets LoRA of twice the rank begin as PiSSA does (Meng et al. 2024), and compute as the base does.

    PiSSA takes the principal parts B'A' out of a weight W and trains factors that begin as them:
    ``W - B'A' + BA = W + B'(A - A') + (B - B')A``. So ``lora_A`` holds A - A' above A, whose gradients are one, and
    ``lora_B`` holds B', which gets none, beside B - B'. W stays as it is: taken out of a weight of 16 bits, the large
    B'A' would leave it rounded otherwise than in the base that is served.
    """
    for layer, a, b in _factors(model):
        left, values, right = torch.svd_lowrank(layer.get_base_layer().weight.detach().float(), rank, niter=16)
        root = (values / layer.scaling["default"]).sqrt()
        with torch.no_grad():
            a.copy_(torch.cat([torch.zeros_like(a[rank:]), root[:, None] * right.T]))
            b.copy_(torch.cat([left * root, torch.zeros_like(b[:, rank:])], dim=1))


def _train_as_principal_parts(model: PeftModel, rank: int) -> None:
    """Gives the factors of that LoRA the gradients of PiSSA's."""
    for _, a, b in _factors(model):
        a.register_hook(lambda gradient: (gradient[:rank] + gradient[rank:]).repeat(2, 1))
        b.register_hook(lambda gradient: torch.cat([torch.zeros_like(gradient[:, :rank]), gradient[:, rank:]], dim=1))


def _factors(model: PeftModel) -> Iterator[tuple[Any, torch.nn.Parameter, torch.nn.Parameter]]:
    """Each layer that LoRA was put into, with its factors A and B."""
    for module in model.modules():
        layer: Any = module
        if "default" in getattr(layer, "lora_A", ()):
            yield layer, layer.lora_A["default"].weight, layer.lora_B["default"].weight


def _begin_as(model: PeftModel, ids: Sequence[int]) -> None:
    """Sets virtual tokens to the embeddings, or to the keys and values, of the tokens ``ids``, over and over."""
    base: Any = model.get_base_model()
    encoder: Any = model.prompt_encoder["default"]
    wanted = torch.tensor([[ids[i % len(ids)] for i in range(model.active_peft_config.num_virtual_tokens)]])
    with torch.no_grad():
        if model.active_peft_config.peft_type == "PROMPT_TUNING":
            begun = base.get_input_embeddings()(wanted.to(base.device))[0]
        else:
            cache = base.base_model(wanted.to(base.device), use_cache=True).past_key_values
            halves = torch.stack([half for layer in cache.layers for half in (layer.keys[0], layer.values[0])])
            begun = halves.permute(2, 0, 1, 3).flatten(1)  # tokens first, as PEFT keeps a prefix
        encoder.embedding.weight.copy_(begun)
