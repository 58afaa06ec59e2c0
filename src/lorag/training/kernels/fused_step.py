"""The training step of decoders with fewer passes over memory and no arithmetic that changes nothing.

The same function as the library's model with PEFT's layers: projections of one input share the gradient's buffer and
the product with their stacked A, LoRA's products are added in place, no query meets another branch's keys, the last
layer runs only where something is predicted, and logits live in pieces together with their gradient. Weights
stay where they are; only the trainable factors get gradients. What families of models do in their own way is read off
their layers: norms of heads, norms behind a part, joined projections, multipliers, windows, layers without positions.
Not here: dropout, soft caps, other LoRA kinds (``supports`` says no to them), kernels of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from lorag.llm.rendering import Rendered
from lorag.training.kernels.supervised_tree import SupervisedTree, supervised_tree
from lorag.training.kernels.tree_attention import Attention, attention

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

_HEAD_ROWS = 256
"""Positions whose logits are held at a time."""
_MODELS = (
    *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM"),
    *("Phi3ForCausalLM", "Olmo2ForCausalLM", "GraniteForCausalLM", "Gemma3ForCausalLM"),
)
_CHANGES_THE_STEP = ("attention_dropout", "resid_pdrop", "attn_logit_softcapping", "final_logit_softcapping")
"""What a configuration may ask for that is not computed here."""


def supports(model: PreTrainedModel) -> bool:
    """Whether this is a decoder of a known shape, with plain LoRA on all projections of its upper layers."""
    from peft.tuners.lora import Linear

    causal: Any = model
    if type(causal).__name__ not in _MODELS:
        return False
    if any(getattr(causal.config, name, None) for name in (*_CHANGES_THE_STEP, "use_bidirectional_attention")):
        return False
    projections = [
        projection
        for layer in causal.model.layers[first_trained(model) :]
        for part in (layer.self_attn, layer.mlp)
        for name, projection in part.named_children()
        if name.endswith("_proj")
    ]
    return (
        bool(projections)
        and isinstance(causal.lm_head, torch.nn.Linear)
        and all(
            type(layer) is Linear
            and len(layer.active_adapters) == 1
            and not layer.merged
            and not layer.lora_variant
            and not layer.lora_bias[layer.active_adapters[0]]
            and isinstance(layer.lora_dropout[layer.active_adapters[0]], torch.nn.Identity)
            for layer in projections
        )
    )


def first_trained(model: PreTrainedModel) -> int:
    """The place of the lowest layer with LoRA; the layers below it are frozen. The number of layers without any."""
    causal: Any = model
    trained = (any(p.requires_grad for p in layer.parameters()) for layer in causal.model.layers)
    return next((place for place, has in enumerate(trained) if has), len(causal.model.layers))


@dataclass(frozen=True, slots=True)
class Projection:
    """A frozen linear map with its LoRA factors: ``x W^T + bias + scale (x A^T) B^T``."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    a: torch.Tensor
    b: torch.Tensor
    scale: float


class _Projections(torch.autograd.Function):
    """Several frozen maps of one input with their LoRA factors (Hu et al., arXiv:2106.09685, equation 3).

    Forward, from ``x (n, in)``, with ``A_i (r, in)``, ``B_i (out_i, r)`` and the scale ``s_i``:

    1. ``H = x [A_1; A_2; …]^T``, ``(n, r_1 + r_2 + …)``: one product for all of them
    2. ``Y_i = x W_i^T + b_i + s_i H_i B_i^T``, ``(n, out_i)``

    Backward, from ``dY_i``; ``W_i`` and ``b_i`` have no gradient:

    3. ``dH_i = s_i dY_i B_i``
    4. ``dA = dH^T x``, all of them in one product
    5. ``dB_i = s_i dY_i^T H_i``
    6. ``dx = dH A + sum_i dY_i W_i``, added up in one buffer
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, frozen: Sequence[Projection], *factors: torch.Tensor) -> Any:
        stacked = torch.cat(factors[::2]).to(x.dtype)
        inner = x @ stacked.T
        outputs = []
        for map_, h, b in zip(frozen, inner.split([len(a) for a in factors[::2]], dim=1), factors[1::2], strict=True):
            y = functional.linear(x, map_.weight, map_.bias)
            outputs.append(y.addmm_(h, b.to(x.dtype).T, alpha=map_.scale))
        ctx.frozen = frozen
        ctx.save_for_backward(x, stacked, inner, *factors)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        x, stacked, inner, *factors = ctx.saved_tensors
        widths = [len(a) for a in factors[::2]]
        d_inner = torch.cat(
            [(grad @ b.to(x.dtype)).mul_(m.scale) for grad, m, b in zip(grads, ctx.frozen, factors[1::2], strict=True)],
            dim=1,
        )
        d_a = (d_inner.T @ x).split(widths)
        d_b = [
            (grad.T @ h).mul_(m.scale) for grad, m, h in zip(grads, ctx.frozen, inner.split(widths, dim=1), strict=True)
        ]
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = d_inner @ stacked
            for grad, map_ in zip(grads, ctx.frozen, strict=True):
                d_x.addmm_(grad, map_.weight)
        d_factors = [part for pair in zip(d_a, d_b, strict=True) for part in pair]
        return d_x, None, *(part.to(factor.dtype) for part, factor in zip(d_factors, factors, strict=True))


class _RootMeanSquare(torch.autograd.Function):
    """RMSNorm (Zhang and Sennrich, arXiv:1910.07467, equation 4) of ``x (n, hidden)``, computed in float32.

    1. ``i = 1 / sqrt(mean(x²) + epsilon)``, ``(n, 1)``
    2. ``y = x i w``
    3. ``dx = (g - x i² mean(g x)) i`` with ``g = dy w``; the weight ``w`` is frozen
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        inverse = (torch.linalg.vecdot(wide, wide) / x.shape[1] + epsilon).rsqrt()[:, None]
        ctx.save_for_backward(x, weight, inverse)
        y: torch.Tensor = (wide * inverse).mul_(weight)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, weight, inverse = ctx.saved_tensors
        wide, scaled = x.float(), grad.float() * weight
        along = torch.linalg.vecdot(scaled, wide)[:, None] * inverse**2 / x.shape[1]
        return scaled.addcmul_(wide, along, value=-1).mul_(inverse).to(x.dtype), None, None


class _MeanCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of what states ``h (p, hidden)`` predict, with its gradient, in pieces of ``_HEAD_ROWS``.

    A state may predict several labels, one of each row that branches off after it. For each piece:

    1. ``z = h E^T``, ``(rows, vocabulary)``, and ``log P = z - logsumexp(z)``, in place
    2. ``loss -= sum w log P[place, label]`` over its supervised tokens
    3. ``dz = c P - sum w 1[place, label]``, in the same memory; ``c`` is the weight of all labels of a state
    4. ``dh = dz E``

    At the end both are divided by the number of supervised tokens. Logits of all states are never held at one time.
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, head: torch.Tensor, batch: SupervisedTree) -> torch.Tensor:
        total = states.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(states)
        count = total.new_zeros(len(states)).index_add_(0, batch.places, batch.weights)
        for start in range(0, len(states), _HEAD_ROWS):
            logits = (states[start : start + _HEAD_ROWS] @ head.T).float()
            logits -= logits.logsumexp(1, keepdim=True)
            place = batch.places - start
            weight = batch.weights * ((place >= 0) & (place < len(logits)))
            at = place.clamp(0, len(logits) - 1), batch.labels
            total -= logits[at] @ weight
            if not ctx.needs_input_grad[0]:
                continue
            shares = logits.exp_().mul_(count[start : start + _HEAD_ROWS, None])
            shares.index_put_(at, -weight, accumulate=True)
            gradient[start : start + _HEAD_ROWS] = shares.to(head.dtype) @ head
        tokens = batch.weights.sum()
        ctx.save_for_backward(gradient.div_(tokens))
        return total / tokens

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None


def fused_loss(model: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None = None) -> torch.Tensor:
    """Mean cross entropy a supervised token of the rows, as ``plain_loss`` has it. It knows no virtual tokens."""
    if before is not None:
        raise ValueError("the fused step does not support virtual tokens")
    return loss(model, supervised_tree(rows).to(model.device))


def loss(model: PreTrainedModel, batch: SupervisedTree, below: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross entropy over the supervised tokens, of a model that ``supports`` accepts; both on one device.

    ``below`` is what ``states_below`` gives for the batch, where it is known.
    """
    causal: Any = model
    decoder, first = causal.model, first_trained(model)
    x = states_below(model, batch) if below is None else below
    at_all, at_last = (_attention(model, batch, queries) for queries in (None, batch.predicting))
    *layers, last = decoder.layers[first:]
    for layer in layers:
        x = _layer(layer, x, at_all(layer))
    states = _normed(decoder.norm, _layer(last, x, at_last(last), batch.predicting))
    if (divided := getattr(causal.config, "logits_scaling", 1.0)) != 1:
        states = states / divided
    mean: torch.Tensor = _MeanCrossEntropy.apply(states, causal.lm_head.weight, batch)  # type: ignore[no-untyped-call]
    return mean


def states_below(model: PreTrainedModel, batch: SupervisedTree) -> torch.Tensor:
    """The states ``(n, hidden)`` that enter the first trained layer; no gradient passes them."""
    causal: Any = model
    with torch.no_grad():
        x: torch.Tensor = causal.model.embed_tokens(batch.tokens.ids)
        if (times := getattr(causal.model, "embedding_multiplier", 1.0)) != 1:
            x = x * times
        attend = _attention(model, batch, None)
        for layer in causal.model.layers[: first_trained(model)]:
            x = _layer(layer, x, attend(layer))
    return x


def window(layer: Any) -> int | None:
    """How many tokens a layer of a decoder sees, each token itself included; None for all."""
    own = layer.self_attn
    seen: int | None = getattr(own, "sliding_window", getattr(own.config, "sliding_window", None))
    return seen


def rotates(layer: Any) -> bool:
    """Whether a layer of a decoder turns queries and keys by their positions."""
    return bool(getattr(layer.self_attn, "use_rope", True))


def _attention(
    model: PreTrainedModel, batch: SupervisedTree, queries: torch.Tensor | None
) -> Callable[[Any], Attention]:
    """The attention of each layer over the tree, for some of its tokens or for all; alike layers share one."""
    causal: Any = model
    decoder, made = causal.model, batch.tokens
    places = torch.arange(len(made.ids), device=made.ids.device) if queries is None else queries
    weight = decoder.embed_tokens.weight
    known: dict[tuple[Any, ...], Attention] = {}

    def of(layer: Any) -> Attention:
        own = layer.self_attn
        own_positions = (own.layer_type,) if hasattr(decoder.rotary_emb, "layer_types") else ()
        kind = (window(layer), rotates(layer), *own_positions)
        if kind not in known:
            cos, sin = (part[0] for part in decoder.rotary_emb(weight[:1, None], made.positions[None], *own_positions))
            if not rotates(layer):
                cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
            known[kind] = attention(made, places, cos, sin, own.head_dim, own.scaling, window(layer))
        return known[kind]

    return of


def _layer(layer: Any, x: torch.Tensor, attend: Attention, rows: torch.Tensor | None = None) -> torch.Tensor:
    """One layer, for all tokens or for those at ``rows``."""
    mlp, times = layer.mlp, getattr(layer, "residual_multiplier", 1.0)
    before, after, before_mlp, after_mlp = _norms(layer)
    heads = _heads(layer.self_attn, _normed(before, x), rows)
    read = _project(attend(*heads), layer.self_attn.o_proj)[0]
    x = torch.add(x if rows is None else x[rows], _normed(after, read), alpha=times)
    normed = _normed(before_mlp, x)
    if hasattr(mlp, "gate_up_proj"):
        gate, up = _project(normed, mlp.gate_up_proj)[0].chunk(2, dim=1)
        gate = mlp.activation_fn(gate)
    else:
        gate, up = _project(normed, mlp.gate_proj, mlp.up_proj)
        gate = mlp.act_fn(gate)
    return torch.add(x, _normed(after_mlp, _project(gate * up, mlp.down_proj)[0]), alpha=times)


def _norms(layer: Any) -> tuple[Any, Any, Any, Any]:
    """The norms before and after attention, and before and after the MLP; None where a family has none."""
    before = getattr(layer, "input_layernorm", None)
    if not hasattr(layer, "post_feedforward_layernorm"):
        return before, None, layer.post_attention_layernorm, None
    before_mlp = getattr(layer, "pre_feedforward_layernorm", None)
    return before, layer.post_attention_layernorm, before_mlp, layer.post_feedforward_layernorm


def _heads(own: Any, x: torch.Tensor, rows: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries of all tokens or of those at ``rows``, and keys and values of all; see ``Attention``."""
    if hasattr(own, "qkv_proj"):
        (joined,) = _project(x, own.qkv_proj)
        shared = own.config.num_key_value_heads * own.head_dim
        q, k, v = joined.split([joined.shape[1] - 2 * shared, shared, shared], dim=1)
        q = q if rows is None else q[rows]
    elif rows is None:
        q, k, v = _project(x, own.q_proj, own.k_proj, own.v_proj)
    else:
        (q,) = _project(x[rows], own.q_proj)
        k, v = _project(x, own.k_proj, own.v_proj)
    if hasattr(own, "q_norm"):  # of each head, or of all of them side by side
        q, k = (
            _normed(norm, y.view(-1, len(norm.weight))).view_as(y) for norm, y in ((own.q_norm, q), (own.k_norm, k))
        )
    return q, k, v


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """``x`` by a norm of root mean squares; as it is by None."""
    if norm is None:
        return x
    if hasattr(norm, "variance_epsilon"):
        weight, epsilon = norm.weight, norm.variance_epsilon
    else:  # Gemma's, whose weights are what is added to one
        weight, epsilon = 1 + norm.weight.float(), norm.eps
    if x.is_cuda:  # one call with a gradient of its own there; on a CPU a chain of them
        return functional.rms_norm(x.to(weight.dtype), weight.shape, weight, epsilon).to(x.dtype)
    y: torch.Tensor = _RootMeanSquare.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return y


def _project(x: torch.Tensor, *layers: Any) -> tuple[torch.Tensor, ...]:
    if not hasattr(layers[0], "base_layer"):  # a frozen layer
        return tuple(functional.linear(x, layer.weight, layer.bias) for layer in layers)
    maps = [_projection(layer) for layer in layers]
    factors = [factor for map_ in maps for factor in (map_.a, map_.b)]
    outputs: tuple[torch.Tensor, ...] = _Projections.apply(x, maps, *factors)  # type: ignore[no-untyped-call]
    return outputs


def _projection(layer: Any) -> Projection:
    (name,) = layer.active_adapters
    base = layer.base_layer
    return Projection(base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
