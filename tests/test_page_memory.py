"""What the manual says of memory, by hand."""

import json

import pytest
from generate import memory

from maspo.models.skeleton import skeleton
from maspo.recipes import load_recipe

QWEN = {  # DeepSeek-R1-Distill-Qwen, as its config.json has it
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
           "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064},
    "14B": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48,
            "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064},
}  # fmt: skip


@pytest.mark.parametrize("size", QWEN)
def test_the_manuals_memory_of_a_model_on_eight_gpus_by_hand(size):
    """Embeddings, output layer and final norm; of a layer the projections, three biases and two norms."""
    recipe = load_recipe(f"dapo-math-r1-qwen-{size.lower()}")
    parameters, training, tokens, sampler, split, offloaded = memory.on_eight(size)
    shape = QWEN[size]
    hidden, inner, vocab = (shape[f"{x}_size"] for x in ("hidden", "intermediate", "vocab"))
    keys = hidden * shape["num_key_value_heads"] // shape["num_attention_heads"]
    attention = 2 * hidden * (hidden + keys) + hidden + 2 * keys
    layer = attention + 3 * hidden * inner + 2 * hidden
    count = 2 * vocab * hidden + shape["num_hidden_layers"] * layer + hidden
    assert parameters == count
    assert training == 16 * count / 8
    assert sampler == 2 * count / split and split == {"14B": 2}.get(size, 1)
    assert tokens % (recipe.data.max_prompt_tokens + recipe.rollout.max_completion_tokens) == 0
    assert offloaded == {"7B": ["optimizer"], "14B": ["optimizer", "weights"]}.get(size, [])


PARAMETERS = {"0.5B": 494032768, "1.5B": 1543714304, "7B": 7615616512}
"""Of Qwen2.5, as published."""


@pytest.mark.parametrize(("size", "parameters"), PARAMETERS.items())
def test_the_models_of_the_memory_table_have_the_published_sizes(size, parameters, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(memory.QWEN2 | memory.SIZES[size]))
    assert skeleton(str(tmp_path), "float32").num_parameters() == parameters
