"""How a loaded model ends a text, and nothing else of its generation_config: a recipe says the rest."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maspo.errors import InputError
from maspo.models.source import ModelPlace

FILE = "generation_config.json"
_ORIGINAL = "maspo_generation_config"
"""Attribute of a model with the bytes of the file that it was loaded with."""


def end_tokens(config: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end a completion: those of the generation config and the tokenizer's."""
    named = None if config is None else config.eos_token_id
    several = list(named) if isinstance(named, (list, tuple)) else [named]
    return sorted({int(one) for one in (*several, tokenizer.eos_token_id) if one is not None})


def source_end_tokens(place: ModelPlace, tokenizer: Any) -> list[int]:
    """Return the end tokens of a model that is not loaded, as `end_tokens` does once it is."""
    from transformers import GenerationConfig

    for file in (None, "config.json"):
        try:
            config = GenerationConfig.from_pretrained(
                place.path, config_file_name=file, _from_model_config=file is not None
            )
        except OSError:
            continue
        return end_tokens(config, tokenizer)
    return end_tokens(None, tokenizer)


def settle(model: Any, tokenizer: Any, place: ModelPlace) -> None:
    """Make sampling a matter of its callers alone.

    `model.generation_config` is left with token ids: the end tokens of both sides, and a padding token
    inside the embeddings, which becomes the tokenizer's. What the checkpoint's file held beyond that
    (min_p, suppress_tokens, num_beams, ...) acts nowhere; `save_model` writes it out again.
    """
    from transformers import GenerationConfig

    setattr(model, _ORIGINAL, _file_of(place))
    pad = padding_token(model, tokenizer)
    if tokenizer.pad_token_id != pad:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    begin = tokenizer.bos_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id if begin is None else begin,
        eos_token_id=end_tokens(model.generation_config, tokenizer) or None,
        pad_token_id=pad,
    )


def padding_token(model: Any, tokenizer: Any) -> int:
    """Return an id inside the embeddings to pad with: any serves, as padding is masked."""
    size = model.get_input_embeddings().num_embeddings
    wanted = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(one for one in wanted if one is not None and one < size)


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer, with the generation_config.json that the model came with."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    original = getattr(model, _ORIGINAL, None)
    if original is not None:
        (folder / FILE).write_bytes(original)


def check_saving(model: Any, tokenizer: Any) -> None:
    """Raise InputError where all but the weights, which take long, could not be saved after training."""
    with TemporaryDirectory() as folder:
        try:
            for part in (model.config, model.generation_config, tokenizer):
                part.save_pretrained(folder)
        except (ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"the model could not be saved after training: {reason}") from None


def _file_of(place: ModelPlace) -> bytes | None:
    from transformers.utils import cached_file

    if place.extra:
        return None
    file = cached_file(
        place.path,
        FILE,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if file is None else Path(file).read_bytes()
