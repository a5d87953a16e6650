"""Stand-ins for the trainers of `maspo.engines.doors`: their documented calls and their own normalisers.

Each takes a batch, hands it to the door in two micro-batches as the host would, and returns the gradient of
what the host would differentiate, beside that of `policy_loss`.
"""

import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import torch

from maspo import make_objective, policy_loss
from maspo.engines import axolotl, prime_rl, rllm, tinker
from maspo.engines.skyrl import SkyRLLoss

LENGTHS = (7, 3, 1, 5)
PARTS = (slice(0, 1), slice(1, 4))
"""The two micro-batches, of unequal tokens."""


def batch(seed=0):
    """Make log-probabilities, old ones, advantages `[4, 7]` and a mask, NaN under the mask."""
    draw = torch.Generator().manual_seed(seed)
    rows, time = len(LENGTHS), max(LENGTHS)
    old = -torch.rand(rows, time, generator=draw, dtype=torch.float64) - 0.05
    old -= 3 * torch.rand(rows, 1, generator=draw, dtype=torch.float64)
    step = 0.5 * torch.randn(rows, time, generator=draw, dtype=torch.float64)
    new = (old + step).clamp(max=-0.01)
    advantages = torch.tensor([1.3, -0.7, -1.6, 0.4], dtype=torch.float64)
    advantages = advantages[:, None].repeat(1, time)
    mask = torch.arange(time) < torch.tensor(LENGTHS)[:, None]
    for x in (new, old, advantages):
        x[~mask] = torch.nan
    return new, old, advantages, mask


def by_policy_loss(name, settings, given, reduction, parts=None, denominator=None):
    """Return the gradient of `policy_loss`: of the whole, or the mean of those of `parts`."""
    new, old, advantages, mask = given
    leaf = new.clone().requires_grad_()
    objective = make_objective(name, **settings)
    for part in parts or [slice(None)]:
        rows = leaf[part], old[part], advantages[part], mask[part]
        loss = policy_loss(
            *rows, objective=objective, reduction=reduction, denominator=denominator
        ).loss
        (loss / len(parts or [1])).backward()
    return leaf.grad


def of_parts(given, loss_of_part):
    """Return the gradient of the sum of a loss over the two micro-batches."""
    leaf = given[0].clone().requires_grad_()
    for part in PARTS:
        loss_of_part(leaf[part], *(x[part] for x in given[1:])).backward()
    return leaf.grad


def in_prime_rl(name, settings, given):
    """prime-rl: sequence by sequence; the sums are divided by the tokens of the step."""
    tokens = given[3].sum()

    def of_part(*rows):
        total = 0.0
        for new, old, a, mask in zip(*rows, strict=True):
            inputs = SimpleNamespace(
                trainer_logprobs=new, inference_logprobs=old, ref_logprobs=None,
                advantages=a, loss_mask=mask, loss_weights=None,
            )  # fmt: skip
            total = total + prime_rl.loss(inputs, objective=name, **settings).loss
        return total / tokens

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean")


class Numbers:
    """A tensor as Tinker's data hold it."""

    def __init__(self, tensor):
        self.tensor = tensor

    def to_torch(self):
        return self.tensor


class Datum:
    """A datum as Tinker's client has it."""

    def __init__(self, model_input, loss_fn_inputs):
        boxed = {k: v if isinstance(v, Numbers) else Numbers(v) for k, v in loss_fn_inputs.items()}
        self.model_input, self.loss_fn_inputs = model_input, boxed


def data_of(old, advantages, mask, ragged=True):
    """Put a batch into data, each as long as its response and two tokens of prompt."""
    made = []
    for row, length in enumerate(mask.sum(1).tolist()):
        inputs = {"logprobs": old[row], "advantages": advantages[row], "mask": mask[row].float()}
        cut = {k: torch.cat([x[-2:], x[:length]]) if ragged else x for k, x in inputs.items()}
        if ragged:
            cut["mask"][:2] = 0
        made.append(Datum(None, {"target_tokens": torch.zeros(len(cut["mask"])), **cut}))
    return made


def log_probs_of(new, mask):
    """Cut log-probabilities as `data_of` cuts the rest."""
    lengths = mask.sum(1).tolist()
    return [torch.cat([row[-2:], row[:n]]) for row, n in zip(new, lengths, strict=True)]


def in_tinker(name, settings, given):
    """Tinker: a list of data at once, no divisor; here two calls with the tokens of both."""
    tokens = float(given[3].sum())

    def of_part(new, old, a, mask):
        function = tinker.loss(name, reduction="token-mean", denominator=tokens, **settings)
        return function(data_of(old, a, mask), log_probs_of(new, mask))[0]

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean")


def on_tinkers_server(name, settings, given):
    """Tinker's server: datum by datum, through the graph that torch.fx traces; losses add up."""
    function, ranks = tinker.server_loss(name, **settings)
    graph = torch.fx.symbolic_trace(function)
    how = {"reduction": "seq-mean-token-mean", "denominator": float(len(given[0]))}

    def of_part(new, old, a, mask):
        data = tinker.server_inputs(data_of(old, a, mask), **how)
        return sum(
            graph(x, *(datum.loss_fn_inputs[key].to_torch() for key in list(ranks)[1:]))[0]
            for x, datum in zip(log_probs_of(new, mask), data, strict=True)
        )

    return of_parts(given, of_part), by_policy_loss(name, settings, given, how["reduction"])


def in_skyrl(name, settings, given):
    """SkyRL: the advantages of the whole mini-batch are divided first; losses are sums."""
    new, old, a, mask = given
    rows = len(new)
    proportional = SkyRLLoss(make_objective(name, **settings)).proportional
    reduction = "token_mean" if proportional else "sequence_mean"
    by = mask.sum() if proportional else rows * mask.sum(1, keepdim=True)
    loss = SkyRLLoss({"name": name, **settings}, sequences=rows)
    config = SimpleNamespace(loss_reduction=reduction, max_seq_len=None)

    def of_part(new, old, a, mask):
        return loss(new, old, a, config=config, loss_mask=mask.float(), rollout_logprobs=None)[0]

    ours = "token-mean" if proportional else "seq-mean-token-mean"
    return of_parts((new, old, a / by, mask), of_part), by_policy_loss(name, settings, given, ours)


@contextmanager
def module(name, **content):
    """Put a module of a host into its place, and its parents."""
    parts = name.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    before = {one: sys.modules.get(one) for one in names}
    for one in names:
        sys.modules[one] = ModuleType(one)
        sys.modules[one].__spec__ = ModuleSpec(one, None)
    for above, below in pairwise(names):
        setattr(sys.modules[above], below.rpartition(".")[2], sys.modules[below])
    vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for one, old in before.items():
            sys.modules.pop(one) if old is None else sys.modules.__setitem__(one, old)


def in_trinity(name, settings, given):
    """Trinity-RFT: a mean over each micro-batch; the gradients are averaged over them."""
    from maspo.engines.trinity_rft import _policy_loss

    class PolicyLossFn:
        def __init__(self, backend="verl"):
            self.backend = backend

    with module("trinity.algorithm.policy_loss_fn", PolicyLossFn=PolicyLossFn):
        kind = _policy_loss.__wrapped__()
    loss = kind(objective=name, loss_agg_mode="token-mean", **settings)

    def of_part(new, old, a, mask):
        found, _ = loss(logprob=new, old_logprob=old, action_mask=mask, advantages=a)
        return found / len(PARTS)

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean", PARTS)


def in_rllm(name, settings, given):
    """rLLM: the backend's `aggregate`, by global counts."""
    tokens = given[3].sum()

    def of_part(new, old, a, mask):
        context = SimpleNamespace(
            logp_curr=new, logp_old=old, advantages=a, action_mask=mask.double(),
            params={"eps_clip": 0.2, **settings},
            aggregate=lambda x, mask, mode=None: (x * mask).sum() / tokens,
        )  # fmt: skip
        return rllm.RLLMLoss(name)(context)[0]

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean")


def in_slime(name, settings, given):
    """slime: logits of packed sequences; a mean of each sample, summed, divided by the samples."""
    from maspo.engines import slime

    rows = len(given[0])
    args = SimpleNamespace(
        use_rollout_logprobs=False, maspo_objective={"name": name, **settings}, entropy_coef=0.0
    )

    def scored(logits, *, args, response_lengths, with_entropy, **_):
        flat = logits[0, :, 0].split(response_lengths)
        return None, {"log_probs": list(flat), "entropy": [x.detach() for x in flat]}

    def of_part(new, old, a, mask):
        n = mask.sum(1).tolist()
        cut = [[row[:k] for row, k in zip(x, n, strict=True)] for x in (new, old, a, mask)]
        sizes = {"unconcat_tokens": None, "total_lengths": n, "response_lengths": n}
        packed = {"log_probs": cut[1], "advantages": cut[2], "loss_masks": cut[3], **sizes}

        def sum_of_sample_mean(x):
            return sum(one.mean() for one in x.split(n))

        loss, logged = slime.loss(
            args, packed, torch.cat(cut[0])[None, :, None], sum_of_sample_mean
        )
        assert list(logged) == ["loss", "maspo/weight", "maspo/ratio"]
        return loss / rows

    with module("slime.backends.megatron_utils.loss", get_log_probs_and_entropy=scored):
        found = of_parts(given, of_part)
    return found, by_policy_loss(name, settings, given, "seq-mean-token-mean")


class Fed:
    """The arithmetic of GRPO trainers that score the policy inside the loss, their clip open."""

    def __init__(self):
        self.args = SimpleNamespace(loss_type="dapo")
        self.model = SimpleNamespace(training=True)
        self._metrics = {"train": {}}
        self._metrics["train"] = _Lists()

    def _get_per_token_logps_and_entropies(self, model, *_, **__):
        return model, None, None

    def _compute_loss(self, model, inputs):
        new, _, _ = self._get_per_token_logps_and_entropies(model)
        old = inputs.get("old_per_token_logps")
        log_ratio = new - (new.detach() if old is None else old)
        ratio, a = log_ratio.exp(), inputs["advantages"]
        a = a[:, None] if a.dim() == 1 else a
        clipped = ratio.clamp(1 - self.epsilon_low, 1 + self.epsilon_high)
        tokens = -torch.min(ratio * a, clipped * a)
        mask = inputs["completion_mask"]
        return torch.where(mask.bool(), tokens, 0.0).sum() / inputs["num_items_in_batch"]


class _Lists(dict):
    def __missing__(self, name):
        return self.setdefault(name, [])


def in_axolotl(name, settings, given):
    """Axolotl: TRL's own arithmetic, by the tokens of all micro-batches; its log-probabilities are finite."""
    given = (given[0].nan_to_num(-1.0), *given[1:])
    made = axolotl.fed_by.__wrapped__(make_objective(name, **settings), Fed)()
    tokens = given[3].sum()

    def of_part(new, old, a, mask):
        inputs = {"old_per_token_logps": old, "advantages": a, "completion_mask": mask.long()}
        kept = dict(inputs)
        loss = made._compute_loss(new, {**inputs, "num_items_in_batch": tokens})
        assert all(inputs[key] is kept[key] for key in kept)
        return loss

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean")


def in_swift(name, settings, given):
    """ms-swift: its trainer's order of calls, with batches as values."""
    from maspo.engines import ms_swift

    class GRPOTrainer(Fed):
        use_liger_loss, overlong_filter, compute_entropy = False, False, False

        def _get_per_token_logps_and_entropies(self, model, inputs, grpo_batch, **_):
            return model, None

        def _compute_loss_and_metrics(self, model, inputs, grpo_batch):
            new, _ = self._get_per_token_logps_and_entropies(model, inputs, grpo_batch)
            ratio = (new - grpo_batch.old_per_token_logps).exp()
            clipped = ratio.clamp(1 - self.epsilon_low, 1 + self.epsilon_high)
            tokens = -torch.min(ratio * grpo_batch.advantages, clipped * grpo_batch.advantages)
            kept = torch.where(grpo_batch.completion_mask, tokens, 0.0)
            return kept.sum() / grpo_batch.num_items_in_batch, {}

    given = (given[0].nan_to_num(-1.0), *given[1:])  # what it scores is finite
    with module("swift.rlhf_trainers", GRPOTrainer=GRPOTrainer):
        kind = ms_swift._trainer.__wrapped__()
    ms_swift._chosen[:] = [make_objective(name, **settings)]
    made, tokens = kind(), given[3].sum()

    def of_part(new, old, a, mask):
        one = SimpleNamespace(
            old_per_token_logps=old, advantages=a, completion_mask=mask, num_items_in_batch=tokens
        )
        loss, _ = made._compute_loss_and_metrics(new, {}, one)
        assert one.advantages is a
        return loss

    return of_parts(given, of_part), by_policy_loss(name, settings, given, "token-mean")


HOSTS = {
    "prime-rl": in_prime_rl,
    "Tinker": in_tinker,
    "Tinker's server": on_tinkers_server,
    "SkyRL": in_skyrl,
    "Trinity-RFT": in_trinity,
    "rLLM": in_rllm,
    "slime": in_slime,
    "Axolotl": in_axolotl,
    "ms-swift": in_swift,
}
