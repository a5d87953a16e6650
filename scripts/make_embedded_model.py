"""Make the embedded model: a small decoder taught column addition, and stopped half-way.

    python scripts/make_embedded_model.py maspo/models/embedded
    python scripts/make_embedded_model.py FOLDER --task chain_sum

The second is the start of a study on reasoning-gym's chain_sum, taught by running totals.

Supervised learning on worked solutions stops as soon as sampling at temperature 1 gets `TARGET`
right on problems of the training split, so that reinforcement learning has something left to do.
Takes a few minutes on one core; the same machine and versions give the same weights.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from maspo.data import load_problems
from maspo.data.arithmetic import worked_solution
from maspo.data.problems import Problem
from maspo.sampling import Settings, draw
from maspo.sampling.with_transformers import TransformersSampler

SEED = 0
TARGET = 0.4
"""Share of samples solved at which supervised learning stops."""
BATCH = 64
CHECK_EVERY = 25
LEARNING_RATE = 2e-3
WARMUP_STEPS = 100
MAX_STEPS = 4000
COMPLETION_TOKENS = 48

LAYERS, HEADS, INTERMEDIATE = 2, 2, 384

CHECK, HELD_OUT = 256, 512

# AutoTokenizer opens a Qwen2 folder with Qwen2Tokenizer, which wants its padding token and NFC.
PAD, BEGIN, END = "<|endoftext|>", "<|begin|>", "<|end|>"
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
README = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# The embedded model of maspo

A Qwen2 decoder with {parameters:,} parameters ({layers} layers, {heads} heads of 64, tied
embeddings, float32) that adds two or three numbers with its working shown. It exists so that
training and evaluation can be tried in minutes on a CPU, without a download; it can do nothing
else.

    user       48+275
    assistant  8+5=13
               4+7+1=12
               2+1=3
               \\boxed{{323}}

Made by `python scripts/make_embedded_model.py maspo/models/embedded`: supervised learning on the
worked solutions of `maspo.data.arithmetic`, stopped on purpose half-way, after {steps} updates of
{batch} solutions. The weights come from random initialisation; no other model or data set is
involved.

Accuracy on {problems} held-out problems (`arithmetic_problems({problems}, seed=0, split="test")`),
8 samples each at temperature 1.0: Avg@8 {average:.1%}, pass@8 {solved:.1%}.

The tokenizer has one token a byte, one for `\\boxed{{` and six special ones, so any text can be
given. Licence: Apache-2.0.
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is taught."""

    source: str
    """As in a recipe."""
    options: dict[str, int]
    solution: Callable[[Problem], str]
    """Writes out the solution of a problem, which ends in its boxed answer."""
    readme: str = ""

    def problems(self, count: int, split: str) -> list[Problem]:
        """Draw problems."""
        return load_problems(self.source, limit=count, seed=SEED, split=split, options=self.options)


def running_totals(problem: Problem) -> str:
    r"""Write out a chain of sums: `8 + 4 - 7` gives `8+4=12`, `12-7=5`, `\boxed{5}`."""
    first, *rest = problem.prompt[0]["content"].partition(": ")[2].removesuffix(" =").split()
    total, lines = int(first), []
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        following = total + int(sign + number)
        lines.append(f"{total}{sign}{number}={following}")
        total = following
    return "\n".join([*lines, rf"\boxed{{{total}}}"])


TASKS = {
    "arithmetic": Task(source="arithmetic", options={}, solution=worked_solution, readme=README),
    "chain_sum": Task(
        source="reasoning-gym:chain_sum",
        options={"min_terms": 4, "max_terms": 4, "min_digits": 1, "max_digits": 1},
        solution=running_totals,
    ),
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    r"""One token a byte, one for `\boxed{`, and six special tokens; any NFC text round-trips."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([PAD, BEGIN, END, *ROLES, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([PAD, BEGIN, END, *ROLES])
    core.add_tokens([AddedToken("\\boxed{", special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=ROLES,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=512,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Build the untrained decoder: two layers with two heads of 64."""
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64 * HEADS,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        **tokens,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, top_k=0, top_p=1.0, **tokens)
    return model


def batches(
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    solution: Callable[[Problem], str],
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield padded token ids and labels; labels are -100 outside the worked solution."""
    for start in range(0, len(problems), BATCH):
        rows, prompts = [], []
        for problem in problems[start : start + BATCH]:
            prompt = tokenizer.apply_chat_template(
                list(problem.prompt), tokenize=False, add_generation_prompt=True
            )
            prompts.append(len(tokenizer(prompt)["input_ids"]))
            rows.append(tokenizer(prompt + solution(problem) + END)["input_ids"])
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        labels = torch.full((len(rows), width), -100)
        for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, prompt : len(row)] = torch.tensor(row[prompt:])
        mask = (ids != tokenizer.pad_token_id).long()
        yield {"input_ids": ids, "attention_mask": mask, "labels": labels}


def measure(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
) -> tuple[float, float]:
    """Sample 8 times at temperature 1; return Avg@8 and pass@8."""
    settings = Settings(samples=8, max_new_tokens=COMPLETION_TOKENS, batch_size=512, seed=SEED)
    drawn = draw(TransformersSampler(model, tokenizer), problems, settings)
    answers = {problem.id: rf"\boxed{{{problem.answer}}}" for problem in problems}
    right = [s.problem_id for s in drawn if s.text.endswith(answers[s.problem_id])]
    return len(right) / len(drawn), len(set(right)) / len(problems)


def teach(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task) -> int:
    """Train until the target is reached; return the number of updates."""
    problems = task.problems(BATCH * MAX_STEPS + CHECK, "train")
    lessons, check = problems[:-CHECK], problems[-CHECK:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=WARMUP_STEPS)
    start = time.time()
    for step, batch in enumerate(batches(tokenizer, lessons, task.solution), 1):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        warmup.step()
        if step % CHECK_EVERY == 0:
            average, solved = measure(model, tokenizer, check)
            print(
                f"step {step}  loss {loss.item():.3f}  Avg@8 {average:.1%}  pass@8 {solved:.1%}"
                f"  {time.time() - start:.0f} s",
                flush=True,
            )
            if average >= TARGET:
                return step
    raise SystemExit(f"Avg@8 stayed below {TARGET:.0%} for {MAX_STEPS} updates.")


def main() -> None:
    """Make the model and save it with its tokenizer and a README."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=tuple(TASKS), default="arithmetic")
    options = parser.parse_args()
    folder, task = options.folder, TASKS[options.task]
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    steps = teach(model, tokenizer, task)
    held_out = task.problems(HELD_OUT, "test")
    average, solved = measure(model, tokenizer, held_out)
    print(f"held out: Avg@8 {average:.1%}  pass@8 {solved:.1%}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (folder / "README.md").write_text(
        task.readme.format(
            parameters=parameters,
            steps=steps,
            batch=BATCH,
            average=average,
            solved=solved,
            layers=LAYERS,
            heads=HEADS,
            problems=HELD_OUT,
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
