"""A checkpoint of verl's, merged to a folder in Hugging Face format by verl's own merger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from maspo.engines.verl.names import SUPPORTED
from maspo.errors import InputError, RunError
from maspo.models.adapter import merge_adapter


def merge(checkpoint: Path, target: Path) -> None:
    """Merge the shards of the policy in `checkpoint`, and its adapter, into `target`, as bfloat16.

    Raises InputError where the checkpoint holds none, and RunError where verl fails.
    """
    SUPPORTED.check()
    shards = checkpoint / "actor"
    if not (shards / "huggingface" / "config.json").is_file():
        raise InputError(f"{shards} holds no shards of a policy")
    backend = "fsdp" if (shards / "fsdp_config.json").is_file() else "megatron"
    words = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", backend]
    words += ["--local_dir", str(shards), "--target_dir", str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RunError(
            f"verl could not merge {shards} (exit code {done.returncode}): {said[-1] if said else 'no word'}"
        )
    adapter = target / "lora_adapter"
    if adapter.is_dir():
        merge_adapter(target, adapter)
