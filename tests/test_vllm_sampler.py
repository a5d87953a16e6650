"""Evaluations and training with the real vLLM, where it is installed; each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import maspo
from maspo.data.arithmetic import arithmetic_problems
from maspo.files import encoded

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vllm is not installed", allow_module_level=True)

SUMS = arithmetic_problems(6, seed=3, split="test")
ASKED = ["--benchmarks", "sums.jsonl", "--max-tokens", "40", "--batch-size", "6"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vllm")
    rows = [{"id": p.id, "problem": p.prompt[0]["content"], "answer": p.answer} for p in SUMS]
    (folder / "sums.jsonl").write_bytes(b"".join(map(encoded, rows)))
    return folder


def run(place, *words):
    """Run Python."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip
    environment["PYTHONPATH"] = str(Path(maspo.__file__).parents[1])
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def evaluated(place, out, *words):
    """Evaluate the embedded model; give the lines of its samples file."""
    run(place, "-m", "maspo", "eval", "embedded", *ASKED, *words, "--out", out)
    return [json.loads(line) for line in (place / out / "samples.jsonl").read_text().splitlines()]


def test_an_interrupted_run_continues_to_the_same_file(place) -> None:
    words = ("--engine", "vllm", "--samples", "3")
    drawn = evaluated(place, "sampled", *words)
    assert {(one["problem_id"], one["index"]) for one in drawn} == {
        (problem.id, index) for problem in SUMS for index in range(3)
    }
    assert len({one["seed"] for one in drawn}) == len(drawn) == 18
    assert len({one["text"] for one in drawn}) > len(SUMS), "samples of a problem differ"
    file = place / "sampled" / "samples.jsonl"
    whole = file.read_bytes()
    for rows in (4, 12):  # in the middle of a chunk, and between two
        file.write_bytes(b"".join(whole.splitlines(keepends=True)[:rows]) + b'{"bench')
        evaluated(place, "sampled", *words)
        assert file.read_bytes() == whole


def test_greedy_decoding_gives_the_texts_of_transformers(place) -> None:
    words = ("--samples", "1", "--temperature", "0")
    kept = ("problem_id", "index", "text", "tokens", "finish")
    texts = [
        [[one[key] for key in kept] for one in evaluated(place, engine, *words, "--engine", engine)]
        for engine in ("vllm", "transformers")
    ]
    assert texts[0] == texts[1]
    assert {"stop"} <= {one[-1] for one in texts[0]}


@pytest.mark.parametrize("rank", [None, 2], ids=["all-weights", "lora"])
def test_evaluations_of_training_come_from_the_vllm_of_its_rollouts(tmp_path, rank) -> None:
    """They show the weights of their moment and leave training as it is, bit for bit."""
    script = Path(__file__).with_name("vllm_training.py")
    run(tmp_path, script, tmp_path, *([] if rank is None else [str(rank)]))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["looked"] == found["alone"] and found["same_weights"]
    assert found["from_memory"] == found["alone"], "the weights come from the trainer alone"
    seen = found["seen"]
    assert list(seen) == ["0", "1", "2", "3"]
    for rollouts, texts in found["transformers"].items():
        assert seen[rollouts]["greedy"] == texts
    assert seen["0"]["greedy"] != seen["2"]["greedy"], "the model has not changed"
    assert len(set(seen["0"]["sampled"].values())) > 7, "samples of a problem differ"
    gap = "sampling/sampling_logp_difference/max"
    gaps = [line[gap] for line in found["looked"] if gap in line]
    assert len(gaps) == 3 and max(gaps) < 1e-3, "a rollout is sampled from the weights as they are"
