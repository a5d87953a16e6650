"""Which rows go through the model together: those that matter, by prompt or by length, in narrow passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from maspo.engines.trl.pass_costs import PassCosts

ENOUGH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Tokens of a pass from which another pass costs less than padding, as matrices are filled by then."""

NARROWER = 0.8
"""A row this much shorter than the longest of its pass goes into the next one."""


@dataclass(frozen=True, kw_only=True)
class TextRows:
    """Rows `[padding prompt completion padding]` as TRL scores them."""

    ids: Tensor
    """Tokens, int64 `[rows, columns]`."""
    mask: Tensor
    """1 for a token, 0 for padding, `[rows, columns]`."""
    completion: int
    """Columns of the completion, the last ones."""

    @property
    def prompt(self) -> int:
        """Columns of the prompt, the first ones."""
        return self.ids.size(1) - self.completion

    def prompts(self) -> Tensor:
        """Number the distinct prompts; see `prompts_of`."""
        return prompts_of(self.ids[:, : self.prompt], self.mask[:, : self.prompt])

    def part(self, one: ScorePass) -> TextRows:
        """Return the rows of a pass, as narrow as it is."""
        kept = slice(self.prompt - one.prompt, self.prompt + one.completion)
        ids, mask = self.ids[one.rows, kept], self.mask[one.rows, kept]
        mask = mask if one.counts else torch.ones_like(mask)
        return TextRows(ids=ids, mask=mask, completion=one.completion)


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
    shares: bool = False
    """Whether each distinct prompt is run once for all its rows."""


def widths(attention_mask: Tensor, completion_columns: int) -> Tensor:
    """Measure prompts and completions, int64 `[rows, 2]`, of rows `[padding prompt completion padding]`."""
    split = attention_mask.size(1) - completion_columns
    prompt, completion = attention_mask[:, :split].bool(), attention_mask[:, split:].bool()
    places = torch.arange(1, completion_columns + 1, device=attention_mask.device)
    from_the_right = torch.arange(split, 0, -1, device=attention_mask.device)
    return torch.stack([(prompt * from_the_right).amax(1), (completion * places).amax(1)], dim=1)


def prompts_of(ids: Tensor, mask: Tensor) -> Tensor:
    """Number the distinct prompts in the order of their first rows, int64 `[rows]`."""
    seen: dict[bytes, int] = {}
    tokens = ((ids + 1) * mask).cpu().numpy()
    numbers = [seen.setdefault(row.tobytes(), len(seen)) for row in tokens]
    return torch.tensor(numbers, device=ids.device)


def plan_passes(
    lengths: Tensor,
    live: Tensor,
    *,
    most_rows: int,
    fixed: int | None = None,
    prompts: Tensor | None = None,
) -> list[ScorePass]:
    """Deal the live rows to passes: longest first, or those of a prompt together where that costs less.

    Args:
        lengths: `[rows, 2]`, see `widths`; a row without completion is never live.
        live: bool `[rows]`.
        most_rows: rows of a pass at most.
        fixed: make so many passes, no more and no fewer, where every process has to take part in
            each. A pass that is left without a row takes two tokens of row 0 and does not count.
        prompts: which prompt a row has, int64 `[rows]`; without it no pass shares any.
    """
    order = lengths.sum(1).argsort(descending=True, stable=True)
    order = order[(live & (lengths[:, 1] > 0))[order]]
    sizes = _sizes(lengths[order].sum(1).tolist(), most_rows, fixed, lengths.device)
    by_length = order.split(sizes)
    if prompts is None or not len(order):
        return [_made(rows, lengths) for rows in by_length]
    costs = PassCosts.of(lengths, prompts)
    rows = order.tolist()
    if fixed is None:
        by_prompt = costs.gather(rows, most_rows)
    else:
        together = costs.ordered(rows)
        by_prompt = [part.tolist() for part in order.new_tensor(together).split(sizes)]
    plans = [[part.tolist() for part in by_length], by_prompt]
    best = min(plans, key=lambda plan: sum(costs.of_pass(part) for part in plan))
    return [
        replace(_made(order.new_tensor(part), lengths), shares=costs.sharing_pays(part))
        for part in best
    ]


def _made(rows: Tensor, lengths: Tensor) -> ScorePass:
    if not len(rows):
        return ScorePass(rows=rows.new_zeros(1), prompt=1, completion=1, counts=False)
    prompt, completion = lengths[rows].amax(0).tolist()
    return ScorePass(rows=rows, prompt=prompt, completion=completion)


def _sizes(
    lengths: Sequence[int], most_rows: int, fixed: int | None, device: torch.device
) -> list[int]:
    if fixed is not None:
        return [len(part) for part in torch.arange(len(lengths)).tensor_split(fixed)]
    return cut(lengths, most_rows, ENOUGH_TOKENS.get(device.type, ENOUGH_TOKENS["cuda"]))


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
    score: Callable[[TextRows, bool], tuple[Tensor, Tensor | None]],
    text: TextRows,
    passes: Sequence[ScorePass],
) -> tuple[Tensor, Tensor | None]:
    """Score rows pass by pass, and give log-probabilities and entropies as if all had gone together.

    Both are `[rows, completion columns]`, with zeros where nothing was computed. `score` takes the
    rows of a pass, and whether it shares prompts.
    """
    log_probs, entropies = zip(*(score(text.part(one), one.shares) for one in passes), strict=True)
    shape = len(text.ids), text.completion
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


def deal(
    window: Sequence[Mapping[str, Any]], live: Tensor, *, share: bool = False
) -> list[dict[str, Any]]:
    """Deal the rows of an update's micro-batches anew: the live ones first, longest first.

    With `share` those of a prompt stand together where the passes over them then cost less. Each
    micro-batch keeps its number of rows, and the update its rows. `live` is bool `[rows]`.
    """
    masks = [torch.cat([x["prompt_mask"], x["completion_mask"]], dim=1) for x in window]
    lengths = widths(torch.cat(masks), window[0]["completion_mask"].size(1))
    order = (lengths.sum(1) + live * (lengths.sum(1).amax() + 1)).argsort(
        descending=True, stable=True
    )
    if share:
        costs = PassCosts.of(lengths, _prompts(window))
        alive = live[order]
        together = costs.ordered(order[alive].tolist()) + order[~alive].tolist()
        size, marked = len(order) // len(window), live.tolist()

        def cost(rows: list[int]) -> float:
            chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
            return sum(costs.of_pass([row for row in chunk if marked[row]]) for chunk in chunks)

        order = order.new_tensor(min(order.tolist(), together, key=cost))
    return _in_order(window, order)


def deal_together(rollout: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Deal the rows of a rollout's micro-batches anew, so that those of a group stand together.

    Where the rows do not say their `groups`, these are the prompts, in the order of their first rows.
    """
    named = "groups" in rollout[0]
    places = torch.cat([x["groups"] for x in rollout]) if named else _prompts(rollout)
    return _in_order(rollout, places.argsort(stable=True))


def _prompts(batches: Sequence[Mapping[str, Any]]) -> Tensor:
    ids, mask = (torch.cat([x[name] for x in batches]) for name in ("prompt_ids", "prompt_mask"))
    return prompts_of(ids, mask)


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
