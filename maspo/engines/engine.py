"""What makes a training framework an engine of ours, and the engines there are.

Importing this imports no framework and no torch, and neither does looking at an engine's facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from maspo.engines.supported import Supported
from maspo.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from maspo.core.batch import TokenBatch
    from maspo.core.objective import Objective
    from maspo.data import Problem
    from maspo.engines.moment import Look
    from maspo.recipes.schema import Recipe
    from maspo.rewards import RewardSet
    from maspo.sampling import Sample
    from maspo.sampling.processes import Processes

Sink = Callable[[dict[str, Any]], None]
"""Takes a line of metrics."""

TokenSink = Callable[[int, "TokenBatch", "Tensor"], None]
"""Takes the steps before a micro-batch, the micro-batch, and which of its rows were scored, `[batch]`."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a run is started where an engine leaves a choice; None and false: as the engine has it."""

    nodes: int | None = None
    """Machines."""
    gpus_per_node: int | None = None
    """GPUs of each machine."""
    backend: str | None = None
    """What holds and updates the weights."""
    rollout: str | None = None
    """What samples."""
    submit: str | None = None
    """Address of a cluster that the run is sent to."""
    dry_run: bool = False
    """Check and show everything, and run nothing."""

    def given(self) -> dict[str, Any]:
        """Return the fields that were set."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def shape(self) -> dict[str, Any]:
        """Return the fields that a run must go on with once it has begun."""
        kept = ("nodes", "gpus_per_node", "backend")
        return {name: value for name, value in self.given().items() if name in kept}

    def words(self) -> list[str]:
        """Write them as options of the command line."""
        words = []
        for name, value in self.given().items():
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return words

    def check(self, engine: Engine) -> None:
        """Raise InputError for the first field that `engine` has no use for."""
        for name in self.given():
            if name not in engine.options:
                able = ", ".join(one for one in ENGINES if name in ENGINES[one].options)
                raise InputError(f"--{name.replace('_', '-')} is for --engine {able}")


@runtime_checkable
class Engine(Protocol):
    """A training framework behind one interface.

    Everything raises InputError for what a user can get wrong.
    """

    name: str
    """Its name in `ENGINES` and on the command line."""
    about: str
    """What it is for, in a few words."""
    supported: Supported
    options: frozenset[str]
    """The fields of `Launch` that it acts on."""
    owned_settings: tuple[str, ...]
    """Settings of the framework's own losses. With an objective in their place they would do nothing."""

    def check(self, recipe: Recipe, launch: Launch, folder: Path, *, strict: bool = False) -> None:
        """Raise InputError for everything that can be known to be wrong before a model is loaded.

        Writes nothing. Under `strict` what is otherwise only warned of is refused.
        """
        ...

    def shares(self, recipe: Recipe, launch: Launch) -> int:
        """Count the processes that each take a share of the completions of an update."""
        ...

    def unused(self, recipe: Recipe, launch: Launch) -> list[str]:
        """Say, a sentence for each, which settings of the recipe it does not act on."""
        ...

    def probe(self, objective: Objective) -> Tensor:
        """Return the weights `[2]` that the framework's own loss gives `two_tokens`."""
        ...

    def examine(self, recipe: Recipe) -> Iterator[str]:
        """Say what of ours the framework has loaded, and what a run of the recipe would train."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What an engine in this process is asked to train."""

    recipe: Recipe
    model: Any
    """A loaded model, which is trained in place; adapters are put on it by the recipe."""
    tokenizer: Any
    problems: Sequence[Problem]
    """What is trained on."""
    rewards: RewardSet
    """Score the completions."""
    folder: Path
    """Of the checkpoints, which are written where the recipe asks for them."""
    sink: Sink
    """Gets every logged line of metrics, with `step` and `seconds` since the start."""
    strict: bool = False
    """Refuse what is otherwise only warned of."""
    resume: Path | None = None
    """The checkpoint to go on from."""
    stop: Callable[[], bool] = lambda: False
    """Asked after every step; once true in any process, a checkpoint ends training."""
    tokens: TokenSink | None = None
    """Gets every micro-batch of training."""
    look: Look | None = None
    """Is called, in every process, before training, after every so many rollouts and when training is
    finished; after a resume it may be called again for a moment it has seen."""
    every: int | None = None
    """Rollouts between two looks; None: none during training."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is left when training is over."""

    model: Any
    """The trained model, in the first process whole and with adapters merged into it."""
    seconds: float
    """Wall clock of the training loop alone."""
    steps: int
    """Optimizer steps taken."""


@runtime_checkable
class InProcessEngine(Engine, Protocol):
    """An engine that trains a model which the caller has loaded and evaluates itself."""

    def processes(self) -> Processes:
        """Return the processes of this run; InputError where they are dealt out as we cannot use."""
        ...

    def check_model(self, recipe: Recipe, model: Any) -> None:
        """Raise InputError where the recipe asks for what this loaded model has no place for."""
        ...

    def with_adapters(self, recipe: Recipe, model: Any) -> Any:
        """Return a model as it is trained: `model` itself with the recipe's adapters, if it has some."""
        ...

    def in_bfloat16(self, recipe: Recipe, parameters: int) -> bool:
        """Decide whether a model of so many parameters is trained under autocast to bfloat16."""
        ...

    def train(self, job: TrainingJob) -> Trained:
        """Do the job."""
        ...

    def restored(self, recipe: Recipe, path: Path) -> Any:
        """Return the trained model that `Moment.save` wrote to `path`, adapters merged into it."""
        ...

    def latest(self, folder: Path) -> tuple[Path | None, int]:
        """Return the newest whole checkpoint of `folder` and its step; None and 0 without one."""
        ...

    def keep(self, folder: Path, count: int) -> None:
        """Remove all checkpoints of `folder` but the newest `count`."""
        ...


@runtime_checkable
class LaunchedEngine(Engine, Protocol):
    """An engine that runs a whole recipe, evaluations included, in processes of its own."""

    may_change: frozenset[str]
    """Settings of its section of a recipe that leave results alone: a run goes on with other values."""

    def command(self, recipe: Recipe, launch: Launch, folder: Path) -> list[str]:
        """Return the command that carries out the recipe; pure.

        Run again, it goes on from the newest checkpoint in `folder`, that of the run.
        """
        ...

    def printed(self, words: Sequence[str]) -> str:
        """Write the command as one can paste it into a shell."""
        ...

    def submission(self, launch: Launch, folder: Path) -> list[str] | None:
        """Return the command that has a cluster carry out `command.sh` of the folder; None: run it here."""
        ...

    def obstacles(self, recipe: Recipe, launch: Launch, folder: Path) -> list[str]:
        """Say, a sentence for each, why the recipe could not be carried out from here."""
        ...

    def provide(self, recipe: Recipe, launch: Launch, folder: Path) -> None:
        """Write what the command reads into the folder of the run, or write it again."""
        ...

    def metrics(self, recipe: Recipe, folder: Path) -> list[dict[str, Any]]:
        """Read what it has logged since it last started, in lines as a `Sink` takes them."""
        ...

    def validations(self, recipe: Recipe, folder: Path) -> dict[int, list[Sample]]:
        """Read the samples of its evaluations, by the rollouts before each."""
        ...

    def latest(self, folder: Path) -> tuple[Path | None, int]:
        """Return the newest whole checkpoint of `folder` and the rollouts before it; None and 0 without."""
        ...

    def export(self, checkpoint: Path, target: Path) -> None:
        """Write the model of a checkpoint into an empty folder, in Hugging Face format."""
        ...


class _Engines(Mapping[str, Any]):
    """The engines by name; `maspo.engines.NAME.engine.ENGINE` is imported when it is looked up."""

    NAMES = ("trl", "verl")

    def __getitem__(self, name: str) -> Engine:
        if name not in self.NAMES:
            raise KeyError(name)
        return import_module(f"maspo.engines.{name}.engine").ENGINE

    def __iter__(self) -> Iterator[str]:
        return iter(self.NAMES)

    def __len__(self) -> int:
        return len(self.NAMES)


ENGINES: Mapping[str, Engine] = _Engines()
"""Every engine by its name; the first is what trains where nobody names one."""

DEFAULT_ENGINE = _Engines.NAMES[0]


def engine_named(name: str) -> Engine:
    """Return an engine by its name; InputError for a name that none has."""
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name]
