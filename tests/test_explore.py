"""The page of `maspo explore`: its numbers are the objectives', and a person can use it."""

import functools
import gzip
import json
import math
import random
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from browser import browser, needs_chromium
from test_report import Page

import maspo
from maspo.errors import InputError
from maspo.lab.explore import weights as table
from maspo.lab.explore.page import render, write_explore
from maspo.objectives import GRPO, OBJECTIVES

PRECISION = 2**-11  # of float16
HOSTILE = "</script><script>document.title='hit'</script><img src=x onerror=alert(1)>"


@dataclass(frozen=True, kw_only=True)
class Hostile(GRPO):
    title: ClassVar[str] = HOSTILE


Hostile.__doc__ = f"First {HOSTILE}\n\n    J = {HOSTILE}\n\nMore {HOSTILE}"


@functools.cache
def sheet_of(kind):
    return table.tabulate(kind)


def weight(objective, ratio, probability, advantage, entropy=1.0):
    """The coefficient of one token on ∇ log π, divided by A."""
    old = torch.tensor([[math.log(probability)]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    entropies = torch.full_like(old, entropy) if "entropies" in objective.inputs else None
    result = maspo.policy_loss(
        new, old, torch.tensor([advantage], dtype=torch.float64), torch.ones_like(old),
        objective=objective, entropies=entropies, reduction="token-mean",
    )  # fmt: skip
    result.loss.backward()
    return -new.grad.item() / advantage


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    names = ("maspo", "grpo", "sapo", "dppo_kl", "entropy_advantage", "gspo", "dro", "bapo")
    objectives = {name: OBJECTIVES[name] for name in names} | {"hostile": Hostile}
    path = tmp_path_factory.mktemp("explore") / "explore.html"
    path.write_text(render(objectives), "utf-8")
    return path


# --- the tables --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maspo", "dppo_kl", "entropy_advantage", "dro", "vespo"])
def test_the_sheet_holds_what_the_objective_gives_one_token(name):
    kind, draw = OBJECTIVES[name], random.Random(0)
    sheet = sheet_of(kind)
    _, hs, sizes, ps, _ = sheet.values.shape
    for _ in range(100):
        c = draw.randrange(len(sheet.choices))
        h, a = draw.randrange(len(table.ENTROPY_GRID)), draw.randrange(len(table.ADVANTAGE_GRID))
        p = draw.randrange(len(table.PROBABILITY_GRID))
        r = draw.randrange(int((table.RATIO_GRID * table.PROBABILITY_GRID[p] <= 1).sum()))
        turned = {sheet.dials[d].name: sheet.dials[d].stops[s] for d, s in sheet.choices[c]}
        sign = int(table.ADVANTAGE_GRID[a] > 0)
        at = h if hs > 1 else 0, a if sizes > 2 else sign, p if ps > 1 else 0
        expected = weight(
            kind(**turned), table.RATIO_GRID[r], table.PROBABILITY_GRID[p], table.ADVANTAGE_GRID[a],
            table.ENTROPY_GRID[h],
        )  # fmt: skip
        assert float(sheet.values[c, *at, r]) == pytest.approx(
            min(expected, 65504), rel=PRECISION, abs=3e-8
        ), (turned, at, r)


def test_axes_without_effect_take_no_room():
    assert sheet_of(GRPO).values.shape[1:] == (1, 2, 1, len(table.RATIO_GRID))
    assert sheet_of(OBJECTIVES["dppo_tv"]).values.shape[1:4] == (1, 2, 26)
    assert sheet_of(maspo.MASPO).values.shape[1:4] == (1, 10, 26)


def test_dials_are_those_that_do_something():
    sheet = sheet_of(OBJECTIVES["aspo"])
    assert [dial.name for dial in sheet.dials] == ["epsilon_common", "weight_cap", "cap"]
    assert sheet.inert == ["epsilon_rare", "quantile"]  # a lone token is of the common ones
    for dial in sheet.dials:
        field = next(
            f for f in OBJECTIVES["aspo"].__dataclass_fields__.values() if f.name == dial.name
        )
        assert dial.stops[dial.default] == field.default
        assert all(dial.known.allows(stop) for stop in dial.stops)


def test_at_most_two_dials_are_turned_and_every_allowed_pair_is_there():
    sheet = sheet_of(GRPO)
    others = [len(dial.stops) - 1 for dial in sheet.dials]
    pairs = (sum(others) ** 2 - sum(n * n for n in others)) // 2
    assert len(set(sheet.choices)) == len(sheet.choices) == 1 + sum(others) + pairs
    narrow = sheet_of(maspo.MASPO)  # σ_high below σ_base is refused
    named = [{narrow.dials[d].name: narrow.dials[d].stops[s] for d, s in c} for c in narrow.choices]
    assert {"sigma_base": 2.0} in named and {"sigma_high": 1.0} in named
    assert {"sigma_base": 2.0, "sigma_high": 1.0} not in named


def test_what_is_packed_can_be_unpacked():
    tables = [
        np.random.default_rng(0).integers(0, 2**16, (7, 5), np.uint16),
        np.random.default_rng(1).integers(0, 2**32, (1, 9), np.uint32),
    ]
    data, start = gzip.decompress(table.packed(tables)), 0
    for expected in tables:
        size, modulus = expected.size, 256**expected.itemsize
        planes = [data[start + i * size : start + (i + 1) * size] for i in range(expected.itemsize)]
        start += size * expected.itemsize
        values = [sum(plane[i] << 8 * n for n, plane in enumerate(planes)) for i in range(size)]
        for row, wanted in enumerate(expected.tolist()):
            first = second = 0
            for column, value in enumerate(wanted):
                first = (first + values[row * len(wanted) + column]) % modulus
                second = (second + first) % modulus
                assert second == value
    assert start == len(data)


# --- the page ----------------------------------------------------------------------------------


def test_the_page_is_one_file_and_says_what_is_missing(page):
    read = Page(page.read_text("utf-8"))
    assert page.stat().st_size < 3e6
    assert read.values("src") == []
    [policy] = [value for value in read.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1]
    [left_out] = [text for text in read.texts["li"] if "Not here" in text]
    assert "BAPO (bapo)" in left_out and "couples the batch" in left_out
    data = json.loads(read.texts["script"][0])
    [one] = [o for o in data["objectives"] if o["name"] == "maspo"]
    assert one["arxiv"] == "2602.17550" and "J = sg(F) ρ A" in one["equation"]
    assert [o["name"] for o in data["objectives"] if o["sequence"]] == ["gspo"]
    assert len(read.texts["script"]) == 3  # data, table and the one script that runs


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; name a file"):
        write_explore(tmp_path)


NUMBERS = (
    "[...document.querySelectorAll('#numbers tr')].map(r => [...r.cells].map(c => c.textContent))"
)


def opened(window, page, *, width, dark=False):
    window.open(page, width=width, dark=dark)
    wait_for_the_board(window)


def wait_for_the_board(window):
    deadline = time.monotonic() + 30
    while window.evaluate("document.getElementById('board').hidden"):
        assert time.monotonic() < deadline, window.evaluate("document.body.innerText")
        time.sleep(0.05)


def press(window, key, code):
    for kind in ("rawKeyDown", "keyUp"):
        window.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
        )


def number(text):
    return float(text.replace("−", "-"))


@needs_chromium
def test_sliders_by_keyboard_show_the_numbers_of_the_objective(page, tmp_path):
    with browser(tmp_path / "profile") as window:
        opened(window, page, width=1300)
        before = window.evaluate("document.querySelector('#weight .curve').getAttribute('d')")
        assert "NaN" not in before
        # MASPO with sigma_base one stop down, π_old and A one stop up, ρ nine stops up.
        window.evaluate("document.getElementById('0-sigma_base').focus()")
        press(window, "ArrowLeft", 37)
        after = window.evaluate("document.querySelector('#weight .curve').getAttribute('d')")
        assert after != before and "NaN" not in after
        for axis in ("p", "a", *["r"] * 9):
            window.evaluate(f"document.getElementById('{axis}').focus()")
            press(window, "ArrowRight", 39)
        values = (
            "['p-value', 'a-value', 'r-value'].map(i => document.getElementById(i).textContent)"
        )
        p, a, ratio = map(number, window.evaluate(values))
        assert (p, a) == (0.15, 2) and 1.4 < ratio < 1.45
        sigma = number(
            window.evaluate(
                "document.querySelector('.dial:has([id=\"0-sigma_base\"]) output').textContent"
            )
        )
        assert sigma == 0.5
        maspo_row, grpo_row, sapo_row = window.evaluate(NUMBERS)
        exact = min(table.RATIO_GRID, key=lambda x: abs(x - ratio))
        width = 0.5 / 0.15**0.3 * (1 + 0.03 * 2)  # σ, from the paper
        expected = exact * math.exp(-((exact - 1) ** 2) / (2 * width**2))
        assert expected == pytest.approx(weight(maspo.MASPO(sigma_base=0.5), exact, 0.15, 2.0))
        for text, value in zip(
            maspo_row[1:], (expected, expected / exact, 2 * expected), strict=True
        ):
            assert number(text) == pytest.approx(value, rel=2 * PRECISION)
        assert grpo_row[1:] == ["0", "0", "0"]
        assert number(sapo_row[1]) == pytest.approx(
            weight(maspo.SAPO(), exact, 0.15, 2.0), rel=2 * PRECISION
        )
        assert window.complaints == []


@needs_chromium
def test_a_third_dial_sends_the_first_back_and_says_so(page, tmp_path):
    with browser(tmp_path / "profile") as window:
        opened(window, page, width=1300)
        for dial in ("sigma_base", "alpha", "beta_pos"):
            window.evaluate(f"document.getElementById('0-{dial}').focus()")
            press(window, "ArrowRight", 39)
        note = window.evaluate("document.querySelector('.slot .note').textContent")
        assert "sigma_base" in note and "alpha" not in note
        expected = weight(maspo.MASPO(alpha=0.5, beta_pos=0.1), 1.2938, 0.1, 1.0)
        assert number(window.evaluate(NUMBERS)[0][1]) == pytest.approx(expected, rel=1e-3)


STATE = (
    "JSON.stringify([...document.querySelectorAll('input, select')]"
    ".map(e => e.type === 'radio' ? e.checked : e.value))"
)


@needs_chromium
def test_the_address_holds_the_state_and_no_address_breaks_the_page(page, tmp_path):
    with browser(tmp_path / "profile") as window:
        opened(window, page, width=1300)
        begun = window.evaluate(STATE)
        assert window.evaluate("location.hash") == ""
        for dial in ("0-sigma_base", "0-alpha", "p", "r"):
            window.evaluate(f"document.getElementById('{dial}').focus()")
            press(window, "ArrowRight", 39)
        window.evaluate("document.querySelector('[name=range][value=\"2\"]').click()")
        window.evaluate(
            "document.querySelector('#slots button[aria-label=\"Remove GRPO\"]').click()"
        )
        state, numbers = window.evaluate(STATE), window.evaluate(NUMBERS)
        deadline = time.monotonic() + 30
        while "reach=2&objective=maspo:" not in window.evaluate("location.hash"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)  # the last change is written, too
        assert window.evaluate("location.hash").endswith("&objective=sapo")
        window.reload()
        wait_for_the_board(window)
        assert (window.evaluate(STATE), window.evaluate(NUMBERS)) == (state, numbers)
        for odd in ("%", "p=&a=x&r=1e999", "objective=%E0&toString=1&objective=nobody", "reach=3"):
            window.evaluate(f"location.hash = '{odd}'; 0")
            while window.evaluate(STATE) != begun:
                assert time.monotonic() < deadline, odd
                time.sleep(0.05)
        window.evaluate("location.hash = 'objective=maspo:alpha=0.5,sigma_base=x,none=1'; 0")
        while len(window.evaluate(NUMBERS)) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        expected = weight(maspo.MASPO(alpha=0.5), 1.2938, 0.1, 1.0)
        assert number(window.evaluate(NUMBERS)[0][1]) == pytest.approx(expected, rel=1e-3)
        assert window.complaints == []


@needs_chromium
def test_every_objective_can_be_picked_at_every_token(page, tmp_path):
    with browser(tmp_path / "profile") as window:
        opened(window, page, width=390)
        window.evaluate("document.getElementById('add').click()")
        draw = random.Random(1)
        for name in ("dppo_kl", "entropy_advantage", "gspo", "dro", "hostile"):
            window.evaluate(
                f"(s => {{ s.value = '{name}'; s.dispatchEvent(new Event('change')); }})"
                "(document.querySelectorAll('.slot select')[3])"
            )
            kind = Hostile if name == "hostile" else OBJECTIVES[name]
            for _ in range(5):
                p, a, h, r = (draw.randrange(n) for n in (12, 10, 5, 257))
                for axis, value in zip("pahr", (p, a, h, r), strict=True):
                    window.evaluate(f"set('{axis}', {value})")
                ratio, advantage = table.RATIO_GRID[r], table.ADVANTAGE_GRID[a]
                expected = weight(
                    kind(), ratio, table.PROBABILITY_GRID[p], advantage, table.ENTROPY_GRID[h]
                )
                shown = window.evaluate(NUMBERS)[3]
                if shown[1] == "–":
                    assert ratio * table.PROBABILITY_GRID[p] > 1
                else:
                    assert number(shown[1]) == pytest.approx(expected, rel=2 * PRECISION, abs=1e-6)
                    assert number(shown[2]) == pytest.approx(
                        expected / ratio, rel=2 * PRECISION, abs=1e-6
                    )
            assert window.evaluate("document.getElementById('entropy').hidden") is (
                name != "entropy_advantage"
            )
            assert window.evaluate("document.documentElement.scrollWidth") <= 390
        assert HOSTILE in window.evaluate("document.body.textContent")
        assert window.evaluate("document.title") == "What an objective does to a token"
        assert window.complaints == []


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1300, False), (390, True)])
def test_the_page_fits_and_follows_the_scheme(page, tmp_path, width, dark):
    with browser(tmp_path / "profile") as window:
        opened(window, page, width=width, dark=dark)
        assert window.evaluate("document.documentElement.scrollWidth") <= width
        background = window.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(22, 24, 27)" if dark else "rgb(251, 250, 247)")
        drawn = window.evaluate(
            "[...document.querySelectorAll('path')].map(p => p.getAttribute('d'))"
        )
        assert len(drawn) >= 6 and not [d for d in drawn if "NaN" in d or "undefined" in d]
        unnamed = (
            "[...document.querySelectorAll('input, select, button')].filter(e => "
            "!e.labels?.length && !e.getAttribute('aria-label') && !e.textContent).length"
        )
        assert window.evaluate(unnamed) == 0
        # Where GRPO cuts (A > 0, ρ > 1.2) the map has the colour of a share of 0, elsewhere of 1.
        row = window.evaluate(
            "[...document.querySelectorAll('.map canvas')[1].getContext('2d')"
            ".getImageData(0, 300, 460, 1).data]"
        )
        orange = [255, 139, 61] if dark else [213, 94, 0]
        card = [31, 34, 38] if dark else [255, 255, 255]
        assert row[4 * 400 : 4 * 400 + 3] == orange
        assert row[4 * 60 : 4 * 60 + 3] == card
        assert window.complaints == []


def test_terms_of_one_token_need_no_neighbours():
    """What the page assumes of the objectives that it shows: tokens do not touch each other."""
    for name, kind in OBJECTIVES.items():
        if kind.couples_batch:
            continue
        whole = table.weights_on_grid(kind(), table.PROBES)
        few = table.weights_on_grid(kind(), table.PROBES[1:2])
        assert np.array_equal(whole[:, :, 1:2], few, equal_nan=True), name
