"""Two tokens through TRL's own loss: which objective is live?"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOTrainer

from maspo.core.objective import Objective
from maspo.engines.trl.config import MASPOConfig
from maspo.engines.two_tokens import two_tokens, weights_of_two
from maspo.models import load_model


def weights_in_trl(objective: Objective, trainer: Any) -> torch.Tensor:
    """Return the weights of the two tokens by the gradient of TRL's own loss in `trainer`, ours."""
    log_probs, old, advantages = two_tokens()
    leaf = log_probs.requires_grad_()

    class Fixed(GRPOTrainer):
        """Stands in for the forward pass, below our trainer: two tokens of known probability."""

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):  # type: ignore[override]
            return leaf, torch.zeros_like(leaf), None

    class Probe(trainer, Fixed):
        """Our trainer on top of the fixed tokens."""

        _is_the_proof = True

    model, tokenizer = load_model("embedded")
    with tempfile.TemporaryDirectory() as folder:
        args = MASPOConfig(
            output_dir=folder, objective=objective, bf16=False, report_to=[], loss_type="grpo"
        )
        prompts = Dataset.from_dict({"prompt": ["a", "b"]})
        probe = Probe(
            model, lambda **_: [], args, train_dataset=prompts, processing_class=tokenizer
        )
        probe.current_gradient_accumulation_steps = 1
        ids = torch.zeros(1, 2, dtype=torch.long)
        mask = torch.ones(1, 2, dtype=torch.long)
        batch = {"prompt_ids": ids, "prompt_mask": mask, "completion_ids": ids}
        batch |= {"completion_mask": mask, "advantages": advantages, "old_per_token_logps": old}
        probe.model.train()
        probe._compute_loss(probe.model, batch).backward()
    return weights_of_two(leaf, advantages)
