"""Evaluations read back from their folders, checked for what a report needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from maspo.errors import InputError
from maspo.evaluation.folder import RUN_PART, EvaluationFolder
from maspo.evaluation.score_file import BenchmarkScores, Scores


@dataclass(frozen=True, kw_only=True)
class LabelledScores:
    """The scores of one evaluation, under the name a report gives it."""

    label: str
    scores: Scores
    trained: str | None = None
    """The recipe that the model was trained by and when in it, but for the seed; None of other models."""

    @property
    def benchmarks(self) -> dict[str, BenchmarkScores]:
        """The scores by benchmark."""
        return self.scores.benchmarks

    @property
    def samples(self) -> int:
        """Samples a problem; the same for every benchmark."""
        return self.scores.macro.samples


def load_runs(words: Sequence[str]) -> list[LabelledScores]:
    """Read evaluations given as `FOLDER` (named after the folder) or `NAME=FOLDER`.

    The folder of a training run stands for its evaluations before and after training; what lies
    between is given by its own folder. Raises InputError for a name given twice and for a folder
    without usable scores.
    """
    runs: dict[str, LabelledScores] = {}
    for name, folder in (one for word in words for one in _evaluations(*_split(word))):
        if name in runs:
            raise InputError(f"two runs are called {name!r}; name them: NAME=FOLDER")
        runs[name] = _load(name, folder)
    return list(runs.values())


def _evaluations(name: str, folder: Path) -> list[tuple[str, Path]]:
    found = [*EvaluationFolder.of_run(folder).values()]
    if not found:
        return [(name, folder)]
    ends = dict.fromkeys((found[0].path, found[-1].path))
    return [(f"{name} {place.name}", place) for place in ends]


def _split(word: str) -> tuple[str, Path]:
    """Part name and folder; both may hold an equals sign."""
    signs = [i for i, sign in enumerate(word) if sign == "="]
    if not signs or Path(word).is_dir():
        return _name(Path(word).resolve()), Path(word)
    at = next((i for i in signs if Path(word[i + 1 :]).is_dir()), signs[0])
    return word[:at], Path(word[at + 1 :])


def _name(folder: Path) -> str:
    """Name an evaluation after its folder, and after its run where it is of one."""
    of_run = folder.parent.name == RUN_PART
    return f"{folder.parent.parent.name} {folder.name}" if of_run else folder.name


def _load(label: str, folder: Path) -> LabelledScores:
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; give folders that `maspo eval` or `maspo train` wrote"
        )
    file = folder / "scores.json"
    if not file.is_file():
        hint = f"run: maspo score {folder}" if (folder / "eval.json").exists() else "no evaluation"
        raise InputError(f"{folder} holds no scores.json: {hint}")
    return LabelledScores(label=label, scores=Scores.read(file), trained=_trained(folder.resolve()))


def _trained(folder: Path) -> str | None:
    recipe = folder.parent.parent / "recipe.yaml"
    if folder.parent.name != RUN_PART or folder.name == "before" or not recipe.is_file():
        return None
    content = yaml.safe_load(recipe.read_text("utf-8"))
    kept = {key: value for key, value in content.items() if key not in ("seed", "name", "about")}
    return json.dumps([folder.name, kept], sort_keys=True, default=str)
