"""Is everything here, and does the engine really optimise what it was told?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from maspo.cli.terminal import say
from maspo.engines.doors import DOORS, standing_of
from maspo.engines.engine import Engine
from maspo.engines.two_tokens import RATIOS, weights_by_formula
from maspo.lab.provenance import versions
from maspo.objectives import GRPO
from maspo.recipes.schema import Recipe


def diagnose(engine: Engine, recipe: Recipe) -> dict[str, Any]:
    """Look, and prove on two tokens which objective is live; `healthy` is false where it is another."""
    weights = []
    for objective in dict.fromkeys((recipe.make_objective(), GRPO())):
        expected, found = weights_by_formula(objective), engine.probe(objective)
        weights.append(
            {
                "objective": objective.title,
                "by_formula": expected.tolist(),
                "by_engine": found.tolist(),
                "same": torch.allclose(expected, found, rtol=1e-6),
            }
        )
    return {
        "versions": versions(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "engine": engine.supported.title,
        "examined": list(engine.examine(recipe)),
        "doors": {DOORS[name].title: asdict(standing_of(name)) for name in DOORS},
        "ratios": list(RATIOS),
        "weights": weights,
        "healthy": all(one["same"] for one in weights),
    }


def show_diagnosis(found: dict[str, Any]) -> None:
    """Print what `diagnose` found."""
    say("  ".join(f"{name} {number}" for name, number in found["versions"].items()))
    say(f"devices  {', '.join(found['gpus']) or 'CPU only'}, {found['threads']} threads")
    for line in found["examined"]:
        say(line)
    for one in found["weights"]:
        shown = ", ".join(f"{w:.4f}" for w in one["by_engine"])
        told = "as its formula" if one["same"] else f"NOT its formula's {one['by_formula']}"
        say(
            f"{one['objective']:<8} through {found['engine']} gives tokens of ratio "
            f"{tuple(found['ratios'])} the weights {shown}: {told}"
        )
    for title, one in found["doors"].items():
        say(f"{title:<12} {one['version'] or '-':<8} {one['said']}")
    say("all is well" if found["healthy"] else "training would not optimise what it was told")
