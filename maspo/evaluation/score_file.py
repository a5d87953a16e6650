"""What scores.json holds: one type for those who write it and those who read it."""

from __future__ import annotations

from math import isclose
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from maspo import files
from maspo.errors import InputError
from maspo.evaluation.estimators import Estimate

Proportion = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]


def _of_proportions(estimate: Estimate) -> Estimate:
    for name in ("value", "low", "high"):
        found = getattr(estimate, name)
        if found is not None and not 0 <= found <= 1:
            raise ValueError(f"{name} is {found}, not between 0 and 1")
    return estimate


_Estimates = dict[str, Annotated[Estimate, AfterValidator(_of_proportions)]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Averages(_Part):
    """Estimates with 95% intervals over problems, which are null for a single problem."""

    samples: _Count
    """n, the samples of each problem."""
    metrics: _Estimates
    """`avg@n`, `pass@n` and `maj@n`."""
    pass_curve: dict[int, Annotated[Estimate, AfterValidator(_of_proportions)]]
    """pass@k by k, for every k from 1 to n."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wanted = {f"{metric}@{self.samples}" for metric in ("avg", "pass", "maj")}
        if missing := sorted(wanted - self.metrics.keys()):
            raise ValueError(f"the metric {missing[0]} of {self.samples} samples is missing")
        if set(self.pass_curve) != set(range(1, self.samples + 1)):
            raise ValueError(f"pass_curve must hold every k from 1 to {self.samples}")
        return self


class BenchmarkScores(Averages):
    """The scores of a model on one benchmark."""

    problems: _Count
    mean_tokens: float
    """Tokens of a sample in the mean."""
    truncated: Proportion
    """Of the samples, those that met the length limit."""
    outcomes: dict[str, int]
    """Number of samples by the outcome of their verdicts."""
    correct: dict[str, int]
    """Number of correct samples by problem."""
    majority: dict[str, Proportion]
    """maj@n by problem."""
    score: float | None = None
    """Mean weighted sum of the rewards, over the samples that have one; null without any."""

    @property
    def tells_rewards(self) -> bool:
        """Whether `score` is another number than avg@n, as it is where a reward is no verdict."""
        average = self.metrics[f"avg@{self.samples}"].value
        return self.score is not None and not isclose(self.score, average, abs_tol=1e-9)

    @model_validator(mode="after")
    def _by_problem(self) -> Self:
        if set(self.correct) != set(self.majority) or len(self.correct) != self.problems:
            raise ValueError(f"correct and majority must hold all {self.problems} problems")
        return self


class MacroScores(Averages):
    """Unweighted means over benchmarks."""

    benchmarks: list[str]


class Scores(_Part):
    """The scores of one evaluation: scores.json, whole."""

    model: str
    versions: dict[str, str]
    """Of the packages that judged it."""
    settings: dict[str, Any]
    """eval.json without its provenance."""
    benchmarks: Annotated[dict[str, BenchmarkScores], Field(min_length=1)]
    macro: MacroScores

    @classmethod
    def read(cls, file: Path) -> Scores:
        """Read scores.json; InputError where it is not what `write` writes."""
        try:
            found = cls.model_validate(files.read_json(file))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            raise InputError(f"{file}: {where}: {reason}") from None
        if len({each.samples for each in found.benchmarks.values()}) > 1:
            raise InputError(f"{file}: its benchmarks differ in their number of samples")
        return found

    def write(self, file: Path) -> None:
        """Write scores.json, whole or not at all."""
        files.write_json(file, self.model_dump(mode="json"))
