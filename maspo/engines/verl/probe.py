# pyright: reportMissingImports=false
"""Two tokens through verl's own `ppo_loss`: which objective is live?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import verl
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.utils import tensordict_utils
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from maspo.core.objective import Objective
from maspo.engines.two_tokens import RATIOS, two_tokens, weights_of_two
from maspo.engines.verl.cluster import Cluster
from maspo.engines.verl.compose import checked_objective, compose_config, updates_per_rollout
from maspo.engines.verl.launch import check_entry_point
from maspo.engines.verl.plugin import losses
from maspo.engines.verl.settings import MASPOPolicyLossConfig
from maspo.engines.verl.translate import overrides
from maspo.objectives import describe_objective
from maspo.objectives.advice import INERT
from maspo.recipes import load_recipe
from maspo.recipes.schema import Recipe


def examine(recipe: Recipe) -> Iterator[str]:
    """Say what is registered and from where, and what a run would train.

    Raises InputError as `checked_objective` does, and where verl's processes would not load the plug-in.
    """
    check_entry_point()
    yield f"verl {version('verl')} from {Path(verl.__file__).parent}"
    ours = losses()
    theirs = [name for name in POLICY_LOSS_REGISTRY if name not in ours]
    yield f"losses of verl: {', '.join(sorted(theirs))}"
    plain = sorted(name for name in ours if not name.startswith("maspo."))
    hidden = sorted({f"maspo.{name}" for name in ours.values()} - {f"maspo.{p}" for p in plain})
    yield f"losses of {__package__}: {', '.join(plain)}"
    yield f"  and, where verl has the plain name, only as {', '.join(hidden)}; all others so too"
    config = compose_config(overrides(recipe, Cluster(), Path("run")))
    objective = checked_objective(config)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    stock = replace(actor, policy_loss=PolicyLossConfig())
    ours, vanilla = (", ".join(f"{w:.4f}" for w in weights_in_verl(a)) for a in (actor, stock))
    yield (
        f"through verl's ppo_loss tokens of ratio {RATIOS} get the weights {ours} of {objective.title}; "
        f"verl's vanilla gives {vanilla}"
    )
    updates = updates_per_rollout(config)
    if updates == 1:
        yield f"warning: {INERT}"
    yield (
        f"a run of {recipe.name} would train {objective} as {actor.policy_loss.loss_mode}, "
        f"{updates} updates per rollout"
    )


def weights_of(objective: Objective) -> torch.Tensor:
    """Return the weights of the two tokens under the actor settings of the quickstart with `objective`."""
    known = describe_objective(objective)
    settings = {"name": known["name"], **asdict(objective)}
    recipe = load_recipe("quickstart").model_copy(update={"objective": settings})
    config = compose_config(overrides(recipe, Cluster(), Path("run")))
    return weights_in_verl(omega_conf_to_dataclass(config.actor_rollout_ref.actor))


def weights_in_verl(actor: Any) -> torch.Tensor:
    """Return the weights of the two tokens by the gradient of verl's `ppo_loss` with these settings."""
    log_probs, old, advantages = two_tokens()
    leaf = log_probs.clone().requires_grad_()
    settings = actor.policy_loss
    if isinstance(settings, MASPOPolicyLossConfig):
        settings = replace(settings, made=None, reduction="token-mean")
    actor = replace(actor, policy_loss=settings, loss_agg_mode="token-mean")
    loss, _ = ppo_loss(actor, *as_verl(leaf, old, advantages))
    loss.backward()
    return weights_of_two(leaf, advantages)


def as_verl(
    log_probs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor
) -> tuple[Any, Any]:
    """Give one response, `[1, time]`, as the arguments `model_output` and `data` of verl's losses.

    A prompt of one token; position t of the model's output scores the token after it.
    """
    time = log_probs.shape[1]
    jagged = torch.nested.as_nested_tensor
    values = torch.cat([log_probs[0], torch.zeros(1, dtype=log_probs.dtype)])
    output = {"log_probs": jagged([values], layout=torch.jagged)}
    rows = {
        "prompts": torch.zeros(1, dtype=torch.long),
        "responses": torch.zeros(time, dtype=torch.long),
        "response_mask": torch.ones(time, dtype=torch.long),
        "old_log_probs": old[0],
        "advantages": advantages[0],
    }
    data = tensordict_utils.get_tensordict(
        {name: jagged([row], layout=torch.jagged) for name, row in rows.items()},
        {"dp_size": 1, "batch_num_tokens": time, "global_batch_size": 1},
    )
    return output, data
