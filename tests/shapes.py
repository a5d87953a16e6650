"""A program: every public call on tensors, each argument and result compared with its annotation.

Run by `test_shapes.py` in a process of its own, since jaxtyping must be there before the package.
"""

from jaxtyping import TypeCheckError, install_import_hook

CHECKED = ("maspo.core", "maspo.objectives", "maspo.loss")

install_import_hook(CHECKED, "shape_checker.checked")  # for good: names of maspo load at first use

import torch  # noqa: E402

import maspo  # noqa: E402
from maspo.core.apply import apply_objective, with_slopes  # noqa: E402
from maspo.core.batch import TokenBatch  # noqa: E402
from maspo.core.reduction import reduce_tokens  # noqa: E402


def batch(rows=4, time=6):
    """Make the inputs of a loss, ragged, with rubbish under the mask."""
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(rows, time, generator=g) - 0.1
    new = (old + 0.1 * torch.randn(rows, time, generator=g)).clamp(max=-0.01)
    mask = torch.arange(time) < torch.tensor([[time], [3], [1], [5]])
    old[~mask] = torch.nan
    return new.requires_grad_(), old, torch.tensor([1.0, -1.0, 0.5, 0.0]), mask


def main():
    """Call everything as documented, then wrongly."""
    new, old, advantages, mask = batch()
    others = {"entropies": torch.rand(new.shape), "rollout_weights": torch.rand(new.shape)}
    others["groups"] = torch.tensor([0, 0, 1, 1])
    for name in maspo.OBJECTIVES:
        for each in (advantages, advantages[:, None].expand_as(new)):
            for bools in (mask, mask.long()):
                found = maspo.policy_loss(
                    new, old, each, bools, objective=name, reduction="token-mean",
                    kl=maspo.KL(coef=0.1), ref_log_probs=old, **others,
                )  # fmt: skip
                found.loss.backward()
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    for name, kind in maspo.ADVANTAGES.items():
        if "history" not in kind.inputs:
            given = {"lengths": torch.ones(2, 3)} if "lengths" in kind.inputs else {}
            maspo.estimate_advantages(rewards, name, **given)
    for mode in maspo.ROLLOUT_MODES:
        maspo.rollout_weights(old, new.detach(), mask, mode)
    print("right calls pass")

    clean = TokenBatch.clean(new, old, advantages, mask)
    wrong = {
        "a reduction of rows": lambda: reduce_tokens(new.sum(1), mask, "token-mean"),
        "a mask of numbers": lambda: reduce_tokens(new, mask.float(), "token-mean"),
        "slopes of another width": lambda: with_slopes(old, old[:, 1:], new),
        "integers for weights": lambda: apply_objective(maspo.GRPO(), clean, mask.long()),
        "rewards in one row": lambda: maspo.estimate_advantages(rewards.flatten()),
    }
    for what, call in wrong.items():
        try:
            call()
        except TypeCheckError:
            print("refused:", what)


if __name__ == "__main__":
    main()
