"""Which rows go through the model together: those that matter, by length, none wider than it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ENOUGH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Tokens of a pass from which another pass costs less than padding, as matrices are filled by then."""

NARROWER = 0.8
"""A row this much shorter than the longest of its pass goes into the next one."""


@dataclass(frozen=True, kw_only=True)
class ScorePass:
    """Rows of one forward pass, and how much of their padded width it takes."""

    rows: Tensor
    """Indices of rows, int64."""
    prompt: int
    """Columns of the prompt, which is padded on the left."""
    completion: int
    """Columns of the completion, which is padded on the right."""
    counts: bool = True
    """False for a pass whose result is thrown away, run because other processes wait for one."""


def widths(attention_mask: Tensor, completion_columns: int) -> Tensor:
    """Measure prompts and completions, int64 `[rows, 2]`, of rows `[padding prompt completion padding]`."""
    split = attention_mask.size(1) - completion_columns
    prompt, completion = attention_mask[:, :split].bool(), attention_mask[:, split:].bool()
    places = torch.arange(1, completion_columns + 1, device=attention_mask.device)
    from_the_right = torch.arange(split, 0, -1, device=attention_mask.device)
    return torch.stack([(prompt * from_the_right).amax(1), (completion * places).amax(1)], dim=1)


def plan_passes(
    lengths: Tensor, live: Tensor, *, most_rows: int, fixed: int | None = None
) -> list[ScorePass]:
    """Deal the live rows to passes, longest first.

    Args:
        lengths: `[rows, 2]`, see `widths`; a row without completion is never live.
        live: bool `[rows]`.
        most_rows: rows of a pass at most.
        fixed: make so many passes, no more and no fewer, where every process has to take part in
            each. A pass that is left without a row takes two tokens of row 0 and does not count.
    """
    order = lengths.sum(1).argsort(descending=True, stable=True)
    order = order[(live & (lengths[:, 1] > 0))[order]]
    if fixed is not None:
        sizes = [len(part) for part in torch.arange(len(order)).tensor_split(fixed)]
    else:
        enough = ENOUGH_TOKENS.get(lengths.device.type, ENOUGH_TOKENS["cuda"])
        sizes = cut(lengths[order].sum(1).tolist(), most_rows, enough)
    passes = []
    for rows in order.split(sizes):
        if len(rows):
            prompt, completion = lengths[rows].amax(0).tolist()
            passes.append(ScorePass(rows=rows, prompt=prompt, completion=completion))
        else:
            passes.append(ScorePass(rows=order.new_zeros(1), prompt=1, completion=1, counts=False))
    return passes


def cut(lengths: Sequence[int], most_rows: int, enough: int) -> list[int]:
    """Choose the sizes of passes over rows of so many tokens, sorted from long to short."""
    sizes: list[int] = []
    longest = size = 0
    for length in lengths:
        shorter = length < NARROWER * longest and size * longest >= enough
        if size == most_rows or shorter:
            sizes.append(size)
            size = 0
        if not size:
            longest = length
        size += 1
    return [*sizes, size]


def score_passes(
    score: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor | None, Any]],
    input_ids: Tensor,
    attention_mask: Tensor,
    columns: int,
    passes: Sequence[ScorePass],
) -> tuple[Tensor, Tensor | None]:
    """Score rows pass by pass, and give log-probabilities and entropies as if all had gone together.

    Both are `[rows, columns]`, with zeros where nothing was computed. `score` takes ids, mask and the
    number of completion columns.
    """
    split = input_ids.size(1) - columns
    parts: list[tuple[Tensor | None, ...]] = []
    for one in passes:
        kept = slice(split - one.prompt, split + one.completion)
        ids, mask = input_ids[one.rows, kept], attention_mask[one.rows, kept]
        mask = mask if one.counts else torch.ones_like(mask)
        parts.append(score(ids, mask, one.completion)[:2])
    log_probs, entropies = zip(*parts, strict=True)
    shape = len(input_ids), columns
    return _joined(passes, log_probs, shape), (
        None if entropies[0] is None else _joined(passes, entropies, shape)
    )


def _joined(passes: Sequence[ScorePass], parts: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """Put the results of passes in their rows; what does not count adds 0, and keeps its graph."""
    joined = parts[0].new_zeros(shape)
    for one, part in zip(passes, parts, strict=True):
        if one.counts:
            wide = torch.nn.functional.pad(part, (0, shape[1] - one.completion))
            joined = joined.index_copy(0, one.rows, wide)
        else:
            joined = joined + 0 * part.sum()
    return joined


def deal(window: Sequence[Mapping[str, Any]], live: Tensor) -> list[dict[str, Any]]:
    """Deal the rows of an update's micro-batches anew: the live ones first, longest first.

    Each micro-batch keeps its number of rows, and the update its rows. `live` is bool `[rows]`.
    """
    masks = [torch.cat([x["prompt_mask"], x["completion_mask"]], dim=1) for x in window]
    lengths = widths(torch.cat(masks), window[0]["completion_mask"].size(1))
    order = (lengths.sum(1) + live * (lengths.sum(1).amax() + 1)).argsort(
        descending=True, stable=True
    )
    return _in_order(window, order)


def deal_whole_groups(rollout: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Deal the rows of a rollout's micro-batches anew, so that rows of one of `groups` stand together."""
    return _in_order(rollout, torch.cat([x["groups"] for x in rollout]).argsort(stable=True))


def _in_order(batches: Sequence[Mapping[str, Any]], order: Tensor) -> list[dict[str, Any]]:
    """Put the rows of all batches in another order, as many into each as it had."""
    size = len(order) // len(batches)
    dealt: list[dict[str, Any]] = [{} for _ in batches]
    for key, value in batches[0].items():
        whole = torch.cat([x[key] for x in batches])[order] if _has_rows(value) else None
        for i, batch in enumerate(dealt):
            batch[key] = value if whole is None else whole[i * size : (i + 1) * size]
    return dealt


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0
