"""What a version of TRL that the tests did not run on has to show before it trains.

Its own loss has to give two tokens the weights of the objective. What a saving of work relies on has to be
there; else that saving is left out.
"""

from __future__ import annotations

import inspect
import re
import warnings
from functools import cache
from typing import Any

import torch
import transformers
from trl import GRPOTrainer
from trl.trainer import grpo_trainer

from maspo.core.objective import Objective
from maspo.engines.trl.names import SUPPORTED
from maspo.engines.trl.plain_head import score_without_triton
from maspo.engines.trl.probe import weights_in_trl
from maspo.engines.two_tokens import weights_by_formula
from maspo.errors import InputError

SCORING = (
    "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
    "compute_aux_loss",
)  # fmt: skip
"""The arguments by which the policy is scored."""

RELIES_ON = {
    "group_decoding": {"_generate_single_turn": ("prompt_ids", "images", "multimodal_fields")},
    "share_prefix": {"_get_per_token_logps_and_entropies": SCORING},
    "skip_dead_rows": {"_get_per_token_logps_and_entropies": SCORING},
    "trim_padding": {
        "_get_per_token_logps_and_entropies": SCORING,
        "_prepare_inputs": (),
        "_buffered_inputs": (),
        "_step": (),
    },
    "reuse_first_forward": {
        "_get_per_token_logps_and_entropies": SCORING,
        "_generate_and_score_completions": (),
        "_prepare_inputs": (),
        "_buffered_inputs": (),
        "_step": (),
    },
}
"""By setting of MASPOConfig: the methods and attributes of GRPOTrainer that it relies on, with arguments."""


def lacking() -> dict[str, list[str]]:
    """Return the savings of work that this TRL lacks something for, and what."""
    found = {}
    for saving, names in RELIES_ON.items():
        missing = [name for name, arguments in names.items() if not _has(name, arguments)]
        if missing:
            found[saving] = missing
    return found


def _has(name: str, arguments: tuple[str, ...]) -> bool:
    method = getattr(GRPOTrainer, name, None)
    if method is None:
        return name in _attributes()
    parameters = inspect.signature(method).parameters.values()
    loose = {one.kind for one in parameters} >= {inspect.Parameter.VAR_POSITIONAL}
    return loose or {*arguments} <= {one.name for one in parameters}


@cache
def _attributes() -> set[str]:
    sources = inspect.getsource(grpo_trainer) + inspect.getsource(transformers.trainer)
    return set(re.findall(r"self\.(_[a-z]\w*)", sources))


def leave_out_savings(args: Any) -> None:
    """Switch off, with a line each, the savings that an untested TRL lacks something for."""
    if is_tested():
        return
    for saving, missing in lacking().items():
        if getattr(args, saving):
            setattr(args, saving, False)
            warnings.warn(_line(saving, missing), stacklevel=3)


def _line(saving: str, missing: list[str]) -> str:
    return f"{saving} is off: TRL {SUPPORTED.installed()} has no {' and no '.join(missing)} as it needs"


def is_tested() -> bool:
    """Whether the tests ran on the version that is installed."""
    return SUPPORTED.installed() in SUPPORTED.tested


@cache
def prove(objective: Objective, trainer: type) -> None:
    """Raise InputError where `trainer`, ours, on an untested TRL gives two tokens other weights."""
    score_without_triton()
    if is_tested():
        return
    expected = weights_by_formula(objective)
    try:
        found = weights_in_trl(objective, trainer)
    except InputError:
        raise
    except Exception as error:  # whatever else an unknown version does
        raise _wrong(f"its loss cannot be reached ({type(error).__name__}: {error})") from error
    if not torch.allclose(expected, found, rtol=1e-6):
        raise _wrong(
            f"through it two tokens get the weights {found.tolist()} and not {expected.tolist()}, those of "
            f"{objective.title}"
        )


def _wrong(what: str) -> InputError:
    told = " ".join(what.split())
    return InputError(
        f"TRL {SUPPORTED.installed()} is not one of the tested versions ({SUPPORTED.said()}), and {told}; "
        f"run: {SUPPORTED.cure()}"
    )


def standing() -> list[str]:
    """Say how the installed version stands, a line each, for the doctor."""
    installed = SUPPORTED.installed()
    if is_tested():
        return [f"TRL {installed} is one of the tested versions ({SUPPORTED.said()})"]
    first = (
        f"TRL {installed} is not one of the tested versions ({SUPPORTED.said()}): the weights below are its "
        "evidence"
    )
    return [first, *(_line(saving, missing) for saving, missing in lacking().items())]
