"""One door to every model: the embedded one, the hub, a folder, an adapter, a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from maspo.errors import InputError
from maspo.models.adapter import merged
from maspo.models.generation import settle
from maspo.models.quantized import keep_gradients, quantization_config
from maspo.models.source import EMBEDDED, ModelPlace, check_source, locate
from maspo.models.template import put_template
from maspo.models.whole import check_finite, check_loaded

__all__ = [
    "EMBEDDED", "ModelLimits", "check_source", "load_model", "load_tokenizer", "read_config", "read_limits",
]  # fmt: skip


def load_model(
    source: str,
    dtype: str = "float32",
    chat_template: str | None = None,
    quantization: str | None = None,
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer, on the CPU, with its sampling settled.

    `source` is `embedded`, a hub id, a local folder, or a .gguf file, whose weights are widened to
    `dtype`; an adapter is merged into its base model. `chat_template` is as `put_template` takes it. With
    `quantization`, `4bit` or `8bit`, bitsandbytes holds the linear layers of a model with weights of its
    own, on the GPU where there is one. The tokenizer pads on the left. What the model's
    generation_config.json says is reduced to token ids; see `maspo.models.generation.settle`.

    Raises InputError where nothing loadable is there, weights are missing, left over, of another
    shape or not finite, or the tokenizer has no chat template.
    """
    place = locate(source)
    if quantization is not None and place.converted:
        raise InputError(
            f"{source} cannot be held in {quantization}, as it is no model with weights of its own: name its "
            "base model, or leave out quantization"
        )
    tokenizer = _tokenizer(source, place, chat_template)
    model = _weights(source, place, dtype, quantization)
    if place.adapter is not None:
        with _loading(source):
            model = merged(model, source, place.adapter)
    check_finite(source, model)
    settle(model, tokenizer, place)
    return model, tokenizer


def load_tokenizer(source: str, chat_template: str | None = None) -> Any:
    """Load a model's tokenizer alone; see `load_model`."""
    return _tokenizer(source, locate(source), chat_template)


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """What a model can be given."""

    context: int | None
    """Most tokens, prompt and completion together, that it was made for, if known."""
    vocabulary: int | None
    """Ids from 0 that have an embedding, if known."""

    @classmethod
    def of(cls, config: Any) -> ModelLimits:
        """Read them from a model's configuration."""
        text = config.get_text_config()
        return cls(
            context=getattr(text, "max_position_embeddings", None),
            vocabulary=getattr(text, "vocab_size", None),
        )


def read_limits(source: str) -> ModelLimits:
    """Return the limits of a model that is not loaded."""
    return ModelLimits.of(read_config(source))


def read_config(source: str) -> Any:
    """Load a model's configuration alone; InputError where there is none."""
    from transformers import AutoConfig

    place = locate(source)
    with _loading(source):
        return AutoConfig.from_pretrained(place.path, **place.extra)


def _weights(source: str, place: ModelPlace, dtype: str, quantization: str | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    how: dict[str, Any] = {} if place.extra else {"use_safetensors": True}  # never a pickle
    if quantization is not None:
        how["quantization_config"] = quantization_config(quantization, getattr(torch, dtype))
    with _loading(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place.path,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below, with all others
            **place.extra,
            **how,
        )
    model, found = loaded
    check_loaded(source, found)
    if quantization is not None:
        keep_gradients(model)
    if place.extra:
        _forget_quantization(model)
    return model


def _tokenizer(source: str, place: ModelPlace, chat_template: str | None) -> Any:
    from transformers import AutoTokenizer

    own = None if place.adapter is None else _tokenizer_beside(place.adapter)
    with _loading(source):
        tokenizer: Any = AutoTokenizer.from_pretrained(own or place.path, **place.extra)
    put_template(tokenizer, source, chat_template)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tokenizer_beside(adapter: str) -> str | None:
    """Return the place of an adapter if a tokenizer was saved there; else its base model has it."""
    from transformers.utils import cached_file

    found = cached_file(
        adapter,
        "tokenizer_config.json",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else adapter


@contextmanager
def _loading(source: str) -> Iterator[None]:
    """Turn what `from_pretrained` raises where nothing loadable is there into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"no model could be loaded from {source!r}: {reason}") from None


def _forget_quantization(model: Any) -> None:
    """Make a model read from GGUF, whose weights are plain by now, trainable and savable as such."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    model.quantization_method = None
    # Its folder holds no configuration: PEFT, which would look there whether the vocabulary has grown, is
    # told that the weights come from nowhere, as it knows of models that were never saved.
    model.config._name_or_path = model.name_or_path = ""
