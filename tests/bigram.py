"""A language model made on the spot, whose next token depends on the last one alone.

It writes a program that prints a digit, each digit as likely as another, in a fenced block. Hidden states
are one-hot vectors of tokens and the output layer holds the log-odds; attention and the feed-forward part
add nothing until they are trained.
"""

import math
import re

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<end>"
SAY = "<say>"
DIGITS = [str(n) for n in range(10)]
NEXT = {
    SAY: ["```python\n"],
    "```python\n": ["print("],
    "print(": DIGITS,
    ")\n": ["```"],
    "```": [END],
}
NEXT |= {digit: [")\n"] for digit in DIGITS}
TOKENS = [END, SAY, "<unknown>", "```python\n", "print(", ")\n", "```", *DIGITS]


def make_bigram(folder):
    """Save model and tokenizer, and return the folder."""
    model, tokenizer = build(TOKENS, NEXT, "{{ messages[-1]['content'] }}{{ '<say>' }}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build(tokens, following, template):
    """Return (model, tokenizer) of some tokens and what may follow each; the first token ends a text."""
    core = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unknown>")
    )
    pieces = Regex("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))
    core.pre_tokenizer = pre_tokenizers.Split(pieces, "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=tokens[0], pad_token=tokens[0],
        clean_up_tokenization_spaces=False, chat_template=template,
    )  # fmt: skip
    size = 2 * math.ceil(len(tokens) / 2)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=size, intermediate_size=size, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=False, eos_token_id=0, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(tokens), size))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        likely = torch.zeros(len(tokens), size)
        for token, others in following.items():
            for other in others:
                likely[tokens.index(other), tokens.index(token)] = 20 / math.sqrt(size)
        model.lm_head.weight.copy_(likely)
    return model, tokenizer
