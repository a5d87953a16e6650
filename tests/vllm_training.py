"""Training by rollouts of vLLM, alone and with looks; writes what it saw as JSON.

    python tests/vllm_training.py OUT [RANK]

A process of its own: vLLM changes the process that it runs in.
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import test_resume
from test_resume import recipe, run, same

from maspo.data import Problem
from maspo.engines.trl.engine import ENGINE
from maspo.engines.trl.restored import restored
from maspo.models import load_model
from maspo.sampling import Settings
from maspo.sampling.with_transformers import TransformersSampler

SUMS = [Problem(id=f"p{i}", prompt=({"role": "user", "content": f"{i}+1="},)) for i in range(7)]
GREEDY = Settings(samples=1, temperature=0, max_new_tokens=12, batch_size=4, seed=1)
SAMPLED = Settings(samples=3, max_new_tokens=12, batch_size=6, seed=1)
ROLLOUT = {"prompts": 4, "samples": 4, "max_completion_tokens": 12, "engine": "vllm"}


def texts(sampler, settings):
    return {
        f"{one.problem_id} {one.index}": one.text
        for chunk in sampler.sample(SUMS, settings)
        for one in chunk
    }


def from_memory(chosen, out):
    """Train a model of which its folder has no safetensors, as one read from a GGUF file."""

    def moved(source):
        model, tokenizer = load_model(source)
        model.name_or_path = str(out)
        return model, tokenizer

    out = out / "nothing"
    out.mkdir()
    with patch.object(test_resume, "load_model", moved):
        lines, _ = test_resume.run(chosen, out / "run")
    return lines


def main(out: Path, lora: dict | None) -> None:
    seen: dict[int, dict] = {}

    def look(moment):
        seen[moment.rollouts] = {
            "greedy": texts(moment.sampler, GREEDY),
            "sampled": texts(moment.sampler, SAMPLED),
        }
        moment.save(out / f"{moment.rollouts}.safetensors")

    chosen = recipe({"learning_rate": 1e-2}, model={"lora": lora}, rollout=ROLLOUT)
    ENGINE.check(chosen, None, out)
    looked, weights = run(chosen, out / "looked", look=look, every=1)
    alone, others = run(chosen, out / "alone")
    model, tokenizer = load_model("embedded")
    models = {0: model, 2: restored(chosen, out / "2.safetensors")}
    again = {n: texts(TransformersSampler(one, tokenizer), GREEDY) for n, one in models.items()}
    found = {
        "looked": looked, "alone": alone, "same_weights": same(weights, others), "seen": seen,
        "transformers": again, "from_memory": from_memory(chosen, out),
    }  # fmt: skip
    (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), {"rank": int(sys.argv[2])} if len(sys.argv) > 2 else None)
