"""While the weights stay, the policy is the old policy: the ratio is 1 in every update, for every model.

Nothing is replaced: whole rollouts of the trainer with all its savings on, at learning rate 0, with
prompts and completions of many lengths. What the loss scores is compared with the model's own
forward pass over each row alone, without padding.
"""

import json
import warnings

import pytest
import torch

pytest.importorskip("trl")

from architectures import ARCHITECTURES, LEARNED_POSITIONS, make
from datasets import Dataset
from vision import image, make_with_images

import maspo
from maspo.engines.trl import MASPOConfig, MASPOTrainer

QUESTIONS = ["1", "2+3", "7*7+12-4", "9", "100+200+300+400-7*3", "4-4", "55", "6*7*8+9"]


def even_tokens(completion_ids, **_):
    """Reward completions by their share of even tokens."""
    return [sum(i % 2 == 0 for i in ids) / max(len(ids), 1) for ids in completion_ids]


def train(model, processor, folder, rows, **settings):
    """Train a rollout of four updates, at learning rate 0 unless told; return trainer and what it scored."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?!training is collapsing)")
        args = MASPOConfig(
            output_dir=str(folder), objective=maspo.GRPO(), updates_per_rollout=4,
            gradient_accumulation_steps=2, per_device_train_batch_size=4, num_generations=4,
            max_completion_length=12, max_grad_norm=1e9, bf16=False,
            use_cpu=True, report_to=[], disable_tqdm=True, logging_steps=1, save_strategy="no",
            seed=3, **{"max_steps": 4, "learning_rate": 0.0, **settings},
        )  # fmt: skip
        trainer = MASPOTrainer(
            model, even_tokens, args, train_dataset=Dataset.from_list(rows),
            processing_class=processor,
        )  # fmt: skip
        seen = []
        trainer.token_sink = lambda step, batch, live: seen.append((step, batch, live))
        trainer.train()
    return trainer, seen


def farthest_from_one(seen):
    """Return the largest |log ratio| of the rows with a gradient, and how many of their tokens there are."""
    found = [
        (batch.log_probs - batch.old_log_probs)[batch.mask & live[:, None]]
        for _, batch, live in seen
    ]
    every = torch.cat(found)
    return every.abs().max().item(), len(every)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_ratio_is_one_at_unchanged_weights(name, tmp_path):
    model, tokenizer = make(name)
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in QUESTIONS]
    trainer, seen = train(model, tokenizer, tmp_path, rows)
    assert {step for step, _, _ in seen} == {0, 1, 2, 3}
    largest, tokens = farthest_from_one(seen)
    assert tokens > 50
    assert largest <= 1e-5
    assert all(line["clip_ratio/region_mean"] == 0 for line in trainer.state.log_history[:-1])


@pytest.mark.parametrize("savings", [True, False])
@pytest.mark.parametrize("name", ["qwen2", "gemma2", *LEARNED_POSITIONS])
def test_a_row_is_scored_as_if_it_were_alone(name, savings, tmp_path):
    model, tokenizer = make(name)
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in QUESTIONS]
    trainer, _ = train(
        model, tokenizer, tmp_path, rows, trim_padding=savings, skip_dead_rows=savings
    )
    g = torch.Generator().manual_seed(1)
    prompt = torch.randint(4, 60, (3, 20), generator=g)
    completion = torch.randint(4, 60, (3, 6), generator=g)
    lengths = [3, 20, 9]
    mask = torch.ones(3, 26, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, : 20 - length] = 0
    ids = torch.cat([prompt, completion], 1)
    with torch.no_grad():
        model.eval()
        found = trainer._get_per_token_logps_and_entropies(model, ids, mask, 6)[0]
        for row, length in enumerate(lengths):
            alone = ids[row : row + 1, 20 - length :]
            log_probs = model(input_ids=alone).logits[0, -7:-1].log_softmax(-1)
            expected = log_probs.gather(1, completion[row, :, None])[:, 0]
            assert (found[row] - expected).abs().max() < 2e-5


def with_images():
    return [
        {"prompt": [{"role": "user", "content": text}], "images": [image(number)]}
        for number, text in enumerate(QUESTIONS)
    ]


def test_the_ratio_is_one_where_images_matter(tmp_path):
    model, processor = make_with_images()
    trainer, seen = train(model, processor, tmp_path, with_images())
    largest, tokens = farthest_from_one(seen)
    assert tokens > 50
    assert largest <= 1e-5
    # and the images do matter: with another one, the same row gets other log-probabilities
    batch = trainer._buffered_inputs[0]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    columns = batch["completion_ids"].size(1)
    seen_images = {name: batch[name] for name in ("pixel_values", "num_images", "token_type_ids")}
    other = {**seen_images, "pixel_values": seen_images["pixel_values"].flip(-1)}
    with torch.no_grad():
        one, two = (
            trainer._get_per_token_logps_and_entropies(model, ids, mask, columns, **some)[0]
            for some in (seen_images, other)
        )
    assert (one - two)[batch["completion_mask"].bool()].abs().max() > 1e-3


def test_a_text_only_batch_of_a_model_with_eyes_has_the_ratio_one(tmp_path):
    model, processor = make_with_images()
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in QUESTIONS]
    _, seen = train(model, processor, tmp_path, rows)
    largest, tokens = farthest_from_one(seen)
    assert tokens > 50
    assert largest <= 1e-5


def test_the_samples_of_a_failed_update_are_scored_with_their_images(tmp_path):
    model, processor = make_with_images()
    head = model.get_output_embeddings().weight.requires_grad_()
    head.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.warns(UserWarning, match="the gradient norm is nan"):
        _, seen = train(model, processor, tmp_path, with_images(), max_steps=1)
    (file,) = (tmp_path / "not-finite").iterdir()
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    expected = torch.cat(
        [batch.log_probs.masked_fill(~batch.mask, 0).amin(1) for _, batch, _ in seen]
    )
    found = torch.tensor([row["lowest_log_prob"] for row in rows])
    assert (found.sort().values - expected.sort().values).abs().max() <= 1e-5
