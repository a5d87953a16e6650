"""List every judgement in which the verifier's rules and math-verify alone differ, by the rule that decides.

    python scripts/verifier_differences.py --data DIR [--cases FILE.jsonl] --out docs/verifier-differences.md

The judgements: those of `tests/judgements.py`; each line of a cases file (`completion`, `gold`, `rules`), but
for hostile ones; reference answers of the benchmarks in DIR, each against itself in a box and bare; and those
of MATH-500 against answers that `benchmarks/verify.py` draws. The rule of a difference is the first without
which the verdict is that of math-verify again; where no single one is, they are put together.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from judgements import JUDGEMENTS  # noqa: E402
from verify import draw_answers  # noqa: E402

from maspo.evaluation.benchmarks import BENCHMARKS, load_benchmarks  # noqa: E402
from maspo.rewards import Gold, Outcome, Verifier  # noqa: E402
from maspo.rewards.layer.locate import find_answer  # noqa: E402
from maspo.rewards.layer.rules import RULES  # noqa: E402
from maspo.rewards.math_reward import as_gold  # noqa: E402
from maspo.rewards.verdict import Job  # noqa: E402
from maspo.rewards.worker import be_quiet, check_answer  # noqa: E402

STYLES = (r"\boxed{@}", "@")
LAST = ("boxes", "sentences")  # without them other rules are not reached either
SEVERAL = "several rules together"


class Case(NamedTuple):
    """One judgement and the corpus it is of."""

    corpus: str
    completion: str
    gold: Gold


class Difference(NamedTuple):
    """A judgement that ends in another way than math-verify's."""

    case: Case
    accepted: bool
    """Whether the rules accept it; math-verify alone does not, or the other way."""
    rule: str


def read_cases(path: Path) -> list[Case]:
    """Read judgements of a file, but those that are hostile: they are about time."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Case("public reports", row["completion"], Gold(row["gold"], **row["rules"]))
        for row in rows
        if not row["kind"].startswith("hostile")
    ]


def written() -> list[Case]:
    """List the judgements that were written before the verifier was tried on them."""
    both = (
        (text, answer, *rules)
        for k in JUDGEMENTS.values()
        for text, answer, *rules in (*k.right, *k.wrong)
    )
    return [
        Case("tests/judgements.py", text, Gold(answer, **(rules[0] if rules else {})))
        for text, answer, *rules in both
    ]


def reference_answers(data: Path) -> list[Case]:
    """List the reference answers of the benchmarks against themselves."""
    found = []
    for name, problems in load_benchmarks(list(BENCHMARKS), data=data).items():
        for problem in problems:
            asked = as_gold(problem.answer)
            gold = asked if isinstance(asked, Gold) else Gold(asked)
            found += [Case(name, style.replace("@", gold.answer), gold) for style in STYLES]
    return found


def drawn_answers(data: Path, samples: int) -> list[Case]:
    """List answers to MATH-500, right and wrong ones, as the benchmark of the verifier draws them."""
    lines = (data / "math500.jsonl").read_text("utf-8").split("\n")
    golds = [json.loads(line)["answer"] for line in lines if line]
    drawn = draw_answers(golds, samples, seed=0)
    return [
        Case("drawn for MATH-500", rf"\boxed{{{answer}}}", Gold(gold))
        for gold, answers in zip(golds, drawn, strict=True)
        for answer in answers
    ]


def accepted(cases: list[Case], rules: str | list[str]) -> list[bool]:
    """Judge all by some rules."""
    with Verifier(workers=2, time_limit=20.0, rules=rules) as verifier:
        found = verifier.verify([case.completion for case in cases], [case.gold for case in cases])
    return [verdict.outcome is Outcome.CORRECT for verdict in found]


def differences(cases: list[Case]) -> list[Difference]:
    """Find the judgements that differ, each with its rule."""
    ours, plain = accepted(cases, "extended"), accepted(cases, "math-verify")
    left = [
        (case, mine)
        for case, mine, theirs in zip(cases, ours, plain, strict=True)
        if mine != theirs
    ]
    found = []
    for rule in (*(name for name in RULES if name not in LAST), *LAST):
        without = frozenset(RULES) - {rule}
        now = [judged_here(case, without) for case, _ in left]
        pairs = list(zip(left, now, strict=True))
        found += [Difference(case, mine, rule) for (case, mine), other in pairs if other != mine]
        left = [one for one, other in pairs if other == one[1]]
    return found + [Difference(case, mine, SEVERAL) for case, mine in left]


def judged_here(case: Case, rules: frozenset[str]) -> bool:
    """Judge one in this process, without a limit: all were judged within one before."""
    cut = find_answer(case.completion, rules)
    job = Job(case.completion if cut is None else cut, case.gold, cut is not None)
    return check_answer(job, rules).outcome is Outcome.CORRECT


def page(cases: list[Case], found: list[Difference]) -> str:
    """Write the page."""
    counts = defaultdict(lambda: [0, 0, 0])
    for case in cases:
        counts[case.corpus][0] += 1
    for one in found:
        counts[one.case.corpus][1 if one.accepted else 2] += 1
    parts = [
        "# Every difference from math-verify",
        "Written by `python scripts/verifier_differences.py`; math-verify 0.9.0. The rules are described in\n"
        "[verifier.md](verifier.md). `+` is accepted by the rules and refused by math-verify, `-` the\n"
        "other way. It stands under the first rule without which the verdict is that of math-verify.",
        "| judgements of | number | now accepted | now refused |\n|---|---|---|---|\n"
        + "\n".join(f"| {name} | {a} | {b} | {c} |" for name, (a, b, c) in counts.items()),
    ]
    for rule in (*RULES, SEVERAL):
        mine = [one for one in found if one.rule == rule]
        if not mine:
            continue
        does = (
            RULES[rule].does
            if rule in RULES
            else "Each of two or more rules alone gives this verdict."
        )
        lines = sorted({_line(one) for one in mine})
        parts.append(f"## {rule}\n\n{does} Differences: {len(mine)}.\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(one: Difference) -> str:
    text = " ".join(one.case.completion.split())
    shown = text if len(text) <= 110 else f"{text[:50]} ... {text[-50:]}"
    rules = ", ".join(
        f"{name} {value}"
        for name, value in one.case.gold._asdict().items()
        if name != "answer" and value is not None
    )
    against = " ".join(one.case.gold.answer.split())
    sign, more = "+" if one.accepted else "-", f" ({rules})" if rules else ""
    return f"- {sign} {_code(shown)} for {_code(against)}{more}"


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text or ' '}{fence}"


def main() -> None:
    """Judge, and write the page."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cases", type=Path)
    options.add_argument("--samples", type=int, default=4)
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    cases = [*written(), *(read_cases(given.cases) if given.cases else [])]
    cases += [*reference_answers(given.data), *drawn_answers(given.data, given.samples)]
    cases = list(dict.fromkeys(cases))
    be_quiet()
    found = differences(cases)
    given.out.write_text(page(cases, found), "utf-8")
    print(f"{len(cases)} judgements, {len(found)} differences: {given.out}")


if __name__ == "__main__":
    main()
