"""Linear layers for the few rows of a batch that decodes, which a CPU multiplies faster the other way round.

PyTorch gives the product of 6 to 48 rows and a transposed weight to a kernel at a third of its speed; weight times
transposed rows is the same product, but for rounding, at full speed (docs/log.md).
"""

from __future__ import annotations

import torch

FEWEST, MOST = 6, 48
"""Rows between which the other way round is faster, by measurement of the catalogue's shapes."""


class SmallBatchLinear(torch.nn.Linear):
    """A linear layer in float32 on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` of ``(..., in_features)`` times the weight, plus the bias: ``(..., out_features)``."""
        rows = input.shape[:-1]
        if not FEWEST <= rows.numel() <= MOST:
            return super().forward(input)
        product = (self.weight @ input.reshape(-1, self.in_features).T).T.contiguous()
        if self.bias is not None:
            product = product + self.bias
        return product.view(*rows, self.out_features)


def use_small_batch_linear(model: torch.nn.Module) -> None:
    """Makes every linear layer of a model one of these; its weights stay where they are."""
    for layer in model.modules():
        if type(layer) is torch.nn.Linear:
            layer.__class__ = SmallBatchLinear
