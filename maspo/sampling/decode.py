"""The decoding loop of `maspo.sampling.group`: a batch that rows leave, on a cache that grows in place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

LEAVE = 16
"""Finished rows leave once they are a sixteenth of the batch: each new shape of it has a cost too."""

DRAWN_AT_ONCE = 1024
"""The largest vocabulary of which a token is drawn in one step."""

VOCABULARY_BLOCK = 256
"""Tokens of a larger vocabulary whose probabilities are summed up first when a token is drawn."""


class Unsupported(Exception):
    """Why `generate` has to decode by itself."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What `generate` prepared, with one row for each distinct prompt."""

    model: Any
    ids: Tensor
    """Token prompts, padded on the left [prompts, length]."""
    mask: Tensor | None
    """Attention mask [prompts, length]; None without padding."""
    positions: Tensor | None
    """Position ids [prompts, length]; None for a model that takes none."""
    extras: dict[str, Any]
    """What else the model's forward pass takes."""
    processors: LogitsProcessorList
    criteria: Any
    """Transformers' StoppingCriteriaList."""
    limit: int
    """Longest sequence, the padded prompt included."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one attention layer, in room that doubles up to `limit` positions.

    `DynamicLayer` concatenates, which copies the whole cache for every new token, and copies it
    once more when rows leave the batch.
    """

    def __init__(self, layer: Any, rows: Tensor, limit: int) -> None:
        """Take these rows, which may repeat, of a layer that a prefill has filled."""
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._limit = limit
        self._hold(layer.keys[rows], layer.values[rows])

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens; return all keys and all values."""
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if stop > self._room[0].shape[-2]:
            self._hold(*(room[..., :start, :] for room in self._room))
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[..., start:stop, :] = states
        return self._show(stop)

    def leave(self, move: Move) -> None:
        """Let rows leave the batch."""
        self._room = [move(room) for room in self._room]
        self._show(self.get_seq_length())

    def _hold(self, *held: Tensor) -> None:
        """Move keys and values to where there is room for as many again."""
        length = held[0].shape[-2]
        size = min(2 * length, self._limit)
        self._room = [s.new_empty(*s.shape[:-2], size, s.shape[-1]) for s in held]
        for room, states in zip(self._room, held, strict=True):
            room[..., :length, :] = states
        self._show(length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (room[..., :length, :] for room in self._room)
        return self.keys, self.values


class Move:
    """How rows close ranks: from the end of the batch into the places of those that leave."""

    def __init__(self, done: Tensor) -> None:
        self.size = len(done) - int(done.sum())
        self._holes = done[: self.size].nonzero().squeeze(1)
        self._movers = (~done[self.size :]).nonzero().squeeze(1) + self.size

    def __call__(self, rows: Tensor) -> Tensor:
        """Move the rows of a tensor in place; return those that are left."""
        rows[self._holes] = rows[self._movers]
        return rows[: self.size]


def decode(task: Task, prompt_of: Sequence[int], uniforms: Tensor | None) -> list[list[int]]:
    """Decode rows together; return the completion of each.

    `prompt_of` names the prompt of each row, in rising order. `uniforms` [rows, steps] holds the
    numbers in [0, 1) that a row draws its tokens with; None is greedy decoding.

    Raises FloatingPointError where the probabilities to sample from are not finite.
    """
    batch = _Batch(task, torch.tensor(prompt_of, device=task.ids.device), uniforms)
    logits = batch.prefill()
    while True:
        batch.append(batch.choose(logits))
        finished = int(batch.done.sum())
        if finished * LEAVE >= len(batch.rows):
            batch.drop_done()
        if not len(batch.rows):
            return batch.completions
        logits = batch.forward()


class _Batch:
    """Rows that are decoded in step; what is kept for each has a row of every tensor here."""

    def __init__(self, task: Task, prompts: Tensor, uniforms: Tensor | None) -> None:
        self.task = task
        self.prompts = prompts
        self.uniforms = uniforms
        self.rows = torch.arange(len(prompts), device=prompts.device)
        self.start = self.length = task.ids.shape[1]
        self.ids = prompts.new_empty(len(prompts), task.limit)
        self.ids[:, : self.start] = task.ids[prompts]
        self.done = torch.zeros_like(self.rows, dtype=torch.bool)
        self.stops = torch.zeros_like(self.rows)
        self.cache = DynamicCache(config=task.model.config.get_text_config(decoder=True))
        self.layers: list[Any] = []
        self.completions: list[list[int]] = [[] for _ in prompts]
        self._follow()

    def _follow(self) -> None:
        """Fit what depends on which prompts the rows have."""
        task, prompts = self.task, self.prompts
        self.processors: Any = LogitsProcessorList(_for_rows(p, prompts) for p in task.processors)
        self.mask = None if task.mask is None else _padded(task.mask[prompts], task.limit)

    def prefill(self) -> Tensor:
        """Run the prompts, each once, and repeat their cache; return every row's logits."""
        task = self.task
        used, rows = self.prompts.unique(return_inverse=True)
        logits = self._run(
            task.ids[used],
            None if task.mask is None else task.mask[used],
            None if task.positions is None else task.positions[used],
            is_first_iteration=True,
        )
        if self.cache.get_seq_length() != self.length:
            raise Unsupported("its cache holds more than the tokens of the prompt")
        self.layers = [GrowingLayer(layer, rows, task.limit) for layer in self.cache.layers]
        self.cache.layers = self.layers
        return logits[rows]

    def forward(self) -> Tensor:
        """Run the newest token of every row; return the logits."""
        positions = self.task.positions
        if positions is not None:
            positions = positions[self.prompts, -1:] + (self.length - self.start)
        mask = None if self.mask is None else self.mask[:, : self.length]
        return self._run(self.ids[:, : self.length], mask, positions, next_sequence_length=1)

    def _run(
        self, ids: Tensor, mask: Tensor | None, positions: Tensor | None, **kwargs: Any
    ) -> Tensor:
        if positions is not None:
            kwargs["position_ids"] = positions
        inputs = self.task.model.prepare_inputs_for_generation(
            ids, past_key_values=self.cache, attention_mask=mask, **kwargs, **self.task.extras
        )
        # float32 and a copy, as in `generate`: processors may write into it.
        logits = self.task.model(**inputs, return_dict=True).logits[:, -1]
        return logits.to(copy=True, dtype=torch.float32, device=self.ids.device)

    def choose(self, logits: Tensor) -> Tensor:
        """Return the next token of every row."""
        scores = self.processors(self.ids[:, : self.length], logits)
        if self.uniforms is None:
            return scores.argmax(-1)
        return _invert(scores.softmax(-1), self.uniforms[:, self.length - self.start, None])

    def append(self, tokens: Tensor) -> None:
        """Add a token to every row and mark the rows that it finishes."""
        self.ids[:, self.length] = tokens
        self.length += 1
        self.stops = torch.where(self.done, self.stops, self.length)
        self.done = self.done | self.task.criteria(self.ids[:, : self.length], None)

    def drop_done(self) -> None:
        """Hand over the completions of the finished rows and go on without them."""
        leaving = self.done.nonzero().squeeze(1)
        columns = zip(
            self.rows[leaving].tolist(), self.stops[leaving].tolist(), self.ids[leaving].tolist(),
            strict=True,
        )  # fmt: skip
        for row, stop, ids in columns:
            self.completions[row] = ids[self.start : stop]
        move = Move(self.done)
        self.rows, self.prompts, self.ids, self.stops, self.done = (
            move(kept) for kept in (self.rows, self.prompts, self.ids, self.stops, self.done)
        )
        if self.uniforms is not None:
            self.uniforms = move(self.uniforms)
        for layer in self.layers:
            layer.leave(move)
        self._follow()


def _invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token for every row by inversion of its distribution, from one number in [0, 1) each.

    Unlike with `torch.multinomial` a row's token does not depend on what else is in the batch, and
    on a CPU it is many times faster. Of a large vocabulary a block is drawn first, then a token of the
    block that is hit, so that sums in float64 take little memory.
    """
    if probabilities.shape[1] <= DRAWN_AT_ONCE:
        return _hit(probabilities, uniform)[0].squeeze(1)
    blocks = torch.nn.functional.pad(probabilities, (0, -probabilities.shape[1] % VOCABULARY_BLOCK))
    blocks = blocks.unflatten(1, (-1, VOCABULARY_BLOCK))
    block, rest = _hit(blocks.sum(-1, dtype=torch.float64), uniform)
    place, _ = _hit(blocks.take_along_dim(block[:, :, None], 1).squeeze(1), rest)
    return (block * VOCABULARY_BLOCK + place).squeeze(1)


def _hit(masses: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place [rows, 1] that a number of [0, 1) hits, and how far into its mass, in [0, 1).

    Sums are float64, so that the rarest token keeps its share.
    """
    heights = masses.cumsum(-1, dtype=torch.float64)
    if not heights[:, -1].isfinite().all():
        raise FloatingPointError("the next-token probabilities are not finite: a diverged model")
    below_one = 1 - 2**-50  # or a product with a number next to 1 would round up to the whole
    target = uniform * below_one * heights[:, -1:]
    place = torch.searchsorted(heights, target, right=True)
    mass = masses.gather(1, place)
    within = (target - heights.gather(1, place) + mass) / mass
    return place, within.clamp(0, below_one)


def _padded(mask: Tensor, limit: int) -> Tensor | None:
    """Mark the tokens to come as well; without padding there is no need of a mask."""
    if mask.all():
        return None
    return torch.nn.functional.pad(mask, (0, limit - mask.shape[1]), value=1)


def _for_rows(processor: Any, prompts: Tensor) -> Any:
    """Give the one processor that knows its rows, by where their prompts begin, those of ours."""
    if getattr(processor, "prompt_ignore_length", None) is None:
        return processor
    processor = copy.copy(processor)
    starts = processor.prompt_ignore_length.to(prompts.device)
    processor.prompt_ignore_length = starts[prompts]
    return processor
