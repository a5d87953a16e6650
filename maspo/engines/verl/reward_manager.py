# pyright: reportMissingImports=false
"""verl's reward manager, which also notes what an evaluation on file needs to know of a response.

reward.reward_manager.source=importlib reward.reward_manager.name=NotingRewardManager
reward.reward_manager.module.path=pkg://maspo.engines.verl.reward_manager
"""

from __future__ import annotations

from typing import Any

from verl.experimental.reward_loop.reward_manager import NaiveRewardManager

NOTES = ("problem_id", "tokens", "finish")
"""What is added to the scores of a response, and so to verl's files of validation samples."""


class NotingRewardManager(NaiveRewardManager):
    """Scores a response by the reward function of the run, and adds `NOTES`."""

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Score the last response of `data`."""
        scored = await super().run_single(data)
        last = data[-1:][0]
        ids = last.batch["responses"]
        tokens = int(last.batch["attention_mask"][-len(ids) :].sum())
        whole = tokens < self.config.data.max_response_length
        ended = whole or int(ids[tokens - 1]) == self.tokenizer.eos_token_id
        about = last.non_tensor_batch.get("extra_info") or {}
        scored["reward_extra_info"] |= {
            "problem_id": str(about.get("id", "")),
            "tokens": tokens,
            "finish": "stop" if ended else "length",
        }
        return scored
