"""ms-swift trains by our plug-in; with GRPO in it every figure is that of its own GRPO."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("swift", reason="ms-swift is not installed")

import maspo

REWARD = """
from swift.rewards import ORM, orms

class Letters(ORM):
    def __call__(self, completions, **kwargs):
        return [float(sum(map(ord, text)) % 7) for text in completions]

orms["letters"] = Letters
"""
USE = "from maspo.engines.ms_swift import use\nuse({!r})\n"
SETTINGS = {
    "rlhf_type": "grpo", "model_type": "qwen2", "template": "dummy", "torch_dtype": "float32",
    "tuner_type": "full", "dataset": "data.jsonl", "external_plugins": "plugin.py", "reward_funcs": "letters",
    "num_generations": 4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
    "steps_per_generation": 4, "max_steps": 2, "learning_rate": 1e-3, "max_completion_length": 8,
    "logging_steps": 1, "output_dir": "out", "save_strategy": "no", "report_to": "none", "loss_type": "dapo",
    "use_vllm": "false", "dataset_num_proc": 1, "load_from_cache_file": "false",
}  # fmt: skip


def start(folder, plugin):
    """Start two updates on one rollout."""
    folder.mkdir()
    (folder / "plugin.py").write_text(REWARD + plugin)
    rows = [{"messages": [{"role": "user", "content": f"{n}+{n}"}]} for n in range(8)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = Path(maspo.__file__).parent / "models" / "embedded"
    words = [w for key, value in SETTINGS.items() for w in (f"--{key}", str(value))]
    environment = os.environ | {"USE_HF": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "swift.cli.rlhf", "--model", model, *words],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def rows_of(folder, run):
    """Wait for a run; return the rows of its log that are of an update."""
    _, said = run.communicate()
    assert run.returncode == 0, said[-2000:]
    (log,) = (folder / "out").glob("*/logging.jsonl")
    rows = map(json.loads, log.read_text().splitlines())
    return [row for row in rows if "grad_norm" in row]


def test_grpo_by_the_plug_in_is_its_own_grpo_and_maspo_shows_its_gate(tmp_path):
    plugins = {
        "theirs": "",
        "ours": USE.format("grpo"),
        "gated": USE.format({"name": "maspo", "sigma_base": 0.01, "alpha": 0}),
    }
    started = {name: start(tmp_path / name, plugin) for name, plugin in plugins.items()}
    theirs, ours, gated = (rows_of(tmp_path / name, run) for name, run in started.items())
    for key in ("loss", "grad_norm"):
        found, expected = ([row[key] for row in rows] for rows in (ours, theirs))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert theirs[0]["grad_norm"] > 0
    assert not any(key.startswith("maspo/") for key in theirs[0])
    assert gated[0]["maspo/gate_mean"] == pytest.approx(1) and gated[1]["maspo/gate_mean"] < 1
    assert gated[1]["grad_norm"] != pytest.approx(ours[1]["grad_norm"], rel=1e-4)
