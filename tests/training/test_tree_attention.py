"""Both attentions, by branches and masked, read what all pairs under the tree's mask read; so do their gradients."""

from collections.abc import Sequence

import pytest
import torch

from lorag.llm.prefix_tree import tree
from lorag.training.kernels.tree_attention import Branched, attention

WIDTH = 8
ROWS: dict[str, list[Sequence[int]]] = {
    "one row": [range(30)],
    "rows that share a beginning": [[*range(9), *range(first, first + 12)] for first in (20, 40, 60)],
    "branches of branches, of many sizes": [
        [*range(9), *range(20, 27)],
        [*range(9), *range(20, 24), *range(40, 44)],
        [*range(9), *range(20, 24), *range(50, 55)],
        [*range(9), 60],
        [*range(70, 110)],
        [*range(9)],
    ],
}


def dense(made, queries, cos, sin, q, k, v, shared, window=None):
    """Every query against every token, under the mask."""

    def turned(x, cos, sin):
        x, still = x.view(len(x), -1, WIDTH).split((cos.shape[1], WIDTH - cos.shape[1]), dim=-1)
        left, right = x.chunk(2, dim=-1)
        x = x * cos[:, None] + torch.cat((-right, left), -1) * sin[:, None]
        return torch.cat((x, still), -1).transpose(0, 1)

    heads = q.shape[1] // WIDTH // shared
    k, v = (x.repeat_interleave(heads, 0) for x in (turned(k, cos, sin), v.view(len(v), -1, WIDTH).transpose(0, 1)))
    scores = turned(q, cos[queries], sin[queries]) @ k.mT * 0.3
    seen = made.visible & (made.positions[:, None] - made.positions < (window or len(made.ids)))
    shares = scores.masked_fill(~seen[queries], -torch.inf).softmax(-1)
    return (shares @ v).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("by_branches", [True, False], ids=["by branches", "masked"])
@pytest.mark.parametrize("some", [False, True], ids=["all tokens", "some tokens"])
@pytest.mark.parametrize(("shared", "heads"), [(1, 3), (2, 2), (3, 1)])
@pytest.mark.parametrize("rows", ROWS)
def test_it_reads_what_the_whole_under_the_mask_reads(rows, shared, heads, some, by_branches):
    torch.manual_seed(0)
    made = tree([list(row) for row in ROWS[rows]])
    n = len(made.ids)
    queries = torch.arange(n)[torch.rand(n) < 0.4] if some else torch.arange(n)
    angles = torch.rand(n, WIDTH // 2).repeat(1, 2)
    cos, sin = 1.3 * angles.cos(), 1.3 * angles.sin()
    q = torch.randn(len(queries), shared * heads * WIDTH, requires_grad=True)
    k, v = (torch.randn(n, shared * WIDTH, requires_grad=True) for _ in range(2))
    expected = dense(made, queries, cos, sin, q, k, v, shared)
    read = attention(made, queries, cos, sin, WIDTH, 0.3, by_branches=by_branches)(q, k, v)
    torch.testing.assert_close(read, expected)
    weights = torch.randn_like(read)
    theirs, ours = (torch.autograd.grad((x * weights).sum(), (q, k, v)) for x in (expected, read))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("by_branches", [True, False], ids=["by branches", "masked"])
@pytest.mark.parametrize("window", [None, 1, 5])
@pytest.mark.parametrize("turned", [2, WIDTH])
def test_windows_and_heads_that_are_turned_in_part(window, turned, by_branches):
    torch.manual_seed(0)
    made = tree([list(row) for row in ROWS["branches of branches, of many sizes"]])
    queries = torch.arange(0, len(made.ids), 3)
    angles = torch.rand(len(made.ids), turned // 2).repeat(1, 2)
    q, k, v = torch.randn(len(queries), 4 * WIDTH), *torch.randn(2, len(made.ids), 2 * WIDTH)
    expected = dense(made, queries, angles.cos(), angles.sin(), q, k, v, 2, window)
    read = attention(made, queries, angles.cos(), angles.sin(), WIDTH, 0.3, window, by_branches)(q, k, v)
    torch.testing.assert_close(read, expected)


def test_branches_of_like_size_are_computed_together_and_no_pair_of_branches_meets():
    made = tree([list(row) for row in ROWS["branches of branches, of many sizes"]])
    n = len(made.ids)
    read = attention(made, torch.arange(n), torch.ones(n, WIDTH), torch.zeros(n, WIDTH), WIDTH, 1.0)
    assert isinstance(read, Branched)
    groups = read.groups
    assert 1 < len(groups) < 5
    assert any((some.queries == n).any() for some in groups)  # padded where sizes differ a little
    assert sum(some.mask.numel() for some in groups) < n * n / 2
    assert sorted(place for some in groups for place in some.queries.flatten().tolist() if place < n) == list(range(n))
