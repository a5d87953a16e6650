r"""Imported by the fork server before it forks a worker, for what this import does.

math-verify's patterns are compiled, sympy's lazy parts are loaded and ANTLR's tables are filled by
judging a few pairs of the usual kinds, so that every worker, also one that replaces a killed one,
starts with all of it in memory that they share.
"""

from maspo.rewards.layer.rules import VERIFIERS
from maspo.rewards.reading import patch_math_verify
from maspo.rewards.verdict import Gold, Job
from maspo.rewards.worker import be_quiet, check_answer

_KINDS = (
    r"\frac{3}{4}",
    r"2\sqrt{3} - \frac{\pi}{6}",
    r"x^2 - 3xy + \frac{2y}{5}",
    r"y = \frac{-2x + 1}{3}",
    r"\left( 3, \frac{\pi}{2} \right)",
    r"(-\infty, 2) \cup [3, 5]",
    r"\{1, -2, \sqrt{5}\}",
    r"1, -2, 7",
    r"3 \le x < \log_2 9",
    r"\begin{pmatrix} 1 & -2 \\ 0 & \frac{1}{2} \end{pmatrix}",
    r"\sin^2 \theta + \cos(2t) e^{-at}",
    r"4 - 2i",
    r"1.5 \times 10^{-3}",
    r"\text{Evelyn}",
    r"90^\circ",
    r"15\%",
)

be_quiet()
patch_math_verify()
for rules in VERIFIERS.values():
    for answer in _KINDS:
        boxed = answer if rules else rf"\boxed{{{answer}}}"
        check_answer(Job(boxed, Gold(r"\frac{\sqrt{7}}{2}"), True), rules)
        check_answer(Job(rf"The answer is ${answer}$.", Gold(_KINDS[2]), False), rules)
        check_answer(Job(boxed.replace(answer, f"{answer} + 1"), Gold(answer), True), rules)
    check_answer(Job("so 0.25 is the answer", Gold("0.5"), False), rules)
