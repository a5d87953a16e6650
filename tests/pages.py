"""What the pages of the manual and README hold: blocks of code, commands, figures."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from generate import FILLED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECORDED = {"verifier-differences.md"} | {
    str(page.relative_to(DOCS)) for page in DOCS.glob("studies/*/report.md")
}
"""Pages that a command wrote: what they quote is what it found."""


def _by_hand(name):
    """Read a page, without the parts that are made."""
    place = ROOT if name in ("README.md", "CONTRIBUTING.md") else DOCS
    return FILLED.sub(r"<!-- \1: \2 --><!-- end -->", (place / name).read_text("utf-8"))


PAGES = {
    name: _by_hand(name)
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        *sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")),
    )
    if name not in RECORDED
}
"""What is written by hand, by page."""


class Block(NamedTuple):
    """A fenced block; its text is as the page has it."""

    page: str
    language: str
    text: str


class Command(NamedTuple):
    """A command line; one that is quoted in a sentence need not be whole."""

    page: str
    line: str
    whole: bool

    @property
    def words(self):
        return shlex.split(self.line)


BLOCKS = [
    Block(page, language, text)
    for page, content in PAGES.items()
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", content, re.DOTALL | re.MULTILINE)
]
PROGRAMS = "maspo", "python", "pytest", "pip", "bash"


def _lines(text):
    """List the commands of a shell's text: continued lines joined, comments and `&&` taken apart."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.sub(r"\s#.*", "", line).split("&&"):
            yield " ".join(part.split())


def _commands():
    for page, content in PAGES.items():
        fenced = re.findall(r"^```(?:sh|text)\n(.*?)^```$", content, re.DOTALL | re.MULTILINE)
        indented = re.findall(r"^ {4}\S.*(?:(?<=\\)\n.*)*", content, re.MULTILINE)
        for line in (line for text in (*fenced, *indented) for line in _lines(text)):
            if line.startswith(tuple(f"{program} " for program in PROGRAMS)):
                yield Command(page, line, True)
        prose = re.sub(r"^```.*?^```$", "", content, flags=re.DOTALL | re.MULTILINE)
        for line in re.findall(r"`([^`]+)`", prose):
            if line.startswith(tuple(f"{program} " for program in PROGRAMS)):
                yield Command(page, " ".join(line.split()), False)


COMMANDS = list(dict.fromkeys(_commands()))


def commands(*programs):
    """List the commands of these programs, each once, whole ones first."""
    found = [one for one in COMMANDS if one.line.partition(" ")[0] in programs]
    seen = {}
    for one in sorted(found, key=lambda one: not one.whole):
        seen.setdefault(one.line, one)
    return list(seen.values())
