"""Products the other way round: the same numbers, whatever the rows, and every linear layer of a loaded model."""

import pytest
import torch

from lorag.llm.decoding.small_batch_linear import FEWEST, MOST, SmallBatchLinear, use_small_batch_linear
from lorag.llm.engines.transformers import TransformersModel


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(1,), (FEWEST - 1,), (FEWEST,), (2, FEWEST), (MOST,), (MOST + 1,), (3, 2, 4)], ids=str
)
def test_a_layer_gives_what_it_gave_and_passes_the_same_gradient(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 40, bias=bias)
    rows = torch.randn(*shape, 24)

    def computed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        layer.zero_grad()
        given = rows.clone().requires_grad_()
        out = layer(given)
        (out * torch.arange(40.0)).sum().backward()
        assert given.grad is not None
        assert layer.weight.grad is not None
        return out.detach(), given.grad, layer.weight.grad.clone()

    plain = computed()
    use_small_batch_linear(layer)
    assert type(layer) is SmallBatchLinear
    quick = computed()
    torch.testing.assert_close(quick, plain)
    assert quick[0].is_contiguous()  # or attention takes a slower way


def test_every_linear_layer_of_a_model_in_float32_is_one_on_a_cpu(smollm: TransformersModel) -> None:
    model = smollm.weights.model
    kinds = {type(layer) for layer in model.modules() if isinstance(layer, torch.nn.Linear)}
    assert kinds == {SmallBatchLinear if model.device.type == "cpu" else torch.nn.Linear}
