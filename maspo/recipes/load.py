"""From a file and `key=value` settings to a checked recipe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from maspo.errors import InputError, unknown
from maspo.recipes.reference import section_of
from maspo.recipes.schema import Recipe
from maspo.rewards.function_reward import resolve_source

SHIPPED = Path(str(files("maspo.recipes"))) / "shipped"

NAMES_ELSEWHERE = {
    **dict.fromkeys(
        ("reward.source", "reward.function", "reward.weight", "reward.kind", "reward_funcs"),
        "reward.functions",
    ),
    **dict.fromkeys(("model_name_or_path", "model_name"), "model.source"),
    **dict.fromkeys(("dataset", "dataset_name"), "data.source"),
    "max_prompt_length": "data.max_prompt_tokens",
    **dict.fromkeys(("num_generations", "group_size"), "rollout.samples"),
    **dict.fromkeys(
        ("max_completion_length", "max_new_tokens", "max_tokens"), "rollout.max_completion_tokens"
    ),
    "train_batch_size": "rollout.prompts",
    "use_vllm": "rollout.engine",
    **dict.fromkeys(("per_device_train_batch_size", "micro_batch_size"), "training.micro_batch"),
    **dict.fromkeys(("max_steps", "num_train_epochs", "epochs", "steps"), "training.rollouts"),
    "lr": "training.learning_rate",
    "hub_model_id": "push_to_hub",
    **dict.fromkeys(("lr_scheduler_type", "scheduler"), "training.schedule"),
    "warmup": "training.warmup_steps",
    **dict.fromkeys(("optim", "training.optim"), "training.optimizer.name"),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "beta1", "beta2"), "training.optimizer.betas"),
    **dict.fromkeys(("adam_epsilon", "adam_eps"), "training.optimizer.eps"),
    **dict.fromkeys(("beta", "kl_coef", "kl_loss_coef"), "training.kl"),
    "loss_type": "training.reduction",
    "scale_rewards": "training.advantages",
    "save_steps": "training.save_every",
    **dict.fromkeys(("eval_steps", "eval_every", "test_freq"), "evaluation.every"),
    **dict.fromkeys(("epsilon", "clip_ratio"), "objective"),
    **dict.fromkeys(("report_to", "logger", "trackers"), "tracker"),
}
"""Names that a key has in other tools, whole or by their last part, and its name here."""


def shipped_recipes() -> list[str]:
    """List the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_recipe(source: str, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe from a file or by the name of a shipped one, then apply `key=value` settings.

    A key names its sections, as in `training.learning_rate=1e-5`; the value is read as YAML.
    Files of reward functions and chat templates are relative to the recipe's, in a setting to the working
    directory.
    Raises InputError, in one sentence, for anything that is not a valid recipe.
    """
    path = recipe_path(source)
    content = read_content(path)
    _resolve(content, path.parent)
    for item in settings:
        _apply(content, item)
    _resolve(content, Path.cwd())
    return parse_recipe(content)


def recipe_path(source: str) -> Path:
    """Return the file of a recipe, or of a shipped one by its name; InputError where there is none."""
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if source not in shipped_recipes():
            raise unknown("recipe", source, shipped_recipes())
        path = SHIPPED / f"{source}.yaml"
    if not path.is_file():
        raise InputError(f"there is no recipe file {source}")
    return path


def read_content(path: Path) -> dict[str, Any]:
    """Read the YAML of a recipe, unchecked; InputError where it is not keys and values."""
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values, not a {type(content).__name__}")
    return content


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """Check a recipe given as plain data; InputError names the first thing wrong with it."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise _sentence(error) from error


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML, every default spelled out."""
    content = recipe.model_dump()
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    # Characters such as U+0085 end lines in YAML, and come back only where they are escaped.
    return text if yaml.safe_load(text) == content else yaml.safe_dump(content, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-6 is a number, as everybody expects; YAML 1.1 wants 1.0e-6."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _resolve(content: dict[str, Any], folder: Path) -> None:
    """Write the files that a recipe names as absolute paths; what is no such file is found out later."""
    reward = content.get("reward")
    functions = reward.get("functions") if isinstance(reward, dict) else None
    model = content.get("model")
    template = model.get("chat_template") if isinstance(model, dict) else None
    if isinstance(model, dict) and isinstance(template, str) and template != "plain":
        model["chat_template"] = str(folder / Path(template).expanduser())
    for one in functions if isinstance(functions, list) else ():
        if isinstance(one, dict) and isinstance(one.get("source"), str):
            one["source"] = resolve_source(one["source"], folder)


def _apply(content: dict[str, Any], item: str) -> None:
    key, equals, value = item.partition("=")
    if not equals:
        raise InputError(f"--set takes key=value, not {item!r}")
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise InputError(f"{key}: {section} is no section")
    content[last] = read_value(value, item)


def read_value(text: str, item: str) -> Any:
    """Read one value as YAML; `item` is what an InputError quotes."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise InputError(f"the value in {item!r} is not YAML") from None


def _sentence(error: ValidationError) -> InputError:
    """Turn pydantic's first complaint into one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown_key(first["loc"])
    if first["type"] == "value_error":
        return InputError(first["msg"].removeprefix("Value error, "))
    return InputError(f"{where}: {first['msg']}, not {first['input']!r}")


def _unknown_key(location: tuple[int | str, ...]) -> InputError:
    """Name the nearest key of the same section, else where in a recipe there is such a key."""
    *sections, last = (str(part) for part in location)
    beside, everywhere = list(_section(sections).model_fields), _all_keys(Recipe)
    where = ".".join((*sections, last))
    if ours := NAMES_ELSEWHERE.get(where) or NAMES_ELSEWHERE.get(last):
        return InputError(f"unknown recipe key {where!r}; here it is {ours!r}")
    near = difflib.get_close_matches(last, beside, n=1)
    if near:
        return InputError(
            f"unknown recipe key {where!r}; did you mean {'.'.join((*sections, near[0]))!r}?"
        )
    named = [key for key in everywhere if key.rpartition(".")[2] == last]
    hint = f"there is {' and '.join(map(repr, named))}; " if named else ""
    here = f"{'.'.join(sections)} has" if sections else "known:"
    return InputError(f"unknown recipe key {where!r}; {hint}{here} {', '.join(sorted(beside))}")


def _section(path: Iterable[str]) -> type[BaseModel]:
    """Find the section of a recipe at a path."""
    found: type[BaseModel] = Recipe
    for part in path:
        found = section_of(found.model_fields[part].annotation) or found
    return found


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if (inner := section_of(field.annotation)) is not None:
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys
