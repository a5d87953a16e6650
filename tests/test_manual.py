"""The manual: its navigation lists every page, its links lead somewhere, its loop trains."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
MADE = {  # by docs/hooks.py, from the code and the repository's root
    "contributing.md", "changelog.md", "learn/notebook.md",
    *(f"reference/{name}.md" for name in ("recipe", "commands", "api", "metrics", "versions")),
}  # fmt: skip


def navigation(entries):
    """List the pages of a navigation, in its order."""
    for entry in entries:
        inner = [entry] if isinstance(entry, str) else list(entry.values())
        for value in inner:
            yield from [value] if isinstance(value, str) else navigation(value)


def listed():
    """List what mkdocs.yml names."""
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    return list(navigation(yaml.safe_load(text)["nav"]))


def test_the_navigation_lists_every_page_once():
    pages = listed()
    assert len(pages) == len(set(pages))
    assert set(pages) | {"reference/objectives/index.md"} == set(PAGES) | MADE


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_resolve(page):
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        place = (DOCS / page).parent.joinpath(target).resolve()
        made = str(place.relative_to(DOCS)) if place.is_relative_to(DOCS) else ""
        objective = re.fullmatch(r"reference/objectives/\w+\.md", made)
        assert place.exists() or made in MADE or objective, target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_shows_exist(page):
    for place in re.findall(r"<!-- file: (\S+) -->", (DOCS / page).read_text("utf-8")):
        assert (DOCS / place).is_file()


def imported(place):
    """Import a file that a page shows."""
    found = importlib.util.spec_from_file_location("shown", DOCS / place)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def loop():
    """Import the loop of the page."""
    return imported("learn/loop.py")


def test_the_reward_of_the_page_rewards_what_is_near():
    answers = [[{"content": rf"it is \boxed{{{text}}}"}] for text in ("7", "9", "seven")]
    assert imported("learn/mine.py").closeness(answers, ["7"] * 3) == [1, 1 / 3, None]


def test_the_question_to_the_verifier_is_answered():
    done = subprocess.run(
        [sys.executable, DOCS / "fix" / "verify.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "correct \\frac{1}{2}\n"


def test_the_loop_fits_on_a_page():
    assert len((DOCS / "learn" / "loop.py").read_text("utf-8").splitlines()) <= 120


def test_the_loop_trains(loop, monkeypatch, capsys):
    monkeypatch.setattr(loop, "PROMPTS", 4)
    [mean] = loop.train(rollouts=1)
    assert 0 < mean < 1  # the embedded model gets about half of its sums right
    assert "rollout 1: mean reward" in capsys.readouterr().out


def test_the_loop_counts_the_end_token_and_nothing_after(loop):
    model, tokenizer = loop.load_model("embedded")
    torch.manual_seed(0)
    problems = loop.arithmetic_problems(2, seed=1, split="train")
    ids, attention, mask = loop.sample(model.eval(), tokenizer, problems)
    for row, kept in zip(ids[:, -mask.shape[1] :].tolist(), mask.tolist(), strict=True):
        end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
        assert kept == [place < end for place in range(len(row))]
    assert attention.shape == ids.shape
