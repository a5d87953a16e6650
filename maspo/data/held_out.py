"""Whether the problems of an evaluation are held out of training."""

from __future__ import annotations

from collections.abc import Sequence

from maspo.data.columns import without_template
from maspo.data.overlap import normalised
from maspo.data.problems import Problem

Text = tuple[str, ...]


def also_in_training(
    evaluation: Sequence[Problem],
    training: Sequence[Problem],
    *,
    templates: tuple[str, str] = ("{problem}", "{problem}"),
) -> list[Problem]:
    """List the problems of an evaluation whose text is that of a training problem, but for layout.

    Two problems are the same where `normalised` makes their conversations equal, the system message
    and the templates, of evaluation and training, left out.
    """
    ours, theirs = templates
    trained = {_text(problem, theirs) for problem in training}
    return [problem for problem in evaluation if _text(problem, ours) in trained]


def _text(problem: Problem, template: str) -> Text:
    """Reduce a conversation to the texts that are compared."""
    asked = max(i for i, message in enumerate(problem.prompt) if message["role"] == "user")
    return tuple(
        normalised(
            without_template(template, message["content"]) if i == asked else message["content"]
        )
        for i, message in enumerate(problem.prompt)
        if message["role"] != "system"
    )
