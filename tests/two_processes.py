"""Run under torchrun: one update on two processes, ours against stock TRL, dead rows on one of them."""

import sys
import tempfile
import warnings
from contextlib import nullcontext

import torch
import trl
from accelerate import PartialState
from test_shared_prefix import Float64
from test_trl_contract import make
from test_trl_fast import FAST, NARROW, ROWS, in_float64, rollout

import maspo
from maspo.engines.trl import MASPOConfig, MASPOTrainer
from maspo.engines.trl.pass_costs import PRICES, Prices

warnings.simplefilter("ignore")
warnings.filterwarnings("error", message="the log-probabilities or gradients")  # of shared prompts
PRICES["cpu"] = Prices(call=0.0, repeat=0.0)  # sharing pays however short a prompt is


def rows_of(rank):
    """Give each process 4 rows of a prompt of its own; all of the first one's are dead."""
    batch = rollout(64)
    batch["advantages"][: ROWS // 2] = 0.0
    batch["prompt_ids"] = batch["prompt_ids"][:: ROWS // 2].repeat_interleave(ROWS // 2, 0)
    part = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    return {key: x if x.dim() == 0 else x[part] for key, x in batch.items()}


def gradient(kind, config, loss_type, beta, dtype, **settings):
    """Run two micro-batches of two rows through the wrapped model; return the reduced gradient."""
    folder = tempfile.mkdtemp()
    trainer = make(
        kind, config, folder, dtype, loss_type=loss_type, beta=beta,
        gradient_accumulation_steps=2, steps_per_generation=4, **settings,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 2
    model = trainer.accelerator.prepare(trainer.model)
    assert isinstance(model, torch.nn.parallel.DistributedDataParallel)
    trainer.model.train()
    batch = rows_of(trainer.accelerator.process_index)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    keep = batch["completion_ids"].size(1)
    with torch.no_grad():
        now, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, keep)
    noise = torch.randn(now.shape, generator=torch.Generator().manual_seed(4)).to(now)
    batch |= {"old_per_token_logps": now - 0.02 * noise, "ref_per_token_logps": now + 0.1 * noise}
    for start in (0, 2):
        part = {k: x if x.dim() == 0 else x[start : start + 2] for k, x in batch.items()}
        trainer.accelerator.backward(trainer._compute_loss(model, part))
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters()}


for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
    if dtype == torch.float64:
        rounded = trl.GRPOTrainer._get_per_token_logps_and_entropies
        trl.GRPOTrainer._get_per_token_logps_and_entropies = in_float64
    else:
        trl.GRPOTrainer._get_per_token_logps_and_entropies = rounded
    for loss_type in sys.argv[1:]:
        for beta in (0.0, 0.1):
            clip = maspo.GRPO(epsilon_low=NARROW, epsilon_high=NARROW)
            common = (loss_type, beta, dtype)
            # The norms of the model round to float32 too, and a shared prompt is rounded elsewhere.
            with Float64() if dtype == torch.float64 else nullcontext():
                stock = gradient(trl.GRPOTrainer, trl.GRPOConfig, *common, epsilon=NARROW)
                ours = gradient(MASPOTrainer, MASPOConfig, *common, objective=clip, **FAST)
            largest = max(g.abs().max() for g in stock.values())
            worst = max((ours[n] - g).abs().max() for n, g in stock.items())
            assert largest > 0 and worst <= tolerance * largest, (*common, worst / largest)
            if PartialState().is_main_process:
                print("same", *common, float(worst / largest))
