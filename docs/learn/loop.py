"""The whole algorithm: sample, reward, advantage, objective, step. Run it: python docs/learn/loop.py"""

import re

import torch

import maspo
from maspo.data.arithmetic import arithmetic_problems
from maspo.models.load import load_model

PROMPTS, SAMPLES = 16, 8  # a rollout is 16 problems with 8 completions each
UPDATES = 4  # optimizer steps on each rollout; with 1 no gate acts
LENGTH = 48  # tokens of a completion, at most


def sample(model, tokenizer, problems):
    """Return ids [B, P + T], attention [B, P + T] and mask [B, T]; B = problems x SAMPLES."""
    prompts = tokenizer.apply_chat_template(
        [list(problem.prompt) for problem in problems],
        add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True,
    )  # fmt: skip
    width = prompts["input_ids"].shape[1]
    with torch.no_grad():
        ids = model.generate(
            input_ids=prompts["input_ids"], attention_mask=prompts["attention_mask"],
            do_sample=True, temperature=1.0, top_k=0, max_new_tokens=LENGTH,
            num_return_sequences=SAMPLES,
        )  # fmt: skip
    ended = ids[:, width:] == tokenizer.eos_token_id
    mask = ended.cumsum(1) - ended.int() == 0  # up to the end token, which counts
    prompt_mask = prompts["attention_mask"].repeat_interleave(SAMPLES, 0)
    return ids, torch.cat([prompt_mask, mask], 1), mask


def reward(text, answer):
    """Return 1.0 where the last boxed answer is right. maspo.rewards has the real verifier."""
    boxed = re.findall(r"\\boxed\{(\d+)\}", text)
    return float(boxed[-1:] == [answer])


def token_log_probs(model, ids, attention, length):
    """Return log π of the last `length` tokens, [B, T], in nats."""
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=attention.long(), position_ids=positions).logits
    log_probs = logits[:, -length - 1 : -1].log_softmax(-1)  # what predicts token t stands at t - 1
    return log_probs.gather(2, ids[:, -length:, None]).squeeze(2)


def train(rollouts=80, objective=None, learning_rate=1e-4, seed=1):
    """Train the embedded model on sums; return the mean reward of each rollout."""
    objective = maspo.MASPO() if objective is None else objective
    torch.manual_seed(seed)
    model, tokenizer = load_model("embedded")
    model.eval()  # no dropout: the first update's ratios are 1
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    problems = arithmetic_problems(rollouts * PROMPTS, seed=seed, split="train")
    means = []
    for rollout in range(rollouts):
        asked = problems[rollout * PROMPTS : (rollout + 1) * PROMPTS]

        # 1. Sample SAMPLES completions of every prompt from the current policy.
        ids, attention, mask = sample(model, tokenizer, asked)
        texts = tokenizer.batch_decode(ids[:, -mask.shape[1] :], skip_special_tokens=True)

        # 2. Reward every completion.
        answers = [problem.answer for problem in asked for _ in range(SAMPLES)]
        rewards = torch.tensor([reward(*pair) for pair in zip(texts, answers, strict=True)])

        # 3. Compare within the group of a prompt: advantages [prompts, samples].
        advantages = maspo.estimate_advantages(rewards.view(PROMPTS, SAMPLES), "group").flatten()

        # 4. Remember the policy that sampled.
        with torch.no_grad():
            old_log_probs = token_log_probs(model, ids, attention, mask.shape[1])

        # 5. Update it UPDATES times, each time on another part of the rollout.
        for part in torch.randperm(len(ids)).chunk(UPDATES):
            log_probs = token_log_probs(model, ids[part], attention[part], mask.shape[1])
            result = maspo.policy_loss(
                log_probs, old_log_probs[part], advantages[part], mask[part], objective=objective
            )
            optimizer.zero_grad()
            result.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        means.append(rewards.mean().item())
        gate = float(result.metrics["maspo/gate_mean"])
        print(f"rollout {rollout + 1}: mean reward {means[-1]:.3f}, mean gate {gate:.4f}")
    return means


if __name__ == "__main__":
    train()
