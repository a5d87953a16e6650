"""Answers made to break a verifier: hangs, crashes, floods of memory, wrong reads. Name to text."""

# ruff: noqa: E501  (tables)
import random

ISSUE_65 = {  # the texts of huggingface/Math-Verify issue 65, on which its own timeouts did not fire
    "issue 65, power": r"\boxed{\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)}"
    r" - 4\right)} - 5}{16}}",
    "issue 65, words": "{@Neillier 1276915 4951077 ник增高人权 国 "
    + "{1,1-3-10鼓励不停);5个_GENERAL2全校。 _HEADERS1 Orchestra}",
    "issue 65, number": "92.5857658508735",
    "issue 65, reduced": r"\boxed{5^{5^{5^{5^5}}} - 4}",
}


def boxed(text: str) -> str:
    return rf"\boxed{{{text}}}"


def nested(opening: str, closing: str, depth: int, core: str = "1") -> str:
    return opening * depth + core + closing * depth


def _towers() -> dict[str, str]:
    bodies = {
        "tower": "9^{9^{9^{9}}}", "tower of ten": "10^{10^{10^{10}}}", "tower of two": "2^{2^{2^{2^{2^2}}}}",
        "tower plus one": "9^{9^{9}} + 1", "difference of towers": "9^{9^{9}} - 9^{9^{9}}",
        "tower below": "2^{-9^{9^{9}}}", "tower with x": "x^{9^{9^{9}}}", "large power": "(1+x)^{100000}",
        "product of powers": r"(x+1)^{300}(x-1)^{300}", "power of a sum": "(a+b+c+d)^{60}",
        "power of a float": "1.0000001^{10^{12}}", "root of a tower": r"\sqrt{9^{9^{9}}}",
        "factorial": "(10^{9})!", "factorial of factorial": "((9!)!)!", "double factorial": "(10^{7})!!",
        "binomial": r"\binom{10^{9}}{5 \cdot 10^{8}}", "sum": r"\sum_{k=1}^{10^{9}} \frac{1}{k}",
        "endless sum": r"\sum_{k=1}^{\infty} \sin(k^k)", "product": r"\prod_{k=1}^{10^{8}} k",
        "integral": r"\int_0^1 \sin(x^x) e^{x^x} dx", "integrals": r"\int \int \int e^{x^2 y^2 z^2} dx dy dz",
        "limit": r"\lim_{x \to 0} \frac{\sin(\sin(\sin(x^x)))}{x}", "modulo": r"7^{7^{7^{7}}} \mod 10",
        "logarithms": r"\log_{2^5}(\log_{2^4}(\log_{2^3}(\log_{2^2}(\log_{2^1} x))))",
        "sines": nested(r"\sin(", ")", 80, "x"), "roots": nested(r"\sqrt{2+", "}", 60),
        "radicals": "+".join(rf"\sqrt{{{n}}}" for n in range(2, 40)), "division by zero": r"\frac{1}{0}",
        "zero over zero": r"\frac{0}{0}", "infinity": r"\infty - \infty", "equation": "x^{17} + x^{5} + 1 = x^{3}",
        "system": "x^7+y^5=1, x^5+y^7=2, xyz=3", "inequality": "x^9 - x^5 + 1 > x^{13}",
        "fibonacci": r"\frac{(1+\sqrt5)^{5000}-(1-\sqrt5)^{5000}}{2^{5000}\sqrt5}",
    }  # fmt: skip
    alone = {name: boxed(body) for name, body in bodies.items()}
    in_text = list(bodies.items())[::4]
    return alone | {f"{name}, in text": f"The answer is ${body}$." for name, body in in_text}


def _deep() -> dict[str, str]:
    pairs = {
        "braces": ("{", "}"), "parentheses": ("(", ")"), "brackets": ("[", "]"), "fractions": (r"\frac{1}{", "}"),
        "roots": (r"\sqrt{", "}"), "powers": ("2^{", "}"), "boxes": (r"\boxed{", "}"), "lefts": (r"\left(", r"\right)"),
        "bars": ("|", "|"), "texts": (r"\text{", "}"), "sets": (r"\{", r"\}"), "indices": ("x_{", "}"),
        "numerators": (r"\frac{", "}{2}"), "logs": (r"\log(", ")"), "minus signs": ("-(", ")"),
    }  # fmt: skip
    found = {}
    for number, (name, (opening, closing)) in enumerate(pairs.items()):
        found[f"400 {name}"] = boxed(nested(opening, closing, 400))
        found[f"30 {name}, in text"] = f"The answer is ${nested(opening, closing, 30)}$."
        half = (opening, "open") if number % 2 else (closing, "closed")
        found[f"300 {half[1]} {name}"] = boxed(half[0] * 300)
    return found


def _long() -> dict[str, str]:
    garbage = random.Random(1)
    return {
        "a megabyte of digits": "1" * 10**6, "a megabyte in a box": boxed("1" * 10**6),
        "a megabyte of words": "the answer is " * 70_000, "a megabyte of sums": boxed("1+" * 500_000 + "1"),
        "a megabyte of letters": "x" * 10**6, "a megabyte of spaces": boxed(" " * 10**6),
        "a megabyte of dollars": "$" * 10**6, "a megabyte of backslashes": "\\" * 10**6,
        "a megabyte of newlines": "\n" * 10**6, "a megabyte of boxes": r"\boxed{1}" * 110_000,
        "a megabyte of open boxes": r"\boxed{" * 140_000, "a megabyte of formulas": "$x$ " * 250_000,
        "a megabyte before a box": "so it is " * 110_000 + boxed("x+3"), "a megabyte of percent": "%" * 10**6,
        "a megabyte of anchors": "final answer is " * 60_000, "hashes": "####" * 100_000,
        "a hundred thousand digits": boxed("7" * 10**5), "digits after the point": boxed("0." + "3" * 10**5),
        "a long fraction": boxed(rf"\frac{{{'1' * 5000}}}{{{'3' * 5000}}}"), "many commas": boxed("1," * 5000 + "1"),
        "a long set": boxed(r"\{" + ",".join(map(str, range(3000))) + r"\}"),
        "a long union": boxed(r" \cup ".join(f"[{n},{n + 1})" for n in range(0, 600, 2))),
        "a long matrix": boxed(r"\begin{pmatrix}" + r"\\".join("1&" * 59 + "1" for _ in range(60)) + r"\end{pmatrix}"),
        "a long tuple": boxed("(" + ",".join("x" for _ in range(2000)) + ")"), "long chain": boxed("1<" * 1000 + "x"),
        "long equation": boxed("x=" * 1000 + "3"), "long alternation": boxed(" or ".join(["x=1"] * 500)),
        "long product": boxed(r" \cdot ".join(["(x+1)"] * 200)), "plus or minus": boxed(r"\pm 1" * 25),
        "determinant": boxed(r"\det \begin{pmatrix}" + r"\\".join("x&" * 19 + "y" for _ in range(20)) + r"\end{pmatrix}"),
        "garbage": "".join(garbage.choices("\\{}$[]^_0123456789 \n=", k=100_000)),
        "garbage in a box": boxed("".join(garbage.choices("\\$[]^_0123456789 =+-x", k=2000))),
    }  # fmt: skip


def _characters() -> dict[str, str]:
    found = {
        f"control {code}": boxed(f"3{chr(code)}4") for code in (*range(0, 32, 3), 127, 133, 155)
    }
    marks = {
        "right to left": "\u202e", "left to right": "\u200e", "zero width": "\u200b", "joiner": "\u200d",
        "byte order": "\ufeff", "line separator": "\u2028", "soft hyphen": "\u00ad", "no-break space": "\u00a0",
        "surrogate": "\ud800", "low surrogate": "\udfff", "private": "\ue000", "beyond the plane": "\U0010ffff",
        "combining": "\u0301" * 50, "replacement": "\ufffd", "emoji": "\U0001f468\u200d\U0001f469",
    }  # fmt: skip
    for name, mark in marks.items():
        found[f"{name} in a box"] = boxed(f"3{mark}4")
        found[f"{name} around a box"] = f"{mark}{boxed(mark)}{mark}"
    words = {
        "fullwidth": "３４", "arabic": "٣٤", "devanagari": "३४", "superscript": "3²", "roman": "ⅩⅡ", "chinese": "三十四",
        "half": "½", "root": "√34", "pi": "π/4", "minus": "−34", "times": "3×4", "product sum": "∑∏∫", "element": "x∈ℝ",
        "infinity": "∞", "at most": "x≤34", "degrees": "34°", "prime": "34′", "ligature": "ﬁnal answer is 34",
        "long s": "final anſwer is 34", "kelvin": "34 K", "dotted i": "FINAL ANSWER İS 34", "circled": "㉞",
    }  # fmt: skip
    return found | {name: boxed(word) for name, word in words.items()}


def _words() -> dict[str, str]:
    bodies = [
        "nan", "NaN", "inf", "-inf", "Infinity", "None", "null", "True", "false", "undefined", "zoo", "oo", "I", "E",
        "__import__('os').system('sleep 60')", "lambda x: x", "exec('1')", "eval('9**9**9')", "open('/dev/zero').read()",
        "os._exit(0)", "sys.exit()", "raise SystemExit", "while True: pass", "().__class__.__bases__[0]", "{{7*7}}",
        "S.Reals", "Symbol('x')", "solve(x**5+x+1)", "Matrix(999,999)", "range(10**9)", "'a'*10**10", "9**9**9**9",
        "<script>alert(34)</script>", "<b>34</b>", "&lt;34&gt;", "<think>34", "</think>", "<|im_end|>", "[INST]", "%s%s%n",
        "${34}", "$(sleep 60)", "`sleep 60`", "; drop table", "../../etc/passwd", "34\\", "\\", "\\\\", "$", "$$", "$$$",
        r"\input{/dev/zero}", r"\def\a{\a\a}\a", r"\loop\repeat", r"\write18{sleep 60}", r"\newcommand{\x}{\x\x}\x",
        r"34\%", "34%", r"\$34", "$34", "€34", "34 percent", "3.4e400", "3.4e-400", "1e9999999", "34e", "--34", "+-34",
        "0x22", "0b1", "3_4", "34.", ".34", "3,4", "3,,4", "3.4.5", "03/04", "1/0", "0/0", "1/1/1", "34!", "34!!!!!!!!",
        r"\frac", r"\frac{}{}", r"\frac{1}", r"\sqrt", r"\sqrt[0]{4}", r"\sqrt[x]{}", r"\log_0 4", r"\log_1 1",
        r"\text{}", r"\begin{pmatrix}", r"\end{pmatrix}", r"\begin{cases} 1 \\ 2", r"\left(", r"\right)", "(,)", "[,]",
        r"\{\}", r"\emptyset", r"(1,1)", r"[2,1]", r"(-\infty,\infty]", r"x=x", r"x\neq x", "=", "==", "<", ">=", "^", "_",
        "x^", "x_", "^^", "_^_", "f(f(f(x)))", "f'(x)'", "|x", "||x||", "x!y!z", "a b c d e f g h i j k l m n",
    ]  # fmt: skip
    return {f"word {body[:40]}": boxed(body) for body in bodies} | {
        "nothing": "", "a space": " ", "open box": r"\boxed{34", "box without brace": r"\boxed 34",
        "box in a box": boxed(boxed("34")), "box unclosed twice": r"\boxed{\boxed{34}", "only a box": r"\boxed",
        "empty box": r"\boxed{}", "hash": "####", "hash word": "#### thirty-four", "two boxes": boxed("3") + boxed("x"),
        "answer": "answer", "anchor": "The final answer is", "anchor, open": "The final answer is $\\boxed{", "a": "a",
    }  # fmt: skip


CORPUS: dict[str, str] = ISSUE_65 | _towers() | _deep() | _long() | _characters() | _words()
