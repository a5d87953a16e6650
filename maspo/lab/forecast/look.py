"""What `maspo train` would begin with: everything but the model and the user's code is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from maspo.data import Problem
from maspo.engines.engine import InProcessEngine, Launch
from maspo.errors import InputError
from maspo.lab.checks import answerable, check_held_out, gold_sentence
from maspo.lab.console import Teller
from maspo.lab.forecast.memory import Memory, device_memory, estimate_memory, in_gb
from maspo.lab.forecast.pace import measured_pace
from maspo.lab.formatting import duration
from maspo.lab.run.folder import RUNS
from maspo.lab.run.share import check_hub
from maspo.lab.run.tracker import check_tracker
from maspo.models.load import ModelLimits, check_source, load_tokenizer, read_config
from maspo.models.skeleton import skeleton
from maspo.recipes import Recipe
from maspo.recipes.sections.data import Data
from maspo.sampling.text import prompt_tokens

SHARDS = (2, 4, 8, 16, 32, 64)
"""Numbers of GPUs that weights may be dealt out to."""


class Outlook(Teller):
    """Collects what is found about a run to come; `tell` gets every line at once."""

    def __init__(self, tell: Callable[[str], None], lines: Sequence[str] = ()) -> None:
        """Begin with the lines that were told already."""
        self.tell = tell
        self.lines = list(lines)
        self.refusals: list[str] = []
        """Why `maspo train` would refuse the recipe, a sentence for each reason."""

    def say(self, line: str, style: str | None = None) -> None:
        """Take a line as it is."""
        self.lines.append(line)
        self.tell(line)

    def about(self, what: str, text: str) -> None:
        """Take a line of a plan; the lines of a longer text stay in its column."""
        self.say(f"{what:<11}{text}".replace("\n", "\n" + 11 * " "))

    def warn(self, sentence: str) -> None:
        """Take a warning."""
        self.about("warning", sentence)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Take an InputError of the block as a reason to refuse the recipe, and go on."""
        try:
            yield
        except InputError as error:
            self.refusals.append(str(error))


def look_ahead(
    recipe: Recipe, engine: InProcessEngine, outlook: Outlook, *, strict: bool = False
) -> None:
    """Check what `maspo train` checks, and tell what the run is asked and what it takes.

    Data, tokenizer and configuration of the model are loaded, its weights are not, and none of the
    user's code is imported. What train would refuse is in `outlook.refusals` afterwards.
    """
    device, room = device_memory()
    outlook.about("device", f"{device}, {in_gb(room)} of memory")
    with outlook.refusing(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", FutureWarning)  # of the frameworks, to each other
        engine.check(recipe, Launch(), RUNS / recipe.name, strict=strict)
    known = "\n".join(outlook.lines)
    for sentence in dict.fromkeys(str(one.message) for one in said):
        if sentence not in known:
            outlook.warn(sentence)
    with outlook.refusing():
        check_tracker(recipe)
        check_hub(recipe)
    for spec in recipe.reward.specs:
        with outlook.refusing():
            spec.check()
    training, held_out = _problems(recipe, outlook, strict)
    with outlook.refusing():
        check_source(recipe.model.source)
        tokenizer = load_tokenizer(recipe.model.source, recipe.model.chat_template)
        limits = ModelLimits.of(read_config(recipe.model.source))
        engine.check_model(recipe, skeleton(recipe.model.source, recipe.model.dtype))
        if training:
            training = answerable(recipe, training, held_out, limits, tokenizer, outlook)
            longest = _prompts(recipe, training, tokenizer, outlook)
            _memory(recipe, engine, longest, room, outlook)
    _time(recipe, outlook)


def _problems(
    recipe: Recipe, outlook: Outlook, strict: bool
) -> tuple[list[Problem], list[Problem]]:
    """Load the problems, and look whether they are held out and can be solved."""
    with outlook.refusing():
        training, held_out = recipe.problems()
        with outlook.refusing():
            check_held_out(recipe, training, held_out, outlook, strict=strict)
        for sentence in _doubtful_golds(recipe, training, held_out):
            (outlook.refusals.append if strict else outlook.warn)(sentence)
        return training, held_out
    return [], []


def _doubtful_golds(recipe: Recipe, training: list[Problem], held_out: list[Problem]) -> list[str]:
    """Say which golds cannot be reached, of data that somebody wrote: generators make good ones."""
    asked = recipe.evaluation
    parts: dict[str, tuple[Data, list[Problem]]] = {"training": (recipe.data, training)}
    if asked is not None:
        parts["evaluation"] = (asked.data, held_out)
    written = {name: found for name, (data, found) in parts.items() if data.is_written()}
    rewards = recipe.reward.start_deciding() if written else None
    if rewards is None:
        return []
    with rewards:
        said = [gold_sentence(name, found, rewards) for name, found in written.items()]
    return [sentence for sentence in said if sentence is not None]


def _prompts(recipe: Recipe, problems: list[Problem], tokenizer: Any, outlook: Outlook) -> int:
    """Tell how often problems are asked, and what one is to the model; return the longest prompt."""
    variables = recipe.model.chat_template_kwargs
    asked = [prompt_tokens(tokenizer, problem, variables) for problem in problems]
    epochs = recipe.training.rollouts * recipe.rollout.prompts / len(problems)
    outlook.about(
        "problems",
        f"{len(problems)}, {epochs:.3g} epochs of them; prompts of {min(map(len, asked))} to "
        f"{max(map(len, asked))} tokens",
    )
    outlook.about("prompt", f"the first, as the model gets it:\n{tokenizer.decode(asked[0])}")
    return max(map(len, asked))


def _memory(
    recipe: Recipe, engine: InProcessEngine, prompt: int, room: int, outlook: Outlook
) -> None:
    """Tell what the run takes, and what helps where there is too little."""
    processes = engine.shares(recipe, Launch())
    try:
        model = skeleton(recipe.model.source, recipe.model.dtype)
        found = estimate_memory(recipe, engine, model, prompt, processes)
    except InputError:
        raise
    except Exception as error:  # a model's code may do what cannot be done without numbers
        reason = " ".join(str(error).split()) or type(error).__name__
        outlook.about("memory", f"cannot be estimated for this model: {reason:.200}")
        return
    trained = "" if found.trained == found.parameters else f", {found.trained:,} of them trained"
    outlook.about("parameters", f"{found.parameters:,}{trained}")
    outlook.about("memory", f"{found.sentence()}, in each process")
    if found.peak() > room:
        outlook.warn(_too_much(found, room))


def _too_much(found: Memory, room: int) -> str:
    fits = next((n for n in SHARDS if found.peak(n) <= room), None)
    few = f"{in_gb(found.peak())} are more than the {in_gb(room)} here"
    cures = (
        "a smaller training.micro_batch, gradient_checkpointing, model.dtype bfloat16 or model.lora"
    )
    if fits is None:
        return f"{few}: {cures} would help"
    each = in_gb(found.peak(fits))
    return f"{few}: dealt out to {fits} such devices they are {each} each; {cures} help too"


def _time(recipe: Recipe, outlook: Outlook) -> None:
    pace = measured_pace(recipe)
    if pace is None:
        outlook.about(
            "time",
            f"not known before a run of this recipe has begun, in {RUNS}/ or in a folder here",
        )
        return
    total = pace.seconds * recipe.training.rollouts
    outlook.about(
        "time",
        f"about {duration(total)} of training, {duration(pace.seconds)} a rollout, as measured in "
        f"{pace.folder}",
    )
