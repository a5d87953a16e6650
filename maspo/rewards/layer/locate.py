r"""Where the answer stands in a completion; in time proportional to its length."""

import re
from collections import deque
from collections.abc import Collection

from maspo.rewards.layer.vocabulary import KNOWN_WORDS, QUALIFIERS

_LONGEST = 400  # characters of an answer without a box
_TOKEN = re.compile(r"\\(?:boxed|fbox)\s*+\{|\\[\\{}]|[{}]")
_BETWEEN = re.compile(
    r"(?:\s|\$|\\[()\[\]]|\*|,|;|&|\\q?quad|\\text\s?\{\s?(?:and|or)\s?\}|\b(?:and|or)\b)*+"
)
_PERCENT_BEHIND = re.compile(r"[ $]{0,4}(?:\\[)\]])?[ $]{0,4}(?:\\?%|percent\b|pct\b)")
_ANSWER = re.compile(
    r"answers?\b[^.\n$]{0,60}?(?:\b(?:is|are)\b(?:[ *]{0,9}:)?|:)[ *]{0,9}", re.IGNORECASE
)
_END = re.compile(r"\n|(?<!\\)[.!?](?=\s|\Z)|。")
_HASHES = re.compile(r"####[ $]{0,9}([^#\n]{1,100})\Z")
_TEXT_GROUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname|textrm)\s?\{[^{}]*+\}")
_COMMAND = re.compile(r"\\[a-zA-Z]++")
_WORD = re.compile(r"[^\W\d_]{2,}")
_QUALIFIER = re.compile(rf"\b(?:either|both|{'|'.join(sorted(QUALIFIERS))})\b", re.IGNORECASE)
_DISPLAYED = re.compile(
    r"(?:\$\$([^$]++)\$\$|\\\[((?:[^\\]|\\(?!\]))++)\\\])[\s.]*+(?=\Z|\n|[A-Z])"
)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))


def find_answer(completion: str, rules: Collection[str]) -> str | None:
    """Cut a completion down to its answer; None where only the whole text can be read."""
    if "boxes" in rules:
        boxes = [box for box in _boxes(completion) if completion[box[1] : box[2]].strip()]
        if boxes:
            behind = completion[boxes[-1][2] + 1 :]
            later = _sentence(behind, final=True) if "sentences" in rules else None
            return later or _joined(completion, boxes)
    if "sentences" not in rules or r"\boxed" in completion:
        return None
    hashes = _HASHES.search(completion.rstrip()[-200:])
    if hashes:
        return hashes[1].strip() if is_formula(hashes[1]) else None
    sentence = _sentence(completion, final=False)
    if sentence or "answer" in completion.casefold():
        return sentence
    bare = bared(completion) if len(completion) <= _LONGEST else ""
    return bare if is_formula(bare) else None


def bared(text: str) -> str:
    """Return a text without white space, and the dollars, brackets or asterisks around all of it."""
    text = text.strip()
    for opening, closing in _DELIMITERS:
        inside = text[len(opening) : -len(closing)]
        whole = text.startswith(opening) and text.endswith(closing)
        if whole and inside.strip() and opening not in inside and closing not in inside:
            return inside.strip()
    return text


def is_formula(text: str) -> bool:
    """Whether a text is nothing but a formula: no words but those of formulas and units."""
    if not text.strip() or len(text) > _LONGEST or "$" in text.replace(r"\$", "").strip("$ "):
        return False
    words = _WORD.findall(_COMMAND.sub(" ", _TEXT_GROUP.sub(" ", text)))
    return all(word in KNOWN_WORDS or word.lower() in KNOWN_WORDS for word in words)


def _boxes(text: str) -> list[tuple[int, int, int]]:
    """List the outermost closed boxes: where each starts, where its content starts and ends."""
    starts = [place for box in (r"\boxed", r"\fbox") if (place := text.find(box)) >= 0]
    if not starts:
        return []
    found: list[tuple[int, int, int]] = []
    opened: list[tuple[int, int] | None] = []
    for token in _TOKEN.finditer(text, min(starts)):  # braces before say nothing of what follows
        word = token[0]
        if word == "{":
            opened.append(None)
        elif word != "}" and word.endswith("{") and len(word) > 2:
            opened.append((token.start(), token.end()))
        elif word == "}" and opened and (box := opened.pop()) is not None:
            while found and found[-1][0] > box[0]:
                found.pop()
            found.append((*box, token.start()))
    return found


def _joined(text: str, boxes: list[tuple[int, int, int]]) -> str:
    """Return the last box, with those before it that only separators keep apart."""
    start, begin, end = boxes[-1]
    parts = [text[begin:end].strip()]
    for before in reversed(boxes[:-1]):
        between = text[before[2] + 1 : start] if start - before[2] <= 40 else "far"
        if not _BETWEEN.fullmatch(between):
            break
        content = text[before[1] : before[2]].strip()
        if content not in parts:
            parts.append(content)
        start = before[0]
    percent = _PERCENT_BEHIND.match(text, end + 1)
    return ", ".join(reversed(parts)) + (r"\%" if percent else "")


def _sentence(text: str, *, final: bool) -> str | None:
    """Return what the last "answer is" is followed by, where that is nothing but a formula."""
    last = next(iter(deque(_ANSWER.finditer(text), maxlen=1)), None)
    if last is None or (
        final and "final" not in text[max(0, last.start() - 10) : last.start()].lower()
    ):
        return None
    rest = text[last.end() : last.end() + _LONGEST]
    displayed = _DISPLAYED.match(rest.lstrip())
    if displayed:
        return next(inside for inside in displayed.groups() if inside).strip()
    end = _END.search(rest, 1)
    answer = bared(rest[: end.start()] if end else rest)
    answer = bared(answer.rstrip(" .,*"))
    # "not 7" and "either 3 or 8" are to be judged with their words
    plain = _QUALIFIER.sub(" ", answer)
    return answer if is_formula(answer) or (plain != answer and is_formula(plain)) else None
