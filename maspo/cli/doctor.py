"""Is everything here, and does TRL really optimise what it was told?"""

from __future__ import annotations

import torch
from rich.console import Console

from maspo.core.objective import Objective
from maspo.lab.provenance import versions
from maspo.loss import policy_loss
from maspo.objectives import GRPO, MASPO


def examine(console: Console) -> bool:
    """Print what was found; false where training would not do what it says."""
    console.print(
        "  ".join(f"{name} {number}" for name, number in versions().items()),
        highlight=False,
        soft_wrap=True,
    )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    console.print(
        f"devices  {', '.join(gpus) or 'CPU only'}, {torch.get_num_threads()} threads",
        highlight=False,
        soft_wrap=True,
    )
    from maspo.engines.trl.probe import RATIOS, two_tokens, weights_in_trl

    healthy = True
    for objective in (MASPO(), GRPO()):
        expected, found = weights_by_formula(objective, *two_tokens()), weights_in_trl(objective)
        same = torch.allclose(expected, found, rtol=1e-6)
        healthy &= same
        shown = ", ".join(f"{w:.4f}" for w in found)
        console.print(
            f"{objective.title:<8} through TRL gives tokens of ratio {RATIOS} the weights {shown}: "
            + ("as its formula" if same else f"NOT its formula's {expected.tolist()}"),
            highlight=False,
            soft_wrap=True,
        )
    console.print("all is well" if healthy else "training would not optimise what it was told")
    return healthy


def weights_by_formula(
    objective: Objective, old: torch.Tensor, log_probs: torch.Tensor, advantages: torch.Tensor
) -> torch.Tensor:
    """Give the weights of the two tokens by `policy_loss`."""
    mask = torch.ones_like(old)
    return policy_loss(log_probs, old, advantages, mask, objective=objective).weights[0]
