"""The measured figures of the manual and README, and where each comes from.

A figure is a number with a decimal point, an exponent, a sign or thousands, or one with a unit behind it.
Blocks, code, addresses, versions and names are not looked at, nor what is made when the site is built.

A source is a function that computes the sentences in which pages tell figures, from a committed file or from
the code. Sources stand in `told_*.py`:

    @tells("index.md")
    def the_clip_of_grpo():
        yield f"GRPO drops it after {100 * GRPO().epsilon_low:.0f} percent."

Each sentence has to stand on the page, once, line breaks aside. A figure that is in none has no source.
"""

import re
from typing import NamedTuple

from pages import PAGES

EXCEPTIONS = {
    "from-one-machine-to-many.md": {
        "meant for eight GPUs of 80 GB": "what the shipped recipes assume; nobody has run them there",
    },
}
"""Sentences with figures that nothing here can compute, by page, with the reason."""

NUMBER = r"(?<![\w.,/−+-])[+−~]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+−-]\d+)?(?![\w])"
UNIT = r" ?(?:%|(?:percent|points?|times|seconds?|s|ms|min|minutes?|hours?|[kMG]i?B|nats?)\b)"
FIGURE = re.compile(
    rf"{NUMBER}(?:(?:,| to| and| or) {NUMBER})*{UNIT}"
    r"|(?<![\w.,/-])(?:[+−~]?\d+(?:\.\d+|(?:,\d{3})+)(?:e[+−-]\d+)?|\d+e[+−-]\d+|[+−]\d+)M?(?!\w)"
)
NAMES = "|".join(
    (
        r"\b(?:PyTorch|TRL|Python|torch|transformers|vLLM(?: up to)?|verl|math-verify|hypothesis) "
        r"\d+\.\d+(?:\.\d+)?(?:(?: to| and|,| or) \d+\.\d+)*",
        r"\d+\.\d+\.\d+(?:\.\w+)*",
        r"\d{4}\.\d{5}",  # arXiv
        r"\d+(?:\.\d+)?B\b",  # a model is called by its size
    )
)
"""Numbers that are names: versions, papers, models."""


class Source(NamedTuple):
    """A function that computes sentences, and the pages that tell them."""

    pages: tuple[str, ...]
    compute: object


SOURCES = []


def tells(*pages):
    """Say that these pages tell the sentences which a function yields."""

    def register(compute):
        SOURCES.append(Source(pages, compute))
        return compute

    return register


def plain(content):
    """Return the sentences of a page on one line: blocks and comments are left out."""
    content = re.sub(r"^```.*?^```$", "", content, flags=re.DOTALL | re.MULTILINE)
    content = re.sub(r"(?<=\n\n)(?: {4}.*\n)+", "", content)
    content = re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL)
    return joined(content)


def joined(text):
    """Return a text on one line."""
    return " ".join(text.split())


def figures(text):
    """Return where the figures of a plain text begin and end."""
    for found in (r"`[^`]+`", r"\]\([^)]*\)|<https?:[^>]*>", NAMES):
        text = re.sub(found, lambda match: "`" * len(match[0]), text)
    return [match.span() for match in FIGURE.finditer(text)]


def without_source(page, sentences):
    """List the figures of a page, each with what stands around it, that are in none of the sentences."""
    text = plain(PAGES[page])
    found = [re.search(re.escape(joined(sentence)), text) for sentence in sentences]
    told = [match.span() for match in found if match]
    return [
        f"{text[start:end]}: ...{text[max(0, start - 60) : end + 40]}..."
        for start, end in figures(text)
        if not any(a <= start and end <= b for a, b in told)
    ]
