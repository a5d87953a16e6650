"""Tools and environments of several turns: group decoding changes no token, no mask, no log-probability.

The model is real, and calls its tool by itself: what it writes next depends on the last token alone,
which at the start of a turn is the user's word or the tool's.
"""

import warnings

import pytest
import torch

pytest.importorskip("trl")

from bigram import build
from datasets import Dataset

import maspo
from maspo.engines.trl import (
    MASPOConfig,
    MASPOTrainer,
    compute_saving,
    group_decoding,
    pass_costs,
)
from maspo.engines.trl.shared_prefix import score_shared

END = "<|im_end|>"
FIRST = ['<tool_call>\n{"name": "look", "arguments": {"place": ', "1", "}}\n</tool_call>"]
SECOND = ["Then ", '<tool_call>\n{"name": "look", "arguments": {"place": 2}}\n</tool_call>']
ANSWER = ["There", "!"]
SAY, WARMER, FOUND = "<say>", "warmer", "found"
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{% for call in m.tool_calls or [] %}"
    '<tool_call>\n{"name": "{{ call.function.name }}", '
    '"arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>{% else %}<say>{{ m.content }}{% endif %}{% endfor %}"
)
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": SAY,
    "fields": {
        "tool_calls": {
            "open": "<tool_call>", "close_pattern": r"</tool_call>\s*", "repeats": True,
            "content": "json", "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|im_end\|>", "content": "text"},
    },
}  # fmt: skip
"""How a message is read back from what follows the last `<say>`: here, the word and the model's own."""

EXPECTED = {
    "near": [(*FIRST, END), (SAY, WARMER), (*SECOND, END), (SAY, FOUND), (*ANSWER, END)],
    "far": [(*SECOND, END), (SAY, FOUND), (*ANSWER, END)],
    "here": [(*ANSWER, END)],
}
"""The whole completion for each prompt, by turns: of the model, of the tool, of the model ..."""


def look(place: int) -> str:
    """Look somewhere.

    Args:
        place: Where to look.
    """
    return {1: WARMER, 2: FOUND}[place]


class Search:
    """Finds on the second look, wherever that goes."""

    def reset(self, **_):
        self.looks = 0

    def look(self, place: int) -> str:
        """Look somewhere.

        Args:
            place: Where to look.
        """
        self.looks += 1
        return WARMER if self.looks == 1 else FOUND


def make():
    after = {"near": FIRST, "far": SECOND, "here": ANSWER, WARMER: SECOND, FOUND: ANSWER}
    tokens = [END, "<unknown>", SAY, *dict.fromkeys([*after, *FIRST, *SECOND, *ANSWER])]
    following = {word: [said[0]] for word, said in after.items()}
    for said in (FIRST, SECOND, ANSWER):
        following |= {a: [b] for a, b in zip(said, [*said[1:], END], strict=True)}
    model, tokenizer = build(tokens, following, TEMPLATE)
    tokenizer.response_template = RESPONSE
    return model, tokenizer


def run(folder, prompts, *, group_decoding, **given):
    """Train one rollout; return the completions by prompt, and what the loss saw."""
    model, tokenizer = make()
    written = {}

    def alternate(prompts, completion_ids, **_):
        for prompt, ids in zip(prompts, completion_ids, strict=True):
            written.setdefault(prompt[0]["content"], []).append(list(ids))
        return [float(row % 2) for row in range(len(prompts))]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # environments are an experiment of TRL's
        args = MASPOConfig(
            output_dir=str(folder), objective=maspo.GRPO(), updates_per_rollout=1,
            gradient_accumulation_steps=len(prompts), per_device_train_batch_size=2,
            num_generations=2, max_completion_length=32, max_steps=1, learning_rate=0.0,
            generation_kwargs={"do_sample": False}, bf16=False, use_cpu=True, report_to=[],
            disable_tqdm=True, save_strategy="no", group_decoding=group_decoding,
        )  # fmt: skip
        rows = [{"prompt": [{"role": "user", "content": prompt}]} for prompt in prompts]
        made = MASPOTrainer(
            model, alternate, args, train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer, **given,
        )  # fmt: skip
        seen = []
        made.token_sink = lambda _step, batch, _live: seen.append(batch)
        made.train()
    return written, seen, tokenizer


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        pytest.param({"tools": [look]}, ["near", "far", "here"], id="tools"),
        pytest.param({"environment_factory": Search}, ["near", "here"], id="environment"),
    ],
)
def test_turns_are_the_same_under_group_decoding(given, prompts, tmp_path, monkeypatch):
    grouped = []

    def counted(model, prompt_ids, config):
        completions = decode(model, prompt_ids, config)
        grouped.append(len(prompt_ids))
        return completions

    decode = group_decoding.decode_rows
    monkeypatch.setattr(group_decoding, "decode_rows", counted)
    on, scored_on, tokenizer = run(tmp_path / "on", prompts, group_decoding=True, **given)
    turns = max(len(EXPECTED[prompt]) // 2 + 1 for prompt in prompts)
    assert len(grouped) == turns, "group decoding wrote every turn"
    off, scored_off, _ = run(tmp_path / "off", prompts, group_decoding=False, **given)
    assert len(grouped) == turns

    for prompt in prompts:
        tokens = [token for turn in EXPECTED[prompt] for token in turn]
        for ids in on[prompt]:
            assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert on == off

    own = sorted(sum(map(len, EXPECTED[prompt][::2])) for prompt in prompts for _ in range(2))
    assert sorted(int(n) for batch in scored_on for n in batch.mask.sum(1)) == own
    for a, b in zip(scored_on, scored_off, strict=True):
        for name in ("mask", "log_probs", "old_log_probs", "advantages"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert (a.log_probs[a.mask] > -0.1).all(), "the model is sure of all that it wrote"


@pytest.mark.parametrize(
    "given", [{"tools": [look]}, {"environment_factory": Search}], ids=["tools", "environment"]
)
def test_turns_are_scored_alike_behind_a_prompt_that_is_shared(given, tmp_path, monkeypatch):
    shared = []

    def counted(score, model, bare, text):
        shared.append((len(text.ids), int(text.prompts().max()) + 1))
        return score_shared(score, model, bare, text)

    monkeypatch.setattr(compute_saving, "score_shared", counted)
    seen = []
    for call in (0.0, 1e9):
        monkeypatch.setitem(pass_costs.PRICES, "cpu", pass_costs.Prices(call=call, repeat=0.0))
        _, scored, _ = run(tmp_path / str(call), ["near", "here"], group_decoding=True, **given)
        seen.append(scored)
    assert shared == [(2, 1)] * 3  # one of them to be compared with the plain pass
    for a, b in zip(*seen, strict=True):
        assert torch.equal(a.mask, b.mask)
        torch.testing.assert_close(a.log_probs, b.log_probs, rtol=0, atol=1e-5)
