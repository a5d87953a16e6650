"""The tokens that a run keeps, and what `maspo replay` and the report make of them."""

import json
import math

import pytest
import torch
from test_cli import TINY, run, settings
from test_report import Page

import maspo
from maspo import files
from maspo.core.batch import TokenBatch
from maspo.errors import InputError
from maspo.lab.run import tokens
from maspo.lab.run.folder import RunFolder
from maspo.lab.run.replay import OWN, replay
from maspo.lab.run.report import write_report
from maspo.lab.run.token_plots import token_figures
from maspo.lab.run.tokens import TokenSaver, has_tokens, load_tokens
from maspo.recipes import dump_recipe, load_recipe

# π_old, π and A of two responses: three tokens and one.
TOKENS = [[(0.5, 0.7, 1.0), (0.05, 0.04, 1.0), (0.95, 0.96, 1.0)], [(0.2, 0.1, -2.0)]]


def batch_of(rows, width=None):
    """A batch with rubbish under the mask."""
    width = width or max(map(len, rows))
    shape = (len(rows), width)
    old, new, a = (torch.full(shape, math.nan) for _ in range(3))
    mask = torch.zeros(shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        for j, (q, p, advantage) in enumerate(row):
            old[i, j], new[i, j], a[i, j], mask[i, j] = math.log(q), math.log(p), advantage, True
    return TokenBatch.clean(new, old, a, mask, torch.where(mask, 0.5, torch.nan))


def recipe(*words):
    return load_recipe("quickstart", words)


def saved_run(path, rows=TOKENS, *words):
    """A folder with the tokens of one update, the last of one rollout."""
    folder = RunFolder(path)
    folder.create()
    one = recipe("training.rollouts=1", "training.updates_per_rollout=4", *words)
    files.write_text(folder.path / "recipe.yaml", dump_recipe(one))
    batch = batch_of(rows)
    TokenSaver(folder, one)(3, batch, torch.ones(len(rows), dtype=torch.bool))
    return path


# --- keeping -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rollouts", "updates", "count", "steps"),
    [
        (20, 8, 4, {39, 79, 119, 159}),
        (3, 2, 8, {1, 3, 5}),
        (10, 1, 3, {2, 5, 9}),
        (100, 16, 1, {1599}),
        (10, 4, 0, set()),
    ],
)
def test_the_last_update_of_rollouts_spread_over_the_run_is_kept(
    tmp_path, rollouts, updates, count, steps
):
    words = (f"training.rollouts={rollouts}", f"training.updates_per_rollout={updates}")
    one = recipe(*words, f"training.save_tokens={count}", "training.micro_batch=1")
    assert TokenSaver(RunFolder(tmp_path), one).steps == steps


def test_what_is_kept_is_what_the_objective_saw(tmp_path):
    run_folder = saved_run(tmp_path / "run")
    [one] = load_tokens(run_folder)
    seen = batch_of(TOKENS)
    assert (one.step, one.rows, one.rows_seen) == (3, 2, 2)
    for name in ("log_probs", "old_log_probs", "advantages", "mask", "entropies"):
        assert torch.equal(getattr(one.batch, name), getattr(seen, name)), name


def test_rows_that_were_not_scored_and_other_updates_are_left_out(tmp_path):
    folder, one = RunFolder(tmp_path), recipe("training.rollouts=1")
    saver, batch = TokenSaver(folder, one), batch_of([TOKENS[1], TOKENS[0], TOKENS[1]], width=9)
    saver(2, batch, torch.tensor([True, True, True]))
    assert not has_tokens(tmp_path)
    saver(3, batch, torch.tensor([False, False, False]))
    assert not has_tokens(tmp_path)
    saver(3, batch, torch.tensor([True, False, True]))
    saver(3, batch, torch.tensor([False, True, False]))
    first, second = load_tokens(tmp_path)
    assert first.batch.log_probs.shape == (2, 1) and second.batch.log_probs.shape == (1, 3)


def test_large_updates_keep_whole_completions_evenly_spaced(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "MOST_TOKENS", 12)
    rows = [[(0.5, 0.5, float(i + 1))] * 3 for i in range(10)]
    one = recipe("training.rollouts=1", "training.micro_batch=32")  # 2 micro-batches an update
    TokenSaver(RunFolder(tmp_path), one)(3, batch_of(rows), torch.ones(10, dtype=torch.bool))
    [kept] = load_tokens(tmp_path)
    assert (kept.rows, kept.rows_seen) == (2, 10)
    assert kept.batch.advantages[:, 0].tolist() == [1.0, 6.0]


def test_folders_without_tokens_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        load_tokens(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no saved tokens; .*training\.save_tokens=8"):
        load_tokens(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_files_get_one_sentence(tmp_path, content):
    run_folder = saved_run(tmp_path)
    [path] = (run_folder / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(InputError, match="or damaged") as caught:
        load_tokens(run_folder)
    assert "\n" not in str(caught.value)


# --- replaying ---------------------------------------------------------------------------------


def grpo(q, p, a):
    ratio = p / q
    return 0.0 if (a > 0 and ratio > 1.2) or (a < 0 and ratio < 0.8) else ratio


def gaussian(q, p, a):
    ratio, risk = p / q, 1 + 0.03 * a if a > 0 else 1 / (1 - 0.03 * a)
    width = min(q**-0.3, 10) * risk
    return ratio * (math.exp(-((ratio - 1) ** 2) / (2 * width**2)) if a * (ratio - 1) > 0 else 1)


def expected(rule, own):
    every = [token for row in TOKENS for token in row]
    w = [rule(*token) for token in every]
    c = [x * a for x, (_, _, a) in zip(w, every, strict=True)]
    d = [own(*token) * token[2] for token in every]
    e = [p / q * a for q, p, a in every]

    def cosine(x, y):
        dot = sum(u * v for u, v in zip(x, y, strict=True))
        return dot / math.sqrt(sum(u * u for u in x) * sum(v * v for v in y))

    return {
        "mean_weight": sum(w) / len(w),
        "share_kept": sum(map(abs, c)) / sum(map(abs, e)),
        "share_cut": w.count(0) / len(w),
        "cosine_to_run": cosine(c, d),
        "cosine_to_plain": cosine(c, e),
    }


def test_figures_are_those_of_a_count_by_hand(tmp_path):
    found = replay(saved_run(tmp_path), {"clip": {"name": "grpo"}}).plain()
    assert found["tokens"] == 4 and found["steps"] == [3] and found["completions"] == 2
    assert list(found["objectives"]) == [OWN, "clip"]
    for label, rule in ((OWN, gaussian), ("clip", grpo)):
        given = found["objectives"][label]
        for key, value in expected(rule, gaussian).items():
            assert given[key] == pytest.approx(value, rel=1e-5), (label, key)
        assert given["by_step"]["3"]["mean_weight"] == given["mean_weight"]
    assert found["objectives"]["clip"]["share_cut"] == 0.5  # 0.7 / 0.5 and 0.1 / 0.2


def test_quadrants_hold_the_tokens_of_their_band_and_sign(tmp_path):
    found = replay(saved_run(tmp_path), {"clip": {"name": "grpo"}}).plain()
    parts = found["objectives"]["clip"]["by_probability_and_sign"]
    assert {key: part["tokens"] for key, part in parts.items()} == {
        "low A > 0": 1, "mid A > 0": 1, "high A > 0": 1,
        "low A < 0": 0, "mid A < 0": 1, "high A < 0": 0,
    }  # fmt: skip
    low, high = 0.04 / 0.05, 0.96 / 0.95
    assert parts["low A > 0"]["weight_mean"] == pytest.approx(low, rel=1e-5)
    assert parts["mid A > 0"]["gate_mean"] == 0 and parts["high A > 0"]["gate_mean"] == 1
    assert parts["low A > 0"]["mass"] == pytest.approx(low / (low + high), rel=1e-5)
    assert math.isnan(parts["low A < 0"]["gate_mean"])


def test_batches_pool_as_if_they_were_one(tmp_path):
    whole = replay(saved_run(tmp_path / "one"), {"clip": {"name": "grpo"}})
    folder = RunFolder(tmp_path / "two")
    folder.create()
    one = recipe("training.rollouts=1")
    files.write_text(folder.path / "recipe.yaml", dump_recipe(one))
    saver = TokenSaver(folder, one)
    for row in TOKENS:
        saver(3, batch_of([row]), torch.tensor([True]))
    split = replay(folder.path, {"clip": {"name": "grpo"}})
    for label in (OWN, "clip"):
        assert split.total(label).figures() == pytest.approx(whole.total(label).figures())


def test_unknown_objectives_and_hyperparameters_are_refused(tmp_path):
    run_folder = saved_run(tmp_path)
    with pytest.raises(InputError, match="did you mean 'grpo'"):
        replay(run_folder, {"x": {"name": "grppo"}})


# --- a real run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replayed")
    words = settings(*TINY, "training.learning_rate=1e-3", "seed=1")
    done = run("train", *words, "--out", "out", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def test_the_replay_of_a_run_is_what_the_run_logged(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    found = replay(finished, {})
    assert found.own == maspo.MASPO() and found.results[OWN]
    for step, one in found.results[OWN].items():
        assert step in (1, 3)  # the last of the two updates of each rollout
        logged = lines[step]
        assert logged["step"] == step + 1
        assert one.share("weight", "tokens") == pytest.approx(
            logged["maspo/effective_ratio_mean"], rel=1e-5
        )
        gate = sum(value for key, value in one.sums.items() if key.startswith("gate "))
        assert gate / one.sums["tokens"] == pytest.approx(logged["maspo/gate_mean"], rel=1e-5)
        assert logged["maspo/ratio_mean"] != 1
    assert sum(path.stat().st_size for path in (finished / "tokens").iterdir()) < 1e6


def test_the_command_shows_a_table_and_writes_json(finished):
    done = run(
        "replay", finished, "--objectives", "grpo,maspo:sigma_base=0.3,alpha=0,kl_cov",
        "--out", "figures.json", folder=finished,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((finished / "figures.json").read_text())
    assert list(told["objectives"]) == [OWN, "grpo", "maspo:sigma_base=0.3,alpha=0", "kl_cov"]
    for label, figures in told["objectives"].items():
        [row] = [line for line in done.stdout.splitlines() if line.startswith(label)]
        assert f"{figures['mean_weight']:.3f}" in row
        assert f"{100 * figures['share_kept']:.1f}%" in row
    assert "not between gradients of the parameters" in " ".join(done.stdout.split())


def test_a_run_without_tokens_ends_the_command_with_one_sentence(tmp_path):
    (tmp_path / "out").mkdir()
    done = run("replay", "out", folder=tmp_path)
    assert done.returncode == 2 and "holds no saved tokens" in done.stderr


# --- the report --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maspo", "grpo", "bapo", "entropy_advantage", "gpg"])
def test_the_report_has_the_table_and_the_pictures(tmp_path, name):
    run_folder = saved_run(tmp_path, TOKENS, f"objective={{name: {name}}}")
    for path in (run_folder / "tokens").iterdir():
        kept = path.rename(run_folder / path.name)
        assert 'id="replay"' not in write_report(run_folder).read_text("utf-8")
        kept.rename(path)
    read = Page(write_report(run_folder).read_text("utf-8"))
    assert "clip_higher" in read.texts["th"] and OWN in read.texts["th"]
    for picture in ("tokens_seen", "gradient_by_probability", "gate_by_quadrant"):
        assert (run_folder / "plots" / f"{picture}.png").stat().st_size > 5000


def test_pictures_stand_tokens_of_one_sign_and_of_no_probability(tmp_path):
    rows = [[(1e-30, 1e-28, 1.0), (1.0, 1.0, 1.0)], [(0.5, 0.5, 0.0)]]
    figures = token_figures(replay(saved_run(tmp_path, rows), {}))
    for figure in figures.values():
        figure.savefig(tmp_path / "x.png")
