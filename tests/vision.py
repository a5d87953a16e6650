"""A tiny vision-language model whose answers depend on the image, with its processor and prompts."""

from typing import Any

import torch
from architectures import make
from PIL import Image
from transformers import AutoTokenizer, Gemma3ImageProcessor, Gemma3Processor

from maspo.models import EMBEDDED

SIDE = 28
"""Pixels of an image's side."""

IMAGE_TOKENS = {
    "boi_token": "<boi>",
    "eoi_token": "<eoi>",
    "image_token": "<image_soft_token>",
}

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<boi>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_with_images() -> tuple[Any, Any]:
    """Return (model, processor) of a Gemma 3 that sees images of `SIDE` by `SIDE` pixels."""
    tokenizer: Any = AutoTokenizer.from_pretrained(EMBEDDED, extra_special_tokens=IMAGE_TOKENS)
    model, _ = make(
        "gemma3",
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    torch.manual_seed(7)
    # Their first weights are 0, which lets nothing of an image through.
    model.model.multi_modal_projector.mm_input_projection_weight.data.normal_()
    image_processor = Gemma3ImageProcessor(size={"height": SIDE, "width": SIDE})
    processor = Gemma3Processor(image_processor, tokenizer, TEMPLATE, image_seq_length=4)
    return model, processor


def image(number: int) -> Image.Image:
    """Return an image of noise, another for each number."""
    g = torch.Generator().manual_seed(number)
    pixels = torch.randint(256, (SIDE, SIDE, 3), generator=g, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())
