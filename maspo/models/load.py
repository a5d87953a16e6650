"""One door to every model: the embedded one, the hub, a folder, a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maspo.errors import InputError

EMBEDDED = Path(__file__).parent / "embedded"
"""Folder of the small language model that comes with the package, in Hugging Face format."""


def load_model(source: str, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer, on the CPU.

    `source` is `embedded`, a hub id, a local folder, or a .gguf file, whose weights are widened to
    `dtype`. The tokenizer pads on the left, with the end-of-sequence token where it has no pad token.
    Raises InputError where nothing loadable is there, or the tokenizer has no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(source)
    place, extra = _locate(source)
    with _loading(source):
        safe = {} if extra else {"use_safetensors": True}  # never a pickle
        model = AutoModelForCausalLM.from_pretrained(
            place, dtype=getattr(torch, dtype), **extra, **safe
        )
    if extra:
        _forget_quantization(model)
    return model, tokenizer


def load_tokenizer(source: str) -> Any:
    """Load a model's tokenizer alone; see `load_model`."""
    from transformers import AutoTokenizer

    place, extra = _locate(source)
    with _loading(source):
        tokenizer = AutoTokenizer.from_pretrained(place, **extra)
    if tokenizer.chat_template is None:
        raise InputError(f"the tokenizer of {source!r} has no chat template; use an instruct model")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context_length(source: str) -> int | None:
    """Give the most tokens, prompt and completion together, that a model was made for, if known."""
    from transformers import AutoConfig

    place, extra = _locate(source)
    with _loading(source):
        config = AutoConfig.from_pretrained(place, **extra)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def check_source(source: str) -> None:
    """Raise InputError for a path that leads nowhere, before anything is loaded."""
    _locate(source)


@contextmanager
def _loading(source: str) -> Iterator[None]:
    """Turn what `from_pretrained` raises where nothing loadable is there into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"no model could be loaded from {source!r}: {reason}") from None


def _locate(source: str) -> tuple[str, dict[str, str]]:
    """Give what `from_pretrained` takes: a place, and the GGUF file in it if it is one."""
    if source == "embedded":
        return str(EMBEDDED), {}
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise InputError(f"there is no GGUF file {source}")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        return str(path), {}
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise InputError(
            f"unknown model {source!r}; give embedded, a hub id owner/name, a folder, or a .gguf file"
        )
    return source, {}


def _forget_quantization(model: Any) -> None:
    """Make a model read from GGUF, whose weights are plain by now, trainable and savable as such."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    model.quantization_method = None
