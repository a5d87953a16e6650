"""Is everything here, and does the engine really optimise what it was told?"""

from __future__ import annotations

import torch

from maspo.cli.terminal import say
from maspo.engines.engine import Engine
from maspo.engines.two_tokens import RATIOS, weights_by_formula
from maspo.lab.provenance import versions
from maspo.objectives import GRPO
from maspo.recipes.schema import Recipe


def diagnose(engine: Engine, recipe: Recipe) -> bool:
    """Print what was found; false where training would not do what it says."""
    say("  ".join(f"{name} {number}" for name, number in versions().items()))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    say(f"devices  {', '.join(gpus) or 'CPU only'}, {torch.get_num_threads()} threads")
    for line in engine.examine(recipe):
        say(line)
    healthy = True
    for objective in dict.fromkeys((recipe.make_objective(), GRPO())):
        expected, found = weights_by_formula(objective), engine.probe(objective)
        same = torch.allclose(expected, found, rtol=1e-6)
        healthy &= same
        shown = ", ".join(f"{w:.4f}" for w in found)
        say(
            f"{objective.title:<8} through {engine.supported.title} gives tokens of ratio {RATIOS} the "
            f"weights {shown}: "
            + ("as its formula" if same else f"NOT its formula's {expected.tolist()}")
        )
    say("all is well" if healthy else "training would not optimise what it was told")
    return healthy
