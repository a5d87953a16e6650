#!/usr/bin/env bash
# What a GPU changes, in ten minutes on one machine without network:
#
#     bash benchmarks/gpu.sh [PYTHON]
#
# PYTHON (python) has the package with its extra [trl], and pytest: torch from 2.9 on, Python from 3.11 on.
# Models are made on the spot. Rows go to docs/benchmarks.jsonl; what fails or runs out of time is named at the end.
set -u
cd "$(dirname "$0")/.."
python=${1:-python}
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$PWD:$PWD/tests

"$python" - <<'PY' || exit 1
import sys
try:
    import torch, transformers, trl, pytest  # noqa: F401
    from maspo.engines.trl import MASPOTrainer  # noqa: F401
except ImportError as error:
    sys.exit(f"gpu.sh needs an environment with `pip install 'maspo[trl]' pytest`: {error}")
if not torch.cuda.is_available():
    sys.exit("gpu.sh needs a GPU that torch can see")
print(sys.version.split()[0], torch.__version__, trl.__version__, torch.cuda.get_device_name())
PY

failed=()
within() {  # within SECONDS COMMAND...
    echo "--- ${*:2}"
    timeout "$1" "$python" "${@:2}" || failed+=("${*:2}")
}
big="--model 1B --dtype bfloat16 --prompts 8 --updates 2 --repeats 2 --record"

within 60 -m pytest -q -p no:cacheprovider tests/test_gpu.py
within 60 benchmarks/objectives.py --only maspo --only grpo --only cispo --only gspo --repeats 11 --record
within 120 benchmarks/prefix.py --model 1B --dtype bfloat16 --repeats 2 --record
within 100 benchmarks/update.py $big --dead 0 --lengths equal --prompt-tokens 512 --completion-tokens 128
within 100 benchmarks/update.py $big --dead 0 --lengths equal --prompt-tokens 512 --completion-tokens 128 --no-share
within 100 benchmarks/update.py $big --dead 0.5 --completion-tokens 256
within 80 benchmarks/rollout.py --model 1B --dtype bfloat16 --prompts 16 --max-new-tokens 64 --repeats 2 --record

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
