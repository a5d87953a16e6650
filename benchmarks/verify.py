"""Problems per second of the verifier against calling math-verify on one completion after another.

    python benchmarks/verify.py --data DIR [--problems 500] [--samples 32] [--rounds 1] [--rules math-verify]

DIR holds `math500.jsonl` (a column `answer`). The reference answers are real, the completions are
not: no policy was run. Each is drawn from a seeded model of what policies write. A problem is solved
with a probability from Beta(1.1, 0.9), a mean of 55%; a solved sample holds the reference answer in
one of a few spellings, a failed one one of some wrong answers with Zipf weights (a third of them
answers of other problems, the rest the reference with a number changed). The answer ends 250 to 1,300
words of prose and formulas; most are in a box, some follow "the answer is", 3% were cut off before an
answer and 1% hold one that does not parse. Printed with the result: how many distinct pairs there are,
since deduplication is where most of the gain comes from.

The baseline is math-verify's documented use in one process, `verify(parse(gold), parse(text))` with
its default timeouts. The two take turns by blocks of problems. With `--rules math-verify` verdicts must be
identical; by the extended rules, the default, those that differ are counted.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import re
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from math_verify import parse, verify
from record import record, spread

from maspo.rewards import Outcome, Verifier
from maspo.rewards.extract import isolate_answer

PROSE = (
    "so we then have the value of this expression which gives us a simple equation for both sides "
    "therefore substituting back into first we find that since there are two cases consider each one "
    "in turn now recall using fact because it must be equal to total number"
)
WORDS = PROSE.split()
FORMULAS = (
    r"$x^2 + {a}x - {b} = 0$", r"\[ \frac{{{a}}}{{{b}}} + \frac{{{b}}}{{{c}}} \]", "${a} + {b} = {c}$",
    r"\( f({a}) = {b} \)", r"$\sqrt{{{a}}}$", "$n = {a}$", r"$$ \sum_{{k=1}}^{{{a}}} k^2 = {b} $$",
    "{a} * {b} = {c}", r"$\angle ABC = {a}^\circ$", r"\[ x = \frac{{-{a} \pm \sqrt{{{b}}}}}{{{c}}} \]",
    r"**Step {a}:**", "$({a}, {b})$", r"$\sin({a}\theta) \le {b}$",
)  # fmt: skip
ENDINGS = (
    (40, "Therefore, the answer is $\\boxed{{{}}}$."), (22, "\\[ \\boxed{{{}}} \\]"),
    (14, "So the final answer is \\(\\boxed{{{}}}\\)."), (10, "**Final Answer**\n\\[ \\boxed{{{}}} \\]"),
    (6, "The answer is ${}$."), (4, "Thus $x = \\boxed{{{}}}$. We can check that it is correct."),
    (3, ""), (1, "\\boxed{{\\frac{{{}}}{{"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Round:
    """Seconds of both sides, by the wall and of CPU, and the completions they disagree on."""

    ours: float
    theirs: float
    ours_cpu: float
    theirs_cpu: float
    different: list[tuple[str, str]]


def spellings(answer: str) -> list[str]:
    """List ways to write an answer, the likeliest first."""
    others = [
        answer.replace("\\frac", "\\dfrac"),
        answer.replace(" ", ""),
        re.sub(r"\\left|\\right", "", answer),
        re.sub(r"(?<!\d)(\d)(\d{3})(?!\d)", r"\1,\2", answer),
        re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", answer),
        f"{answer}.0" if answer.isdigit() else f"{{{answer}}}",
    ]
    return list(dict.fromkeys([answer, *others]))


def zipf(draw: random.Random, choices: list[str]) -> str:
    """Draw the n-th choice with a weight of 1/n^1.5."""
    return draw.choices(choices, [(n + 1) ** -1.5 for n in range(len(choices))])[0]


def wrong_answers(draw: random.Random, answer: str, golds: list[str]) -> list[str]:
    """Make up to ten answers that are not this one."""

    def shifted(found: re.Match[str]) -> str:
        return str(int(found[0]) + draw.choice((1, 2, 3, 5, 10)))

    near = [re.sub(r"\d{1,9}", shifted, answer, count=1) for _ in range(7)]
    far = draw.sample(golds, 3)
    mixed = [near[0], far[0], *near[1:4], far[1], *near[4:], far[2]]
    return list(dict.fromkeys(text for text in mixed if text != answer)) or ["0"]


def completion(draw: random.Random, answer: str) -> str:
    """Write a completion that ends in an answer, or was cut off before one."""
    parts = []
    for _ in range(draw.randint(250, 1300)):
        if draw.random() < 0.06:
            a, b, c = (draw.randint(2, 99) for _ in range(3))
            parts.append(draw.choice(FORMULAS).format(a=a, b=b, c=c))
        else:
            parts.append(draw.choice(WORDS) + draw.choice(("", "", "", "", "", ",", ".", ".\n\n")))
    ending = draw.choices([text for _, text in ENDINGS], [weight for weight, _ in ENDINGS])[0]
    return " ".join([*parts, ending.format(answer)])


def draw_samples(golds: list[str], samples: int, seed: int) -> list[list[str]]:
    """Draw the completions of every problem."""
    draw = random.Random(seed)
    return [
        [completion(draw, answer) for answer in _answers(draw, gold, golds, samples)]
        for gold in golds
    ]


def draw_answers(golds: list[str], samples: int, seed: int) -> list[list[str]]:
    """Draw answers to every problem, without the prose."""
    draw = random.Random(seed)
    return [_answers(draw, gold, golds, samples) for gold in golds]


def _answers(draw: random.Random, gold: str, golds: list[str], samples: int) -> list[str]:
    skill, wrong = draw.betavariate(1.1, 0.9), wrong_answers(draw, gold, golds)
    right = spellings(gold)
    return [zipf(draw, right if draw.random() < skill else wrong) for _ in range(samples)]


def cpu_seconds() -> float:
    """CPU time of this process and of the verifier's, which share a session of their own."""
    fields = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields[path.parent.name] = path.read_text().rpartition(")")[2].split()
    sessions = {pid for pid, found in fields.items() if found[1] == str(os.getpid())}
    ticks = sum(int(f[11]) + int(f[12]) for f in fields.values() if f[3] in sessions)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def measure(verifier: Verifier, golds: list[str], drawn: list[list[str]], block: int) -> Round:
    """Judge all by both, in turns of `block` problems."""
    ours = theirs = ours_cpu = theirs_cpu = 0.0
    different = []
    for start in range(0, len(golds), block):
        texts = [text for of_one in drawn[start : start + block] for text in of_one]
        answers = [gold for gold in golds[start : start + block] for _ in drawn[0]]
        before, before_cpu = time.perf_counter(), cpu_seconds()
        verdicts = verifier.verify(texts, answers)
        between, between_cpu = time.perf_counter(), cpu_seconds()
        plain = [
            verify(parse(f"\\boxed{{{gold}}}"), parse(text))
            for text, gold in zip(texts, answers, strict=True)
        ]
        theirs += time.perf_counter() - between
        ours += between - before
        theirs_cpu += cpu_seconds() - between_cpu
        ours_cpu += between_cpu - before_cpu
        for text, gold, verdict, accepted in zip(texts, answers, verdicts, plain, strict=True):
            if (verdict.outcome is Outcome.CORRECT) != accepted:
                different.append((gold, f"{verdict} {text[-160:]}"))
    return Round(
        ours=ours,
        theirs=theirs,
        ours_cpu=ours_cpu,
        theirs_cpu=theirs_cpu,
        different=different,
    )


def distinct(golds: list[str], drawn: list[list[str]]) -> int:
    """Count the pairs of reference and isolated answer, or whole text where none can be isolated."""
    pairs = zip(golds, drawn, strict=True)
    return len({(gold, isolate_answer(text) or text) for gold, of_one in pairs for text in of_one})


def main() -> int:
    """Run the comparison and print it; 1 if a verdict differs that must not."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--problems", type=int, default=500)
    options.add_argument("--samples", type=int, default=32)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--block", type=int, default=100)
    options.add_argument("--rules", choices=("extended", "math-verify"), default="extended")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--record", action="store_true")
    given = options.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    lines = (given.data / "math500.jsonl").read_text(encoding="utf-8").split("\n")
    golds = [json.loads(line)["answer"] for line in lines if line][: given.problems]
    rounds: list[Round] = []
    with Verifier(workers=2, rules=given.rules) as verifier:
        verifier.verify([r"\boxed{x}"], ["y"])  # the start of the workers is not measured
        for number in range(given.rounds):
            drawn = draw_samples(golds, given.samples, given.seed + number)
            words = sum(len(text.split()) for of_one in drawn for text in of_one)
            total = len(golds) * given.samples
            one = measure(verifier, golds, drawn, given.block)
            rounds.append(one)
            print(
                f"round {number}: {total} completions of {words // total} words on average, "
                f"{distinct(golds, drawn)} distinct pairs to judge\n"
                f"  math-verify one by one: {one.theirs:.1f} s, "
                f"{len(golds) / one.theirs:.2f} problems/s, CPU {one.theirs_cpu:.1f} s\n"
                f"  maspo, 2 workers:       {one.ours:.1f} s, "
                f"{len(golds) / one.ours:.2f} problems/s, CPU {one.ours_cpu:.1f} s\n"
                f"  ratio {one.theirs / one.ours:.1f}; different verdicts: {len(one.different)}"
            )
            for gold, shown in one.different[:10]:
                print(f"    {gold!r}: {shown}")
    different = sum(len(one.different) for one in rounds)
    if given.record:
        row = {
            **{name: getattr(given, name) for name in ("problems", "samples", "rounds", "rules")},
            "ratio": spread([one.theirs / one.ours for one in rounds]),
            "processor_ratio": spread([one.theirs_cpu / one.ours_cpu for one in rounds]),
            "different": different,
        }
        record("verify", row)
    return int(given.rules == "math-verify" and different > 0)


if __name__ == "__main__":
    sys.exit(main())
