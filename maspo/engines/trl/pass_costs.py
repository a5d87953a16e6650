"""What a pass over some rows costs, in tokens: with each prompt run once, or once for every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What the parts of a pass cost, in the time that one token of a large pass takes."""

    call: float
    """Starting a pass, or the prompts' part of one."""
    repeat: float
    """Laying keys and values of a token of the prompt before one more row, and looking at them."""


PRICES = {"cpu": Prices(call=100, repeat=0.03), "cuda": Prices(call=4096, repeat=0.05)}
"""By device: as `benchmarks/prefix.py` fits them on a CPU, a call on the dear side; for GPUs, where it has
not been run yet, so dear that only what saves much is shared."""


class PassCosts:
    """Costs of passes over the rows of a batch."""

    def __init__(
        self, lengths: Sequence[Sequence[int]], prompts: Sequence[int], prices: Prices
    ) -> None:
        """Take columns of prompt and completion and the number of the prompt of each row."""
        self.lengths, self.prompt_of, self.prices = lengths, prompts, prices

    @classmethod
    def of(cls, lengths: Tensor, prompts: Tensor) -> PassCosts:
        """Take tensors, `[rows, 2]` and `[rows]`, with the prices of their device."""
        prices = PRICES.get(lengths.device.type, PRICES["cuda"])
        return cls(lengths.tolist(), prompts.tolist(), prices)

    def of_pass(self, rows: Sequence[int]) -> float:
        """Return the cost of a pass over these rows, by the cheaper way."""
        return min(self._costs(rows))

    def sharing_pays(self, rows: Sequence[int]) -> bool:
        """Return whether a pass over these rows costs less with each prompt run once."""
        plain, shared = self._costs(rows)
        return shared < plain

    def ordered(self, rows: Sequence[int]) -> list[int]:
        """Put rows, longest first, in an order in which those of a prompt stand together."""
        return [row for group in self._groups(rows) for row in group]

    def gather(self, rows: Sequence[int], most_rows: int) -> list[list[int]]:
        """Deal rows, longest first, to passes that hold whole prompts where that is cheap.

        The rows of a prompt are divided by length where padding costs more than another run of it.
        Then neighbours in length go together where that is cheaper than apart.
        """
        parts = [
            part
            for group in self._groups(rows)
            for start in range(0, len(group), most_rows)
            for part in self._divided(group[start : start + most_rows])
        ]
        parts.sort(key=lambda part: self.lengths[part[0]][1], reverse=True)
        passes: list[list[int]] = []
        for part in parts:
            joined = [*passes[-1], *part] if passes else part
            apart = self.of_pass(passes[-1]) + self.of_pass(part) if passes else 0.0
            if passes and len(joined) <= most_rows and self.of_pass(joined) <= apart:
                passes[-1] = joined
            else:
                passes.append(part)
        return passes

    def _costs(self, rows: Sequence[int]) -> tuple[float, float]:
        if not rows:
            return 0.0, 0.0
        prompt = max(self.lengths[row][0] for row in rows)
        completion = max(self.lengths[row][1] for row in rows)
        distinct = len({self.prompt_of[row] for row in rows})
        plain = self.prices.call + len(rows) * (prompt + completion)
        # The last token of the prompt is run with every row: it is where the completion is read off.
        rows_alone = len(rows) * (1 + completion + self.prices.repeat * prompt)
        return plain, 2 * self.prices.call + distinct * (prompt - 1) + rows_alone

    def _groups(self, rows: Sequence[int]) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for row in rows:
            groups.setdefault(self.prompt_of[row], []).append(row)
        return list(groups.values())

    def _divided(self, group: list[int]) -> list[list[int]]:
        """Cut the rows of a prompt, longest first, into parts of like length while that is cheaper."""
        whole = self.of_pass(group)
        cuts = {
            place: self.of_pass(group[:place]) + self.of_pass(group[place:])
            for place in range(1, len(group))
        }
        best = min(cuts, key=cuts.__getitem__, default=0)
        if not cuts or cuts[best] >= whole:
            return [group]
        return self._divided(group[:best]) + self._divided(group[best:])
