"""Models whose linear layers bitsandbytes holds in 4 or 8 bits."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from maspo.errors import InputError

if TYPE_CHECKING:
    import torch


def needs_bitsandbytes(setting: str) -> None:
    """Raise InputError where bitsandbytes, which `setting` needs, is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"{setting} needs a package: pip install bitsandbytes")


def quantization_config(quantization: str, dtype: torch.dtype) -> Any:
    """Return what `from_pretrained` is given: int8, or NF4 with quantised scales as in arXiv:2305.14314."""
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def bytes_spared(model: Any, quantization: str | None) -> int:
    """Return how many bytes fewer the weights of a plain model take once they are held in 4 or 8 bits."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if quantization is None:
        return 0
    head = model.get_output_embeddings()  # stays as it is, as do norms, embeddings and biases
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | Conv1D) and m is not head]
    return sum(_bytes_spared(layer.weight, quantization) for layer in layers)


def _bytes_spared(weight: torch.Tensor, quantization: str) -> int:
    numbers = weight.numel()
    if quantization == "8bit":
        held = numbers + 4 * weight.size(0)  # a scale in float32 for each row
    else:
        # A scale for each block of 64, itself in 8 bits with one in float32 for each 256 of them.
        held = numbers // 2 + numbers // 64 + 4 * -(-numbers // (64 * 256))
    return numbers * weight.element_size() - held


def keep_gradients(model: Any) -> None:
    """Let 4-bit layers on a CPU stay as training needs them.

    Once they are used without gradient, bitsandbytes packs them for speed, and what is packed passes no
    gradient on.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def is_quantized(model: Any) -> bool:
    """Whether bitsandbytes holds weights of a model."""
    return any(_is_held(parameter) for parameter in model.parameters())


def plain_parameters(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters of a model by their names, those in 4 or 8 bits as the numbers they stand for."""
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if _is_held(parameter):
            from transformers.integrations.bitsandbytes import dequantize_bnb_weight

            layer = model.get_submodule(name.rpartition(".")[0])
            value = dequantize_bnb_weight(parameter, getattr(layer, "state", None))
        yield name, value


def _is_held(parameter: Any) -> bool:
    return type(parameter).__name__ in ("Params4bit", "Int8Params")
