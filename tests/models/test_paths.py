"""Every token's attention is that of its path, standing alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_model

from unbelief.models import paths as module
from unbelief.models.paths import Paths, along, has_paths, paths_of

CPU = torch.device("cpu")


def of(tokens: Sequence[Sequence[int]], seen: Sequence[bool], dtype: Any = torch.float32) -> Paths:
    return paths_of([np.array(t) for t in tokens], np.array(seen), dtype=dtype, device=CPU)


def test_two_answers_after_a_prompt() -> None:
    # 0 1 is the prompt, 2 3 and 4 are answers. The prompt is short enough (2 of 4) to be a block of
    # its own; the second answer (3 of 4) stands with the first, filled up with its first token.
    found = of([[0, 1], [0, 1, 2, 3], [0, 1, 4]], [True] * 5)
    answers, prompt = found.blocks
    assert answers.queries.tolist() == [[2, 3], [4, 4]]
    assert answers.keys.tolist() == [[0, 1, 2, 3], [0, 1, 4, 0]]
    assert prompt.queries.tolist() == prompt.keys.tolist() == [[0, 1]]
    sees = [[[1, 1, 1, 0], [1, 1, 1, 1]], [[1, 1, 1, 0], [1, 1, 1, 0]]]
    assert (answers.mask[:, 0] == 0).int().tolist() == sees
    assert (prompt.mask[:, 0] == 0).int().tolist() == [[[1, 0], [1, 1]]]
    assert answers.mask.min() == torch.finfo(torch.float32).min


def test_nobody_sees_a_hidden_token() -> None:
    (block,) = of([[0, 1, 2]], [True, False, True]).blocks
    assert (block.mask[0, 0] == 0).int().tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]


def test_a_path_without_tokens_of_its_own_adds_nothing() -> None:
    assert len(of([[0, 1, 2], [0, 1], [0, 1, 2]], [True] * 3).blocks) == 1


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[list[int]], list[bool]]:
    """Paths of some trees, parents numbered before children, and who is seen."""
    size = draw(st.integers(1, 24))
    parents = [draw(st.integers(-1, i - 1)) for i in range(size)]
    paths: list[list[int]] = []
    for i, parent in enumerate(parents):
        paths.append([*(paths[parent] if parent >= 0 else []), i])
    kept = draw(st.permutations([p for p in paths if p[-1] not in parents]))
    return kept, draw(st.lists(st.booleans(), min_size=size, max_size=size))


def by_definition(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tokens: Any, seen: Any
) -> torch.Tensor:
    """(N, H, D) softmax over the seen tokens up to each one, path by path; NaN if there is none."""
    out = torch.full((q.shape[2], q.shape[1], v.shape[3]), torch.nan, dtype=q.dtype)
    group = q.shape[1] // k.shape[1]
    for path in tokens:
        for n, token in enumerate(path):
            sees = [t for t in path[: n + 1] if seen[t]]
            for h in range(q.shape[1] if sees else 0):
                scores = k[0, h // group, sees] @ q[0, h, token] * 0.3
                out[token, h] = scores.softmax(0) @ v[0, h // group, sees]
    return out


class Attention(torch.nn.Module):
    """What a model's attention module is to an attention function."""

    is_causal, training = True, False

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


@pytest.mark.parametrize("short", [True, False], ids=["products", "own"])
@given(forests(), st.sampled_from([(4, 4), (4, 2), (2, 1)]))
def test_attention_is_that_of_each_path(short: bool, forest: Any, heads: tuple[int, int]) -> None:
    tokens, seen = forest
    g = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn((1, n, len(seen), 8), generator=g).transpose(1, 2).contiguous().transpose(1, 2)
        for n in (heads[0], heads[1], heads[1])
    )
    config = type("Config", (), {"_attn_implementation": "sdpa"})()
    layer = Attention(heads[0] // heads[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHORT", 128 if short else 0)
        with along(config, of(tokens, seen)):
            got, _ = module._attend(layer, q, k, v, None, scaling=0.3, dropout=0.0)
    want = by_definition(q, k, v, tokens, seen)
    some = ~want.isnan()
    assert got.shape == (1, len(seen), heads[0], 8) and got.isfinite().all()
    torch.testing.assert_close(got[0][some], want[some], atol=1e-5, rtol=1e-4)


def test_nan_stays_on_its_path() -> None:
    q, k, v = (torch.randn(1, 2, 5, 4) for _ in range(3))
    for x in (q, k, v):
        x[:, :, 2] = torch.nan
    config = type("Config", (), {"_attn_implementation": "sdpa"})()
    with along(config, of([[0, 1], [2, 3, 4]], [True] * 5)):
        got, _ = module._attend(Attention(1), q, k, v, None, scaling=1.0)
    assert got[0, :2].isfinite().all() and got[0, 2:].isnan().all()


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_a_model_is_left_as_it_was(kind: str) -> None:
    model = tiny_model()
    model.set_attn_implementation(kind)
    ids = torch.arange(7, 12)[None]
    before = model(ids).logits
    with pytest.raises(ZeroDivisionError), along(model.config, of([[0, 1]], [True] * 2)):
        assert not has_paths(model.config)
        raise ZeroDivisionError
    assert has_paths(model.config) and model.config._attn_implementation == kind
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_one_sequence_of_a_model_holds_many(family: str) -> None:
    model, ids = tiny_model(family), torch.tensor([[7, 8, 9, 10, 8, 11, 12]])
    tokens = [[0, 1], [0, 1, 2, 3], [0, 1, 4], [5, 6]]
    position = torch.tensor([[0, 1, 2, 3, 2, 0, 1]])
    with torch.no_grad():
        with along(model.config, of(tokens, [True] * 7)) as more:
            got = model(input_ids=ids, position_ids=position, use_cache=False, **more).logits[0]
        for path in tokens:
            want = model(input_ids=ids[:, path], use_cache=False).logits[0]
            torch.testing.assert_close(got[path], want, atol=1e-4, rtol=1e-4)
