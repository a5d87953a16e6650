"""FSDP2 and ZeRO-3: weights lie in parts, one in each process, and are gathered where all are needed.

Processes answer their prompts in different numbers of decoding steps. A pass of a dealt-out model takes
all processes, so sampling would have to step on together until the last one is done, and gather every
layer for every token. Weights are gathered once for a rollout or an evaluation instead, which costs each
process the memory of the whole model in the dtype of its passes, at a time when there are no activations.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, gather_object
from accelerate.utils.fsdp_utils import fsdp2_canonicalize_names
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from trl.models import unwrap_model_for_generation

from maspo.engines.trl.config import MASPOConfig
from maspo.errors import InputError


def check_sharding(args: MASPOConfig, quantization: str | None) -> None:
    """Raise InputError where weights are to be dealt out in a way that a run cannot use.

    `quantization` is that of the recipe's model.
    """
    deepspeed = args.deepspeed_plugin is not None
    fsdp = args.fsdp_plugin_args is not None or _asked("ACCELERATE_USE_FSDP")
    if not (deepspeed or fsdp):
        return
    name = "DeepSpeed" if deepspeed else "FSDP"
    if args.world_size == 1 and args.fsdp_plugin_args is not None:
        raise InputError("trl.fsdp deals weights out to processes, and there is one: give --gpus")
    if fsdp and _plugin(args).fsdp_version != 2:
        raise InputError(
            "maspo train deals weights out by version 2 of FSDP: set fsdp_version: 2 in the "
            "configuration of accelerate"
        )
    if quantization is not None:
        raise InputError(f"{name} deals out no weights in {quantization}: leave out one of the two")
    if args.use_vllm:
        raise InputError(
            f"under {name} rollouts are by transformers: set rollout.engine to transformers"
        )
    if args.staleness:
        raise InputError(
            f"staleness needs all weights on every process, which {name} spreads: train without it"
        )


def shard_on_cpus(accelerator: Any, args: MASPOConfig) -> bool:
    """Let processes without GPUs deal weights out too, where that is asked for; return whether they will.

    accelerate passes FSDP and DeepSpeed by on CPUs, without a word.
    """
    state = accelerator.state
    plugin: Any = args.deepspeed_plugin
    if state.distributed_type is not DistributedType.MULTI_CPU:
        return False
    if plugin is not None:
        kind = DistributedType.DEEPSPEED
        state.deepspeed_plugins = {"default": plugin}
        accelerator.deepspeed_engine_wrapped = None
    elif _asked("ACCELERATE_USE_FSDP"):
        plugin, kind = _plugin(args), DistributedType.FSDP
        state.fsdp_plugin = plugin
    else:
        return False
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    state.distributed_type = PartialState().distributed_type = kind
    if kind is DistributedType.DEEPSPEED:
        plugin.select(_from_accelerator_state=True)
    return True


@contextmanager
def gathered(trainer: Any) -> Iterator[None]:
    """While the block runs, every process has all weights of the policy, and its passes take no other.

    All processes enter it together. Nothing is done where the weights are not dealt out.
    """
    model = trainer.model
    parts = _parts(model)
    if trainer._dist.is_zero3:
        with gathered_by_trl(trainer):
            yield
        return
    if not parts:
        yield
        return
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        model.set_reshard_after_forward(trainer.accelerator.state.fsdp_plugin.reshard_after_forward)
        for part in parts:
            part.reshard()


@contextmanager
def gathered_by_trl(trainer: Any, *, whole: bool = True) -> Iterator[Any]:
    """While the block runs, give the policy in TRL's way for sampling: under ZeRO-3 `whole` or in parts."""
    again = {}
    if "gradient_checkpointing_kwargs" in signature(unwrap_model_for_generation).parameters:
        kwargs = trainer.args.gradient_checkpointing_kwargs
        again = {"gradient_checkpointing_kwargs": kwargs}  # from TRL 1.16 on
    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=whole,
        generation_kwargs=trainer.generation_kwargs,
        **again,
    ) as model:
        optimizer = getattr(trainer.model_wrapped, "optimizer", None)
        offload = getattr(optimizer, "parameter_offload", None)  # of ZeRO-3
        if offload is None or not whole:
            yield model
            return
        # TRL leaves one of DeepSpeed's hooks, which compares the processes at every pass.
        hook, hooks = offload.fwd_pre_hook.id, model._forward_pre_hooks
        kept = hooks.pop(hook)
        try:
            yield model
        finally:
            hooks[hook] = kept


def trained_weights(model: Any) -> dict[str, Tensor]:
    """Return what training changes of `model`, whole and on the CPU, in the first process; all call it.

    In the others the result is empty.
    """
    # What a pass without gradient has left gathered is in the pass's dtype.
    for part in _parts(model):
        part.reshard()
    first = PartialState().is_main_process
    found: dict[str, Tensor] = {}
    for name, parameter in fsdp2_canonicalize_names(dict(model.named_parameters())).items():
        if parameter.requires_grad:
            with _whole(parameter) as value:
                if first:
                    found[name] = value.detach().to("cpu", copy=True).contiguous()
    return found


@contextmanager
def _whole(parameter: Tensor) -> Iterator[Tensor]:
    """Gather one parameter for as long as the block takes; all processes enter it together."""
    if isinstance(parameter, DTensor):
        yield parameter.full_tensor()
    elif hasattr(parameter, "ds_id"):
        import deepspeed  # pyright: ignore[reportMissingImports]

        with deepspeed.zero.GatheredParameters([parameter]):
            yield parameter
    else:
        yield parameter


def broken_weights(model: Any) -> str | None:
    """Name a trained parameter that is not finite; the same one in every process."""
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    found = next((name for name, one in trained if not _here(one).isfinite().all()), None)
    if not _is_dealt_out(model):  # all processes have the same
        return found
    return next((name for name in gather_object([found]) if name is not None), None)


def _is_dealt_out(model: Any) -> bool:
    return bool(_parts(model)) or any(hasattr(p, "ds_id") for p in model.parameters())


def _parts(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _here(parameter: Tensor) -> Tensor:
    """Return what this process has of a parameter."""
    value = parameter.detach()
    if isinstance(value, DTensor):
        return value.to_local()
    return getattr(parameter, "ds_tensor", value)


def _asked(variable: str) -> bool:
    """Whether `accelerate launch`, or accelerate given a plugin, has set a variable of the environment."""
    return os.environ.get(variable, "false").lower() == "true"


def _plugin(args: MASPOConfig) -> FullyShardedDataParallelPlugin:
    given: Any = args.fsdp_plugin_args or {}
    return FullyShardedDataParallelPlugin(**given)
