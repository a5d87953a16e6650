"""`maspo train --engine verl`, `maspo doctor verl` and `maspo data to-verl` as a user types them."""

from importlib.util import find_spec

import pytest

pytest.importorskip("typer")
needs_verl = pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed")


@pytest.fixture
def maspo(command, tmp_path):
    """Run a command in this process, which imports verl but once; give exit code, output and errors."""

    def run(*words):
        done = command(*words, folder=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


@needs_verl
def test_a_dry_run_prints_the_whole_command_and_writes_nothing(maspo, tmp_path):
    out = tmp_path / "run"
    code, shown, errors = maspo(
        "train", "dapo-math-r1-qwen-14b", "--engine", "verl", "--nodes", "2", "--gpus-per-node", "8",
        "--dry-run", "--out", str(out), "--submit", "http://127.0.0.1:1",
    )  # fmt: skip
    assert code == 0, errors
    assert "\npython3 -m verl.trainer.main_ppo" in shown  # as the nodes call it
    sent = f"ray job submit --address=http://127.0.0.1:1 -- bash {out}/command.sh"
    assert f"sent by    {sent}" in shown
    assert "actor_rollout_ref.actor.ppo_mini_batch_size=32" in shown
    assert "trainer.nnodes=2" in shown and f"data.train_files={out}/data/train.parquet" in shown
    assert "checked by verl; it would train MASPO()" in shown
    assert "not here   no cluster of Ray's answers at http://127.0.0.1:1" in shown
    assert not out.exists()


@needs_verl
@pytest.mark.parametrize("asked", [("--gpus-per-node", "64"), ("--nodes", "64")])
def test_gpus_that_are_not_there_cost_one_sentence(maspo, asked, tmp_path, monkeypatch):
    """Ray would wait for them for ever."""
    words = "train", "quickstart", "--engine", "verl", "--set", "training.micro_batch=1", *asked
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    code, _, errors = maspo(*words, "--out", str(tmp_path / "run"))
    assert code == 2 and "GPUs are asked for, this machine alone has" in errors
    assert not (tmp_path / "run").exists()


@needs_verl
def test_one_update_per_rollout_is_warned_of_and_refused_under_strict(maspo, tmp_path):
    words = "train", "quickstart", "--engine", "verl", "--dry-run", "--out", str(tmp_path / "x")
    words += ("--set", "training.updates_per_rollout=1")
    code, shown, _ = maspo(*words)
    assert code == 0 and "warning    with 1 update per rollout every ratio is 1" in shown
    code, _, errors = maspo(*words, "--strict")
    assert code == 2 and errors.startswith("maspo: with 1 update per rollout")


@needs_verl
def test_settings_that_verl_does_not_act_on_are_warned_of_and_refused_under_strict(maspo, tmp_path):
    words = "train", "quickstart", "--engine", "verl", "--dry-run", "--out", str(tmp_path / "x")
    words += ("--set", "evaluation.batch_size=3", "--set", "training.save_tokens=0")
    code, shown, errors = maspo(*words)
    assert code == 0, errors
    for name in ("rollout.engine (transformers)", "evaluation.batch_size", "training.save_tokens"):
        assert f"warning    {name} does nothing with verl" in shown
    code, _, errors = maspo(*words, "--strict")
    assert code == 2 and "does nothing with verl" in errors
    quiet = "--set", "rollout.engine=vllm"
    code, shown, errors = maspo(*words[:7], *quiet, "--strict")
    assert code == 0 and "does nothing with verl, " not in shown, errors


@needs_verl
def test_a_race_on_verl_is_checked_run_by_run_and_writes_nothing(maspo, tmp_path):
    out = tmp_path / "race"
    code, shown, errors = maspo(
        "compare", "quickstart", "--objectives", "grpo,maspo:alpha=0.5", "--engine", "verl",
        "--dry-run", "--updates-per-rollout", "2", "--seeds", "3", "--out", str(out),
    )  # fmt: skip
    assert code == 0, errors
    assert "6 with verl: updates per rollout 2" in shown
    assert shown.count("verl.trainer.main_ppo") == shown.count("checked    ") == 2
    assert "policy_loss.objective={name:grpo}" in shown
    assert "policy_loss.objective={name:maspo,alpha:0.5}" in shown
    assert not out.exists()
    code, _, errors = maspo(
        "compare", "quickstart", "--objectives", "grpo,maspo_calibrated", "--engine", "verl",
        "--dry-run", "--set", "training.micro_batch=8", "--out", str(out),
    )  # fmt: skip
    assert code == 2 and "MASPO" in errors and not out.exists()


@needs_verl
def test_doctor_and_data(maspo, tmp_path):
    code, shown, errors = maspo("doctor", "verl", "gsm8k-smollm2-cpu")
    assert code == 0, errors
    assert "would train MASPO(alpha=0.5) as maspo.maspo, 4 updates per rollout" in shown
    words = "data", "to-verl", "quickstart", "-o", str(tmp_path / "data"), "--set", "data.limit=32"
    code, shown, errors = maspo(*words)
    assert code == 0 and "train.parquet: 32 problems" in shown.replace("\n", ""), errors
    code, _, errors = maspo(*words)
    assert code == 2 and "exists already" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--engine", "vrel"], "unknown engine 'vrel'; did you mean 'verl'"),
        (["train", "--nodes", "2"], "--nodes is for --engine verl"),
        (["train", "--dry-run"], "--dry-run is for --engine verl"),
        (["compare", "--engine", "vrel"], "unknown engine 'vrel'; did you mean 'verl'"),
        (["compare", "--engine", "verl"], "a race reads the scores of its runs, which verl keeps"),
        (["doctor", "vrel"], "unknown engine 'vrel'; did you mean 'verl'"),
        (["train", "--engine", "verl", "--backend", "ddp"], "--backend must be one of"),
    ],
)
def test_wrong_words_are_one_sentence(maspo, words, message, tmp_path):
    out = ["--out", str(tmp_path / "run")] if words[0] != "doctor" else []
    code, _, errors = maspo(*words, *out)
    assert code == 2 and message in errors


@pytest.mark.skipif(find_spec("verl") is not None, reason="verl is installed")
def test_without_verl_the_command_says_what_to_install(maspo, tmp_path):
    words = "train", "quickstart", "--engine", "verl", "--dry-run", "--out", str(tmp_path / "run")
    code, _, errors = maspo(*words)
    assert code == 2 and "verl is not installed; run: pip install 'maspo[verl]'" in errors
    code, _, errors = maspo("doctor", "verl")
    assert code == 2 and "verl is not installed" in errors
